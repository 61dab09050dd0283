//! JSONP: the payload of a poll inside a script, the payload of a POST inside a form (Engine.IO protocol v3, Transports, JSONP; the
//! reference serves revision 4 the same way).

use std::fmt::Write as _;

use url::form_urlencoded;

/// Digits of a callback's number; the clients count from zero.
const MAX_DIGITS: usize = 10;

/// The number of the function that a client has its payloads handed to. The handshake's counts for the whole session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback(Box<str>);

impl Callback {
    /// Reads the parameter `j`: 1 to 10 digits, nothing else. (The reference leaves out what is no digit.)
    #[must_use]
    pub fn parse(j: &str) -> Option<Self> {
        let digits = (1..=MAX_DIGITS).contains(&j.len()) && j.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| Self(j.into()))
    }

    /// The script that hands a payload over: `___eio[0]("..");`. Valid JavaScript of any age, which does not know every JSON string.
    #[must_use]
    pub fn script(&self, payload: &str) -> String {
        let json = serde_json::to_string(payload).expect("a string always has a JSON form");
        let mut script = String::with_capacity(json.len() + self.0.len() + 12);
        script.push_str("___eio[");
        script.push_str(&self.0);
        script.push_str("](");
        for character in json.chars() {
            match character {
                '\u{2028}' | '\u{2029}' => {
                    write!(script, "\\u{:04x}", u32::from(character)).expect("a string takes everything");
                }
                other => script.push(other),
            }
        }
        script.push_str(");");
        script
    }
}

/// The bytes that a form may have whose payload has at most `max`: every byte may be written as three.
#[must_use]
pub const fn max_form(max: usize) -> usize {
    max.saturating_mul(3).saturating_add(FIELD.len() + 1)
}

const FIELD: &str = "d";

/// The payload in a form: its field `d`. Nothing when there is none or more than one, which the reference ignores.
///
/// Clients write a line feed as `\n`, and put another backslash before what looks like that already: it is undone here.
#[must_use]
pub fn payload(form: &[u8]) -> Option<String> {
    let mut fields = form_urlencoded::parse(form).filter(|(name, _)| name == FIELD);
    let (_, data) = fields.next()?;
    if fields.next().is_some() {
        return None;
    }
    let mut payload = String::with_capacity(data.len());
    let mut backslashes = 0;
    for character in data.chars() {
        if character == '\\' {
            backslashes += 1;
            continue;
        }
        let (kept, character) = match (character, std::mem::take(&mut backslashes)) {
            ('n', 1) => (0, '\n'),
            ('n', many @ 2..) => (many - 1, 'n'),
            (other, any) => (any, other),
        };
        payload.extend(std::iter::repeat_n('\\', kept));
        payload.push(character);
    }
    payload.extend(std::iter::repeat_n('\\', backslashes));
    Some(payload)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the client does it: `\n` in the text becomes backslash and line feed, then every line feed becomes `\n`.
    fn form(payload: &str) -> String {
        let escaped = payload.replace("\\n", "\\\n").replace('\n', "\\n");
        form_urlencoded::Serializer::new(String::new()).append_pair("d", &escaped).finish()
    }

    #[test]
    fn a_callback_is_a_number() {
        assert_eq!(Callback::parse("0").unwrap().script("6"), r#"___eio[0]("6");"#);
        assert_eq!(Callback::parse("0123456789").unwrap().script(""), r#"___eio[0123456789]("");"#);
        for wrong in ["", "-1", "1.5", "0]//", "\u{661}", "12345678901", "1 "] {
            assert_eq!(Callback::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_script_is_javascript_and_not_only_json() {
        let callback = Callback::parse("7").unwrap();
        let payload = "4\"\\\u{1e}\n\u{2028}\u{2029}\u{e9}\u{1f600}</script>";
        let script = callback.script(payload);
        assert_eq!(script, "___eio[7](\"4\\\"\\\\\\u001e\\n\\u2028\\u2029\u{e9}\u{1f600}</script>\");");
        let json = script.strip_prefix("___eio[7](").and_then(|rest| rest.strip_suffix(");")).unwrap();
        assert_eq!(serde_json::from_str::<String>(json).unwrap(), payload);
    }

    #[test]
    fn backslashes_before_an_n_are_undone_as_the_reference_does() {
        for (data, expected) in [
            ("4a", Some("4a")),
            ("a%20b+c", Some("a b c")),
            (r"a\nb", Some("a\nb")),
            (r"a\\nb", Some(r"a\nb")),
            (r"a\\\nb", Some(r"a\\nb")),
            (r"a\\\\nb", Some(r"a\\\nb")),
            (r"a\b\", Some(r"a\b\")),
            (r"\\", Some(r"\\")),
            ("", Some("")),
        ] {
            assert_eq!(payload(format!("d={data}").as_bytes()).as_deref(), expected, "{data}");
        }
        for none in ["", "e=1", "d=1&d=2", "D=1"] {
            assert_eq!(payload(none.as_bytes()), None, "{none}");
        }
        assert_eq!(payload(b"e=1&d=2&f").as_deref(), Some("2"));
        assert_eq!(payload(b"d=%ff\xff%2").as_deref(), Some("\u{fffd}\u{fffd}%2"));
    }

    proptest! {
        /// What the client's two steps cannot tell apart is left out: a line feed behind a backslash.
        #[test]
        fn what_a_client_posts_arrives(text in r#"[a-n\\" \n]{0,40}"#) {
            prop_assume!(!text.contains("\\\n"));
            prop_assert_eq!(payload(form(&text).as_bytes()), Some(text));
        }

        #[test]
        fn a_form_of_any_bytes_is_read_and_does_not_grow(form in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(payload) = payload(&form) {
                // U+FFFD is the only thing that is longer than what it stands for.
                prop_assert!(payload.len() <= 3 * form.len());
            }
        }

        #[test]
        fn a_payload_within_the_bound_makes_a_form_within_its_own(text in "\\PC{0,50}") {
            let form = form(&text);
            let escapes = text.matches(['\n', '\\']).count();
            prop_assert!(form.len() <= max_form(text.len() + escapes));
        }
    }
}
