//! One session as a state machine: heartbeat, upgrade and end. No I/O and no clock: the driver tells what happened and when, and asks
//! what to do (Engine.IO protocol v4 and v3; what they leave open is as the reference server does it).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::protocol::engineio::{Packet, PacketError, Revision};

use super::{CloseReason, Config, Incoming, Transport};

#[cfg(test)]
mod tests;

/// How long a poll waits that comes while a probe is confirmed. A client whose `3probe` is late polls again at once: without a pause it
/// would do so as fast as the network lets it. And the client's `5`, sent before the poll on another connection, must not be overtaken
/// by the answer. (The reference looks for a poll ten times a second.)
const NOOP_PAUSE: Duration = Duration::from_millis(25);

/// How late a timer of the runtime is without anything being wrong: its tick, and that of the wait below it.
const TIMER_GRAIN: Duration = Duration::from_millis(2);

/// The intervals that a session lives by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
    pub(super) upgrade_timeout: Duration,
    pub(super) close_timeout: Duration,
    pub(super) pause_timeout: Duration,
}

impl From<&Config> for Timing {
    fn from(config: &Config) -> Self {
        let &Config {
            ping_interval,
            ping_timeout,
            upgrade_timeout,
            close_timeout,
            pause_timeout,
            ..
        } = config;
        Self {
            ping_interval,
            ping_timeout,
            upgrade_timeout,
            close_timeout,
            pause_timeout,
        }
    }
}

impl Timing {
    /// The heartbeat of a client that has just done its part of it.
    fn rested(&self, revision: Revision, now: Instant) -> Heartbeat {
        match revision {
            Revision::V3 => Heartbeat::Asked(now + self.patience(revision)),
            Revision::V4 => Heartbeat::Resting(now + self.ping_interval),
        }
    }

    /// How long a client may take for its part of the heartbeat: to answer a ping, or in revision 3 to send the next one.
    fn patience(&self, revision: Revision) -> Duration {
        match revision {
            Revision::V3 => self.ping_interval + self.ping_timeout,
            Revision::V4 => self.ping_timeout,
        }
    }
}

/// The state of one session.
#[derive(Debug)]
pub(super) struct Session {
    timing: Arc<Timing>,
    revision: Revision,
    transport: Transport,
    heartbeat: Heartbeat,
    /// The client has answered a ping, and nobody was told yet.
    answered: bool,
    probe: Option<Probe>,
    /// Since when the application has not wanted to hear more.
    paused: Option<Instant>,
    life: Life,
}

/// Who has to speak next. Only this runs over an upgrade, and it does not care about it.
#[derive(Debug, Clone, Copy)]
enum Heartbeat {
    /// The server, then. Never in revision 3, where the client sends its pings unasked.
    Resting(Instant),
    /// The client, until then.
    Asked(Instant),
}

/// A WebSocket beside the polls of the same session.
#[derive(Debug)]
struct Probe {
    until: Instant,
    /// `2probe` has come and was answered: the client now waits for its poll to end.
    confirmed: bool,
    /// It was confirmed since the last step.
    fresh: bool,
    /// When the poll that waits is released, if one has come since.
    release: Option<Instant>,
}

#[derive(Debug)]
enum Life {
    Open,
    /// What waits is still to be sent. `waited` is whether the client was not listening at some moment since.
    Closing {
        reason: CloseReason,
        until: Instant,
        waited: bool,
    },
    Ended(End),
}

/// The end of a session, and how it is told to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) reason: CloseReason,
    /// The packets for a poll that waits.
    pub(super) poll: &'static [&'static str],
    /// The client has closed: a poll that it sent together with its `1` may come after it, and is to be answered.
    pub(super) late_poll: bool,
    /// The code of the close frame of a WebSocket; without one the client sees 1005.
    pub(super) code: Option<u16>,
    /// No good-bye: the connection is reset.
    pub(super) reset: bool,
}

/// What the client said that is not for the session alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// A message for the application.
    Message(Incoming<'a>),
    /// A ping, in revision 3: a pong is to be queued, without the ping's data.
    Ping,
}

/// What the driver is to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Queue a ping.
    Ping,
    /// Answer the poll with what waits.
    AnswerMessages,
    /// Answer the poll with a noop.
    AnswerNoop,
    /// Close the WebSocket that probes.
    CloseProbe,
}

/// What the driver is to do with a WebSocket that probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probed {
    /// Answer `3probe` on it.
    Pong,
    /// It is the session's transport from now on. A poll that waits is refused, as one that comes later; what waits goes out here.
    Switch,
    /// Close it; the session goes on without it.
    Close,
}

impl Session {
    /// A session that has just been opened on `transport`.
    pub(super) fn new(timing: Arc<Timing>, revision: Revision, transport: Transport, now: Instant) -> Self {
        Self {
            revision,
            transport,
            heartbeat: timing.rested(revision, now),
            timing,
            answered: false,
            probe: None,
            paused: None,
            life: Life::Open,
        }
    }

    pub(super) fn transport(&self) -> Transport {
        self.transport
    }

    pub(super) fn ended(&self) -> Option<End> {
        match self.life {
            Life::Ended(end) => Some(end),
            Life::Open | Life::Closing { .. } => None,
        }
    }

    /// Whether messages of the client are wanted now.
    pub(super) fn is_reading(&self) -> bool {
        self.paused.is_none()
    }

    /// The client sent a packet on the session's transport.
    pub(super) fn received<'a>(&mut self, packet: Result<Packet<'a>, PacketError>, now: Instant) -> Option<Heard<'a>> {
        let open = matches!(self.life, Life::Open);
        match packet {
            Ok(Packet::Message(text)) if open => return Some(Heard::Message(Incoming::Text(text))),
            Ok(Packet::Binary(bytes)) if open => return Some(Heard::Message(Incoming::Binary(bytes))),
            Ok(Packet::Ping(_)) if self.revision == Revision::V3 => {
                self.heartbeat = self.timing.rested(self.revision, now);
                return open.then_some(Heard::Ping);
            }
            Ok(Packet::Pong(_)) if self.revision == Revision::V4 => {
                // A pong that answers nothing changes nothing: otherwise a client could keep itself from being asked.
                if let Heartbeat::Asked(_) = self.heartbeat {
                    self.heartbeat = self.timing.rested(self.revision, now);
                    self.answered = true;
                }
            }
            // The heartbeat goes the other way in this revision of the protocol.
            Ok(Packet::Ping(_) | Packet::Pong(_)) => self.end(CloseReason::TransportError, None),
            Ok(Packet::Close) => {
                let late_poll = self.transport == Transport::Polling;
                self.end(CloseReason::TransportClose, None);
                if let Life::Ended(end) = &mut self.life {
                    (end.poll, end.late_poll) = (&["6"], late_poll);
                }
            }
            Ok(Packet::Message(_) | Packet::Binary(_) | Packet::Open(_) | Packet::Upgrade | Packet::Noop) => {}
            Err(_) => self.end(CloseReason::ParseError, None),
        }
        None
    }

    /// Whether the client has answered a ping since this was last asked.
    pub(super) fn take_answered(&mut self) -> bool {
        std::mem::take(&mut self.answered)
    }

    /// The client closed its transport, or it broke.
    pub(super) fn transport_closed(&mut self) {
        self.end(CloseReason::TransportClose, None);
    }

    /// The client broke the rules of its transport: the code is for the close frame of a WebSocket.
    pub(super) fn violated(&mut self, code: Option<u16>) {
        self.end(CloseReason::TransportError, code);
    }

    /// Ends the session now, without a word to the client.
    pub(super) fn reset(&mut self, reason: CloseReason) {
        self.end(reason, None);
        if let Life::Ended(end) = &mut self.life {
            end.reset = true;
        }
    }

    /// Ends the session when what waits has been sent, or when the client has not listened for `linger`.
    pub(super) fn close(&mut self, reason: CloseReason, linger: Option<Duration>, now: Instant) {
        if matches!(self.life, Life::Open) {
            let until = now + linger.unwrap_or(self.timing.close_timeout);
            self.life = Life::Closing {
                reason,
                until,
                waited: false,
            };
            self.paused = None;
        }
    }

    /// The application wants no messages until [`Session::resume`]. The client's time for its part of the heartbeat stands still.
    pub(super) fn pause(&mut self, now: Instant) {
        if matches!(self.life, Life::Open) {
            self.paused.get_or_insert(now);
        }
    }

    pub(super) fn resume(&mut self, now: Instant) {
        let Some(since) = self.paused.take() else { return };
        if let Heartbeat::Asked(until) = &mut self.heartbeat {
            // Asked before the pause or in it: what counts against the client is the time outside of it.
            let left = until.saturating_duration_since(since).min(self.timing.patience(self.revision));
            *until = now + left;
        }
    }

    /// A WebSocket came for this session. Answers whether it may probe.
    pub(super) fn probe_opened(&mut self, now: Instant) -> bool {
        let free = self.transport == Transport::Polling && self.probe.is_none() && matches!(self.life, Life::Open);
        if free {
            self.probe = Some(Probe {
                until: now + self.timing.upgrade_timeout,
                confirmed: false,
                fresh: false,
                release: None,
            });
        }
        free
    }

    /// The client sent a packet on the WebSocket that probes.
    pub(super) fn probe_received(&mut self, packet: &Result<Packet<'_>, PacketError>) -> Probed {
        match (packet, &mut self.probe) {
            (Ok(Packet::Ping("probe")), Some(probe)) => {
                (probe.confirmed, probe.fresh) = (true, true);
                Probed::Pong
            }
            (Ok(Packet::Upgrade), Some(Probe { confirmed: true, .. })) => {
                self.probe = None;
                self.transport = Transport::WebSocket;
                Probed::Switch
            }
            _ => {
                self.probe = None;
                Probed::Close
            }
        }
    }

    /// The WebSocket that probed is gone.
    pub(super) fn probe_closed(&mut self) {
        self.probe = None;
    }

    /// When the time of a polling client is up: what it asks from then on finds no session.
    pub(super) fn expires(&self) -> Option<Instant> {
        match (&self.life, self.transport, self.heartbeat, self.paused) {
            (Life::Open, Transport::Polling, Heartbeat::Asked(until), None) => Some(until),
            _ => None,
        }
    }

    /// What is to be done now, one thing at a time until there is nothing. `waiting` is whether messages wait to be sent (or to be
    /// taken by the transport), `polled` whether a poll waits for an answer.
    pub(super) fn step(&mut self, now: Instant, waiting: bool, polled: bool) -> Option<Step> {
        if self.probe.as_ref().is_some_and(|probe| now >= probe.until) {
            self.probe = None;
            return Some(Step::CloseProbe);
        }
        if let Some(step) = self.beat(now) {
            return step;
        }
        match self.transport {
            Transport::Polling => self.step_polling(now, waiting, polled),
            Transport::WebSocket => {
                if let Life::Closing { reason, .. } = self.life
                    && !waiting
                {
                    self.end(reason, None);
                }
                None
            }
        }
    }

    /// When [`Session::step`] is to be called at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let life = match (&self.life, self.heartbeat, self.paused) {
            (Life::Ended(_), ..) => return None,
            (Life::Closing { until, .. }, ..) => *until,
            (Life::Open, Heartbeat::Resting(until), None) => until,
            (Life::Open, Heartbeat::Resting(until), Some(since)) => until.min(since + self.timing.pause_timeout),
            (Life::Open, Heartbeat::Asked(_), Some(since)) => since + self.timing.pause_timeout,
            (Life::Open, Heartbeat::Asked(until), None) => until,
        };
        let probe = self.probe.iter().flat_map(|probe| probe.release.into_iter().chain([probe.until]));
        Some(probe.fold(life, Instant::min))
    }

    /// What the clock asks for. The outer option is whether that is all for now.
    fn beat(&mut self, now: Instant) -> Option<Option<Step>> {
        match (&self.life, self.heartbeat, self.paused) {
            (Life::Ended(_), ..) => return Some(None),
            (Life::Closing { reason, until, .. }, ..) if now >= *until => self.end(*reason, None),
            (Life::Closing { .. }, ..) => return None,
            (Life::Open, _, Some(since)) if now >= since + self.timing.pause_timeout => self.end(CloseReason::TransportError, None),
            (Life::Open, Heartbeat::Resting(until), _) if now >= until => {
                // The grain of two timers does not add up; a longer delay is the node's own, and not taken from the peer.
                let asked = now.checked_sub(TIMER_GRAIN).map_or(now, |earliest| until.max(earliest));
                self.heartbeat = Heartbeat::Asked(asked + self.timing.patience(self.revision));
                return Some(Some(Step::Ping));
            }
            (Life::Open, Heartbeat::Asked(until), None) if now >= until => self.end(CloseReason::PingTimeout, None),
            (Life::Open, ..) => return None,
        }
        Some(None)
    }

    fn step_polling(&mut self, now: Instant, waiting: bool, polled: bool) -> Option<Step> {
        match &mut self.life {
            _ if polled && waiting => {
                if let Life::Closing { waited, .. } = &mut self.life {
                    *waited = true;
                }
                return Some(Step::AnswerMessages);
            }
            // The client has stopped polling to finish its upgrade: a poll that is still here keeps it from doing so.
            _ if let Some(probe) = self.probe.as_mut().filter(|probe| probe.confirmed) => {
                let fresh = std::mem::take(&mut probe.fresh);
                match probe.release {
                    _ if !polled => probe.release = None,
                    None if !fresh => probe.release = Some(now + NOOP_PAUSE),
                    Some(at) if now < at => {}
                    _ => {
                        probe.release = None;
                        return Some(Step::AnswerNoop);
                    }
                }
            }
            Life::Closing { reason, waited, .. } if polled => {
                let reason = *reason;
                let poll: &[_] = if *waited { &["6", "1"] } else { &["1"] };
                self.end(reason, None);
                if let Life::Ended(end) = &mut self.life {
                    end.poll = poll;
                }
            }
            Life::Closing { waited, .. } => *waited = true,
            Life::Open | Life::Ended(_) => {}
        }
        None
    }

    /// The first reason counts: what happens to a session that closes already is part of that close.
    fn end(&mut self, reason: CloseReason, code: Option<u16>) {
        let reason = match self.life {
            Life::Open => reason,
            Life::Closing { reason, .. } => reason,
            Life::Ended(_) => return,
        };
        self.life = Life::Ended(End {
            reason,
            poll: &["1"],
            late_poll: false,
            code,
            reset: false,
        });
    }
}
