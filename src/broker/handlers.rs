//! Turns rules into handlers of the library.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{Action, Denial, Flaw, Greeting, Identity, NamespaceName, Rooms, Rule, Rules, TokenPlace, login::Verifier, rooms::Denied};
use crate::hub::{
    Ack, ConnectError, EmitError, Io, Namespace, ParentNamespace, Raw, RegisterError, Socket,
    handlers::{Handler, OnConnect, OnEvent, OnMiddleware},
};

/// Registers the handlers of `rules`, before any client connects. Without rules, `/` can be connected to, and that is all.
///
/// # Errors
/// [`RegisterError`]: the hub refuses a name. Rules from a configuration have none that it refuses.
pub fn install(io: &Io, rules: &Rules) -> Result<(), RegisterError> {
    // Made by being named.
    drop(io.of("/"));
    for namespace in &rules.namespaces {
        let of = Of::new(io, &namespace.name);
        if let Some(login) = &namespace.login {
            let verifier = Arc::new(Verifier::new(login));
            of.with(move |socket: Socket| {
                let verifier = Arc::clone(&verifier);
                async move { log_in(&socket, &verifier) }
            })?;
        }
        if !namespace.on_connect.is_empty() {
            let greetings: Arc<[Greeting]> = namespace.on_connect.as_slice().into();
            of.on_connect(move |socket: Socket| greet(socket, Arc::clone(&greetings)))?;
        }
        namespace.rules.iter().try_for_each(|rule| register(&of, rule))?;
    }
    Ok(())
}

/// The namespace of a name, or those of a pattern.
enum Of {
    One(Namespace),
    Many(ParentNamespace),
}

impl Of {
    fn new(io: &Io, name: &NamespaceName) -> Self {
        if name.is_pattern() {
            Self::Many(io.of_pattern(name.as_str()))
        } else {
            Self::One(io.of(name.as_str()))
        }
    }

    fn with<A: 'static>(&self, middleware: impl Handler<OnMiddleware, A>) -> Result<(), RegisterError> {
        match self {
            Self::One(of) => of.with(middleware).map(drop),
            Self::Many(of) => of.with(middleware).map(drop),
        }
    }

    fn on_connect<A: 'static>(&self, handler: impl Handler<OnConnect, A>) -> Result<(), RegisterError> {
        match self {
            Self::One(of) => of.on_connect(handler).map(drop),
            Self::Many(of) => of.on_connect(handler).map(drop),
        }
    }

    fn on<A: 'static>(&self, event: &str, handler: impl Handler<OnEvent, A>) -> Result<(), RegisterError> {
        match self {
            Self::One(of) => of.on(event, handler).map(drop),
            Self::Many(of) => of.on(event, handler).map(drop),
        }
    }
}

/// Looks at a client's token; a good one says who the client is, and where.
fn log_in(socket: &Socket, verifier: &Verifier) -> Result<(), ConnectError> {
    let verified = token(socket, &verifier.from).and_then(|token| verifier.verify(&token, SystemTime::now()));
    let admitted = verified.and_then(|Identity { user, rooms }| {
        if let Some(user) = user {
            socket.identify(user);
        }
        socket.join(rooms).map(drop).map_err(|_| Denial::Claims)
    });
    admitted.map_err(|denial| {
        tracing::debug!(namespace = %socket.namespace(), ?denial, "a client may not join");
        ConnectError::new(denial.to_string()).with_data(serde_json::json!({ "code": denial.code() }))
    })
}

/// The token of a client, from the first place that has one.
fn token(socket: &Socket, places: &[TokenPlace]) -> Result<String, Denial> {
    #[derive(Deserialize)]
    struct Auth {
        token: Option<String>,
    }
    let handshake = socket.handshake();
    for place in places {
        let found = match place {
            TokenPlace::Auth => socket.auth::<Auth>().map_err(|_| Denial::Invalid(Flaw::Malformed))?.token,
            TokenPlace::Header => handshake.header("authorization").and_then(bearer).map(str::to_owned),
            // Of several the last counts, as everywhere in the query.
            TokenPlace::Query => handshake
                .query()
                .filter(|(key, _)| key == "token")
                .last()
                .map(|(_, token)| token.into()),
        };
        if let Some(token) = found.filter(|token| !token.is_empty()) {
            return Ok(token);
        }
    }
    Err(Denial::Missing)
}

/// The token of an `Authorization` header (RFC 6750, 2.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

async fn greet(socket: Socket, greetings: Arc<[Greeting]>) -> Result<(), EmitError> {
    greetings.iter().try_for_each(|Greeting { event, data }| match data {
        Some(data) => socket.emit(event.as_str(), data),
        None => socket.emit(event.as_str(), &()),
    })
}

/// How long a client that joins a room waits at most for its answer until other nodes know.
const JOIN_WAIT: Duration = Duration::from_secs(1);

fn register(of: &Of, rule: &Rule) -> Result<(), RegisterError> {
    let event = rule.event.as_str();
    if rule.action == Action::Ack {
        return of.on(event, async |raw: Raw, ack: Ack| ack.send_payload(&raw.arguments()));
    }
    let action = Arc::new(rule.action.clone());
    let handler = move |socket: Socket, raw: Raw, ack: Ack| {
        let action = Arc::clone(&action);
        async move { ack.send(&Answer::from(carry_out(&action, &socket, &raw).await)) }
    };
    of.on(event, handler)
}

/// What a client's ack is answered with: `{"ok":true}`, or `{"ok":false,"error":"…"}`.
#[derive(Debug, Serialize)]
struct Answer {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<Result<(), Denied>> for Answer {
    fn from(outcome: Result<(), Denied>) -> Self {
        Self {
            ok: outcome.is_ok(),
            error: outcome.err().map(|denied| denied.to_string()),
        }
    }
}

async fn carry_out(action: &Action, socket: &Socket, raw: &Raw) -> Result<(), Denied> {
    match action {
        Action::Broadcast => socket.broadcast().emit_payload(raw.payload().clone())?,
        Action::Emit => socket.io().of(socket.namespace()).all().emit_payload(raw.payload().clone())?,
        Action::Room(rooms) => socket.to(room(rooms, socket, raw)?).emit_payload(raw.payload().clone())?,
        Action::Join(rooms) => {
            let joined = socket.join(room(rooms, socket, raw)?).map_err(|_| Denied::TooMany)?;
            // Who is told that it has joined hears what is sent to the room from any node; unless the backend is away.
            tokio::time::timeout(JOIN_WAIT, joined.into_future()).await.ok();
        }
        Action::Leave(rooms) => socket.leave(room(rooms, socket, raw)?),
        // Answered with the arguments, see `register`.
        Action::Ack => {}
    }
    Ok(())
}

/// The room that the first argument names, if `rooms` allow it.
fn room(rooms: &Rooms, socket: &Socket, raw: &Raw) -> Result<String, Denied> {
    let name: String = raw.arg(0).map_err(|_| Denied::NoRoom)?;
    rooms.check(&name, socket.user())?;
    Ok(name)
}
