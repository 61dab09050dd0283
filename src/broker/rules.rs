//! Rules, as plain data.

use super::{EventName, Login, NamespaceName, Rooms};

/// What clients may do, by namespace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    /// The namespaces that clients may connect to, beside `/`, each once. A namespace that no name but several patterns cover is of the
    /// first of them.
    pub namespaces: Vec<NamespaceRules>,
}

/// What clients may do in one namespace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamespaceRules {
    /// Its name.
    pub name: NamespaceName,
    /// What is promised of its events. What keeps the promise is the hub's and the cluster's business; it is told which namespaces to keep
    /// it for.
    pub delivery: Delivery,
    /// What a client must show to connect. `None`: anybody may.
    pub login: Option<Login>,
    /// What a client is sent when it has connected, in this order.
    pub on_connect: Vec<Greeting>,
    /// What events do, each event once. Events without a rule go nowhere.
    pub rules: Vec<Rule>,
}

/// What is promised of the events of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// They reach whom they can reach now.
    #[default]
    Live,
    /// They are logged: a client whose connection broke gets what it missed when it comes back in time.
    Recoverable,
}

impl Delivery {
    /// The words that stand for them in a configuration.
    pub const WORDS: [&str; 2] = ["live", "recoverable"];
}

/// An event that a client is sent when it has connected.
#[derive(Debug, Clone, PartialEq)]
pub struct Greeting {
    /// The event.
    pub event: EventName,
    /// Its argument, if it has one.
    pub data: Option<serde_json::Value>,
}

/// What one event does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The event.
    pub event: EventName,
    /// What happens when a client sends it.
    pub action: Action,
}

/// What happens when a client sends an event. Its arguments are passed on undecoded, with their binary attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Everyone in the namespace but the sender gets it, as by `socket.broadcast.emit`.
    Broadcast,
    /// Everyone in the namespace gets it, the sender too, as by `io.emit`.
    Emit,
    /// The members of the room that the first argument names get it, except the sender, as by `socket.to(room).emit`. The sender need not be
    /// a member. The name of the room stays the first argument.
    Room(Rooms),
    /// The sender joins the room that the first argument names.
    Join(Rooms),
    /// The sender leaves the room that the first argument names.
    Leave(Rooms),
    /// The client's ack is answered with the event's arguments; without an ack nothing happens.
    Ack,
}

impl Action {
    /// The words that stand for actions in a configuration.
    pub const WORDS: [&str; 6] = ["broadcast", "emit", "room", "join", "leave", "ack"];
}
