//! The simulated driver: seeded, in memory, in virtual time. It is for tests of the contract and of everything above
//! it.
//!
//! One [`Sim`] contains both ends of every connection and the network between them, so a client and a server on one
//! worker can communicate. It does everything that a kernel may do but seldom does: see [`Faults`]. The same seed and
//! the same calls give exactly the same run, as long as no other thread rings a notifier.
//!
//! Not here: real descriptors. [`adopt`](Driver::adopt) and [`poll`](Driver::poll) fail with `Unsupported`, because
//! real descriptors depend on a clock and a kernel that no seed controls.
//!
//! # Examples
//! ```
//! use ringtide_driver::sim::{Sim, SimOptions};
//! use ringtide_driver::{Address, Driver, Event};
//!
//! let mut sim = Sim::new(SimOptions::default());
//! let listener = sim.listen(&Address::Tcp("127.0.0.1:0".parse().unwrap()), false)?;
//! let client = sim.connect(&sim.local_address(listener)?)?;
//! let mut completions = Vec::new();
//! sim.turn(None, &mut completions)?;
//! assert!(matches!(completions[0].event, Event::Connected(Ok(()))) && completions[0].handle == client);
//! # Ok::<(), std::io::Error>(())
//! ```

mod agenda;
mod faults;
mod network;
mod socket;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::buffer::{BufferPool, SendBuffer};
use crate::contract::{
    Completion, Driver, Event, Handle, Interest, Notifier, ReceiveEnd, busy_handle, source_address,
    stale_handle,
};
use crate::limits::SKIP_SUCCESS_SEND_SIZE_MAX;
use crate::slots::Slots;
use agenda::{Agenda, Bell, Step};
pub use faults::Faults;
use faults::{DELAY_NS_MAX, Random};
use socket::{Kind, LATENCY_NS, Link, Listener, MultishotState, Phase, Send, Socket, Stream, not_connected};

/// The virtual time that one turn takes. A caller that takes turns until a deadline therefore reaches the deadline.
const TURN_NS: u64 = 1_000;

/// The longest real time that a turn waits for another thread to ring a notifier.
const NOTIFIER_WAIT_MAX: Duration = Duration::from_secs(10);

/// The first port that the simulation assigns, as on Linux (`net.ipv4.ip_local_port_range`).
const EPHEMERAL_PORT_MIN: u16 = 32_768;

/// The options of a [`Sim`].
#[derive(Clone, Copy, Debug)]
pub struct SimOptions {
    /// The seed of all random decisions.
    pub seed: u64,
    /// The faults to simulate.
    pub faults: Faults,
    /// How many bytes one direction of a connection holds before its sender has to wait. At least 1.
    pub socket_buffer_size: usize,
}

impl Default for SimOptions {
    /// Returns the defaults: seed 0, no faults, 64 KiB.
    fn default() -> Self {
        Self { seed: 0, faults: Faults::default(), socket_buffer_size: 64 * 1024 }
    }
}

/// A driver whose kernel and network are simulated. See the [module](self).
#[derive(Debug)]
pub struct Sim {
    faults: Faults,
    socket_buffer_size: usize,
    random: Random,
    now_ns: u64,
    pool: BufferPool,
    /// Buffers that are not lent out.
    free: Vec<u16>,
    /// If fewer buffers than this are free, data is delivered as a copy.
    reserve: usize,
    /// Until this time, no receive finds a buffer.
    dry_until_ns: u64,
    /// Receives that found no buffer, in order.
    starved: VecDeque<Handle>,
    sockets: Slots<Socket>,
    listeners: HashMap<Address, Vec<Handle>>,
    /// Paths at which a Unix socket has listened. A real one would leave its file there.
    unix_paths: HashSet<PathBuf>,
    port_next: u16,
    agenda: Agenda,
    /// Completions that are available and have not been delivered yet.
    ready: Vec<Completion>,
    /// For this number of turns, nothing is delivered.
    overflow_turns: u64,
    /// Skip-success sends that the next turn submits.
    skip_success: Vec<Handle>,
    /// Skip-success sends that have to wait. The next turn reports them.
    waiting: Vec<Handle>,
    bell: Arc<Bell>,
}

impl Sim {
    /// Creates a simulation with a pool of the default size.
    pub fn new(options: SimOptions) -> Self {
        Self::with_pool(options, BufferPool::new())
    }

    /// Creates a simulation that receives into `pool`.
    ///
    /// If fewer than a quarter of the buffers are free, the simulation delivers data as copies.
    ///
    /// # Panics
    /// If `socket_buffer_size` is 0, or if the pool belongs to another driver.
    pub fn with_pool(options: SimOptions, pool: BufferPool) -> Self {
        assert!(options.socket_buffer_size > 0, "the socket buffer size must not be 0");
        pool.claim();
        Self {
            faults: options.faults,
            socket_buffer_size: options.socket_buffer_size,
            random: Random::new(options.seed),
            now_ns: 0,
            free: (0..pool.count()).rev().collect(),
            reserve: usize::from(pool.count() / 4),
            pool,
            dry_until_ns: 0,
            starved: VecDeque::new(),
            sockets: Slots::default(),
            listeners: HashMap::new(),
            unix_paths: HashSet::new(),
            port_next: EPHEMERAL_PORT_MIN,
            agenda: Agenda::default(),
            ready: Vec::new(),
            overflow_turns: 0,
            skip_success: Vec::new(),
            waiting: Vec::new(),
            bell: Arc::default(),
        }
    }

    /// Resets the connection of `socket`: from the next turn on, both ends fail with `ECONNRESET`, and bytes in flight
    /// are lost.
    ///
    /// Does nothing if the handle is stale or not connected.
    pub fn reset(&mut self, socket: Handle) {
        self.agenda.at(self.now_ns, Step::Reset(socket));
    }

    /// Makes the close of the stream from `local` to `peer` reset the connection, as `SO_LINGER` with a time of 0 does
    /// (socket(7)). The reset arrives behind all bytes sent before. Returns whether there is such a stream.
    ///
    /// Addresses identify a stream over TCP only: all clients of a Unix socket have the same one.
    pub fn reset_at_close(&mut self, local: &Address, peer: &Address) -> bool {
        let found = self.sockets.iter().find_map(|(handle, socket)| match &socket.kind {
            Kind::Stream(stream) => (stream.local == *local && stream.remote == *peer).then_some(handle),
            Kind::Listener(_) => None,
        });
        let Some(stream) = found.and_then(|handle| self.live_stream(handle).ok()) else { return false };
        stream.resets_at_close = true;
        true
    }

    /// Moves the virtual clock forward. The next turn delivers what has become due.
    pub fn advance(&mut self, duration_ns: u64) {
        self.now_ns += duration_ns;
    }

    /// Returns how many sockets and listeners are open. This includes connections that wait to be accepted.
    pub fn open_sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Returns the socket behind a handle that the caller has not closed.
    fn live(&self, handle: Handle) -> io::Result<&Socket> {
        self.sockets.get(handle).filter(|socket| !socket.closing).ok_or_else(stale_handle)
    }

    fn live_mut(&mut self, handle: Handle) -> io::Result<&mut Socket> {
        self.sockets.get_mut(handle).filter(|socket| !socket.closing).ok_or_else(stale_handle)
    }

    fn live_stream(&mut self, handle: Handle) -> io::Result<&mut Stream> {
        match &mut self.live_mut(handle)?.kind {
            Kind::Stream(stream) => Ok(stream),
            Kind::Listener(_) => Err(not_connected()),
        }
    }

    fn start_send(&mut self, socket: Handle, buffer: SendBuffer, skip_success: bool) -> io::Result<()> {
        self.hand_over_skip_success(socket);
        let stream = self.live_stream(socket)?;
        if stream.send.is_some() {
            return Err(busy_handle());
        }
        stream.sends += 1;
        let number = stream.sends;
        stream.send = Some(Send::UnderWay { buffer, taken: 0, skip_success, scheduled: true, number });
        if skip_success {
            self.skip_success.push(socket);
        } else {
            self.agenda.at(self.now_ns, Step::Send(socket));
        }
        Ok(())
    }

    fn ephemeral_port(&mut self) -> u16 {
        let port = self.port_next;
        self.port_next = self.port_next.checked_add(1).unwrap_or(EPHEMERAL_PORT_MIN);
        port
    }

    /// Returns the local address of a client that connects to `remote`.
    fn client_address(&mut self, remote: &Address, source: Option<IpAddr>) -> Address {
        let ip = match remote {
            Address::Tcp(SocketAddr::V4(_)) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Address::Tcp(SocketAddr::V6(_)) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            Address::Unix(_) => return Address::Unix(PathBuf::new()),
        };
        Address::Tcp(SocketAddr::new(source.unwrap_or(ip), self.ephemeral_port()))
    }

    /// Returns the address that a bind to `address` gives. Port 0 is replaced by a free port.
    fn bound_address(&mut self, address: &Address) -> Address {
        match address {
            Address::Tcp(tcp) if tcp.port() == 0 => loop {
                let address = Address::Tcp(SocketAddr::new(tcp.ip(), self.ephemeral_port()));
                if !self.listeners.contains_key(&address) {
                    return address;
                }
            },
            _ => address.clone(),
        }
    }

    /// Waits in real time for a notifier, if any exists.
    fn wait_for_bell(&self) -> io::Result<()> {
        let has_notifiers = Arc::strong_count(&self.bell) > 1;
        // Without notifiers, the last one may have rung just before it was dropped.
        let rung = if has_notifiers { self.bell.wait(NOTIFIER_WAIT_MAX) } else { self.bell.take() };
        if rung { Ok(()) } else { Err(self.deadlock()) }
    }

    /// Returns the error of a turn that would never end, because there is no deadline and no event to come.
    fn deadlock(&self) -> io::Error {
        let (mut receives, mut sends, mut accepts, mut connects) = (0, 0, 0, 0);
        for (_, socket) in self.sockets.iter() {
            let running = usize::from(socket.multishot.is_running());
            match &socket.kind {
                Kind::Listener(_) => accepts += running,
                Kind::Stream(stream) => {
                    receives += running;
                    sends += usize::from(stream.send.is_some());
                    connects += usize::from(stream.phase == Phase::Connecting);
                }
            }
        }
        let lent = self.pool.lent();
        io::Error::new(
            io::ErrorKind::Deadlock,
            format!(
                "nothing can end this wait: {receives} receives ({} of them without a buffer, {lent} buffers lent), \
                 {sends} sends, {accepts} accepts and {connects} connects are under way, there is no deadline, and no \
                 notifier was rung",
                self.starved.len()
            ),
        )
    }
}

impl Driver for Sim {
    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn connect_from(&mut self, address: &Address, source: Option<IpAddr>) -> io::Result<Handle> {
        address.to_system()?;
        let source = source.map(|source| source_address(address, source)).transpose()?;
        if self.random.chance(self.faults.no_descriptors) {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let local = self.client_address(address, source.map(|source| source.ip()));
        let link = self.new_link();
        let stream = Stream::new(local, address.clone(), Phase::Connecting, link);
        let handle = self.sockets.insert(Socket::new(Kind::Stream(Box::new(stream))));
        if !self.random.chance(self.faults.blackhole_connect) {
            let refused = self.random.chance(self.faults.refused_connect);
            self.agenda.at(self.now_ns + link.latency_ns, Step::Handshake { handle, refused });
        }
        Ok(handle)
    }

    fn listen(&mut self, address: &Address, reuse_port: bool) -> io::Result<Handle> {
        address.to_system()?;
        let address = self.bound_address(address);
        let shared = |handle: &Handle| {
            let kind = self.sockets.get(*handle).map(|socket| &socket.kind);
            matches!(kind, Some(Kind::Listener(Listener { reuse_port: true, .. }))) && reuse_port
        };
        if !self.listeners.get(&address).is_none_or(|others| others.iter().all(shared)) {
            return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
        }
        if let Address::Unix(path) = &address {
            self.unix_paths.insert(path.clone());
        }
        let listener = Listener { address: address.clone(), reuse_port, backlog: VecDeque::new() };
        let handle = self.sockets.insert(Socket::new(Kind::Listener(listener)));
        self.listeners.entry(address).or_default().push(handle);
        Ok(handle)
    }

    /// # Errors
    /// Always `Unsupported`: the simulation has no real sockets.
    fn adopt(&mut self, _socket: OwnedFd) -> io::Result<Handle> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn accept(&mut self, listener: Handle) -> io::Result<()> {
        let socket = self.live_mut(listener)?;
        if matches!(socket.kind, Kind::Stream(_)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        socket.multishot.start()?;
        self.carry_on_at(self.now_ns, listener);
        Ok(())
    }

    fn receive(&mut self, socket: Handle) -> io::Result<()> {
        let now_ns = self.now_ns;
        let live = self.live_mut(socket)?;
        live.multishot.start()?;
        let connected = matches!(&live.kind, Kind::Stream(stream) if stream.phase == Phase::Connected);
        if connected {
            self.carry_on_at(now_ns, socket);
        } else {
            self.end_multishot(socket, Event::ReceiveEnded(ReceiveEnd::Error(not_connected())));
        }
        Ok(())
    }

    /// Does nothing. All data that arrives at the same virtual time is delivered in one turn.
    fn limit_receives(&mut self, _size_max: u32) {}

    fn send(&mut self, socket: Handle, buffer: SendBuffer) -> io::Result<()> {
        self.start_send(socket, buffer, false)
    }

    fn send_skip_success(&mut self, socket: Handle, bytes: &'static [u8]) -> io::Result<()> {
        if bytes.len() > SKIP_SUCCESS_SEND_SIZE_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.start_send(socket, SendBuffer::Static(bytes), true)
    }

    fn shutdown(&mut self, socket: Handle) -> io::Result<()> {
        self.hand_over_skip_success(socket);
        let stream = self.live_stream(socket)?;
        if stream.send.is_some() {
            return Err(busy_handle());
        }
        if stream.phase != Phase::Connected || stream.reset {
            return Err(not_connected());
        }
        self.send_fin(socket);
        Ok(())
    }

    fn cancel(&mut self, handle: Handle) {
        let Ok(socket) = self.live(handle) else { return };
        if !socket.multishot.is_running() {
            return;
        }
        let start = socket.multishot.starts;
        let late_ns = self.random_delay_ns(self.faults.cancel_race);
        if late_ns > 0 {
            self.agenda.at(self.now_ns + late_ns, Step::Cancel { handle, start });
        } else {
            self.cancelled(handle, start);
        }
    }

    fn cancel_send(&mut self, socket: Handle) {
        let Ok(stream) = self.live_stream(socket) else { return };
        let Some(Send::UnderWay { number, skip_success: false, .. }) = stream.send else { return };
        let late_ns = self.random_delay_ns(self.faults.cancel_race);
        if late_ns > 0 {
            self.agenda.at(self.now_ns + late_ns, Step::CancelSend { handle: socket, number });
        } else {
            self.send_cancelled(socket, number);
        }
    }

    fn close(&mut self, handle: Handle) {
        if self.live(handle).is_ok() {
            self.carry_on_send(handle);
            self.close_socket(handle);
        }
    }

    fn is_at_end(&mut self, socket: Handle) -> bool {
        let Ok(stream) = self.live_stream(socket) else { return false };
        stream.phase != Phase::Connected
            || (stream.incoming.buffered.is_empty() && stream.incoming.end.is_some())
    }

    /// # Errors
    /// Always `Unsupported`: the simulation cannot know when a real descriptor is ready.
    fn poll(&mut self, _descriptor: RawFd, _interest: Interest) -> io::Result<Handle> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Runs one turn in virtual time.
    ///
    /// If nothing is due, the clock moves at once to the next event or to the deadline. Real time plays no part: a wait
    /// with a deadline ends before other threads can ring a notifier. Without a deadline and without any event to come,
    /// the turn waits in real time for a notifier, if one exists.
    ///
    /// # Errors
    /// `Deadlock` if nothing can end the wait: no notifier exists, or none was rung for ten seconds. The message lists
    /// what is under way.
    fn turn(&mut self, deadline_ns: Option<u64>, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.now_ns += TURN_NS;
        self.buffers_back();
        for socket in std::mem::take(&mut self.skip_success) {
            self.hand_over_skip_success(socket);
        }
        if self.tell_who_waits(completions) {
            return Ok(());
        }
        if self.random.chance(self.faults.spurious_wake) {
            return Ok(());
        }
        if self.overflow_turns > 0 {
            self.overflow_turns -= 1;
        } else if self.random.chance(self.faults.overflow) {
            self.overflow_turns = self.random.up_to(3);
        }
        loop {
            self.run_due();
            if self.overflow_turns > 0 {
                return Ok(());
            }
            if self.hand_out(completions) || self.bell.take() {
                return Ok(());
            }
            match (self.agenda.next_ns(), deadline_ns) {
                (Some(next_ns), None) => self.now_ns = next_ns,
                (Some(next_ns), Some(deadline_ns)) if next_ns <= deadline_ns => self.now_ns = next_ns,
                (_, Some(deadline_ns)) => {
                    self.now_ns = self.now_ns.max(deadline_ns);
                    return Ok(());
                }
                (None, None) => return self.wait_for_bell(),
            }
        }
    }

    fn notifier(&self) -> Notifier {
        let bell = Arc::clone(&self.bell);
        Notifier::new(move || bell.ring())
    }

    fn pool(&self) -> &BufferPool {
        &self.pool
    }

    fn local_address(&self, handle: Handle) -> io::Result<Address> {
        match &self.live(handle)?.kind {
            Kind::Stream(stream) => Ok(stream.local.clone()),
            Kind::Listener(listener) => Ok(listener.address.clone()),
        }
    }

    fn peer_address(&self, handle: Handle) -> io::Result<Address> {
        match &self.live(handle)?.kind {
            Kind::Stream(stream) if stream.phase == Phase::Connected => Ok(stream.remote.clone()),
            _ => Err(not_connected()),
        }
    }

    fn name(&self) -> &'static str {
        "sim"
    }

    fn features(&self) -> Vec<&'static str> {
        vec!["virtual time"]
    }

    fn syscalls(&self) -> u64 {
        0
    }
}

impl Sim {
    /// Returns a link for one direction of a new connection.
    fn new_link(&mut self) -> Link {
        if self.random.chance(self.faults.slow_link) {
            // From a neighbouring network to another continent, and from 1 GB/s to 1 MB/s.
            Link {
                latency_ns: self.random.up_to(50_000_000),
                ns_per_byte: self.random.up_to(1_000),
                last_arrival_ns: 0,
            }
        } else {
            Link { latency_ns: LATENCY_NS, ns_per_byte: 0, last_arrival_ns: 0 }
        }
    }

    /// Returns a random time with `probability`, otherwise 0.
    fn random_delay_ns(&mut self, probability: f64) -> u64 {
        if self.random.chance(probability) { self.random.up_to(DELAY_NS_MAX) } else { 0 }
    }

    /// Reports the skip-success sends that have to wait, without delay. Returns whether there were any.
    fn tell_who_waits(&mut self, completions: &mut Vec<Completion>) -> bool {
        let before = completions.len();
        for handle in std::mem::take(&mut self.waiting) {
            if self.live(handle).is_ok() {
                completions.push(Completion { handle, event: Event::SendWaits });
            }
        }
        completions.len() > before
    }

    /// Delivers `ready`. Returns whether it delivered anything.
    fn hand_out(&mut self, completions: &mut Vec<Completion>) -> bool {
        let before = completions.len();
        for completion in std::mem::take(&mut self.ready) {
            if self.settle(&completion) {
                completions.push(completion);
            }
        }
        completions.len() > before
    }

    /// Updates the socket for a completion that the caller is about to see. Returns false if the caller must not see
    /// it, because it has closed the socket meanwhile.
    fn settle(&mut self, completion: &Completion) -> bool {
        let handle = completion.handle;
        let Some(socket) = self.sockets.get_mut(handle) else { return false };
        if let Event::Closed = completion.event {
            self.sockets.remove(handle);
            return true;
        }
        if socket.closing {
            if let Event::Accepted(stream) = completion.event {
                self.abandon(stream);
            }
            return false;
        }
        match (&completion.event, &mut socket.kind) {
            (Event::ReceiveEnded(_) | Event::AcceptEnded(_), _) => {
                socket.multishot.state = MultishotState::Idle;
            }
            (Event::Sent(..), Kind::Stream(stream)) => stream.send = None,
            _ => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It may ring after the turn has looked, and be dropped before the turn asks whether there are notifiers.
    #[test]
    fn a_notifier_that_has_rung_and_gone_is_heard() {
        let sim = Sim::new(SimOptions::default());
        sim.notifier().notify();
        sim.wait_for_bell().expect("it was rung");
        assert_eq!(sim.wait_for_bell().expect_err("nobody is there").kind(), io::ErrorKind::Deadlock);
    }

    #[test]
    fn ports_go_round_and_those_in_use_are_left_out() {
        let any = Address::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0));
        let mut sim = Sim::new(SimOptions::default());
        let port = |sim: &mut Sim| {
            let listener = sim.listen(&any, false).expect("a free port");
            match sim.local_address(listener).expect("it is open") {
                Address::Tcp(address) => address.port(),
                Address::Unix(path) => panic!("{path:?}"),
            }
        };
        assert_eq!((port(&mut sim), port(&mut sim)), (EPHEMERAL_PORT_MIN, EPHEMERAL_PORT_MIN + 1));
        sim.port_next = u16::MAX;
        assert_eq!((port(&mut sim), port(&mut sim)), (u16::MAX, EPHEMERAL_PORT_MIN + 2));
    }

    #[test]
    fn it_says_what_it_is_and_makes_no_system_calls() {
        let sim = Sim::new(SimOptions::default());
        assert_eq!((sim.name(), sim.features(), sim.syscalls()), ("sim", vec!["virtual time"], 0));
    }

    #[test]
    fn listeners_of_one_address_all_get_connections() {
        let mut sim = Sim::new(SimOptions::default());
        let any = Address::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0));
        let first = sim.listen(&any, true).expect("a free port");
        let address = sim.local_address(first).expect("it is open");
        let listeners =
            [first, sim.listen(&address, true).expect("shared"), sim.listen(&address, true).expect("shared")];
        for listener in listeners {
            sim.accept(listener).expect("it is idle");
        }
        for _ in 0..60 {
            sim.connect(&address).expect("a socket can be made");
        }
        let mut completions = Vec::new();
        sim.turn(None, &mut completions).expect("it works");
        sim.turn(Some(sim.now_ns() + 1_000_000_000), &mut completions).expect("it works");
        for listener in listeners {
            let accepts = |it: &&Completion| it.handle == listener && matches!(it.event, Event::Accepted(_));
            let count = completions.iter().filter(accepts).count();
            assert!((5..=40).contains(&count), "{count} of 60");
        }
    }

    #[test]
    fn a_reset_fails_both_ends() {
        let mut sim = Sim::new(SimOptions::default());
        let any = Address::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0));
        let listener = sim.listen(&any, false).expect("a free port");
        sim.accept(listener).expect("it is idle");
        let address = sim.local_address(listener).expect("it is open");
        let client = sim.connect(&address).expect("a socket can be made");
        let mut completions = Vec::new();
        sim.turn(Some(1_000_000_000), &mut completions).expect("it works");
        sim.turn(Some(2_000_000_000), &mut completions).expect("it works");
        assert_eq!(sim.open_sockets(), 3);
        let now_ns = sim.now_ns();
        sim.advance(500);
        assert_eq!(sim.now_ns(), now_ns + 500);
        let server = completions.iter().find_map(|it| match it.event {
            Event::Accepted(server) => Some(server),
            _ => None,
        });
        let server = server.expect("it was accepted");
        for socket in [client, server] {
            sim.receive(socket).expect("it is idle");
        }
        sim.reset(client);
        completions.clear();
        for _ in 0..3 {
            sim.turn(Some(sim.now_ns() + 1_000_000), &mut completions).expect("it works");
        }
        let failed = |it: &Completion| matches!(it.event, Event::ReceiveEnded(ReceiveEnd::Error(_)));
        assert!(completions.len() == 2 && completions.iter().all(failed), "{completions:?}");
    }

    #[test]
    fn a_close_resets_if_it_was_told_to_and_what_was_sent_arrives_before() {
        let mut sim = Sim::new(SimOptions::default());
        let address = Address::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 80));
        let listener = sim.listen(&address, false).expect("a free port");
        sim.accept(listener).expect("it is idle");
        let clients = [sim.connect(&address), sim.connect(&address)].map(|client| client.expect("a socket"));
        let mut completions = Vec::new();
        let turns = |sim: &mut Sim, completions: &mut Vec<Completion>| {
            for _ in 0..4 {
                sim.turn(Some(sim.now_ns() + 1_000_000), completions).expect("it works");
            }
        };
        turns(&mut sim, &mut completions);
        let accepted: Vec<_> = completions
            .iter()
            .filter_map(|it| match it.event {
                Event::Accepted(server) => Some(server),
                _ => None,
            })
            .collect();
        let [local, peer] =
            [sim.local_address(accepted[0]), sim.peer_address(accepted[0])].map(Result::unwrap);
        assert!(sim.reset_at_close(&local, &peer) && !sim.reset_at_close(&local, &local));
        for server in &accepted {
            sim.send(*server, SendBuffer::Static(b"last")).expect("it is idle");
            sim.close(*server);
        }
        for client in clients {
            sim.receive(client).expect("it is idle");
        }
        completions.clear();
        turns(&mut sim, &mut completions);
        for (client, resets) in clients.into_iter().zip([true, false]) {
            let mut received = Vec::new();
            let mut reset = None;
            for completion in completions.iter().filter(|it| it.handle == client) {
                match &completion.event {
                    Event::Received(lease) => received.extend_from_slice(lease),
                    Event::ReceiveEnded(end) => reset = Some(matches!(end, ReceiveEnd::Error(_))),
                    _ => {}
                }
            }
            assert_eq!((received.as_slice(), reset), (&b"last"[..], Some(resets)));
        }
        assert!(!sim.reset_at_close(&local, &peer), "it is closed");
    }

    #[test]
    fn a_deadline_ends_a_turn_before_what_comes_later() {
        let mut sim = Sim::new(SimOptions::default());
        sim.agenda.at(1_000_000, Step::BuffersBack);
        let mut completions = Vec::new();
        for deadline_ns in [500_000, 2_000_000] {
            sim.turn(Some(deadline_ns), &mut completions).expect("it works");
            assert_eq!(sim.now_ns(), deadline_ns);
        }
    }
}
