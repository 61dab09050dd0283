//! How many arguments a value is, and what becomes of bytes inside it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Upload {
    name: String,
    #[serde(with = "serde_bytes")]
    data: Vec<u8>,
    parts: Vec<Bytes>,
    by_number: BTreeMap<u32, Bytes>,
    kind: Form,
    note: Option<Bytes>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Form {
    Plain,
    Raw(Bytes),
    Pair(u8, Bytes),
    Named { data: Bytes },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(u8, u8);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Newtype((u8, u8));

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nothing;

fn upload(kind: Form) -> Upload {
    Upload {
        name: "a.png".into(),
        data: vec![1, 2],
        parts: vec![Bytes::from_static(b"x"), Bytes::new()],
        by_number: BTreeMap::from([(7, Bytes::from_static(b"y"))]),
        kind,
        note: None,
    }
}

#[test]
fn tuples_are_several_arguments_and_everything_else_is_one() {
    fn event<T: Serialize + ?Sized>(args: &T) -> String {
        let json = Payload::event("e", args).unwrap().json().to_owned();
        let ack = Payload::ack(args).unwrap().json().to_owned();
        // An acknowledgement has the same arguments, without the name.
        assert_eq!(
            json,
            if ack == "[]" {
                "[\"e\"]".into()
            } else {
                ack.replacen('[', "[\"e\",", 1)
            }
        );
        ack
    }
    assert_eq!(event(&()), "[]");
    assert_eq!(event(&(1,)), "[1]");
    assert_eq!(event(&(1, "b", [3, 4])), r#"[1,"b",[3,4]]"#);
    assert_eq!(event(&((1, 2), ())), "[[1,2],null]");
    assert_eq!(event(&Box::new(&(1, 2))), "[1,2]", "what is pointed to counts");
    assert_eq!(event("text"), r#"["text"]"#);
    assert_eq!(event(&7), "[7]");
    assert_eq!(event(&vec![1, 2]), "[[1,2]]", "a Vec is one argument");
    assert_eq!(event(&[1, 2][..]), "[[1,2]]", "a slice is one argument");
    assert_eq!(event(&[1, 2]), "[1,2]", "an array is a tuple to serde");
    assert_eq!(event::<[u8; 0]>(&[]), "[]");
    assert_eq!(event(&json!([1, 2])), "[[1,2]]");
    assert_eq!(event(&json!(null)), "[]", "to serde this is the unit");
    assert_eq!(event(&None::<u8>), "[null]");
    assert_eq!(event(&Some((1, 2))), "[[1,2]]");
    assert_eq!(event(&Pair(1, 2)), "[[1,2]]");
    assert_eq!(event(&Newtype((1, 2))), "[[1,2]]");
    assert_eq!(event(&Nothing), "[null]");
    assert_eq!(event(&Form::Plain), r#"["Plain"]"#);
    assert_eq!(event(&format_args!("{}", 1)), r#"["1"]"#);
    assert_eq!(event(&BTreeMap::from([("a", 1)])), r#"[{"a":1}]"#);
}

#[test]
fn arguments_decode_by_the_same_rule() {
    let event = |elements: &str| Payload::from_parts(format!("[\"e\"{elements}]").into(), Attachments::new()).unwrap();
    let two = event(r#",1,"b""#);
    assert_eq!(two.args::<()>(), Ok(()));
    assert_eq!(two.args::<u8>(), Ok(1), "one value takes the first argument");
    assert_eq!(two.args::<(u8, String)>(), Ok((1, "b".into())));
    assert_eq!(two.args::<(u8,)>(), Ok((1,)), "further arguments are ignored");
    assert_eq!(two.args::<(u8, String, Option<u8>, ())>(), Ok((1, "b".into(), None, ())));
    assert_eq!(two.args::<(u8, String, u8)>(), Err(ArgumentError::Missing { index: 2 }));
    assert_eq!(two.args::<(u8, String, Value)>(), Err(ArgumentError::Missing { index: 2 }));
    assert_eq!(two.args::<[Option<Value>; 3]>(), Ok([Some(json!(1)), Some(json!("b")), None]));
    assert!(matches!(two.args::<(u8, u8)>(), Err(ArgumentError::Mismatch { index: 1, .. })));
    assert!(matches!(two.args::<String>(), Err(ArgumentError::Mismatch { index: 0, .. })));
    assert_eq!(two.arg::<String>(1), Ok("b".into()));
    assert_eq!(two.arg::<Option<String>>(2), Ok(None));
    assert_eq!(two.arg::<String>(2), Err(ArgumentError::Missing { index: 2 }));

    let none = event("");
    assert_eq!(none.args::<Option<u8>>(), Ok(None));
    assert_eq!(none.args::<u8>(), Err(ArgumentError::Missing { index: 0 }));
    assert_eq!(event(",[1,2]").args::<Vec<u8>>(), Ok(vec![1, 2]));
    assert_eq!(event(",[1,2]").args::<Pair>(), Ok(Pair(1, 2)));
    assert_eq!(event(",[1,2]").args::<Newtype>(), Ok(Newtype((1, 2))));
    assert_eq!(
        event(",[1,2]").arg::<(u8, u8)>(0),
        Ok((1, 2)),
        "inside an argument a tuple is an array"
    );
    assert_eq!(event(",null").args::<Nothing>(), Ok(Nothing));
    assert_eq!(event(r#", "Plain" "#).args::<Form>(), Ok(Form::Plain));

    let ack = Payload::ack(&(1, "b")).unwrap();
    assert_eq!(ack.arguments().decode::<(u8, String)>(), Ok((1, "b".into())));
    let broken = Payload::from_parts("{}".into(), Attachments::new()).unwrap();
    assert_eq!(broken.args::<u8>(), Err(ArgumentError::NotArguments));
    assert_eq!(broken.arguments().decode::<u8>(), Err(ArgumentError::Missing { index: 0 }));
}

#[test]
fn bytes_anywhere_become_attachments_and_come_back() {
    for kind in [
        Form::Plain,
        Form::Raw(Bytes::from_static(b"r")),
        Form::Pair(1, Bytes::from_static(b"p")),
        Form::Named {
            data: Bytes::from_static(b"n"),
        },
    ] {
        let value = upload(kind);
        let payload = Payload::event("upload", &(7, &value)).unwrap();
        assert_eq!(payload.attachments().len(), if value.kind == Form::Plain { 4 } else { 5 });
        assert!(
            payload
                .json()
                .starts_with(r#"["upload",7,{"name":"a.png","data":{"_placeholder":true,"num":0},"parts":[{"_placeholder":true,"num":1}"#)
        );
        assert_eq!(payload.args::<(u8, Upload)>(), Ok((7, value)));
    }
}

#[test]
fn bytes_alone_are_one_argument() {
    let payload = Payload::event("b", &Bytes::from_static(b"abc")).unwrap();
    assert_eq!(payload.json(), r#"["b",{"_placeholder":true,"num":0}]"#);
    assert_eq!(payload.args::<Bytes>(), Ok(Bytes::from_static(b"abc")));
    assert_eq!(payload.args::<Option<Bytes>>(), Ok(Some(Bytes::from_static(b"abc"))));
    assert_eq!(
        payload.args::<Vec<u8>>(),
        Ok(b"abc".to_vec()),
        "a plain Vec<u8> reads attachments too"
    );
    assert!(
        matches!(payload.args::<Value>(), Err(ArgumentError::Mismatch { index: 0, .. })),
        "a Value holds no bytes"
    );
    assert_eq!(Payload::ack(&vec![1_u8]).unwrap().json(), "[[1]]", "but is written as numbers");
}

#[test]
fn placeholder_that_names_nothing_is_an_error_and_not_a_panic() {
    let attachments = || Attachments::from_iter([Bytes::from_static(b"a")]);
    for object in [
        r#"{"_placeholder":true,"num":1}"#,
        r#"{"_placeholder":true,"num":-1}"#,
        r#"{"_placeholder":true}"#,
    ] {
        let payload = Payload::from_parts(format!("[\"e\",{object}]").into(), attachments()).unwrap();
        let Err(ArgumentError::Mismatch { index: 0, message }) = payload.args::<Bytes>() else {
            panic!("{object}")
        };
        assert!(message.contains("illegal attachments"), "{message}");
    }
    let text = Payload::from_parts(r#"["e",{"_placeholder":true,"num":0}]"#.into(), Attachments::new()).unwrap();
    assert_eq!(
        text.args::<Value>(),
        Ok(json!({"_placeholder": true, "num": 0})),
        "without attachments it is an object as any other"
    );
}

#[test]
fn attachments_are_not_copied_more_often_than_they_were_sent() {
    let one = r#"{"_placeholder":true,"num":0}"#;
    let event = |list: &str, attachment: &'static [u8]| {
        let attachments = Attachments::from_iter([Bytes::from_static(attachment)]);
        Payload::from_parts(format!("[\"e\",[{list}]]").into(), attachments).unwrap()
    };
    assert_eq!(
        event(one, &[7; 1000]).args::<Vec<Bytes>>(),
        Ok(vec![Bytes::from_static(&[7; 1000])])
    );
    let many = [one; 10_000].join(",");
    assert_eq!(
        event(&many, &[]).args::<Vec<Bytes>>().unwrap().len(),
        10_000,
        "of nothing there is enough"
    );
    for refused in [
        event(&many, &[7; 1000]).args::<Vec<Bytes>>().map(drop),
        event(&many, &[7; 1000]).args::<Vec<Vec<u8>>>().map(drop),
    ] {
        let Err(ArgumentError::Mismatch { index: 0, message }) = refused else {
            panic!("{refused:?}")
        };
        assert!(message.contains("more often than they were sent"), "{message}");
    }
}

#[test]
fn values_that_would_close_clients_are_not_sent() {
    let fake = json!({"_placeholder": true, "num": 1});
    assert!(matches!(Payload::event("e", &(Bytes::new(), &fake)), Err(EncodeError::Placeholder)));
    assert!(
        Payload::event("e", &fake).is_ok(),
        "without attachments it is an object as any other"
    );
    assert!(matches!(Payload::event("disconnect", &()), Err(EncodeError::Reserved(name)) if name == "disconnect"));
    assert!(matches!(Payload::ack(&BTreeMap::from([(vec![1], 2)])), Err(EncodeError::Json(_))));
}

#[test]
fn parts_must_be_utf8() {
    assert_eq!(
        Payload::from_parts(Bytes::from_static(b"[\"\xff\"]"), Attachments::new()),
        Err(NotUtf8)
    );
}

#[test]
fn lone_surrogate_is_forwarded_but_not_decoded() {
    let payload = Payload::from_parts(r#"["e","\ud83d",1]"#.into(), Attachments::new()).unwrap();
    assert_eq!(payload.as_event().unwrap().1.text(), r#""\ud83d",1"#);
    assert!(payload.arg::<String>(0).is_err());
    assert_eq!(payload.arg::<u8>(1), Ok(1));
}

#[test]
fn arguments_are_forwarded_as_they_stand() {
    let payload = Payload::event("e", &("room", Bytes::from_static(b"a"), 1.5)).unwrap();
    let (_, arguments) = payload.as_event().unwrap();
    assert_eq!(arguments.to_event("e").unwrap(), payload);
    assert_eq!(arguments.to_ack(), Payload::ack(&("room", Bytes::from_static(b"a"), 1.5)).unwrap());
    assert!(matches!(arguments.to_event("connect"), Err(EncodeError::Reserved(_))));

    let (room, rest) = arguments.split_first().unwrap();
    assert_eq!(room, "\"room\"");
    assert_eq!(rest.decode::<(Bytes, f64)>(), Ok((Bytes::from_static(b"a"), 1.5)));
    let (_, last) = rest.split_first().and_then(|(_, rest)| rest.split_first()).unwrap();
    assert!(last.split_first().is_none());
    assert_eq!(last.to_event("e").unwrap().json(), "[\"e\"]");
}

#[test]
fn an_argument_is_replaced_and_the_others_stay_as_they_are() {
    let event = Encoding::Json.event("e", &(Bytes::from_static(b"a"), 1.5, "x")).unwrap();
    let changed = Encoding::Json.with_arg(&event, 1, &(Bytes::from_static(b"b"), 2)).unwrap();
    assert_eq!(
        changed.json(),
        r#"["e",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1},2],"x"]"#
    );
    assert_eq!(
        changed.args::<(Bytes, (Bytes, u8), String)>(),
        Ok((Bytes::from_static(b"a"), (Bytes::from_static(b"b"), 2), "x".into()))
    );
    let dated = Encoding::Msgpack.with_arg(&changed, 0, &Date::from_millis(7)).unwrap();
    assert_eq!(dated.arg::<i64>(0), Ok(7));
    assert_eq!(dated.arg::<(Bytes, u8)>(1), Ok((Bytes::from_static(b"b"), 2)));
    let longer = Encoding::Json.with_arg(&Payload::event("e", &1).unwrap(), 3, "end").unwrap();
    assert_eq!(longer.json(), r#"["e",1,null,null,"end"]"#);
    assert!(matches!(
        Encoding::Json.with_arg(&event, 1, &json!({"_placeholder": true, "num": 9})),
        Err(EncodeError::Placeholder)
    ));
    assert_eq!(longer.renamed("f").unwrap().json(), r#"["f",1,null,null,"end"]"#);
    assert!(matches!(longer.renamed("connect"), Err(EncodeError::Reserved(_))));
}
