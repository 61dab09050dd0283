//! Two peers joined by queues: whatever the order in which things arrive, nothing is lost, repeated or swapped.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{
    super::super::{
        Outgoing,
        dialect::Dialect,
        outbox::{Limits, Outbox},
    },
    *,
};

/// The server's side of a conversation, as the driver and the mailbox would run it.
struct Server {
    session: Session,
    outbox: Outbox,
    polled: bool,
    received: Vec<String>,
}

/// The client's side: what the stock client does, in a world where each queue moves at its own pace.
#[derive(Default)]
struct Client {
    outgoing: VecDeque<String>,
    received: Vec<String>,
    polling: bool,
    posting: bool,
    /// The probe was answered: no new poll, no new post.
    paused: bool,
    probing: bool,
    upgraded: bool,
}

/// Everything that is under way.
#[derive(Default)]
struct Wires {
    poll: VecDeque<()>,
    poll_answer: VecDeque<String>,
    post: VecDeque<String>,
    post_answer: VecDeque<()>,
    up: VecDeque<String>,
    down: VecDeque<String>,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    ServerSends,
    ClientSends,
    Poll,
    PollArrives,
    PollAnswerArrives,
    Post,
    PostArrives,
    PostAnswerArrives,
    Upgrade,
    UpArrives,
    DownArrives,
    /// The server writes a batch of so many bytes, of which the transport takes a part.
    ServerWrites(usize, usize),
    TimePasses,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    use Act::*;
    let act = prop_oneof![
        4 => Just(ServerSends), 4 => Just(ClientSends), 4 => Just(Poll), 4 => Just(PollArrives), 4 => Just(PollAnswerArrives),
        2 => Just(Post), 2 => Just(PostArrives), 2 => Just(PostAnswerArrives), 1 => Just(Upgrade), 3 => Just(UpArrives),
        3 => Just(DownArrives), 3 => (1..40_usize, 0..=3_usize).prop_map(|(bytes, left)| ServerWrites(bytes, left)),
        1 => Just(TimePasses),
    ];
    prop::collection::vec(act, 0..400)
}

struct World {
    revision: Revision,
    now: Instant,
    server: Server,
    client: Client,
    wires: Wires,
    sent_down: Vec<String>,
    sent_up: Vec<String>,
    noops: usize,
    pongs: usize,
    rounds: usize,
}

impl World {
    fn new(revision: Revision) -> Self {
        let now = Instant::now();
        let timing = Timing {
            ping_timeout: ms(1 << 30),
            upgrade_timeout: ms(1 << 30),
            ..TIMING
        };
        let session = Session::new(Arc::new(timing), revision, Transport::Polling, now);
        let server = Server {
            session,
            outbox: Outbox::new(Dialect::PLAIN),
            polled: false,
            received: Vec::new(),
        };
        let (client, wires) = (Client::default(), Wires::default());
        Self {
            revision,
            now,
            server,
            client,
            wires,
            sent_down: Vec::new(),
            sent_up: Vec::new(),
            noops: 0,
            pongs: 0,
            rounds: 0,
        }
    }

    fn push(&mut self, message: Outgoing) {
        self.server
            .outbox
            .push(
                message,
                Limits {
                    bytes: usize::MAX,
                    entries: usize::MAX,
                },
            )
            .unwrap();
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::ServerSends => {
                let text = self.sent_down.len().to_string();
                self.push(Outgoing::new(&[&text], &[]));
                self.sent_down.push(text);
            }
            Act::ClientSends => {
                let text = self.sent_up.len().to_string();
                self.client_sends(format!("4{text}"));
                self.sent_up.push(text);
            }
            Act::Poll if !self.client.polling && !self.client.paused => {
                self.client.polling = true;
                self.wires.poll.push_back(());
            }
            Act::PollArrives if self.wires.poll.pop_front().is_some() => {
                assert!(!self.server.polled && self.server.session.transport() == Transport::Polling);
                self.server.polled = true;
            }
            Act::PollAnswerArrives => {
                if let Some(payload) = self.wires.poll_answer.pop_front() {
                    self.client.polling = false;
                    payload.split('\x1e').for_each(|packet| self.client_hears(packet));
                }
            }
            Act::Post if !self.client.posting && !self.client.paused && !self.client.outgoing.is_empty() => {
                self.client.posting = true;
                let packets: Vec<String> = self.client.outgoing.drain(..).collect();
                self.wires.post.push_back(packets.join("\x1e"));
            }
            Act::PostArrives => {
                if let Some(payload) = self.wires.post.pop_front() {
                    payload.split('\x1e').for_each(|packet| self.server_hears(packet));
                    self.wires.post_answer.push_back(());
                }
            }
            Act::PostAnswerArrives if self.wires.post_answer.pop_front().is_some() => self.client.posting = false,
            Act::Upgrade if !self.client.probing => {
                self.client.probing = true;
                assert!(self.server.session.probe_opened(self.now));
                self.wires.up.push_back("2probe".into());
            }
            Act::UpArrives => self.up_arrives(),
            Act::DownArrives => match self.wires.down.pop_front() {
                Some(packet) if packet == "3probe" => self.client.paused = true,
                Some(packet) => self.client_hears(&packet),
                None => {}
            },
            Act::ServerWrites(bytes, left) if self.server.session.transport() == Transport::WebSocket => {
                let mut batch = self.server.outbox.take(bytes);
                let written = batch.entries.len().saturating_sub(left);
                let sizes: usize = batch.entries.iter().take(written).map(|message| message.frames().len()).sum();
                let packets = batch
                    .entries
                    .iter()
                    .take(written)
                    .map(|message| String::from_utf8(message.polling().to_vec()).unwrap());
                self.wires.down.extend(packets);
                batch.advance(sizes);
                self.server.outbox.put_back(batch);
            }
            Act::TimePasses => {
                self.now += ms(200);
                if self.revision == Revision::V3 {
                    self.client_sends("2".into());
                    self.pongs += 1;
                }
            }
            _ => {}
        }
        self.settle();
    }

    fn up_arrives(&mut self) {
        let Some(packet) = self.wires.up.pop_front() else { return };
        if self.server.session.transport() == Transport::WebSocket {
            return self.server_hears(&packet);
        }
        match self.server.session.probe_received(&decode_text(&packet)) {
            Probed::Pong => self.wires.down.push_back("3probe".into()),
            Probed::Switch => assert!(!self.server.polled, "the client ends its poll before it switches"),
            Probed::Close => panic!("{packet} closes the probe"),
        }
    }

    /// Both sides do what they do without being asked.
    fn settle(&mut self) {
        while let Some(step) = self
            .server
            .session
            .step(self.now, !self.server.outbox.is_empty(), self.server.polled)
        {
            let payload = match step {
                Step::Ping => {
                    self.push(Outgoing::packet("2"));
                    continue;
                }
                Step::AnswerMessages => {
                    let batch = self.server.outbox.take(30);
                    let packets: Vec<_> = batch
                        .entries
                        .iter()
                        .map(|message| String::from_utf8(message.polling().to_vec()).unwrap())
                        .collect();
                    packets.join("\x1e")
                }
                Step::AnswerNoop => "6".into(),
                Step::CloseProbe => panic!("nobody closes the probe"),
            };
            self.server.polled = false;
            self.wires.poll_answer.push_back(payload);
        }
        assert_eq!(self.server.session.ended(), None);
        let client = &mut self.client;
        if client.paused && !client.upgraded && !client.polling && !client.posting {
            client.upgraded = true;
            self.wires.up.push_back("5".into());
            self.wires.up.extend(client.outgoing.drain(..));
        }
    }

    fn client_sends(&mut self, packet: String) {
        if self.client.upgraded {
            self.wires.up.push_back(packet);
        } else {
            self.client.outgoing.push_back(packet);
        }
    }

    fn client_hears(&mut self, packet: &str) {
        match packet {
            "6" => self.noops += 1,
            "2" if self.revision == Revision::V4 => self.client_sends("3".into()),
            "3" if self.revision == Revision::V3 => self.pongs -= 1,
            _ => self.client.received.push(packet.strip_prefix('4').unwrap().to_owned()),
        }
    }

    fn server_hears(&mut self, packet: &str) {
        match self.server.session.received(decode_text(packet), self.now) {
            Some(Heard::Message(Incoming::Text(text))) => self.server.received.push(text.to_owned()),
            Some(Heard::Ping) => self.push(Outgoing::packet("3")),
            Some(Heard::Message(Incoming::Binary(_))) | None => {}
        }
    }

    /// Lets everything that is under way arrive.
    fn drain(&mut self) {
        let mut quiet = 0;
        // A few rounds more than it takes, for what would arrive twice.
        while quiet < 10 {
            let arrived = self.client.received.len() >= self.sent_down.len() && self.server.received.len() >= self.sent_up.len();
            quiet += usize::from(arrived && self.pongs == 0 && self.client.probing == self.client.upgraded);
            self.rounds += 1;
            assert!(self.rounds < 1000, "something never arrives");
            for act in [
                Act::Poll,
                Act::PollArrives,
                Act::PollAnswerArrives,
                Act::Post,
                Act::PostArrives,
                Act::PostAnswerArrives,
            ] {
                self.act(act);
            }
            for act in [Act::UpArrives, Act::DownArrives, Act::ServerWrites(1000, 0)] {
                self.act(act);
            }
            // A poll that crossed the answer to the probe is answered when the pause after the last noop is over.
            self.now += ms(200);
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_repeated_or_swapped_over_an_upgrade(
        acts in acts(),
        upgrade_at in 0..400_usize,
        revision in prop::sample::select(&REVISIONS[..]),
    ) {
        let mut world = World::new(revision);
        for (number, act) in acts.into_iter().enumerate() {
            if number == upgrade_at {
                world.act(Act::Upgrade);
            }
            world.act(act);
        }
        world.drain();
        prop_assert_eq!(&world.client.received, &world.sent_down);
        prop_assert_eq!(&world.server.received, &world.sent_up);
        prop_assert_eq!(world.client.probing, world.client.upgraded);
        let transport = if world.client.upgraded { Transport::WebSocket } else { Transport::Polling };
        prop_assert_eq!(world.server.session.transport(), transport);
    }
}
