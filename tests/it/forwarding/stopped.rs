//! Polls that are given up, and an owner that is stopped in the middle of all: it keeps its connections, and says nothing.

use super::{CLIENTS, Pair, answer, client::poll};
use crate::dsl::{Polling, metric, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_that_are_aborted_leave_nothing_behind() {
    let pair = Pair::start().await;
    let bystander = pair.bystander().await;
    pair.measure(async || {
        let sessions = pair.sessions(CLIENTS).await;
        let polls = pair.parked(&sessions).await;
        bystander.is_served().await;
        polls
    })
    .await;
    // Nor at their owner, which hears of each: a session is gone with its poll.
    within("the sessions to be gone", async {
        while metric(pair.owner.internal, "fanfare_sessions").await > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    bystander.is_served().await;
}

/// The owner hears of polls and of their end in one breath.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_that_are_aborted_at_once_do_not_break_what_the_nodes_share() {
    let pair = Pair::start().await;
    let bystander = pair.bystander().await;
    let sessions = pair.sessions(CLIENTS + 1).await;
    let (waiting, hasty) = sessions.split_first().unwrap();
    let parked = pair.parked(std::slice::from_ref(waiting)).await;
    let name = "fanfare_session_requests_total";
    let before = metric(pair.edge.internal, name).await;
    pair.owner.freeze();
    let mut polls = Vec::new();
    for session in hasty {
        polls.push(poll(session, pair.edge.public).await);
    }
    pair.until_edge(name, |requests| requests >= before + CLIENTS as u64).await;
    drop(polls);
    // The poll that waits is all that is left.
    pair.until_edge("fanfare_http_connections", |open| open == 1).await;
    pair.owner.signal("CONT");
    waiting.send(r#"42["echo","still here"]"#).await;
    for poll in parked {
        assert_eq!(answer(poll).await.text(), r#"42["echo","still here"]"#);
    }
    bystander.is_served().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_of_an_owner_that_is_stopped_are_answered_and_leave_nothing_behind() {
    let pair = Pair::start().await;
    pair.measure(async || {
        let sessions = pair.sessions(CLIENTS + 1).await;
        let (later, sessions) = sessions.split_first().unwrap();
        let polls = pair.parked(sessions).await;
        pair.owner.freeze();
        // Whoever comes now is not made to wait, either.
        let late = poll(later, pair.edge.public).await;
        for poll in polls.into_iter().chain([late]) {
            assert_eq!(answer(poll).await.status, 503);
        }
        pair.owner.signal("CONT");
        within("the owner to be asked again", async {
            let session = Polling::connect(pair.owner.public).await;
            session.send(r#"42["echo","again"]"#).await;
            loop {
                let answer = answer(poll(&session, pair.edge.public).await).await;
                if answer.status == 200 {
                    assert_eq!(answer.text(), r#"42["echo","again"]"#);
                    return;
                }
                assert_eq!(answer.status, 503);
            }
        })
        .await;
    })
    .await;
}
