//! Sessions under virtual time: the heartbeat, the upgrade and the end, then two peers joined by queues.

use std::collections::VecDeque;

use proptest::prelude::*;

use crate::protocol::engineio::decode_text;

use super::super::{
    Outgoing,
    outbox::{Limits, Outbox},
};
use super::*;

const TIMING: Timing = Timing {
    ping_interval: Duration::from_millis(300),
    ping_timeout: Duration::from_millis(200),
    upgrade_timeout: Duration::from_millis(1000),
    close_timeout: Duration::from_secs(30),
    pause_timeout: Duration::from_secs(60),
};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn open(transport: Transport) -> (Session, Instant) {
    let now = Instant::now();
    (Session::new(TIMING, transport, now), now)
}

fn text(session: &mut Session, packet: &'static str, now: Instant) -> Option<Incoming<'static>> {
    session.received(decode_text(packet), now)
}

fn reason(session: &Session) -> Option<CloseReason> {
    session.ended().map(|end| end.reason)
}

#[test]
fn a_ping_comes_an_interval_after_the_pong() {
    let (mut session, start) = open(Transport::WebSocket);
    assert_eq!(session.deadline(), Some(start + ms(300)));
    assert_eq!(session.step(start + ms(299), false, false), None);
    assert_eq!(session.step(start + ms(300), false, false), Some(Step::Ping));
    assert_eq!(session.step(start + ms(300), true, false), None);
    text(&mut session, "3", start + ms(450));
    assert_eq!(session.deadline(), Some(start + ms(750)));
}

#[test]
fn a_polling_session_dies_without_any_request() {
    let (mut session, start) = open(Transport::Polling);
    assert_eq!(session.step(start + ms(300), false, false), Some(Step::Ping));
    assert_eq!(session.step(start + ms(499), true, false), None);
    assert_eq!(session.step(start + ms(500), true, false), None);
    assert_eq!(reason(&session), Some(CloseReason::PingTimeout));
}

#[test]
fn a_late_timer_does_not_put_the_end_off_and_a_stall_does_not_cost_the_peer_its_time() {
    for (late, end) in [(1, 500), (2, 500), (100, 598)] {
        let (mut session, start) = open(Transport::WebSocket);
        assert_eq!(session.step(start + ms(300 + late), false, false), Some(Step::Ping));
        assert_eq!(session.deadline(), Some(start + ms(end)), "{late} ms late");
    }
}

#[test]
fn a_pong_that_answers_nothing_does_not_put_the_ping_off() {
    let (mut session, start) = open(Transport::WebSocket);
    text(&mut session, "3", start + ms(299));
    assert_eq!(session.step(start + ms(300), false, false), Some(Step::Ping));
}

#[test]
fn other_packets_do_not_answer_a_ping() {
    let (mut session, start) = open(Transport::WebSocket);
    session.step(start + ms(300), false, false);
    text(&mut session, "4hello", start + ms(400));
    assert_eq!(session.step(start + ms(500), false, false), None);
    assert_eq!(reason(&session), Some(CloseReason::PingTimeout));
}

/// The reference forgets its pong timer when it switches transports: such a session never ends.
#[test]
fn the_heartbeat_runs_on_over_an_upgrade() {
    let (mut session, start) = open(Transport::Polling);
    assert_eq!(session.step(start + ms(300), false, false), Some(Step::Ping));
    assert!(session.probe_opened(start + ms(310)));
    assert_eq!(session.probe_received(&decode_text("2probe")), Probed::Pong);
    assert_eq!(session.probe_received(&decode_text("5")), Probed::Switch);
    assert_eq!(session.transport(), Transport::WebSocket);
    assert_eq!(session.step(start + ms(500), false, false), None);
    assert_eq!(reason(&session), Some(CloseReason::PingTimeout));
}

#[test]
fn a_pause_is_not_counted_against_the_client() {
    let (mut session, start) = open(Transport::WebSocket);
    session.step(start + ms(300), false, false);
    session.pause(start + ms(400));
    assert!(!session.is_reading());
    assert_eq!(session.step(start + ms(5000), false, false), None);
    session.resume(start + ms(5000));
    assert_eq!(session.deadline(), Some(start + ms(5100)));
    assert_eq!(reason(&session), None);
}

#[test]
fn a_pause_has_its_bound() {
    let (mut session, start) = open(Transport::WebSocket);
    session.pause(start);
    session.step(start + ms(300), false, false);
    assert_eq!(session.deadline(), Some(start + TIMING.pause_timeout));
    session.step(start + TIMING.pause_timeout, false, false);
    assert_eq!(reason(&session), Some(CloseReason::TransportError));
}

#[test]
fn packets_of_the_wrong_kind_end_a_session() {
    for (packet, expected) in [
        ("2", Some(CloseReason::TransportError)),
        ("2probe", Some(CloseReason::TransportError)),
        ("1", Some(CloseReason::TransportClose)),
        ("", Some(CloseReason::ParseError)),
        ("9", Some(CloseReason::ParseError)),
        ("0", None),
        ("5", None),
        ("6", None),
        ("3", None),
    ] {
        let (mut session, now) = open(Transport::WebSocket);
        assert_eq!(text(&mut session, packet, now), None);
        assert_eq!(reason(&session), expected, "{packet}");
    }
}

#[test]
fn polls_are_released_with_noop_while_a_probe_is_confirmed() {
    let (mut session, now) = open(Transport::Polling);
    assert!(session.probe_opened(now));
    assert_eq!(session.step(now, false, true), None);
    session.probe_received(&decode_text("2probe"));
    assert_eq!(session.step(now, true, true), Some(Step::AnswerMessages));
    assert_eq!(session.step(now, false, true), Some(Step::AnswerNoop));
    assert_eq!(session.step(now, false, true), None);
    assert_eq!(session.deadline(), Some(now + NOOP_PAUSE));
    assert_eq!(session.step(now + NOOP_PAUSE, false, true), Some(Step::AnswerNoop));
    assert_eq!(session.step(now + NOOP_PAUSE * 2, false, false), None);
}

#[test]
fn what_is_no_upgrade_closes_only_the_probe() {
    for packets in [&["5"][..], &["4hello"], &["2"], &["2probe", "4hello"], &["2probe", "x"]] {
        let (mut session, now) = open(Transport::Polling);
        assert!(session.probe_opened(now));
        assert!(!session.probe_opened(now), "one at a time");
        let last = packets.iter().map(|packet| session.probe_received(&decode_text(packet))).last();
        assert_eq!(last, Some(Probed::Close), "{packets:?}");
        assert_eq!(session.step(now, false, true), None, "the poll stays");
        assert_eq!((reason(&session), session.transport()), (None, Transport::Polling));
        assert!(session.probe_opened(now), "another may try");
    }
}

#[test]
fn a_probe_has_its_time() {
    let (mut session, start) = open(Transport::Polling);
    session.step(start + ms(300), false, false);
    text(&mut session, "3", start + ms(301));
    assert!(session.probe_opened(start + ms(301)));
    session.probe_received(&decode_text("2probe"));
    session.step(start + ms(601), false, false);
    text(&mut session, "3", start + ms(1200));
    assert_eq!(session.deadline(), Some(start + ms(1301)));
    assert_eq!(session.step(start + ms(1301), false, false), Some(Step::CloseProbe));
    assert_eq!(session.probe_received(&decode_text("5")), Probed::Close);
    assert_eq!(reason(&session), None);
}

#[test]
fn a_close_answers_the_poll_that_waits() {
    let (mut session, now) = open(Transport::Polling);
    session.close(CloseReason::ForcedServerClose, None, now);
    assert_eq!(session.step(now, false, true), None);
    let end = session.ended().unwrap();
    assert_eq!((end.reason, end.poll), (CloseReason::ForcedServerClose, "1"));
}

#[test]
fn a_close_waits_for_the_next_poll_and_sends_what_waits_first() {
    let (mut session, now) = open(Transport::Polling);
    session.close(CloseReason::ForcedServerClose, None, now);
    assert_eq!(session.step(now, true, true), Some(Step::AnswerMessages));
    assert_eq!(session.step(now, false, false), None);
    assert_eq!(session.ended(), None);
    session.step(now + ms(5), false, true);
    assert_eq!(session.ended().unwrap().poll, "6\x1e1");
}

#[test]
fn a_close_does_not_wait_for_a_poll_for_ever() {
    let (mut session, start) = open(Transport::Polling);
    session.close(CloseReason::ForcedClose, None, start);
    assert_eq!(session.step(start, true, false), None);
    assert_eq!(session.deadline(), Some(start + TIMING.close_timeout));
    assert_eq!(session.step(start + TIMING.close_timeout, true, false), None);
    assert_eq!(reason(&session), Some(CloseReason::ForcedClose));
}

#[test]
fn a_websocket_closes_when_all_is_written() {
    let (mut session, now) = open(Transport::WebSocket);
    session.close(CloseReason::ForcedServerClose, None, now);
    session.step(now, true, false);
    assert_eq!(session.ended(), None);
    assert_eq!(text(&mut session, "4late", now), None, "a closing session takes no message");
    session.step(now, false, false);
    assert_eq!(reason(&session), Some(CloseReason::ForcedServerClose));
}

#[test]
fn a_client_that_closes_by_post_has_its_poll_released_with_noop() {
    let (mut session, now) = open(Transport::Polling);
    text(&mut session, "1", now);
    assert_eq!(session.ended().unwrap().poll, "6");
}

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
    now: Instant,
    server: Server,
    client: Client,
    wires: Wires,
    sent_down: Vec<String>,
    sent_up: Vec<String>,
    noops: usize,
    rounds: usize,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let timing = Timing {
            ping_timeout: ms(1 << 30),
            upgrade_timeout: ms(1 << 30),
            ..TIMING
        };
        let session = Session::new(timing, Transport::Polling, now);
        let server = Server {
            session,
            outbox: Outbox::default(),
            polled: false,
            received: Vec::new(),
        };
        let (client, wires) = (Client::default(), Wires::default());
        Self {
            now,
            server,
            client,
            wires,
            sent_down: Vec::new(),
            sent_up: Vec::new(),
            noops: 0,
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
            Act::TimePasses => self.now += ms(200),
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
            "2" => self.client_sends("3".into()),
            _ => self.client.received.push(packet.strip_prefix('4').unwrap().to_owned()),
        }
    }

    fn server_hears(&mut self, packet: &str) {
        if let Some(Incoming::Text(text)) = self.server.session.received(decode_text(packet), self.now) {
            self.server.received.push(text.to_owned());
        }
    }

    /// Lets everything that is under way arrive.
    fn drain(&mut self) {
        let mut quiet = 0;
        // A few rounds more than it takes, for what would arrive twice.
        while quiet < 10 {
            let arrived = self.client.received.len() >= self.sent_down.len() && self.server.received.len() >= self.sent_up.len();
            quiet += usize::from(arrived && self.client.probing == self.client.upgraded);
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
            // A poll that crossed the answer to the probe is answered when the pause after the last noop is over.
            for act in [Act::UpArrives, Act::DownArrives, Act::ServerWrites(1000, 0), Act::TimePasses] {
                self.act(act);
            }
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_repeated_or_swapped_over_an_upgrade(acts in acts(), upgrade_at in 0..400_usize) {
        let mut world = World::new();
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
