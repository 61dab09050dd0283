//! One client: joins its room, publishes into it, and counts what comes.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Joining, Phase};
use crate::{
    client::{Client, ClientError},
    deliveries::{Event, Given, Message, Reception, Run},
};

/// After which time a message that is to prove a membership is sent again, until it does; before the run twice as long each time.
const PROBE: Duration = Duration::from_millis(100);
/// Due messages that are handed over at once.
const BATCH: usize = 256;

/// One member of a room.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) run: Arc<Run>,
    pub(super) joining: Arc<Joining>,
    pub(super) index: usize,
    pub(super) client: Client,
    /// What it is given in a closed loop.
    pub(super) given: Given,
    pub(super) phase: watch::Receiver<Phase>,
    /// What it publishes by.
    publish: Event,
    join: String,
    late: u64,
}

/// What one client has had.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) reception: Reception,
    /// Messages that it sent late.
    pub(super) late: u64,
    /// Whether it had a session at the end.
    pub(super) alive: bool,
}

impl Member {
    pub(super) fn new(
        run: &Arc<Run>,
        joining: &Arc<Joining>,
        index: usize,
        client: Client,
        given: Given,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        let room = (index % run.rooms).to_string();
        Self {
            publish: Event::new(&joining.publish_event, &[&room], run.tag),
            join: format!("42{}", serde_json::json!([joining.join_event, room])),
            run: Arc::clone(run),
            joining: Arc::clone(joining),
            index,
            client,
            given,
            phase,
            late: 0,
        }
    }

    /// Lives until the run is over.
    pub(super) async fn live(mut self) -> Result<Outcome, ClientError> {
        let first = self.settle().await?;
        let mut reception = Reception::new(&self.run, self.index);
        if let Some(first) = first {
            reception.receive(&self.run, &first);
        }
        let mut over = self.phase.clone();
        let over = async { drop(over.wait_for(|phase| *phase == Phase::Over).await) };
        tokio::pin!(over);
        loop {
            let ended = tokio::select! {
                biased;
                ended = self.go_on(&mut reception) => ended,
                () = &mut over => return Ok(self.outcome(reception, true).await),
            };
            if self.run.connector.reconnect {
                reception.doubt(&self.run);
            }
            reception.end_session(&self.run);
            let back = tokio::select! {
                back = self.come_back(&ended) => back,
                () = &mut over => None,
            };
            let Some(connected) = back else {
                self.joining
                    .finished
                    .fetch_add(usize::from(self.run.due(self.index).is_some()), Relaxed);
                return Ok(self.outcome(reception, false).await);
            };
            reception.begin_session(&self.run, connected);
        }
    }

    async fn outcome(self, reception: Reception, alive: bool) -> Outcome {
        let Self {
            run, late, given, client, ..
        } = self;
        if alive {
            client.leave().await;
        }
        if let Some(mut given) = given {
            // Others fill the places that it was given, and it is given no more.
            given.close();
            while let Ok(place) = given.try_recv() {
                run.put_back(place);
            }
        }
        Outcome { reception, late, alive }
    }

    /// Joins, and keeps the session until the run begins; the first message of the run, if that comes before the news that it has begun. A
    /// session that ends before that makes the run impossible.
    async fn settle(&mut self) -> Result<Option<String>, ClientError> {
        self.client.send(self.join.clone());
        let mut awaited = self.joining.probers(self.index);
        let probes = awaited.contains(&self.index);
        let mut phases = self.phase.clone();
        let mut phase = *phases.borrow_and_update();
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let mut wait = PROBE;
        loop {
            tokio::select! {
                text = self.client.next() => {
                    let text = text?;
                    match Message::decode(&text, &self.run.event) {
                        Some(message) if message.sequence > 0 => return Ok(Some(text)),
                        Some(proof) => self.prove(proof.publisher, &mut awaited),
                        None => {}
                    }
                }
                changed = phases.changed() => {
                    if changed.is_err() {
                        return Err(ClientError::Closed);
                    }
                    phase = *phases.borrow_and_update();
                    if phase > Phase::Probing {
                        return Ok(None);
                    }
                }
                () = &mut timer, if probes && phase == Phase::Probing && !self.joining.is_proven() => {
                    self.probe();
                    timer.as_mut().reset(tokio::time::Instant::now() + wait);
                    // A server that is slow would only have more to do, in the run as well.
                    wait *= 2;
                }
            }
        }
    }

    /// Emits a message that counts as none, into its room.
    fn probe(&mut self) {
        let probe = Message {
            publisher: self.index,
            sequence: 0,
            due: Duration::ZERO,
            place: 0,
            number: 0,
        };
        self.client.send(probe.encode(&self.publish, self.run.size));
    }

    /// Strikes out of those whose messages are awaited one whose message has come.
    fn prove(&self, publisher: usize, awaited: &mut BTreeSet<usize>) {
        if awaited.remove(&publisher) && awaited.is_empty() {
            self.joining.proven.fetch_add(1, Relaxed);
        }
    }

    /// Publishes and counts until the session ends, and why it does.
    async fn go_on(&mut self, reception: &mut Reception) -> ClientError {
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let mut due = self.reset(timer.as_mut());
        // What is due waits until the server has taken what was due before: so little is queued, and late is what leaves late.
        let mut queued = false;
        loop {
            tokio::select! {
                biased;
                received = poll_fn(|cx| {
                    let mut batch = reception.batch(&self.run);
                    match self.client.poll_receive(cx, |text| batch.receive(text))? {
                        Poll::Ready(()) => Poll::Ready(Ok(queued)),
                        Poll::Pending if queued => self.client.poll_sent(cx).map_ok(|()| false),
                        Poll::Pending => Poll::Pending,
                    }
                }) => match received {
                    Ok(still) => queued = still,
                    Err(error) => return error,
                },
                Some(place) = next(&mut self.given) => self.fill(place),
                () = &mut timer, if due && !queued => {
                    self.publish_due();
                    queued = true;
                    due = self.reset(timer.as_mut());
                }
            }
        }
    }

    /// Sets the timer to when the next message is due; whether there is one.
    fn reset(&self, timer: std::pin::Pin<&mut tokio::time::Sleep>) -> bool {
        let due = self.run.due(self.index);
        if let Some(due) = due {
            timer.reset(self.run.at(due).into());
        }
        due.is_some()
    }

    fn fill(&mut self, place: usize) {
        if let Some(message) = self.run.fill(place, self.index) {
            self.client.send(message.encode(&self.publish, self.run.size));
        }
    }

    fn publish_due(&mut self) {
        let now = self.run.now();
        for _ in 0..BATCH {
            let Some((message, late)) = self.run.next_due(self.index, now) else {
                return;
            };
            self.late += u64::from(late);
            self.client.send(message.encode(&self.publish, self.run.size));
            if self.run.due(self.index).is_none() {
                self.joining.finished.fetch_add(1, Relaxed);
            }
        }
    }

    /// When it is in its room again, if it comes back: its own message, which the server sends it, proves that.
    async fn come_back(&mut self, why: &ClientError) -> Option<Instant> {
        let mut ended = None;
        loop {
            self.client = {
                let back = self.run.connector.come_back(ended.as_ref().unwrap_or(why));
                tokio::pin!(back);
                loop {
                    tokio::select! {
                        back = &mut back => break back?,
                        Some(place) = next(&mut self.given) => self.run.put_back(place),
                    }
                }
            };
            match self.rejoin().await {
                Ok(joined) => return Some(joined),
                Err(error) => ended = Some(error),
            }
        }
    }

    /// Joins again; when it is in the room.
    async fn rejoin(&mut self) -> Result<Instant, ClientError> {
        self.client.send(self.join.clone());
        let mut ticks = tokio::time::interval(PROBE);
        loop {
            tokio::select! {
                text = self.client.next() => {
                    let message = Message::decode(&text?, &self.run.event);
                    if message.is_some_and(|message| message.publisher == self.index && message.sequence == 0) {
                        return Ok(Instant::now());
                    }
                }
                Some(place) = next(&mut self.given) => self.run.put_back(place),
                _ = ticks.tick() => self.probe(),
            }
        }
    }
}

/// What a member is given next; it waits for ever where it is given nothing.
async fn next(given: &mut Given) -> Option<usize> {
    match given {
        Some(given) => given.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use clap::Parser;
    use futures_util::{SinkExt, StreamExt};
    use tokio::net::TcpListener;
    use tokio_tungstenite::tungstenite::Message as Frame;

    use super::*;
    use crate::{
        args::{Args, Scenario},
        client::{Route, Transport},
        connect::Connector,
        server::accept,
    };

    /// Another member may hear earlier that the run has begun, and publish.
    #[tokio::test]
    async fn a_message_that_comes_before_the_news_that_the_run_has_begun_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let line = format!("fanfare-load rooms --targets http://{target} --connections 1 --rooms 1 --rate 10 --duration 0.1");
        let Scenario::Rooms(args) = Args::try_parse_from(line.split(' ')).unwrap().scenario else {
            panic!("another scenario");
        };
        let (run, _) = Run::new(&args.pace, [1, 1, 1], Connector::new(&args.connecting));
        let run = Arc::new(run);
        let joining = Arc::new(Joining {
            join_event: "join".to_owned(),
            publish_event: "pubroom".to_owned(),
            targets: 1,
            rooms: 1,
            clients: 1,
            proven: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
        });
        let targets = vec![target].into();
        let connecting = Client::connect(Route::new(&targets, 0, true), Transport::Websocket);
        let (client, mut server) = tokio::join!(connecting, accept(&listener));
        let (phase, phases) = watch::channel(Phase::Probing);
        let member = tokio::spawn(Member::new(&run, &joining, 0, client.unwrap(), None, phases).live());
        let message = Message {
            publisher: 0,
            sequence: 1,
            due: Duration::ZERO,
            place: 0,
            number: 0,
        };
        server.send(Frame::text(message.encode(&run.event, run.size))).await.unwrap();
        // It has read the message when it answers what is behind it.
        server.send(Frame::text("2")).await.unwrap();
        while server.next().await.unwrap().unwrap() != Frame::text("3") {}
        phase.send_replace(Phase::Over);
        let outcome = member.await.unwrap().unwrap();
        assert_eq!(outcome.reception.finish(&run, true).0.received, 1);
    }
}
