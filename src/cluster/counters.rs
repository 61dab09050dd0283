//! What the cluster layer counts: plain atomics that the node renders as metrics.

use crate::engine::counters;

counters! {
    /// The counters of one node's cluster layer. All count up from zero.
    pub struct Counters {
        /// Commands handed to the adapter for the other nodes.
        published,
        /// Commands that did not reach other nodes because the adapter's queue was full.
        publish_full,
        /// Commands that did not reach other nodes because they are larger than the backend or an envelope takes.
        publish_too_large,
        /// Commands that did not reach other nodes because the adapter was closed.
        publish_closed,
        /// Heartbeats handed to the adapter.
        heartbeats,
        /// Envelopes received, whatever became of them.
        received,
        /// Envelopes of this node that came back, and were dropped by their header.
        own,
        /// Canaries heard: own heartbeats that came back.
        canaries,
        /// Commands of other nodes carried out here.
        applied,
        /// Commands of other nodes for which no socket is here; their payload was not touched.
        unwanted,
        /// Commands that had come on another topic of their namespace.
        copies,
        /// Envelopes that had been received before.
        repeats,
        /// Commands of other nodes that never arrived, or after later ones, found by their numbers; each is counted once.
        holes,
        /// Heartbeats of other nodes that never arrived.
        heartbeats_missed,
        /// Requests and replies of other nodes that never arrived.
        requests_missed,
        /// Requests handed to the adapter for the other nodes.
        requests,
        /// Requests that could not be handed to the adapter.
        requests_unsent,
        /// Requests of other nodes that were refused, because too many were being answered.
        requests_refused,
        /// Times the adapter said that messages may be missing.
        gaps,
        /// Times the backend became reachable.
        connects,
        /// Times the backend became unreachable.
        disconnects,
        /// Envelopes of a wire version that is not known.
        foreign_version,
        /// Envelopes that name another cluster.
        foreign_cluster,
        /// Envelopes without a MAC, or with one of another secret.
        bad_mac,
        /// Envelopes that could not be read.
        malformed,
        /// Pages of a log that clients which came back got from memory.
        replay_recent,
        /// Reads of a log for clients that came back; one may serve many.
        replay_reads,
        /// Nodes heard for the first time, or under a new epoch.
        joined,
        /// Nodes that said goodbye.
        left,
        /// Nodes of which nothing was heard for `remove_after`.
        removed,
        /// Times a node was suspected.
        suspected,
        /// Heartbeats of another node that has this node's tag.
        clashes,
        /// Heartbeats refused because there are too many members.
        crowded,
        /// Times this node began a new epoch: it found itself removed, or many namespaces had come and gone.
        renewals,
        /// Events that a log has confirmed.
        appended,
        /// Events refused because their log was away for too long, or with too much waiting for it.
        append_busy,
        /// Events refused because their log does not take their size.
        append_too_large,
        /// Entries of logs that could not be read or believed.
        log_malformed,
        /// Times a log had lost entries that this node had not seen, and its sessions with them.
        log_holes,
    }
}
