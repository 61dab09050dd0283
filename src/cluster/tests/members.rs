//! Who is there: joining, leaving, silence, and hearing oneself.

use std::{sync::Arc, time::Duration};

use fanfare_adapters::memory::{self, MemoryBus};

use super::bench::{Fate, Node, heartbeats, settle};
use crate::{
    cluster::{Cluster, Config, StartError},
    engine::id::NodeTag,
    hub::{self, Hub},
};

fn named(node: &str) -> Config {
    Config {
        node: node.to_owned(),
        advertise: format!("{node}.local:3001"),
        ..Config::default()
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_find_each_other_and_themselves() {
    let bus = MemoryBus::new();
    let one = Node::start_now(&bus, named("one"), NodeTag::random());
    assert_eq!(one.cluster.health().canary_age, None);
    let two = Node::start_now(&bus, named("two"), NodeTag::random());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let [member] = &*one.cluster.members() else {
        panic!("one peer: {:?}", one.cluster.members())
    };
    assert_eq!(
        (&*member.node, &*member.advertise, member.origin),
        ("two", "two.local:3001", two.cluster.origin())
    );
    assert_eq!((member.version, member.features, member.suspected), (1, 15, false));
    assert_eq!(
        two.cluster.members().len(),
        1,
        "a newcomer is answered before the next heartbeat is due"
    );
    heartbeats(20).await;
    let health = one.cluster.health();
    assert!(health.canary_age.is_some_and(|age| age <= Duration::from_secs(1)), "{health:?}");
    assert_eq!(
        (health.deaf_since, health.connected, health.peers, health.suspected, health.degraded),
        (None, true, 1, 0, false)
    );
    let beats = one.count("heartbeats");
    assert!((20..=25).contains(&beats), "about one a second: {beats}");
}

#[tokio::test(start_paused = true)]
async fn goodbye_removes_a_node_at_once_and_ends_its_tasks() {
    let bus = MemoryBus::new();
    let (one, two) = (Node::start(&bus, named("one")).await, Node::start(&bus, named("two")).await);
    let client = two.client("/").await;
    two.cluster.close(Duration::from_secs(1)).await;
    two.cluster.close(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!((one.cluster.members().len(), one.count("left"), one.count("removed")), (0, 1, 0));
    two.io.emit("e", "still here").unwrap();
    assert_eq!(client.events().await, [r#"["e","still here"]"#], "local delivery goes on");
    assert_eq!(two.count("publish_closed"), 1);
    let (link, adapter) = (Arc::downgrade(&two.cluster.link), Arc::downgrade(&two.adapter));
    drop((two, client));
    settle().await;
    assert_eq!(
        (link.strong_count(), adapter.strong_count()),
        (0, 0),
        "nothing holds on to a closed cluster"
    );
}

#[tokio::test(start_paused = true)]
async fn no_heartbeat_follows_a_goodbye() {
    let bus = MemoryBus::new();
    let (one, two) = (Node::start(&bus, named("one")).await, Node::start(&bus, named("two")).await);
    // As between the goodbye and the end of the adapter, when the task is just then due.
    two.cluster.link.goodbye();
    heartbeats(3).await;
    assert_eq!((one.cluster.members().len(), one.count("left"), one.count("joined")), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_held_for_gone_does_not_come_back_after_its_goodbye() {
    let bus = MemoryBus::new();
    let (one, two) = (Node::start(&bus, named("one")).await, Node::start(&bus, named("two")).await);
    two.adapter.inner.set_connected(false);
    heartbeats(13).await;
    two.cluster.link.goodbye();
    two.adapter.inner.set_connected(true);
    heartbeats(3).await;
    assert_eq!((one.cluster.members().len(), one.count("removed"), one.count("joined")), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_cluster_ends_its_task() {
    let bus = MemoryBus::new();
    let one = Node::start(&bus, named("one")).await;
    let link = Arc::downgrade(&one.cluster.link);
    drop(one);
    settle().await;
    assert_eq!(link.strong_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_suspected_then_removed_and_comes_back_under_a_new_epoch() {
    let bus = MemoryBus::new();
    let (one, two) = (Node::start(&bus, named("one")).await, Node::start(&bus, named("two")).await);
    let before = two.cluster.origin();
    two.adapter.inner.set_connected(false);
    heartbeats(4).await;
    assert_eq!((one.cluster.health().peers, one.cluster.health().suspected), (1, 1));
    heartbeats(9).await;
    assert_eq!((one.cluster.health().peers, one.count("removed")), (0, 1));
    assert_eq!(
        (two.cluster.health().peers, two.count("removed")),
        (1, 0),
        "who is deaf removes nobody"
    );
    two.adapter.inner.set_connected(true);
    heartbeats(3).await;
    assert_eq!((two.count("renewals"), one.count("renewals")), (1, 0));
    let after = two.cluster.origin();
    assert!(after.tag == before.tag && after.epoch > before.epoch);
    assert_eq!(
        one.cluster.members().iter().map(|member| member.origin).collect::<Vec<_>>(),
        [after]
    );
    assert!(!two.cluster.health().degraded);

    let (here, there) = (one.client("/").await, two.client("/").await);
    one.io.emit("e", 1.to_string().as_str()).unwrap();
    two.io.emit("e", 2.to_string().as_str()).unwrap();
    assert_eq!((here.events().await.len(), there.events().await.len()), (2, 2));
    heartbeats(20).await;
    assert_eq!((one.count("holes"), two.count("holes"), two.count("renewals")), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hears_others_but_not_itself_is_deaf() {
    let bus = MemoryBus::new();
    let (one, two) = (Node::start(&bus, named("one")).await, Node::start(&bus, named("two")).await);
    two.adapter.all(|_| Fate::Lost);
    heartbeats(15).await;
    let health = two.cluster.health();
    assert!(health.connected && health.degraded && health.deaf_since.is_some());
    assert_eq!((one.cluster.health().peers, health.peers, health.suspected), (0, 1, 0));
    two.adapter.all(|_| Fate::Sent);
    heartbeats(3).await;
    assert!(!two.cluster.health().degraded && one.cluster.health().peers == 1);
}

#[tokio::test(start_paused = true)]
async fn nodes_tell_each_other_their_load() {
    let bus = MemoryBus::new();
    let (one, two) = (Node::start(&bus, named("one")).await, Node::start(&bus, named("two")).await);
    let load = || one.cluster.members()[0].sockets;
    heartbeats(1).await;
    assert_eq!(load(), Some(0));
    let clients = [two.client("/").await, two.client("/").await];
    heartbeats(1).await;
    assert_eq!(load(), Some(2));
    drop(clients);
}

#[tokio::test(start_paused = true)]
async fn the_later_of_two_nodes_of_one_tag_draws_another() {
    let bus = MemoryBus::new();
    let witness = Node::start(&bus, named("witness")).await;
    let tag = NodeTag([7; 3]);
    let one = Node::start_now(&bus, named("one"), tag);
    // Epochs are of the wall clock, which a paused clock does not stop.
    while crate::cluster::receiver::clock() == one.cluster.origin().counting_since() {
        std::hint::spin_loop();
    }
    let two = Node::start_now(&bus, named("two"), tag);
    // It comes before the two know of each other, and its id begins with the tag of both.
    let early = two.client("/").await;
    let id = two.io.local().all_sockets().await.unwrap().into_iter().next().unwrap();
    assert_eq!(NodeTag::of(&id), Some(tag));
    heartbeats(3).await;
    let drawn = two.cluster.origin().tag;
    assert!(one.cluster.origin().tag == tag && drawn != tag && two.hub.tag() == drawn);
    for (node, others) in [(&witness, ["one", "two"]), (&one, ["two", "witness"]), (&two, ["one", "witness"])] {
        let mut names: Vec<_> = node.cluster.members().iter().map(|member| member.node.to_string()).collect();
        names.sort();
        assert_eq!(names, others);
    }

    // Who is addressed by the old tag is reached, and who comes now.
    let late = two.client("/").await;
    witness.io.to(id.clone()).emit("e", "early").unwrap();
    let ids = two.io.local().all_sockets().await.unwrap();
    let new = ids.into_iter().find(|socket| *socket != id).unwrap();
    assert_eq!(NodeTag::of(&new), Some(drawn));
    witness.io.to(new).emit("e", "late").unwrap();
    witness.io.emit("e", "all").unwrap();
    one.io.emit("e", "one").unwrap();
    two.io.emit("e", "two").unwrap();
    for (client, own) in [(&early, "early"), (&late, "late")] {
        let mut events = client.events().await;
        events.sort();
        assert_eq!(events, ["all", own, "one", "two"].map(|what| format!(r#"["e","{what}"]"#)));
    }
    let found = witness.io.fetch_sockets().await.unwrap();
    assert_eq!(found.len(), 2);
    for node in [&witness, &one, &two] {
        assert_eq!((node.count("holes"), node.count("requests_missed")), (0, 0));
    }
    assert_eq!(two.count("clashes"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_adapter_and_a_hub_serve_one_cluster() {
    let bus = MemoryBus::new();
    let tag = NodeTag::random();
    let adapter = Arc::new(bus.adapter(memory::Config::default()));
    let hub = || Hub::new(hub::Config::default(), tag);
    let used = hub();
    let cluster = Cluster::start(Config::default(), used.clone(), adapter.clone()).unwrap();
    assert_eq!(
        Cluster::start(Config::default(), hub(), adapter).unwrap_err(),
        StartError::AdapterInUse
    );
    let other = Arc::new(bus.adapter(memory::Config::default()));
    assert_eq!(Cluster::start(Config::default(), used, other).unwrap_err(), StartError::HubInUse);
    cluster.close(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn namespaces_of_clients_come_and_go_and_are_heard_while_they_exist() {
    let bus = MemoryBus::new();
    let cleaning = hub::Config {
        cleanup_empty_child_namespaces: true,
        ..hub::Config::default()
    };
    let one = Node::start_with(&bus, named("one"), NodeTag::random(), cleaning.clone());
    let two = Node::start_with(&bus, named("two"), NodeTag::random(), cleaning);
    for node in [&one, &two] {
        drop(node.io.of_pattern("/c*"));
    }
    heartbeats(2).await;
    // Many come and go; each is heard on the other node while it exists there, and nothing is taken for lost.
    for round in 0..3 {
        for number in 0..40 {
            let name = format!("/c{number}");
            let (here, there) = (one.client(&name).await, two.client(&name).await);
            settle().await;
            one.io.of(&name).emit("e", &round).unwrap();
            assert_eq!(there.events().await, [format!(r#"["e",{round}]"#)], "{name}");
            assert_eq!(here.events().await.len(), 1);
            drop((here, there));
            settle().await;
            assert_eq!(two.hub.namespaces(), ["/".into()], "{name}");
        }
        heartbeats(3).await;
    }
    for node in [&one, &two] {
        assert_eq!(
            (node.count("holes"), node.count("repeats"), node.count("publish_closed")),
            (0, 0, 0)
        );
    }
    // The numbers of the many are forgotten, with the epoch in which they were used.
    assert!(one.count("renewals") > 0);
    assert!(one.cluster.link.idle() <= 17, "{}", one.cluster.link.idle());
}

#[tokio::test(start_paused = true)]
async fn the_application_is_told_of_a_node_that_leaves_and_which_sockets_went_with_it() {
    let bus = MemoryBus::new();
    let (one, two, three) = (
        Node::start(&bus, named("one")).await,
        Node::start(&bus, named("two")).await,
        Node::start(&bus, named("three")).await,
    );
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    one.io.on_node_left(|_| panic!("on purpose"));
    one.io.on_node_left(move |left| telling.lock().unwrap().push(left.clone()));
    let _clients = (one.client("/").await, two.client("/").await, three.client("/").await);
    let sockets = one.io.all_sockets().await.unwrap();

    two.cluster.close(Duration::ZERO).await;
    three.adapter.all(|_| Fate::Lost);
    heartbeats(12).await;
    let told = told.lock().unwrap().clone();
    let [first, second] = &*told else { panic!("{told:?}") };
    assert_eq!((&**first.node(), first.said_goodbye()), ("two", true));
    assert_eq!((&**second.node(), second.said_goodbye()), ("three", false));
    for left in [first, second] {
        assert_eq!(sockets.iter().filter(|socket| left.had(socket)).count(), 1);
    }
    let here = one.io.all_sockets().await.unwrap();
    assert!(here.iter().all(|socket| !first.had(socket) && !second.had(socket)));
    assert_eq!(one.hub.counters().handler_panics.get(), 2);
}
