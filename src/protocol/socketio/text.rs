//! The text form of a packet: `<type>[<attachments>-][<namespace>,][<id>][<payload>]` (Socket.IO protocol v5, Packet encoding).

use std::borrow::Cow;

use super::{
    DecodeError, Kind, Limits, Packet, RESERVED_EVENTS,
    json::{self, Elements, Flaw, Rules},
};

/// Decodes and checks the text of a packet, as strictly as the reference's parser:
///
/// | kind | payload |
/// |---|---|
/// | connect | none, or an object |
/// | disconnect | none |
/// | event | an array: a name (a string that is not reserved, or a number), then the arguments |
/// | ack | an array |
/// | connect error | none, a string, or an object |
///
/// The JSON is well-formed and no deeper than [`Limits::max_depth`]; placeholders of a packet with attachments name announced ones.
/// So the payload can be forwarded as it stands. [`Limits::max_bytes`] bounds the text. Nothing is allocated but for
/// names with escapes.
///
/// Stricter than the reference: ids and attachment counts are digits only, and an id is below 2^53.
///
/// # Errors
/// [`DecodeError`].
pub fn decode<'a>(text: &'a str, limits: &Limits) -> Result<Packet<'a>, DecodeError> {
    if text.len() > limits.max_bytes {
        return Err(DecodeError::TooLarge { max: limits.max_bytes });
    }
    let mut characters = text.chars();
    let (kind, binary) = match characters.next().ok_or(DecodeError::Empty)? {
        '0' => (Kind::Connect, false),
        '1' => (Kind::Disconnect, false),
        '2' => (Kind::Event, false),
        '3' => (Kind::Ack, false),
        '4' => (Kind::ConnectError, false),
        '5' => (Kind::Event, true),
        '6' => (Kind::Ack, true),
        other => return Err(DecodeError::UnknownType(other)),
    };
    let rest = characters.as_str();
    let (attachments, rest) = if binary { split_attachments(rest, limits)? } else { (0, rest) };
    let (namespace, rest) = match rest.strip_prefix('/') {
        // The comma may be missing at the end of the packet.
        Some(_) => rest.split_once(',').unwrap_or((rest, "")),
        None => ("/", rest),
    };
    let (id, rest) = split_id(rest)?;
    let data = Some(rest.trim_matches(json::SPACE)).filter(|data| !data.is_empty());
    check(kind, data, attachments, limits)?;
    Ok(Packet {
        kind,
        namespace: Cow::Borrowed(namespace),
        id,
        attachments,
        data: data.map(Cow::Borrowed),
    })
}

/// What stands before the payload, e.g. `2/chat,17`; `5` or `6` is written where an event or ack has attachments, and the namespace
/// `/` not at all. A namespace must not contain a comma.
#[must_use]
pub fn head(kind: Kind, namespace: &str, id: Option<u64>, attachments: usize) -> String {
    let mut head = String::with_capacity(namespace.len() + 24);
    head.push(match (kind, attachments) {
        (Kind::Connect, _) => '0',
        (Kind::Disconnect, _) => '1',
        (Kind::Event, 0) => '2',
        (Kind::Ack, 0) => '3',
        (Kind::ConnectError, _) => '4',
        (Kind::Event, _) => '5',
        (Kind::Ack, _) => '6',
    });
    if attachments > 0 {
        head.push_str(&attachments.to_string());
        head.push('-');
    }
    if namespace != "/" {
        head.push_str(namespace);
        head.push(',');
    }
    if let Some(id) = id {
        head.push_str(&id.to_string());
    }
    head
}

/// The whole text of a packet: the inverse of [`decode`].
#[must_use]
pub fn encode(packet: &Packet<'_>) -> String {
    let mut text = head(packet.kind, &packet.namespace, packet.id, packet.attachments);
    text.push_str(packet.data.as_deref().unwrap_or_default());
    text
}

/// Splits the array of an event into its name and the text of its arguments: `["a",1,[2]]` is `a` and `1,[2]`; without arguments the
/// second part is empty. A name that is a number is its digits. `None` when the text is no such array; of the arguments nothing is
/// checked but that the text ends with `]`.
#[must_use]
pub fn event_name(data: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut elements = Elements::of_array(
        data,
        Rules {
            depth: 1,
            attachments: None,
        },
    )
    .ok()?;
    let name = name(elements.next()?.ok()?)?;
    Some((name, elements.rest()))
}

/// The digits before the `-`.
fn split_attachments<'a>(text: &'a str, limits: &Limits) -> Result<(usize, &'a str), DecodeError> {
    let (count, rest) = text.split_once('-').ok_or(DecodeError::IllegalAttachments)?;
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecodeError::IllegalAttachments);
    }
    // All digits: what does not parse is too large.
    match count.parse() {
        Ok(count) if count <= limits.max_attachments => Ok((count, rest)),
        _ => Err(DecodeError::TooManyAttachments {
            max: limits.max_attachments,
        }),
    }
}

/// The digits before the payload, if there are any.
fn split_id(text: &str) -> Result<(Option<u64>, &str), DecodeError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let Some((digits, rest)) = text.split_at_checked(digits).filter(|(digits, _)| !digits.is_empty()) else {
        return Ok((None, text));
    };
    let id = digits.parse().ok().filter(|id| *id < 1 << 53).ok_or(DecodeError::IdTooLarge)?;
    Ok((Some(id), rest))
}

/// Checks a payload against its kind.
fn check(kind: Kind, data: Option<&str>, attachments: usize, limits: &Limits) -> Result<(), DecodeError> {
    let rules = Rules {
        depth: limits.max_depth.min(json::MAX_DEPTH),
        attachments: (attachments > 0).then_some(attachments),
    };
    let refuse = |flaw| match flaw {
        Flaw::Malformed(offset) => DecodeError::InvalidJson { offset },
        Flaw::TooDeep => DecodeError::TooDeep { max: rules.depth },
        Flaw::Placeholder => DecodeError::IllegalAttachments,
    };
    let first = data.and_then(|data| data.bytes().next());
    match (kind, data, first) {
        (Kind::Connect | Kind::Disconnect | Kind::ConnectError, None, _) => Ok(()),
        // The reference takes these: an event without a name, an acknowledgement without arguments.
        (Kind::Event | Kind::Ack, None, _) if attachments == 0 => Ok(()),
        (Kind::Connect | Kind::ConnectError, Some(data), Some(b'{')) | (Kind::ConnectError, Some(data), Some(b'"')) => {
            json::check(data, rules).map_err(refuse)
        }
        (Kind::Event | Kind::Ack, Some(data), Some(b'[')) => {
            let mut elements = Elements::of_array(data, rules).map_err(refuse)?;
            if kind == Kind::Event {
                let first = elements.next().transpose().map_err(refuse)?;
                let name = first.and_then(name).ok_or(DecodeError::InvalidPayload(kind))?;
                if let Some(reserved) = RESERVED_EVENTS.into_iter().find(|reserved| *reserved == name) {
                    return Err(DecodeError::ReservedEvent(reserved));
                }
            }
            elements.try_for_each(|element| element.map(drop)).map_err(refuse)
        }
        _ => Err(DecodeError::InvalidPayload(kind)),
    }
}

/// The name that an event's first element is: a string, or a number as it is written.
fn name(element: &str) -> Option<Cow<'_, str>> {
    match element.bytes().next()? {
        b'"' => json::string(element),
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(element)),
        _ => None,
    }
}
