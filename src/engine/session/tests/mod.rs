//! Sessions under virtual time: the heartbeat, the upgrade and the end.

use crate::protocol::engineio;

use super::*;

mod conversation;

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

const REVISIONS: [Revision; 2] = [Revision::V3, Revision::V4];

fn open(transport: Transport) -> (Session, Instant) {
    open_in(Revision::V4, transport)
}

fn open_in(revision: Revision, transport: Transport) -> (Session, Instant) {
    let now = Instant::now();
    (Session::new(Arc::new(TIMING), revision, transport, now), now)
}

/// What is decoded here is the same in both revisions.
fn decode_text(packet: &str) -> Result<Packet<'_>, PacketError> {
    engineio::decode_text(packet, Revision::V4)
}

fn text(session: &mut Session, packet: &'static str, now: Instant) -> Option<Heard<'static>> {
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
    for (revision, asked) in [(Revision::V4, Some(Step::Ping)), (Revision::V3, None)] {
        let (mut session, start) = open_in(revision, Transport::Polling);
        assert_eq!(session.step(start + ms(300), false, false), asked);
        assert!(session.probe_opened(start + ms(310)));
        assert_eq!(session.probe_received(&decode_text("2probe")), Probed::Pong);
        assert_eq!(session.probe_received(&decode_text("5")), Probed::Switch);
        assert_eq!(session.transport(), Transport::WebSocket);
        assert_eq!(session.deadline(), Some(start + ms(500)));
        assert_eq!(session.step(start + ms(499), false, false), None);
        assert_eq!(reason(&session), None);
        assert_eq!(session.step(start + ms(500), false, false), None);
        assert_eq!(reason(&session), Some(CloseReason::PingTimeout), "{revision:?}");
    }
}

#[test]
fn a_client_of_revision_3_pings_unasked_and_only_its_pings_keep_it() {
    let (mut session, start) = open_in(Revision::V3, Transport::Polling);
    assert_eq!(session.deadline(), Some(start + ms(500)));
    assert_eq!(session.step(start + ms(499), false, false), None);
    for ping in ["2", "2probe", "2with data"] {
        assert_eq!(text(&mut session, ping, start + ms(400)), Some(Heard::Ping));
    }
    assert_eq!(session.deadline(), Some(start + ms(900)));
    let message = text(&mut session, "4hello", start + ms(899));
    assert_eq!(message, Some(Heard::Message(Incoming::Text("hello"))));
    assert_eq!(session.step(start + ms(899), false, false), None);
    assert_eq!(reason(&session), None);
    session.step(start + ms(900), false, false);
    assert_eq!(reason(&session), Some(CloseReason::PingTimeout));
}

#[test]
fn a_pause_is_not_counted_against_a_client_of_revision_3() {
    for (paused_at, ends) in [(0, 5500), (400, 5100)] {
        let (mut session, start) = open_in(Revision::V3, Transport::WebSocket);
        session.pause(start + ms(paused_at));
        assert_eq!(session.step(start + ms(4999), false, false), None);
        session.resume(start + ms(5000));
        assert_eq!(session.deadline(), Some(start + ms(ends)));
        assert_eq!(reason(&session), None);
    }
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
    for (packet, v3, v4) in [
        ("2", None, Some(CloseReason::TransportError)),
        ("2probe", None, Some(CloseReason::TransportError)),
        ("3", Some(CloseReason::TransportError), None),
        ("1", Some(CloseReason::TransportClose), Some(CloseReason::TransportClose)),
        ("", Some(CloseReason::ParseError), Some(CloseReason::ParseError)),
        ("9", Some(CloseReason::ParseError), Some(CloseReason::ParseError)),
        ("0", None, None),
        ("5", None, None),
        ("6", None, None),
    ] {
        for (revision, expected) in [(Revision::V3, v3), (Revision::V4, v4)] {
            let (mut session, now) = open_in(revision, Transport::WebSocket);
            let heard = text(&mut session, packet, now);
            let ping = packet.starts_with('2') && revision == Revision::V3;
            assert_eq!(heard, ping.then_some(Heard::Ping));
            assert_eq!(reason(&session), expected, "{packet} {revision:?}");
        }
    }
}

/// The first reason counts, whatever follows it.
#[test]
fn every_reason_is_told_as_it_was_given() {
    type Cause = fn(&mut Session, Instant);
    let causes: [(CloseReason, Cause); 7] = [
        (CloseReason::TransportClose, |session, _| session.transport_closed()),
        (CloseReason::TransportError, |session, _| session.violated(None)),
        (CloseReason::PingTimeout, |session, start| {
            session.step(start + ms(300), false, false);
            session.step(start + ms(500), false, false);
        }),
        (CloseReason::ParseError, |session, start| {
            assert_eq!(text(session, "x", start), None)
        }),
        (CloseReason::ForcedClose, |session, start| {
            session.close(CloseReason::ForcedClose, None, start)
        }),
        (CloseReason::ForcedServerClose, |session, _| {
            session.reset(CloseReason::ForcedServerClose)
        }),
        (CloseReason::ServerShuttingDown, |session, start| {
            session.close(CloseReason::ServerShuttingDown, Some(ms(1)), start);
        }),
    ];
    for (reason, cause) in causes {
        for (later, other) in causes {
            for (revision, transport) in REVISIONS
                .into_iter()
                .flat_map(|revision| [Transport::Polling, Transport::WebSocket].map(|transport| (revision, transport)))
            {
                let (mut session, start) = open_in(revision, transport);
                cause(&mut session, start);
                other(&mut session, start);
                session.step(start + ms(60_000), false, true);
                assert_eq!(
                    session.ended().map(|end| end.reason),
                    Some(reason),
                    "then {later}, {revision:?}, {transport}"
                );
                assert_eq!(session.deadline(), None);
            }
        }
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
    assert_eq!((end.reason, end.poll), (CloseReason::ForcedServerClose, &["1"][..]));
}

#[test]
fn a_close_waits_for_the_next_poll_and_sends_what_waits_first() {
    let (mut session, now) = open(Transport::Polling);
    session.close(CloseReason::ForcedServerClose, None, now);
    assert_eq!(session.step(now, true, true), Some(Step::AnswerMessages));
    assert_eq!(session.step(now, false, false), None);
    assert_eq!(session.ended(), None);
    session.step(now + ms(5), false, true);
    assert_eq!(session.ended().unwrap().poll, ["6", "1"]);
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
fn a_client_that_closes_by_post_has_its_poll_released_with_noop_even_if_it_comes_late() {
    for (transport, late_poll) in [(Transport::Polling, true), (Transport::WebSocket, false)] {
        let (mut session, now) = open(transport);
        text(&mut session, "1", now);
        let end = session.ended().unwrap();
        assert_eq!((end.poll, end.late_poll), (&["6"][..], late_poll));
    }
}
