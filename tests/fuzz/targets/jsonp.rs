//! What comes in by JSONP: no panic for any form, no payload larger than its form, and every payload arrives as it was written, through
//! a form and through a script.

#![no_main]

use fanfare::protocol::engineio::jsonp::{self, Callback};
use libfuzzer_sys::fuzz_target;

#[path = "../../it/bad_inputs.rs"]
#[allow(dead_code)]
mod bad_inputs;
#[path = "../seeds.rs"]
#[allow(dead_code)]
mod seeds;

fn seeds() -> impl Iterator<Item = Vec<u8>> {
    let texts = bad_inputs::TEXT.iter().chain(bad_inputs::HARMLESS);
    let payloads = texts.map(|text| form(text));
    let forms = [
        "d=",
        "d=1%3A6&d=1%3A6",
        "d=%ff%00",
        r"d=4%5Cn%5C%5Cn%5C%5C%5Cn",
        "d=a+b%",
        "e=1",
        "d",
    ];
    payloads.chain(forms.map(Into::into))
}

/// A form as the reference's client writes it: a line feed becomes `\\n`, after another backslash was put before what looks like that.
fn form(payload: &str) -> Vec<u8> {
    let mut form = b"d=".to_vec();
    for byte in payload.replace("\\n", "\\\n").replace('\n', "\\n").bytes() {
        form.extend(format!("%{byte:02X}").bytes());
    }
    form
}

fuzz_target!(init: seeds::plant(seeds()), |input: &[u8]| {
    if let Some(payload) = jsonp::payload(input) {
        // A broken sequence becomes U+FFFD, of three bytes.
        assert!(payload.len() <= 3 * input.len());
    }
    // What the client's two steps cannot tell apart is left out: a line feed behind a backslash.
    let Some(text) = std::str::from_utf8(input).ok().filter(|text| !text.contains("\\\n")) else { return };
    let form = form(text);
    assert!(form.len() <= jsonp::max_form(2 * text.len()));
    assert_eq!(jsonp::payload(&form).as_deref(), Some(text));
    let callback = Callback::parse("0").expect("a number");
    let script = callback.script(text);
    let json = script.strip_prefix("___eio[0](").and_then(|rest| rest.strip_suffix(");"));
    assert_eq!(json.map(serde_json::from_str::<String>).expect("a call").expect("a string"), text);
    assert!(!script.contains(['\u{2028}', '\u{2029}']));
    if let Some(named) = Callback::parse(text) {
        assert!(named.script("").bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_[](\");".contains(&byte)));
    }
});
