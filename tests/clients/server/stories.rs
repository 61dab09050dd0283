//! What the stories of the clients ask of a server, in each of its namespaces.

use std::time::Duration;

use fanfare::hub::{
    Ack, AckError, BroadcastAckError, ConnectError, Data, EmitError, Io, Namespace, ParentNamespace, Raw, RegisterError, Socket, State,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a client may bring as `auth`, or, where its protocol has none, in the query of its first request.
#[derive(Debug, Deserialize)]
struct Auth {
    token: Option<String>,
}

/// Goes to the client and comes back in its ack: bytes stay bytes in typed values too.
#[derive(Debug, Deserialize, Serialize)]
struct Question {
    text: String,
    number: f64,
    bytes: bytes::Bytes,
}

/// Registers what a namespace hears, be it one or the parent of many.
macro_rules! events {
    ($namespace:expr) => {
        $namespace
            .with(guard)?
            .on("message", message)?
            .on("message-with-ack", answer)?
            .on("plain", plain)?
            .on("ask", ask)?
            .on("ask everyone", ask_everyone)?
            .on("join", join)?
            .on("leave", leave)?
            .on("say", say)?
            .on("shout", shout)?
            .on("announce", announce)?
            .on("whisper", whisper)?
            .on("emit in order", emit_in_order)?
            .on("join and tell", join_and_tell)?
            .on("kick", async |socket: Socket| socket.disconnect(false))?
            .on("kick out", async |socket: Socket| socket.disconnect(true))?
    };
}

/// All namespaces of the pattern.
struct Family(ParentNamespace);

pub(crate) fn register(io: &Io) -> Result<(), RegisterError> {
    for name in ["/", "/custom"] {
        events!(io.of(name)).on_connect(greet)?;
    }
    // One that says nothing by itself.
    events!(io.of("/quiet"));
    let family = io.of_dynamic(|name, _| async move { is_of_the_family(&name) });
    io.provide(Family(family.clone()));
    events!(family).on_connect(greet)?.on("tell the family", tell_the_family)?;
    Ok(())
}

/// `/dynamic-` and a number.
fn is_of_the_family(name: &str) -> bool {
    name.strip_prefix("/dynamic-")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Guests are welcome, and any token but the wrong one.
async fn guard(socket: Socket, Data(Auth { token }): Data<Auth>) -> Result<(), ConnectError> {
    let from_query = || {
        socket
            .handshake()
            .query()
            .find_map(|(key, value)| (key == "token").then(|| value.into_owned()))
    };
    match token.or_else(from_query).as_deref() {
        Some("wrong") => Err(ConnectError::new("not authorized").with_data(json!({ "code": 401, "hint": ["ask", null] }))),
        _ => Ok(()),
    }
}

/// Tells the client what it gave as `auth`.
async fn greet(socket: Socket, Data(auth): Data<Value>) -> Result<(), EmitError> {
    socket.emit("auth", &auth)
}

async fn message(socket: Socket, event: Raw) -> Result<(), EmitError> {
    if let Some((_, arguments)) = event.payload().as_event() {
        socket.emit_payload(&arguments.to_event("message-back")?)?;
    }
    Ok(())
}

/// As `message`, but what comes back is not to be compressed.
async fn plain(socket: Socket, Data(text): Data<String>) -> Result<(), EmitError> {
    socket.compress(false).emit("message-back", &text)
}

async fn answer(event: Raw, ack: Ack) {
    ack.send_payload(&event.arguments());
}

/// Asks the client back; its answer is the answer.
async fn ask(socket: Socket, Data(question): Data<Question>, ack: Ack) -> Result<(), AckError> {
    let answer: Question = socket.emit_with_ack("question", &question).await?;
    Ok(ack.send(&answer)?)
}

async fn join(socket: Socket, Data(room): Data<String>, ack: Ack) -> Result<(), EmitError> {
    if let Ok(joined) = socket.join(room) {
        joined.await;
    }
    ack.send(&())
}

async fn leave(socket: Socket, Data(room): Data<String>, ack: Ack) -> Result<(), EmitError> {
    socket.leave(room);
    ack.send(&())
}

/// To the others in the room that the first argument names.
async fn say(socket: Socket, Data(room): Data<String>, event: Raw) -> Result<(), EmitError> {
    socket.to(room).emit_payload(event.payload().clone())
}

async fn shout(socket: Socket, event: Raw) -> Result<(), EmitError> {
    socket.broadcast().emit_payload(event.payload().clone())
}

async fn announce(socket: Socket, event: Raw) -> Result<(), EmitError> {
    everybody(&socket).all().emit_payload(event.payload().clone())
}

async fn whisper(socket: Socket, event: Raw) -> Result<(), EmitError> {
    everybody(&socket).volatile().emit_payload(event.payload().clone())
}

async fn tell_the_family(family: State<Family>, event: Raw) -> Result<(), EmitError> {
    if let Some((_, arguments)) = event.payload().as_event() {
        family.0.0.all().emit_payload(arguments.to_event("family")?)?;
    }
    Ok(())
}

/// Asks everybody in the namespace; who does not answer in so many milliseconds is not waited for.
async fn ask_everyone(socket: Socket, Data(timeout): Data<u64>, ack: Ack) -> Result<(), EmitError> {
    let asked = everybody(&socket)
        .timeout(Duration::from_millis(timeout))
        .emit_with_ack::<Value>("anyone?", &());
    let (complete, answers) = match asked.await {
        Ok(answers) => (true, answers),
        Err(BroadcastAckError::Partial { answers, .. }) => (false, answers),
        Err(error) => {
            tracing::error!(%error, "nobody could be asked");
            (false, Vec::new())
        }
    };
    ack.send(&json!({ "complete": complete, "answers": answers }))
}

/// Directly and by broadcast, in turn.
async fn emit_in_order(socket: Socket) -> Result<(), EmitError> {
    let namespace = everybody(&socket);
    namespace.emit("ordered", &1)?;
    socket.emit("ordered", &2)?;
    namespace.to(socket.id()).emit("ordered", &3)?;
    socket.emit("ordered", &4)
}

/// The room is told at once after it was joined, both by way of the cluster.
async fn join_and_tell(socket: Socket, Data(room): Data<String>) -> Result<(), EmitError> {
    let namespace = everybody(&socket);
    namespace.in_(socket.id()).sockets_join(&room);
    namespace.to(&room).emit("told", &room)
}

/// The namespace of a socket, whole.
fn everybody(socket: &Socket) -> Namespace {
    socket.io().of(socket.namespace())
}
