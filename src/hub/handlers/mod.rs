//! Handlers: async functions whose arguments say what they need.
//!
//! A function may take up to eight arguments of types that implement [`Extract`] for the place where it is registered:
//!
//! | argument | events, `fallback`, `on_any` | `with_packet` | `on_connect` | `with` | `on_disconnecting`, `on_disconnect` | `on_error` | gives |
//! |---|---|---|---|---|---|---|---|
//! | [`Socket`](super::Socket) | yes | yes | yes | yes | yes | yes | the socket |
//! | [`Io`](super::Io) | yes | yes | yes | yes | yes | yes | the server |
//! | [`State<S>`](State) | yes | yes | yes | yes | yes | yes | what was given to [`Io::provide`](super::Io::provide) |
//! | [`Extension<T>`](Extension) | yes | yes | yes | yes | yes | yes | what was given to [`Socket::extend`](super::Socket::extend) |
//! | [`Data<T>`](Data) | first argument | first argument | auth | auth | no | first argument | decoded with serde |
//! | [`Args<T>`](Args) | yes | yes | no | no | no | yes | all arguments |
//! | [`Raw`] | yes | yes | no | no | no | yes | the event, undecoded |
//! | [`Ack`] | yes | yes | no | no | no | no | the way to answer |
//! | [`EventMut`] | no | yes | no | no | no | no | the event, to be changed |
//! | [`DisconnectReason`](super::DisconnectReason) | no | no | no | no | yes | no | why the socket ended |
//! | [`EventError`](super::EventError) | no | no | no | no | no | yes | why the event was not handled |
//! | `Result<E, Rejection>` | | | | | | | the same as `E`, or why it could not be read |
//!
//! A closure that owns something is written `move |socket: Socket| { let own = own.clone(); async move { .. } }`: an `async move |..|`
//! closure cannot be one, since its futures borrow from it. [`State`] does without either.
//!
//! It returns `()` or `Result<(), E>` with an `E` that can be displayed, which is logged; a middleware returns
//! `Result<(), ConnectError>`. An event whose arguments cannot be read is dropped and counted.

mod answer;
mod call;
mod chain;
mod draft;
mod extract;
mod handler;
mod registration;
mod states;
mod table;
mod watcher;

pub use call::Call;
pub use chain::ListenerId;
pub use draft::EventMut;
pub use extract::{Ack, Args, Data, Extension, Extract, Raw, Rejection, State};
pub use handler::{Failure, Handler, IntoOutcome};
pub use states::States;

pub(super) use answer::Answer;
pub(super) use chain::Chain;
pub(super) use draft::Draft;
pub(super) use handler::{Bound, bind};
pub(super) use registration::{check_name, registrations};
pub(super) use table::{Found, Listener, Listeners, Table};
pub(super) use watcher::Watcher;

/// Where a handler is registered: for an event.
#[derive(Debug)]
pub enum OnEvent {}

/// Where a handler is registered: for the connection of sockets.
#[derive(Debug)]
pub enum OnConnect {}

/// Where a handler is registered: before the connection of sockets, as a middleware.
#[derive(Debug)]
pub enum OnMiddleware {}

/// Where a handler is registered: for the end of sockets.
#[derive(Debug)]
pub enum OnDisconnect {}

/// Where a handler is registered: for every event, before its own handler.
#[derive(Debug)]
pub enum OnAny {}

/// Where a handler is registered: before every event, as a packet middleware.
#[derive(Debug)]
pub enum OnPacket {}

/// Where a handler is registered: for what went wrong.
#[derive(Debug)]
pub enum OnError {}
