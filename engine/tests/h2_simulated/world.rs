//! What a seed stands for: the network, the options of both sides, and each request with what both sides do about it.

use std::time::Duration;

use bytes::Bytes;
use ringtide::proto::h2::Options;
use ringtide_driver::sim::{Faults, SimOptions};

use crate::random::{self, BODY_SIZE_MAX, Random};

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) sim: SimOptions,
    pub(crate) client: Options,
    pub(crate) server: Options,
    /// A relay between the two looks at all frames.
    pub(crate) is_observed: bool,
    /// Connections do not fail.
    pub(crate) is_calm: bool,
    /// After each of these times, another server takes over from the last one.
    pub(crate) restarts: Vec<Duration>,
    pub(crate) connections_max: usize,
    pub(crate) tasks: u32,
    pub(crate) requests: u32,
    /// Windows are so small that large bodies would take too long.
    is_narrow: bool,
}

/// What the server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerWay {
    /// Reads all of the body, then responds.
    Whole,
    /// Responds without reading.
    Early,
    /// Begins the response after the first piece of the body, and reads on while it sends.
    Both,
    /// Reads slowly, with pauses.
    Slow,
    /// Responds with what was encoded before.
    Prepared,
    /// Lets another task respond.
    Detached,
    /// Fails before the response.
    FailsBefore,
    /// Fails in the middle of the response.
    FailsAfter,
    /// Resets the stream.
    Disconnects,
}

/// What the client does with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientWay {
    Reads,
    ReadsSlowly,
    /// Does not read for a long time.
    ReadsLate,
    DropsAfterHead,
    DropsAfterPiece,
    /// Gives up after some time.
    Cancels(Duration),
}

/// A request and its response.
pub(crate) struct Plan {
    pub(crate) number: u32,
    pub(crate) method: &'static str,
    pub(crate) request_body: Bytes,
    /// The request's length is announced.
    pub(crate) is_announced: bool,
    pub(crate) response_body: Bytes,
    pub(crate) server: ServerWay,
    pub(crate) client: ClientWay,
    /// Sizes of a field of the request and of one of the response.
    pub(crate) request_field: usize,
    pub(crate) response_field: usize,
    /// The client waits so long before it begins.
    pub(crate) delay: Duration,
    /// Of one side that is slow.
    pub(crate) pause: Duration,
    /// The sizes of the pieces in which bodies are sent.
    pub(crate) piece: usize,
    has_trailers: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x1000_0001).wrapping_add(77));
        let hidden = random.one_of(&[0.0, 0.0, 0.02, 0.1, 0.3]);
        let is_calm = random.percent(65);
        let mut faults = Faults::hidden(hidden);
        if !is_calm {
            faults.reset = random.one_of(&[0.05, 0.3, 0.6]);
            faults.refused_connect = random.one_of(&[0.0, 0.1]);
            faults.blackhole_connect = random.one_of(&[0.0, 0.05]);
            faults.no_descriptors = random.one_of(&[0.0, 0.05]);
        }
        let is_narrow = random.percent(30);
        let sim = SimOptions {
            seed,
            faults,
            socket_buffer_size: random.one_of(&[64 * 1024, 64 * 1024, 5_000, 700]),
        };
        let client = options(&mut random, is_narrow);
        let server = options(&mut random, is_narrow).streams_max(random.one_of(&[1, 2, 5, 100]));
        let restarts = if random.percent(35) {
            (0..=random.below(2)).map(|_| Duration::from_micros(random.below(3_000))).collect()
        } else {
            Vec::new()
        };
        Self {
            seed,
            sim,
            client,
            server,
            is_observed: random.percent(70),
            is_calm,
            restarts,
            connections_max: random.one_of(&[1, 1, 2, 3]),
            tasks: 1 + random.below(8) as u32,
            requests: 4 + random.below(20) as u32,
            is_narrow,
        }
    }

    /// Returns whether bodies of half a connection's window go through the streams' windows in steps that are not too small.
    pub(crate) fn is_wide(&self) -> bool {
        self.client.stream_window.min(self.server.stream_window) >= 500
    }

    /// Returns the plan of a request. Both sides make it from its number.
    pub(crate) fn plan(&self, number: u32) -> Plan {
        let key = self.seed.wrapping_mul(7_919).wrapping_add(u64::from(number) + 1);
        let mut random = Random::new(key);
        let method = random.one_of(&["GET", "GET", "PUT", "POST", "POST", "HEAD"]);
        let request_size =
            if matches!(method, "GET" | "HEAD") { 0 } else { size(&mut random, self.is_narrow) };
        let response_size = size(&mut random, self.is_narrow);
        let server = if random.percent(12) {
            random.one_of(&[ServerWay::FailsBefore, ServerWay::FailsAfter, ServerWay::Disconnects])
        } else {
            random.one_of(&[
                ServerWay::Whole,
                ServerWay::Whole,
                ServerWay::Early,
                ServerWay::Both,
                ServerWay::Slow,
                ServerWay::Prepared,
                ServerWay::Detached,
            ])
        };
        let client = if random.percent(65) {
            ClientWay::Reads
        } else {
            let soon = Duration::from_nanos(random.below(2_000_000));
            random.one_of(&[
                ClientWay::ReadsSlowly,
                ClientWay::ReadsLate,
                ClientWay::DropsAfterHead,
                ClientWay::DropsAfterPiece,
                ClientWay::Cancels(soon),
                ClientWay::Cancels(soon / 20),
            ])
        };
        let field = |random: &mut Random| {
            if random.percent(10) { 1 + random.below(30_000) as usize } else { random.below(60) as usize }
        };
        Plan {
            number,
            method,
            request_body: random::body(key ^ 1, request_size),
            is_announced: random.percent(50),
            response_body: random::body(key ^ 2, response_size),
            server,
            client,
            request_field: field(&mut random),
            response_field: field(&mut random),
            delay: Duration::from_nanos(if random.percent(40) { random.below(500_000) } else { 0 }),
            pause: Duration::from_nanos(random.below(100_000)),
            piece: 1 + random.below(if self.is_narrow { 300 } else { 20_000 }) as usize,
            has_trailers: random.percent(30),
        }
    }
}

impl Plan {
    /// The status of the response.
    pub(crate) fn status(&self) -> u16 {
        if self.server == ServerWay::FailsBefore { 500 } else { 220 + (self.number % 60) as u16 }
    }

    /// The field that comes after the response's body.
    pub(crate) fn trailer(&self) -> Option<String> {
        let is_streamed = matches!(self.server, ServerWay::Both | ServerWay::Slow);
        // A client that knows the length has all of the response before its trailers.
        let is_known = self.server == ServerWay::Both && self.is_announced;
        (self.has_trailers && is_streamed && !is_known).then(|| format!("after {}", self.number))
    }

    /// Returns whether a response can be complete.
    pub(crate) fn is_answered(&self) -> bool {
        !matches!(self.server, ServerWay::FailsAfter | ServerWay::Disconnects)
    }

    /// What a large field has in it.
    pub(crate) fn field(&self, size: usize) -> String {
        format!("{:05}", self.number).chars().cycle().take(size).collect()
    }
}

fn options(random: &mut Random, is_narrow: bool) -> Options {
    let stream_window = if is_narrow {
        random.one_of(&[3, 17, 500, 2_000])
    } else {
        random.one_of(&[8_000, 65_535, 1 << 20])
    };
    Options::default()
        .stream_window(stream_window)
        .connection_window(random.one_of(&[65_535, 70_000, 200_000]))
        .header_table_size(random.one_of(&[0, 100, 4_096, 4_096]))
}

fn size(random: &mut Random, is_narrow: bool) -> usize {
    let end = match random.below(10) {
        0..=2 => return 0,
        3..=6 => 200,
        7..=8 if !is_narrow => 20_000,
        9 if !is_narrow && random.percent(30) => BODY_SIZE_MAX as u64,
        9 if !is_narrow => 60_000,
        // More would be so many small steps of a window that the peer takes them for an attack (CVE-2019-9511).
        _ => 300,
    };
    random.below(end) as usize
}
