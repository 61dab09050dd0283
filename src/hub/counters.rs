//! What the hub counts: plain atomics that the node renders as metrics.

use crate::engine::counters;

counters! {
    /// The hub's counters. All count up from zero but the gauges, which say so.
    pub struct Counters {
        /// Gauge: namespaces that exist.
        namespaces,
        /// Namespaces that a parent allowed and for which there was no place.
        children_refused,
        /// Gauge: sockets connected to a namespace.
        sockets,
        /// Sockets that were connected to a namespace.
        connects,
        /// CONNECT packets answered with CONNECT_ERROR.
        connects_refused,
        /// Rooms that a socket did not join because it was in as many as it may be.
        joins_refused,
        /// Sockets that ended, whoever ended them.
        disconnects,
        /// Events received from clients.
        events_in,
        /// Events received for which no handler was registered.
        events_unhandled,
        /// Events whose arguments no extractor of their handler could read.
        events_rejected,
        /// Events that a packet middleware refused.
        events_refused,
        /// Messages queued to clients: one for each socket.
        messages_out,
        /// Volatile messages dropped because a socket could not be written to.
        volatile_dropped,
        /// Messages dropped because they filled a socket's outbox, which ended its session.
        overflows,
        /// Messages dropped because the socket was not connected.
        unconnected_dropped,
        /// Packets dropped for all their recipients because the parser could not encode them.
        unencodable,
        /// Acks received from clients that somebody waited for.
        acks_in,
        /// Acks received from clients that nobody waited for: unknown, repeated or too late.
        acks_unknown,
        /// Acks that did not come in time.
        acks_timed_out,
        /// Handlers that returned an error.
        handler_errors,
        /// Handlers that panicked.
        handler_panics,
        /// Connections closed for a packet that breaks the protocol, or whose attachments do not come.
        protocol_errors,
        /// Times a connection was not read from because its handlers were behind.
        pauses,
        /// Times a connection was not read from because it had sent too many events.
        throttles,
        /// Connections closed because they kept on sending too many events.
        too_fast,
        /// Connections closed because their handlers stayed behind for too long.
        stalled,
        /// Connections closed because they joined no namespace in time.
        connect_timeouts,
        /// Sessions recovered.
        recoveries,
        /// Clients that asked for the recovery of a session and were connected as new ones.
        recoveries_refused,
        /// Events replayed to recovered sockets.
        replayed,
        /// Replays that did not come to their end in time, and cost their clients the connection.
        replays_given_up,
        /// Sockets connected without a session that can be recovered, because log or records were away.
        connects_unrecorded,
        /// Times a record could not be written, because the records were away; it is tried again.
        records_unwritten,
        /// Sessions whose clients did not come back in time.
        sessions_expired,
        /// Sockets that lost their session to another connection, or to a hole in the log, and were cut.
        sessions_cut,
    }
}
