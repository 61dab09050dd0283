//! Polls that come through another node, which dies.

use super::*;
use crate::engine::{Carrier, Poll};

/// A poll of this mark that has come over a carrier.
fn over<'a>(query: &'a str, carrier: &'a Carrier) -> Request<'a> {
    Request {
        method: "GET",
        query,
        carrier: Some(carrier),
        ..Request::default()
    }
}

/// The same when it has waited.
fn waited(request: Request<'_>) -> Request<'_> {
    since(request, Duration::ZERO)
}

impl Bench {
    fn parked(&self, request: Request<'_>) -> Poll {
        match self.engine.request(&request) {
            Routed::Poll(poll) => poll,
            other => panic!("not parked: {other:?}"),
        }
    }

    fn answered(&self, request: Request<'_>) -> Reply {
        match self.engine.request(&request) {
            Routed::Reply(reply) => reply,
            other => panic!("not answered: {other:?}"),
        }
    }
}

fn marked(query: &str, mark: &str) -> String {
    format!("{query}&t={mark}")
}

#[tokio::test(start_paused = true)]
async fn an_answer_lost_on_its_way_is_given_once_more_to_the_same_poll() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let (first, second) = (marked(&query, "1"), marked(&query, "2"));
    let (one, two, three) = (Carrier::default(), Carrier::default(), Carrier::default());
    session.push(&Outgoing::new(&["a"], &[]));
    assert_eq!(body(&bench.parked(over(&first, &one)).await), "4a");
    session.push(&Outgoing::new(&["b"], &[]));
    one.breaks();
    // The node that has it sent again may die, too.
    assert_eq!(body(&bench.answered(over(&first, &two))), "4a");
    two.breaks();
    assert_eq!(body(&bench.answered(over(&first, &three))), "4a");
    assert_eq!(body(&bench.parked(over(&second, &three)).await), "4b");
    assert_eq!(bench.engine.counters().polls_repeated.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_arrived_is_not_given_again() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let carrier = Carrier::default();
    session.push(&Outgoing::new(&["a"], &[]));
    assert_eq!(body(&bench.parked(over(&marked(&query, "1"), &carrier)).await), "4a");
    carrier.breaks();
    session.push(&Outgoing::new(&["b"], &[]));
    assert_eq!(body(&bench.get(&marked(&query, "2")).await), "4b");
    assert_eq!(bench.engine.counters().polls_repeated.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_same_poll_waits_for_the_news_that_its_carrier_has_broken() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let (first, carrier) = (marked(&query, "1"), Carrier::default());
    session.push(&Outgoing::new(&["a"], &[]));
    assert_eq!(body(&bench.parked(over(&first, &carrier)).await), "4a");
    let other = Carrier::default();
    let Routed::Early(news, _) = bench.engine.request(&over(&first, &other)) else {
        panic!("not early")
    };
    carrier.breaks();
    news.broken().await;
    assert_eq!(body(&bench.answered(waited(over(&first, &other)))), "4a");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_always_says_the_same_waits_once() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let (constant, carrier) = (marked(&query, "always"), Carrier::default());
    for number in 0..4 {
        session.push(&Outgoing::new(&["a"], &[]));
        let request = over(&constant, &carrier);
        let poll = match bench.engine.request(&request) {
            Routed::Poll(poll) => poll,
            Routed::Early(..) if number == 1 => bench.parked(waited(request)),
            other => panic!("{number}: {other:?}"),
        };
        assert_eq!(body(&poll.await), "4a");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_client_marks_no_poll_ends_when_an_answer_may_be_lost() {
    let mut bench = Bench::new(Config::default());
    for (idle, ends) in [(1, true), (40, false)] {
        let (session, query) = bench.poll_open().await;
        let carrier = Carrier::default();
        session.push(&Outgoing::new(&["a"], &[]));
        assert_eq!(body(&bench.parked(over(&query, &carrier)).await), "4a");
        // One on which nothing was for long is closed for that.
        tokio::time::sleep(Duration::from_secs(idle)).await;
        carrier.breaks();
        session.push(&Outgoing::new(&["b"], &[]));
        let reply = bench.get(&query).await;
        if ends {
            assert_eq!(reply, Reply::empty(400));
            assert_eq!(bench.closed().await, CloseReason::TransportError);
        } else {
            // A ping before it.
            assert_eq!(body(&reply), "2\u{1e}4b");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_whose_carrier_has_broken_was_not_given_up_by_its_client() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let (first, carrier, other) = (marked(&query, "1"), Carrier::default(), Carrier::default());
    let poll = bench.parked(over(&first, &carrier));
    assert!(matches!(bench.engine.request(&over(&first, &other)), Routed::Early(..)));
    carrier.breaks();
    // It may be the other way round: the news comes before the poll is given up.
    let again = bench.parked(over(&first, &other));
    drop(poll);
    session.push(&Outgoing::new(&["a"], &[]));
    assert_eq!(body(&again.await), "4a");
    let abandoned = bench.parked(over(&marked(&query, "2"), &other));
    other.breaks();
    drop(abandoned);
    session.push(&Outgoing::new(&["b"], &[]));
    assert_eq!(body(&bench.get(&marked(&query, "2")).await), "4b");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_given_when_its_poll_broke_off_is_not_lost() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let (first, carrier) = (marked(&query, "1"), Carrier::default());
    let poll = bench.parked(over(&first, &carrier));
    session.push(&Outgoing::new(&["a"], &[]));
    // The driver answers, and nobody looks.
    tokio::time::sleep(Duration::from_millis(10)).await;
    carrier.breaks();
    drop(poll);
    session.push(&Outgoing::new(&["b"], &[]));
    assert_eq!(body(&bench.get(&first).await), "4a");
    assert_eq!(body(&bench.get(&marked(&query, "2")).await), "4b");
}

#[tokio::test(start_paused = true)]
async fn two_polls_at_once_break_the_rules_over_a_carrier_too() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    let carrier = Carrier::default();
    let (one, two) = (marked(&query, "1"), marked(&query, "2"));
    let first = bench.parked(over(&one, &carrier));
    assert!(matches!(bench.engine.request(&over(&two, &carrier)), Routed::Early(..)));
    assert_eq!(bench.answered(waited(over(&two, &carrier))), Reply::empty(400));
    assert_eq!(bench.closed().await, CloseReason::TransportError);
    assert_eq!(first.await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_aborts_a_carried_poll_has_gone() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    drop(bench.parked(over(&marked(&query, "1"), &Carrier::default())));
    assert_eq!(bench.closed().await, CloseReason::TransportError);
}

/// A poll that has come so long ago, and has waited since.
fn since(request: Request<'_>, ago: Duration) -> Request<'_> {
    let came = crate::engine::driver::now() - ago;
    Request {
        since: Some(came),
        ..request
    }
}

const WAIT: Duration = Duration::from_secs(5);

/// A session whose client has marked two polls, each by something else; the second was answered over this carrier.
async fn marks_that_differ(bench: &mut Bench, carrier: &Carrier) -> (Handle, String) {
    let (session, query) = bench.poll_open().await;
    for mark in ["1", "2"] {
        session.push(&Outgoing::new(&[mark], &[]));
        let poll = bench.parked(over(&marked(&query, mark), carrier));
        assert_eq!(body(&poll.await), format!("4{mark}"));
    }
    (session, query)
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_leads_nowhere_is_found_out_by_a_poll_that_is_sent_again() {
    let mut bench = Bench::new(Config::default());
    let (silent, other) = (Carrier::default(), Carrier::default());
    let (session, query) = marks_that_differ(&mut bench, &silent).await;
    session.push(&Outgoing::new(&["3"], &[]));
    // The node at the other end has given this one up.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (again, next) = (marked(&query, "2"), marked(&query, "3"));
    assert!(matches!(bench.engine.request(&over(&again, &other)), Routed::Early(..)));
    tokio::time::sleep(WAIT).await;
    assert_eq!(body(&bench.answered(since(over(&again, &other), WAIT))), "42");
    assert_eq!(body(&bench.parked(over(&next, &other)).await), "43");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_sent_again_takes_the_place_of_one_that_waits_at_a_dead_end() {
    for answered_meanwhile in [false, true] {
        let mut bench = Bench::new(Config::default());
        let (silent, other) = (Carrier::default(), Carrier::default());
        let (session, query) = marks_that_differ(&mut bench, &silent).await;
        let third = marked(&query, "3");
        let first = bench.parked(over(&third, &silent));
        assert!(matches!(bench.engine.request(&over(&third, &other)), Routed::Early(..)));
        if answered_meanwhile {
            tokio::time::sleep(WAIT / 2).await;
            session.push(&Outgoing::new(&["3"], &[]));
            assert_eq!(body(&first.await), "43");
            tokio::time::sleep(WAIT / 2).await;
            assert_eq!(body(&bench.answered(since(over(&third, &other), WAIT))), "43");
        } else {
            tokio::time::sleep(WAIT).await;
            let second = bench.parked(since(over(&third, &other), WAIT));
            // Whatever becomes of it there.
            drop(first);
            session.push(&Outgoing::new(&["3"], &[]));
            assert_eq!(body(&second.await), "43");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_comes_twice_by_chance_costs_a_moment_and_nothing_else() {
    let mut bench = Bench::new(Config::default());
    let (carrier, other) = (Carrier::default(), Carrier::default());
    let (session, query) = marks_that_differ(&mut bench, &carrier).await;
    let second = marked(&query, "2");
    session.push(&Outgoing::new(&["3"], &[]));
    assert!(matches!(bench.engine.request(&over(&second, &carrier)), Routed::Early(..)));
    tokio::time::sleep(WAIT).await;
    assert_eq!(body(&bench.parked(since(over(&second, &carrier), WAIT)).await), "43");
    // The marks are still worth something.
    carrier.breaks();
    assert_eq!(body(&bench.answered(over(&second, &other))), "43");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_twice_to_a_client_that_always_says_the_same() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let (constant, carrier) = (marked(&query, "always"), Carrier::default());
    session.push(&Outgoing::new(&["a"], &[]));
    assert_eq!(body(&bench.parked(over(&constant, &carrier)).await), "4a");
    tokio::time::sleep(Duration::from_secs(40)).await;
    carrier.breaks();
    assert_eq!(bench.get(&constant).await, Reply::empty(400));
    assert_eq!(bench.closed().await, CloseReason::TransportError);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_an_unmarked_poll_has_waited_beside_one_that_was_answered() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let (silent, other) = (Carrier::default(), Carrier::default());
    let first = bench.parked(over(&query, &silent));
    assert!(matches!(bench.engine.request(&over(&query, &other)), Routed::Early(..)));
    tokio::time::sleep(WAIT / 2).await;
    session.push(&Outgoing::new(&["a"], &[]));
    assert_eq!(body(&first.await), "4a");
    tokio::time::sleep(WAIT / 2).await;
    assert_eq!(bench.answered(since(over(&query, &other), WAIT)), Reply::empty(400));
    assert_eq!(bench.closed().await, CloseReason::TransportError);
}
