//! The contract of an adapter: one list of behaviours, run over every backend. Redis and NATS are real servers, which the tests start
//! on free ports, kill, freeze and start again.
//!
//! * `server`: a backend's server as a child process
//! * `fleet`: several servers that are one backend
//! * `world`: a backend and its nodes, and the words that the tests are written in
//! * `relay`: a path to it that freezes, each way and each connection alone
//! * `load`: numbered messages without end, and a receiver that keeps account of them
//! * `delivery`, `order`, `bounds`, `life`, `outage`: what every backend must do
//! * `freeze`: when the path to the backend's server freezes
//! * `failover`: when a server of several dies
//! * `lag`: when the client library cannot keep up
//! * `log`, `records`: what logs and records must do, where there are any
//! * `login`, `tls`: what only backends with a server can get wrong
#![expect(unreachable_pub, reason = "a test binary has no users")]
#![expect(clippy::indexing_slicing, reason = "a test may panic")]

mod bounds;
mod delivery;
mod failover;
mod fleet;
mod freeze;
mod lag;
mod life;
mod load;
mod log;
mod login;
mod order;
mod outage;
mod records;
#[path = "../../../tests/it/dsl/relay.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "shared with the tests of whole nodes, which use the rest"
)]
mod relay;
mod server;
mod tls;
mod world;

/// Makes a test of each behaviour over one backend.
macro_rules! over {
    ($module:ident, $kind:ident, [$($room:ident::$name:ident),* $(,)?]) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::$room::$name(crate::world::Kind::$kind).await;
                }
            )*
        }
    };
}

/// What every backend must do.
macro_rules! contract {
    ($($behaviour:tt)*) => {
        over!(memory, Memory, [$($behaviour)*]);
        over!(redis, Redis, [$($behaviour)*]);
        over!(nats, Nats, [$($behaviour)*]);
        over!(redis_cluster, RedisCluster, [$($behaviour)*]);
    };
}

/// What a backend with a server must do besides.
macro_rules! with_server {
    ($($behaviour:tt)*) => {
        over!(redis_server, Redis, [$($behaviour)*]);
        over!(nats_server, Nats, [$($behaviour)*]);
    };
}

contract! {
    delivery::delivers_to_those_who_have_subscribed,
    delivery::delivers_nothing_that_nobody_wants,
    delivery::a_node_hears_its_own_messages,
    delivery::an_unsubscribed_topic_is_silent,
    delivery::a_topic_can_be_wanted_again,
    delivery::any_bytes_arrive_unchanged,
    order::what_one_publisher_sends_arrives_in_order_across_the_topics_of_a_group,
    bounds::a_full_inbox_drops_and_marks_the_gap,
    bounds::one_message_larger_than_queue_and_inbox_passes,
    life::close_sends_what_is_queued_and_ends_everything,
    life::a_dropped_adapter_ends_everything,
    life::an_adapter_that_starts_before_its_backend_connects_later,
    outage::a_backend_that_dies_under_load_and_comes_back,
}

/// What every backend must do that keeps logs and records.
macro_rules! with_store {
    ($($behaviour:tt)*) => {
        over!(memory_store, Memory, [$($behaviour)*]);
    };
}

with_store! {
    log::entries_get_positions_from_one_and_can_be_read_after_any,
    log::an_entry_is_appended_once_however_often_it_is_sent,
    log::a_page_is_bounded_and_holds_one_entry_at_least,
    log::followers_on_every_node_are_fed_in_the_order_of_the_log,
    log::an_outage_is_answered_and_leaves_a_gap_that_can_be_read,
    log::what_was_trimmed_is_said,
    log::a_follower_that_is_not_read_has_a_gap_and_costs_nobody,
    log::a_log_that_lost_its_entries_begins_an_epoch,
    log::a_follower_ends_with_its_store,
    records::a_value_is_changed_by_who_knows_it_and_by_nobody_else,
    records::one_of_many_who_change_a_value_succeeds,
    records::a_value_expires_unless_it_is_put_again,
    records::an_outage_is_answered,
    records::records_are_bounded,
}

with_server! {
    bounds::a_full_queue_refuses_and_old_messages_make_room,
    outage::a_frozen_backend_is_noticed,
    outage::every_outage_ends_however_many_there_are,
    freeze::a_path_that_is_frozen_briefly_costs_what_is_too_old_and_nothing_else,
    freeze::a_path_that_is_frozen_for_long_ends_in_a_new_session,
    freeze::a_flood_into_a_frozen_path_takes_no_more_than_its_bounds,
    login::a_wrong_password_is_said_and_never_shown,
    login::the_right_password_opens_by_url_and_by_key,
    tls::a_server_is_trusted_by_its_authority_alone,
    lag::what_the_client_library_drops_is_a_gap,
}

/// What every backend must do that is not divided.
macro_rules! undivided {
    ($($behaviour:tt)*) => {
        over!(memory_undivided, Memory, [$($behaviour)*]);
        over!(redis_undivided, Redis, [$($behaviour)*]);
        over!(nats_undivided, Nats, [$($behaviour)*]);
    };
}

undivided!(order::what_one_publisher_sends_arrives_in_order_across_topics);

over!(nats_limits, Nats, [bounds::what_is_too_large_for_the_backend_is_refused]);

/// What holds for one server holds for several that take its place.
macro_rules! with_fleet {
    ($($behaviour:tt)*) => {
        over!(sentinel, Sentinel, [$($behaviour)*]);
        over!(nats_cluster, NatsCluster, [$($behaviour)*]);
    };
}

with_fleet! {
    delivery::a_node_hears_its_own_messages,
    delivery::an_unsubscribed_topic_is_silent,
    order::what_one_publisher_sends_arrives_in_order_across_topics,
    life::close_sends_what_is_queued_and_ends_everything,
    life::an_adapter_that_starts_before_its_backend_connects_later,
}

over!(
    sentinel_failover,
    Sentinel,
    [
        failover::a_killed_master_ends_in_a_session_with_its_successor,
        failover::a_name_that_no_sentinel_knows_is_said,
    ]
);
over!(
    redis_cluster_failover,
    RedisCluster,
    [
        failover::a_killed_master_ends_in_a_session_with_its_replica,
        failover::a_slot_that_moves_takes_its_topics_along,
        failover::a_slot_that_moves_under_load_breaks_no_order,
        failover::a_cluster_is_found_by_one_of_its_servers,
        failover::what_is_no_cluster_is_said,
        outage::every_outage_ends_however_many_there_are,
    ]
);
over!(
    nats_failover,
    NatsCluster,
    [failover::a_killed_server_ends_in_a_session_with_another]
);
