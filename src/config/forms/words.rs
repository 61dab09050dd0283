//! Forms of a few words.

use super::{Form, Found};
use crate::{
    node::{SameSite, WhenDeaf},
    telemetry::LogFormat,
};

impl Form for bool {
    const EXPECTED: &'static str = "true or false";
    fn read(found: Found<'_>) -> Option<Self> {
        found.boolean()
    }
}

/// What is logged, in the directives of `tracing-subscriber`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct LogFilter(pub(in crate::config) String);

impl Form for LogFilter {
    const EXPECTED: &'static str = "error, warn, info, debug, trace or off, or directives such as \"info,fanfare::cluster=debug\"";
    fn read(found: Found<'_>) -> Option<Self> {
        let text = found.text()?;
        // A bare word that is no level is a valid directive too (a target), but nobody means that: it would silence everything.
        let level = |word: &str| ["error", "warn", "info", "debug", "trace", "off"].contains(&word.to_ascii_lowercase().as_str());
        let sensible = text
            .split(',')
            .all(|directive| directive.contains(['=', '[']) || level(directive.trim()));
        (sensible && tracing_subscriber::EnvFilter::try_new(text).is_ok()).then(|| Self(text.to_owned()))
    }
}

/// A form of a few words, for an enum of the layer that uses it.
macro_rules! words {
    ($name:ty: $expected:literal { $($variant:ident = $word:literal),* $(,)? }) => {
        impl Form for $name {
            const EXPECTED: &'static str = $expected;
            fn read(found: Found<'_>) -> Option<Self> {
                match found.text()? {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

/// Which backend joins the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::config) enum AdapterKind {
    /// None: this node alone.
    #[default]
    Memory,
    /// Redis pub/sub.
    Redis,
    /// NATS core pub/sub.
    Nats,
}

words!(AdapterKind: "\"memory\", \"redis\" or \"nats\"" { Memory = "memory", Redis = "redis", Nats = "nats" });
/// How packets are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::config) enum ParserKind {
    /// As the stock client does without more ado.
    #[default]
    Json,
    /// As `socket.io-msgpack-parser` does.
    Msgpack,
}

words!(ParserKind: "\"json\" or \"msgpack\"" { Json = "json", Msgpack = "msgpack" });
words!(LogFormat: "\"text\" or \"json\"" { Text = "text", Json = "json" });
words!(WhenDeaf: "\"alone\", \"always\" or \"never\"" { Alone = "alone", Always = "always", Never = "never" });
words!(SameSite: "\"strict\", \"lax\" or \"none\"" { Strict = "strict", Lax = "lax", None = "none" });

/// The transports that clients may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Transports {
    /// HTTP long-polling.
    pub(in crate::config) polling: bool,
    /// WebSocket.
    pub(in crate::config) websocket: bool,
}

impl Form for Transports {
    const EXPECTED: &'static str = "a list of \"polling\" and \"websocket\", at least one and each once";
    fn read(found: Found<'_>) -> Option<Self> {
        let names = found.list()?;
        let times = |wanted: &str| names.iter().filter(|name| **name == wanted).count();
        let (polling, websocket) = (times("polling"), times("websocket"));
        let known = polling + websocket == names.len() && polling <= 1 && websocket <= 1 && !names.is_empty();
        known.then_some(Self {
            polling: polling == 1,
            websocket: websocket == 1,
        })
    }
}
