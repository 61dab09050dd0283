//! What an outage of the backend, or of a node's path to it, costs whole nodes: each node reaches its backend through a relay of its
//! own, broadcasts go on, and every receiver counts what it misses, to the last one.

mod stage;

use tokio::time::sleep;

use self::stage::{AT_ONCE, DEGRADED, GRACE, Kind, NODES, PAUSE, READY, REMOVE_AFTER, Stage, UNREADY, until};
use super::churn::ask;
use crate::dsl::{Way, metric, within};

/// The node whose path is frozen.
const CUT_OFF: usize = 2;
const OTHERS: [usize; 2] = [0, 1];

const BOTH: &[Way] = &[Way::ToServer, Way::ToClient];

/// What only one of a node's connections to Redis says.
const PUBLISHES: &str = "PUBLISH";
const LISTENS: &str = "SUBSCRIBE";

/// One node's path freezes, twice: first for as long as it takes to be removed, then until its adapter gives the connection up.
async fn one_nodes_path_freezes(kind: Kind, ways: &[Way]) {
    let mut stage = Stage::open(kind).await;
    for round in 1..=2 {
        stage.places[CUT_OFF].forget_answers();
        stage.freeze(CUT_OFF, ways);
        for other in OTHERS {
            until(stage.node(other), "fanfare_cluster_suspected", 1).await;
        }
        for other in OTHERS {
            until(stage.node(other), "fanfare_cluster_removed_total", round).await;
            until(stage.node(other), "fanfare_cluster_peers", 1).await;
        }
        // Its peers hear their canaries, and it does not: it is not ready when that has lasted for the grace.
        within("the node to find itself alone", async {
            while stage.places[CUT_OFF].answers().last() != Some(&UNREADY) {
                sleep(PAUSE).await;
            }
        })
        .await;
        assert_eq!(stage.places[CUT_OFF].answers(), [READY, DEGRADED, UNREADY]);
        until(stage.node(CUT_OFF), "fanfare_degraded", 1).await;
        if round == 1 && *ways == [Way::ToServer] {
            // Suspected and removed alike, it is sent what the others broadcast.
            stage.hears(CUT_OFF, &OTHERS).await;
        }
        if round == 2 {
            until(stage.node(CUT_OFF), "fanfare_adapter_connected", 0).await;
        }
        stage.thaw(CUT_OFF, ways);
        // It comes back under a new epoch.
        until(stage.node(CUT_OFF), "fanfare_cluster_renewals_total", round).await;
        stage.whole().await;
        assert_eq!(stage.places[CUT_OFF].answers(), [READY, DEGRADED, UNREADY, READY]);
    }
    // Who is deaf removes nobody; the others have never been in trouble.
    until(stage.node(CUT_OFF), "fanfare_cluster_removed_total", 0).await;
    for other in OTHERS {
        assert_eq!(stage.places[other].answers(), [READY]);
    }
    let missed = stage.missed().await;
    for listener in OTHERS {
        let [_, _, of_the_cut_off] = missed[listener];
        assert_eq!(missed[listener], [0, 0, of_the_cut_off], "of node {listener}");
        assert!(of_the_cut_off > 0);
    }
    // What others have sent waits with the server while the connection stands.
    let [first, second, own] = missed[CUT_OFF];
    assert!(first > 0 && second > 0 && own == 0, "{missed:?}");
    stage.close().await;
}

/// All paths freeze until every adapter has given up, or the server dies and comes back: all stay ready, and say that they are degraded.
async fn nobody_hears(kind: Kind, dies: bool) {
    let mut stage = Stage::open(kind).await;
    if dies {
        stage.server.kill();
    } else {
        (0..NODES).for_each(|number| stage.freeze(number, BOTH));
    }
    for place in &stage.places {
        until(&place.node, "fanfare_adapter_connected", 0).await;
        within("the node to be degraded", async {
            while place.answers().last() != Some(&DEGRADED) {
                sleep(PAUSE).await;
            }
        })
        .await;
        until(&place.node, "fanfare_degraded", 1).await;
    }
    // For longer than the grace, and than it takes to be removed.
    sleep(GRACE + REMOVE_AFTER).await;
    for place in &stage.places {
        assert_eq!(place.answers(), [READY, DEGRADED]);
    }
    if dies {
        stage.server.restart().await;
    } else {
        (0..NODES).for_each(|number| stage.thaw(number, BOTH));
    }
    stage.whole().await;
    for place in &stage.places {
        assert_eq!(place.answers(), [READY, DEGRADED, READY]);
        assert_eq!(metric(place.node.internal_addr(), "fanfare_cluster_removed_total").await, 0);
        assert_eq!(metric(place.node.internal_addr(), "fanfare_cluster_renewals_total").await, 0);
    }
    for (number, missed) in stage.missed().await.into_iter().enumerate() {
        let own = missed[number];
        assert!(
            own == 0 && missed.iter().filter(|missed| **missed > 0).count() == NODES - 1,
            "{missed:?}"
        );
    }
    stage.close().await;
}

/// A node's last broadcasts are lost, and nothing comes after them: its heartbeats tell.
async fn the_last_are_missed(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    stage.freeze(CUT_OFF, BOTH);
    until(stage.node(CUT_OFF), "fanfare_adapter_connected", 0).await;
    stage.silence().await;
    // What waits to be sent becomes too old.
    sleep(AT_ONCE).await;
    stage.thaw(CUT_OFF, BOTH);
    let missed = stage.missed().await;
    let [first, second, own] = missed[CUT_OFF];
    assert!(first > 0 && second > 0 && own == 0, "{missed:?}");
    assert!(missed[0][CUT_OFF] > 0 && missed[0] == missed[1], "{missed:?}");
    stage.close().await;
}

/// Connections break and are made anew at once, again and again: nobody is removed for it.
async fn connections_break(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    for round in 1..=3 {
        stage.places.iter().for_each(|place| place.relay.cut());
        for place in &stage.places {
            until(&place.node, "fanfare_adapter_connects_total", 1 + round).await;
        }
        stage.whole().await;
    }
    for place in &stage.places {
        assert_eq!(metric(place.node.internal_addr(), "fanfare_cluster_removed_total").await, 0);
        assert!(!place.answers().contains(&UNREADY));
    }
    let missed = stage.missed().await;
    assert!((0..NODES).all(|number| missed[number][number] == 0), "{missed:?}");
    stage.close().await;
}

/// Defines the stories over one kind of backend.
macro_rules! stories {
    ($module:ident, $kind:ident) => {
        mod $module {
            use super::{BOTH, Kind, Way, connections_break, nobody_hears, one_nodes_path_freezes, the_last_are_missed};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn one_nodes_path_freezes_both_ways() {
                one_nodes_path_freezes(Kind::$kind, BOTH).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn one_nodes_path_freezes_to_the_server() {
                one_nodes_path_freezes(Kind::$kind, &[Way::ToServer]).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn one_nodes_path_freezes_to_the_client() {
                one_nodes_path_freezes(Kind::$kind, &[Way::ToClient]).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn all_paths_freeze() {
                nobody_hears(Kind::$kind, false).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn the_server_dies_and_comes_back() {
                nobody_hears(Kind::$kind, true).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn all_connections_break_three_times() {
                connections_break(Kind::$kind).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn the_last_broadcasts_of_an_outage_are_counted_too() {
                the_last_are_missed(Kind::$kind).await;
            }
        }
    };
}

stories!(over_redis, Redis);
stories!(over_nats, Nats);

/// On Redis a node hears and speaks over connections of their own. One that can be heard and does not hear is suspected by nobody, and
/// removes nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_heard_and_does_not_hear_stays_a_member_and_removes_nobody() {
    let mut stage = Stage::open(Kind::Redis).await;
    assert_eq!(stage.places[CUT_OFF].relay.freeze_those_that_said(LISTENS, Way::ToClient), 1);
    until(stage.node(CUT_OFF), "fanfare_cluster_suspected", 2).await;
    within("the node to find itself alone", async {
        while stage.places[CUT_OFF].answers().last() != Some(&UNREADY) {
            sleep(PAUSE).await;
        }
    })
    .await;
    // It gives the connection up, and the next one is as good as ever, although this one stays as it is.
    until(stage.node(CUT_OFF), "fanfare_adapter_connected", 0).await;
    stage.whole().await;
    assert_eq!(stage.places[CUT_OFF].answers(), [READY, DEGRADED, UNREADY, READY]);
    for place in &stage.places {
        assert_eq!(metric(place.node.internal_addr(), "fanfare_cluster_removed_total").await, 0);
        assert_eq!(metric(place.node.internal_addr(), "fanfare_cluster_renewals_total").await, 0);
    }
    let missed = stage.missed().await;
    let [first, second, own] = missed[CUT_OFF];
    assert!(first > 0 && second > 0 && own == 0, "{missed:?}");
    stage.close().await;
}

/// The connection that a node speaks over alone freezes, and is given up. What it still carried comes when newer things have long been
/// heard, and no client gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_connection_carried_that_was_given_up_reaches_nobody_after_what_is_newer() {
    let mut stage = Stage::open(Kind::Redis).await;
    assert_eq!(stage.places[CUT_OFF].relay.freeze_those_that_said(PUBLISHES, Way::ToServer), 1);
    until(stage.node(CUT_OFF), "fanfare_adapter_connected", 0).await;
    stage.whole().await;
    stage.thaw(CUT_OFF, BOTH);
    for other in OTHERS {
        within("it to come late, and be dropped", async {
            while metric(stage.node(other).internal_addr(), "fanfare_cluster_repeats_total").await == 0 {
                sleep(PAUSE).await;
            }
        })
        .await;
    }
    let missed = stage.missed().await;
    assert!(
        missed[0][CUT_OFF] > 0 && missed[0] == missed[1] && missed[CUT_OFF][CUT_OFF] == 0,
        "{missed:?}"
    );
    stage.close().await;
}

/// Redis cuts a subscriber off that does not take what it is sent: that is a gap like any other, and its holes are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_whose_output_buffer_is_full_is_cut_off_and_counts_what_it_missed() {
    let mut stage = Stage::open_with(Kind::Redis, 16 * 1024).await;
    let port = stage.server.port();
    ask(port, r#"CONFIG SET client-output-buffer-limit "pubsub 256kb 0 0""#).await;
    assert_eq!(stage.places[CUT_OFF].relay.freeze_those_that_said(LISTENS, Way::ToClient), 1);
    within("Redis to cut the subscriber off", async {
        while ask(port, "CLIENT LIST TYPE pubsub").await.matches("id=").count() == NODES {
            sleep(PAUSE).await;
        }
    })
    .await;
    // The node itself has not given up.
    let connected = metric(stage.node(CUT_OFF).internal_addr(), "fanfare_adapter_connected").await;
    assert_eq!(connected, 1);
    stage.thaw(CUT_OFF, BOTH);
    until(stage.node(CUT_OFF), "fanfare_adapter_gaps_total", 1).await;
    stage.whole().await;
    for (number, place) in stage.places.iter().enumerate() {
        let gaps = metric(place.node.internal_addr(), "fanfare_adapter_gaps_total").await;
        assert_eq!(gaps, u64::from(number == CUT_OFF), "of node {number}");
        assert_eq!(metric(place.node.internal_addr(), "fanfare_cluster_removed_total").await, 0);
    }
    let missed = stage.missed().await;
    let [first, second, own] = missed[CUT_OFF];
    assert!(first > 0 && second > 0 && own == 0, "{missed:?}");
    stage.close().await;
}
