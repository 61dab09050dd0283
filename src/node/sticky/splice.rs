//! A WebSocket that reaches another node than its session's: the owner is asked for the upgrade over a connection of its own, and when it
//! has answered 101, bytes are carried both ways until either end closes.

use axum::{body::Body, response::Response};
use http::{Request, StatusCode, header::HOST, request::Parts};
use hyper::{client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{io::copy_bidirectional_with_sizes, net::TcpStream, sync::OwnedSemaphorePermit, time::timeout};

use super::{
    Forwarded, Owner, Sticky, Unanswered,
    request::{Client, returned, upgrading},
};
use crate::{
    engine::Reply,
    node::{internal::AskError, transports::response},
};

/// Bytes that are under way in each direction of one connection, at most.
const BUFFER: usize = 8 * 1024;

impl Sticky {
    /// Hands a request that wants to become a WebSocket to the owner of its session, and gives back its answer. After 101 the client's bytes
    /// go to the owner, and the owner's to the client.
    pub(in crate::node) async fn upgrade(&self, owner: &Owner, request: Request<Body>, client: Client<'_>) -> Response {
        self.notice();
        let unavailable = || response(Reply::empty(StatusCode::SERVICE_UNAVAILABLE.as_u16()));
        let Ok(place) = self.upgrades.clone().try_acquire_owned() else {
            self.count(Forwarded::Crowded);
            return unavailable();
        };
        let (head, body) = request.into_parts();
        match self.ask_upgrade(owner, &head, client).await {
            Ok(mut answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                self.count(Forwarded::Upgraded);
                let theirs = hyper::upgrade::on(&mut answer);
                let ours = hyper::upgrade::on(Request::from_parts(head, body));
                let leaving = self.leaving.clone();
                tokio::spawn(async move {
                    let carried = async {
                        if let (Ok(ours), Ok(theirs)) = tokio::join!(ours, theirs) {
                            carry(ours, theirs, place).await;
                        }
                    };
                    // A node that has left carries nothing: both ends are closed.
                    leaving.run_until_cancelled(carried).await;
                });
                let (parts, _) = answer.into_parts();
                Response::from_parts(parts, Body::empty())
            }
            Ok(answer) => {
                self.count(Forwarded::Answered);
                returned(answer).0
            }
            Err(unanswered) => {
                self.unanswered(owner, &unanswered);
                unavailable()
            }
        }
    }

    async fn ask_upgrade(&self, owner: &Owner, head: &Parts, client: Client<'_>) -> Result<Response<hyper::body::Incoming>, Unanswered> {
        let address = self.owners.find(&self.internal, owner).await?;
        let failed = |error: axum::BoxError| Unanswered::Mute(AskError::Answer(address, error));
        let mut request = upgrading(head, client);
        self.internal.signer.sign(&mut request, 0, owner.tag);
        if let Ok(host) = address.to_string().parse() {
            request.headers_mut().insert(HOST, host);
        }
        let asked = async {
            let stream = TcpStream::connect(address).await.map_err(|error| failed(error.into()))?;
            stream.set_nodelay(true).map_err(|error| failed(error.into()))?;
            let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.into()))?;
            // Ends with the answer: what follows it is the upgraded connection's.
            tokio::spawn(connection.with_upgrades());
            requests.send_request(request).await.map_err(|error| failed(error.into()))
        };
        // An upgrade is answered at once.
        timeout(self.owners.connect_timeout(), asked)
            .await
            .unwrap_or_else(|elapsed| Err(failed(elapsed.into())))
    }
}

async fn carry(client: Upgraded, owner: Upgraded, _place: OwnedSemaphorePermit) {
    let (mut client, mut owner) = (TokioIo::new(client), TokioIo::new(owner));
    // However it ends, both connections end with it.
    copy_bidirectional_with_sizes(&mut client, &mut owner, BUFFER, BUFFER).await.ok();
}
