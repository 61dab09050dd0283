//! The server that real clients are held against: a small application of the library. Its counterpart on the reference is
//! `reference/server.mjs`; both take the same flags, print `listening http://…` and speak the same events.
//!
//! With `--bare` it echoes the messages of bare Engine.IO sessions, as the official suites of that protocol ask for.

mod echo;
mod flags;
mod stories;

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, serve::ListenerExt};
use clap::Parser;
use fanfare::{
    Server,
    engine::{Engine, id::NodeTag},
    node::{self, Forbidden},
};
use fanfare_adapters::redis::{self, RedisAdapter};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use self::flags::Flags;

/// How long the end may take, once all clients have been sent away.
const GRACE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let (router, server) = if flags.bare {
        let engine = Engine::new(flags.engine(), NodeTag::random(), Arc::new(echo::Echo));
        (node::engine_router(&flags.path, engine)?, None)
    } else {
        let server = build(&flags)?;
        stories::register(server.io())?;
        (server.router(), Some(server))
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, flags.port)).await?;
    println!("listening http://{}", listener.local_addr()?);
    let serving = tokio::spawn(serve(listener, router));
    terminate.recv().await;
    if let Some(server) = server {
        // Clients that poll hear of it in their next poll: they are served meanwhile.
        server.close(GRACE).await;
    }
    serving.abort();
    Ok(())
}

fn build(flags: &Flags) -> Result<Server, Box<dyn Error>> {
    let mut builder = Server::builder().config(flags.server());
    if let Some(url) = &flags.redis {
        builder = builder.adapter(Arc::new(RedisAdapter::start(redis::Config::new(url))?));
    }
    if let Some(key) = flags.api_key.clone() {
        builder = builder.allow_request(move |request| {
            let known = request
                .headers
                .get("x-api-key")
                .is_some_and(|given| given.as_bytes() == key.as_bytes());
            async move {
                if known {
                    Ok(())
                } else {
                    Err(Forbidden::new("the API key is missing"))
                }
            }
        });
    }
    Ok(builder.build()?)
}

async fn serve(listener: TcpListener, router: Router) -> std::io::Result<()> {
    // An answer is small, and nothing follows that it could wait for.
    let listener = listener.tap_io(|connection| connection.set_nodelay(true).unwrap_or_default());
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await
}
