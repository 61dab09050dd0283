//! Dates of the server's own: what the reference makes of them, and that they come back.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
};
use serde::{Deserialize, Serialize};

use super::{
    golden::VALUES,
    tests::{bytes, event, give_event, payload},
};
use crate::protocol::socketio::{Date, Encoding, Payload};

#[test]
fn dates_of_the_server_are_those_of_the_reference_byte_by_byte() {
    let millis = |date: &&str| date.strip_prefix("new Date(")?.strip_suffix(')')?.parse::<i64>().ok();
    let dates: Vec<_> = VALUES.iter().filter_map(|(source, hex, ..)| Some((millis(source)?, hex))).collect();
    assert!(dates.len() >= 3, "{dates:?}");
    for (millis, hex) in dates {
        let date = Date::from_millis(millis).unwrap();
        let sent = Encoding::Msgpack.event("e", &date).unwrap();
        assert_eq!(give_event(&sent), event(&bytes(hex)), "{millis}");
        assert_eq!(payload(event(&bytes(hex))).args::<Date>(), Ok(date));
    }
}

/// Dates, and what a date may be in, between other things that are put aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Diary {
    begun: Date,
    ended: Option<Date>,
    entries: Vec<(Date, Bytes)>,
    by_number: BTreeMap<u32, Date>,
    last: Mark,
    picture: Bytes,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Mark {
    None,
    At(Date),
    Between(Date, Date),
    Named { at: Date },
}

fn date() -> impl Strategy<Value = Date> {
    (-8_640_000_000_000_000_i64..=8_640_000_000_000_000).prop_map(|millis| Date::from_millis(millis).unwrap())
}

fn diary() -> impl Strategy<Value = Diary> {
    let blob = || vec(any::<u8>(), 0..5).prop_map(Bytes::from);
    let mark = prop_oneof![
        Just(Mark::None),
        date().prop_map(Mark::At),
        (date(), date()).prop_map(|(from, to)| Mark::Between(from, to)),
        date().prop_map(|at| Mark::Named { at }),
    ];
    let numbered = btree_map(any::<u32>(), date(), 0..3);
    let parts = (date(), option::of(date()), vec((date(), blob()), 0..3), numbered, mark, blob());
    parts.prop_map(|(begun, ended, entries, by_number, last, picture)| Diary {
        begun,
        ended,
        entries,
        by_number,
        last,
        picture,
    })
}

proptest! {
    #[test]
    fn dates_come_back_over_either_parser(diary in diary(), date in date()) {
        let sent = Encoding::Msgpack.event("e", &(date, &diary)).unwrap();
        let there = payload(give_event(&sent));
        prop_assert_eq!(&there.args::<(Date, Diary)>().unwrap(), &(date, diary.clone()));
        prop_assert_eq!(there.arg::<i64>(0), Ok(date.millis()));
        prop_assert_eq!(there.attachments().len(), 2 + diary.entries.len(), "all dates share an attachment");
        prop_assert_eq!(give_event(&there), give_event(&sent));

        let text = Payload::event("e", &(date, &diary)).unwrap();
        prop_assert_eq!(text.attachments().len(), 1 + diary.entries.len());
        let beginning = format!(r#"["e","{date}",{{"begun":"{}""#, diary.begun);
        prop_assert!(text.json().starts_with(&beginning));
        prop_assert_eq!(text.args::<(Date, Diary)>().unwrap(), (date, diary));
    }
}
