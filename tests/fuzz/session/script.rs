//! What can be done to a session.

use arbitrary::Arbitrary;

/// What is done to a session.
#[derive(Debug, Clone, Arbitrary)]
pub(crate) struct Script {
    /// The client speaks Engine.IO 3.
    pub(crate) revision_3: bool,
    /// The session is opened over WebSocket, not over polling.
    pub(crate) websocket: bool,
    /// Bytes that are under way on a WebSocket, in each direction, before it takes no more; one more than this.
    pub(crate) capacity: u8,
    pub(crate) operations: Vec<Operation>,
}

#[derive(Debug, Clone, Arbitrary)]
pub(crate) enum Operation {
    /// The application sends an event with so many attachments (four at most), and a text of so many bytes more.
    Push {
        attachments: u8,
        bytes: u16,
        volatile: bool,
    },
    /// The application sends bytes alone.
    PushBinary(u8),
    /// The application closes the session when what waits has been sent.
    Close,
    /// The application reads on, if it had paused.
    Resume,
    Poll,
    /// The connection of the poll that waits is cut.
    AbortPoll,
    /// A POST whose body comes at once.
    Post(Vec<Message>),
    /// A POST of which only the head comes.
    BeginPost,
    /// The body of the POST that was begun.
    FinishPost(Vec<Message>),
    /// The connection of the POST under way is cut.
    AbortPost,
    /// A POST whose body is anything.
    PostJunk(Vec<u8>),
    /// The client says good-bye in a POST, or on its WebSocket.
    GoodBye,
    /// A WebSocket comes for the session.
    Dial,
    /// `2probe` on it.
    Probe,
    /// `5` on it.
    Switch,
    /// A message on the WebSocket of the session, in so many fragments.
    Send(Message, u8),
    /// A ping of the WebSocket protocol.
    PingFrame(u8),
    CloseFrame,
    /// Bytes on the WebSocket, whatever they mean.
    SendJunk(Vec<u8>),
    /// The client reads so many bytes of its WebSocket.
    Read(u16),
    /// The WebSocket's connection is cut.
    Cut,
    /// The client does its part of the heartbeat.
    Beat,
    /// Milliseconds pass.
    Wait(u16),
}

/// What a client says.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum Message {
    Text,
    /// Of characters outside the basic plane.
    Astral,
    Binary,
    /// The application stops reading at this.
    Pause,
}
