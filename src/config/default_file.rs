//! The commented file that `fanfare config default` prints.

use std::fmt::Write;

use super::settings::{Key, SECTIONS};

/// Every key with its default, what it means, the form it expects and the variable that sets it. The text is a configuration file of its
/// own that changes nothing.
#[must_use]
pub fn default_file() -> String {
    let mut text = String::from(HEAD);
    // Writing to a String cannot fail.
    for section in SECTIONS {
        let _written = writeln!(text, "\n{}[{}]", comment(section.doc), section.path);
        for key in section.keys {
            let variable = Key::variable(key.path);
            let _written = write!(
                text,
                "\n{}# Expected: {}\n# Variable: {variable}\n{} = {}\n",
                comment(key.doc),
                key.expected,
                key.name,
                key.default
            );
        }
    }
    text + EXAMPLE
}

fn comment(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("#{line}\n")).collect()
}

const HEAD: &str = "\
# The configuration of a fanfare node, with every key at its default.
# A variable of the environment wins over this file, a flag of the command line over both.
# Check what you wrote with: fanfare config check --config fanfare.toml
";

/// Every line is a comment; without the marks it is an example that is tested to be right.
const EXAMPLE: &str = r#"
# What clients may do. With no rules fanfare is closed: clients may connect to "/", and nothing that they send goes anywhere.
# A rule is about one event that clients send:
#   broadcast  to everyone else in the namespace        emit   to everyone in it, the sender too
#   room       to the room that the first argument names, without the sender
#   join       the client joins the room that the first argument names        leave  the reverse
#   ack        answers the client's ack with the arguments
# A name with a * is a pattern: "/tenant-*" is every namespace that begins so, and comes to be when a client asks for it.
# room, join and leave take the rooms they allow, as patterns in which * is any text. Names that begin with _ and the ids of sockets are
# never allowed. on_connect is what a client is sent when it has connected.
#
# connect.token is what a client must show to connect. One of:
#   keys (or keys_file, one a line)   texts, each of which lets in who shows it; 16 bytes or more
#   algorithm ("HS256", "RS256", "ES256" or "EdDSA") and key (or key_file)
#                                     JSON Web Tokens that this one key has signed, and that have an expiry. The key is a secret of 32 bytes
#                                     or more for HS256, else a public key in PEM. issuer and audience are what the token must then say;
#                                     leeway is how far clocks may be apart. The claim user_claim (default "sub") names the user, for whom
#                                     {user} stands in rooms; the claim rooms_claim (default: none) lists rooms to be in from the start.
# from lists where the token may stand: "auth" (auth.token, the default), "header" (Authorization: Bearer), "query" (token=, which proxies
# write into their logs). A client that is refused gets connect_error with data.code: token_missing, token_invalid, token_expired,
# token_early or token_claims. A token is looked at when a client connects; that it expires later disconnects nobody.
#
# delivery is "live" (the default) or "recoverable": then clients whose connection broke get what they missed; see [recovery].
# Variable: FANFARE_NAMESPACE, the whole array as TOML.
#
# [[namespace]]
# name = "/"
# on_connect = [{ event = "news", data = { hello = "world" } }]
#
# [[namespace.rule]]
# event = "chat message"
# action = "broadcast"
#
# [[namespace.rule]]
# event = "join"
# action = "join"
# rooms = ["chat-*"]
#
# [[namespace.rule]]
# event = "say"
# action = "room"
# rooms = ["chat-*"]
#
# [[namespace]]
# name = "/private"
# connect.token = { algorithm = "HS256", key = "a secret that whoever signs the tokens knows too" }
#
# [[namespace.rule]]
# event = "listen"
# action = "join"
# rooms = ["inbox-{user}"]
"#;
