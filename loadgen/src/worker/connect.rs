//! Connects: each address in turn, with the tunnel through a proxy, its TLS handshake and its time limit, and what is recorded of it. Which request
//! needs the connection is not its matter.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ringtide::conn::HttpVersion;
use ringtide::proto::h2;
use ringtide::runtime::{self, Timer};
use ringtide::stream::Stream;
use ringtide::tls::{self, ClientTls, cipher_suite_name, version_name};
use ringtide::{Address, Connection, ConnectionOptions};

use super::shared::Shared;
use super::tunnel::Target;
use crate::metrics::{ErrorKind, Handshake};
use crate::plan;
use crate::tls::explain;

/// A connection to the server.
pub(super) struct Connected {
    pub(super) connection: Connection,
    /// How many of the sent bytes a proxy was sent.
    pub(super) tunnel_size: u64,
    /// Since when a request can be sent.
    pub(super) ready_ns: u64,
}

/// Why no connection was made.
pub(super) struct ConnectFailure {
    /// What happened at the last address.
    pub(super) text: String,
    /// [`ErrorKind::Connect`] or [`ErrorKind::Tls`].
    pub(super) kind: ErrorKind,
    /// The kind of the TLS error, if it is one.
    pub(super) tls_kind: Option<&'static str>,
    /// Whether an address was waited for in vain. Then it is not known how long the connect would have taken.
    pub(super) timed_out: bool,
}

impl ConnectFailure {
    fn connect(text: String, timed_out: bool) -> Self {
        Self { text, kind: ErrorKind::Connect, tls_kind: None, timed_out }
    }

    fn tls(text: String, tls_kind: Option<&'static str>, timed_out: bool) -> Self {
        Self { text, kind: ErrorKind::Tls, tls_kind, timed_out }
    }
}

/// What an attempt is at, and since when.
#[derive(Clone, Copy)]
enum Step {
    Connect(u64),
    Tunnel(u64),
    Handshake(u64),
}

/// What ended an attempt.
enum AttemptEnd {
    Attempt(Result<(Stream, u64), ConnectFailure>),
    /// Its time limit.
    Time,
    /// The end of the run.
    Run,
}

impl Shared {
    /// Tries the addresses in order from `begun_ns` on, each for up to the whole connect timeout; `None` if no request may
    /// be sent any more.
    pub(super) async fn connect_or_end(&self, begun_ns: u64) -> Option<Result<Connected, ConnectFailure>> {
        let step = Cell::new(Step::Connect(begun_ns));
        let mut begun_ns = begun_ns;
        let mut timer = Timer::new();
        let mut failure = ConnectFailure::connect("there is no address to connect to".to_owned(), false);
        for target in &self.targets {
            if self.sending_ended.get() {
                return None;
            }
            step.set(Step::Connect(begun_ns));
            timer.set(begun_ns.saturating_add(self.plan.connect_timeout_ns));
            let mut attempt = pin!(self.connect_to(target, begun_ns, &step));
            // One future for all that can end it: futures in futures would be moved into each other for each connect.
            let end = poll_fn(|context| {
                if self.sending_ended.get() {
                    return Poll::Ready(AttemptEnd::Run);
                }
                match attempt.as_mut().poll(context) {
                    Poll::Ready(outcome) => Poll::Ready(AttemptEnd::Attempt(outcome)),
                    Poll::Pending => timer.poll_elapsed(context).map(|()| AttemptEnd::Time),
                }
            })
            .await;
            match end {
                AttemptEnd::Attempt(Ok((stream, tunnel_size))) => {
                    return Some(Ok(self.connected(stream, tunnel_size)));
                }
                AttemptEnd::Attempt(Err(error)) => {
                    let timed_out = failure.timed_out | error.timed_out;
                    failure = ConnectFailure { timed_out, ..error };
                }
                AttemptEnd::Time => {
                    self.give_up(step.get());
                    let timeout = Duration::from_nanos(self.plan.connect_timeout_ns);
                    failure = timed_out(step.get(), target, timeout);
                }
                AttemptEnd::Run => {
                    if self.is_measuring() {
                        self.give_up(step.get());
                    }
                    return None;
                }
            }
            begun_ns = runtime::now_ns();
        }
        Some(Err(failure))
    }

    fn connected(&self, stream: Stream, tunnel_size: u64) -> Connected {
        // The time in which the last message of a TLS handshake was processed counts as connecting.
        let ready_ns = if self.tls.is_some() { runtime::now_ns() } else { runtime::turn_time_ns() };
        let connection = Connection::new(stream, &self.connection_options());
        let is_http2 = connection.version() == http::Version::HTTP_2;
        self.recorder.borrow_mut().speaks(if is_http2 { "2" } else { "1.1" });
        Connected { connection, tunnel_size, ready_ns }
    }

    fn connection_options(&self) -> ConnectionOptions {
        let plan = &self.plan;
        let version = match plan.http.version {
            plan::HttpVersion::ByAlpn => HttpVersion::Negotiated,
            plan::HttpVersion::Http1 => HttpVersion::Http1,
            plan::HttpVersion::Http2 => HttpVersion::Http2,
        };
        let mut http2 = h2::Options::default().header_table_size(plan.http.h2_header_table_size);
        if let Some(window) = plan.http.h2_window {
            let all = u64::from(window) * plan.parallel as u64;
            http2 = http2.stream_window(window).connection_window(u32::try_from(all).unwrap_or(u32::MAX));
        }
        ConnectionOptions::default().pipelining(plan.parallel > 1).version(version).http2(http2)
    }

    /// Connects to one address, and starts TLS there if the plan has it. Returns also how many bytes a proxy was sent.
    async fn connect_to(
        &self,
        target: &Target,
        begun_ns: u64,
        step: &Cell<Step>,
    ) -> Result<(Stream, u64), ConnectFailure> {
        let address = &target.address;
        let source = self.next_source(address)?;
        let connected = match source {
            None => Stream::connect(address).await,
            Some(source) => Stream::connect_from(address, source).await,
        };
        let mut stream = match connected {
            Ok(stream) => stream,
            Err(error) => {
                self.note_shortage(&error);
                // The system has a limit of its own (ETIMEDOUT).
                let timed_out = error.kind() == io::ErrorKind::TimedOut;
                if timed_out {
                    self.give_up(Step::Connect(begun_ns));
                }
                let from = source.map(|source| format!(" from {source}")).unwrap_or_default();
                let text = format!("could not connect to {target}{from}: {error}");
                return Err(ConnectFailure::connect(text, timed_out));
            }
        };
        let mut tunnel_size = 0;
        if let Some(tunnel) = &target.tunnel {
            step.set(Step::Tunnel(begun_ns));
            let opened = Box::pin(tunnel.open(&mut stream, address)).await;
            tunnel_size = opened.map_err(|text| ConnectFailure::connect(text, false))?;
        }
        if !self.warming_up.get() {
            let time_ns = runtime::turn_time_ns().saturating_sub(begun_ns);
            self.recorder.borrow_mut().connected(time_ns);
        }
        let stream = match &self.tls {
            None => stream,
            // Its state is large, and a plain connect does not need room for it.
            Some(tls) => Box::pin(self.shake_hands(stream, target, tls, step)).await?,
        };
        Ok((stream, tunnel_size))
    }

    /// The address to connect to `address` from; `None` if the system chooses it.
    fn next_source(&self, address: &Address) -> Result<Option<IpAddr>, ConnectFailure> {
        if self.plan.bind.is_empty() {
            return Ok(None);
        }
        let fits = |source: &&IpAddr| matches!(address, Address::Tcp(to) if to.is_ipv4() == source.is_ipv4());
        let count = self.plan.bind.iter().filter(fits).count();
        if count == 0 {
            let text = format!("could not connect to {address}: no address of --bind is of its family");
            return Err(ConnectFailure::connect(text, false));
        }
        let turn = self.bound_connects.get();
        self.bound_connects.set(turn.wrapping_add(1));
        Ok(self.plan.bind.iter().filter(fits).nth(turn % count).copied())
    }

    async fn shake_hands(
        &self,
        stream: Stream,
        target: &Target,
        tls: &ClientTls,
        step: &Cell<Step>,
    ) -> Result<Stream, ConnectFailure> {
        let begun_ns = runtime::turn_time_ns();
        step.set(Step::Handshake(begun_ns));
        let stream =
            stream.start_tls(&self.plan.url.host, tls).await.map_err(|error| {
                match tls::Error::of_io(&error) {
                    Some(error) => {
                        ConnectFailure::tls(explain(error, &self.plan.tls), Some(error.kind()), false)
                    }
                    None => ConnectFailure::tls(
                        format!("the TLS handshake with {} failed: {error}", target.server()),
                        None,
                        false,
                    ),
                }
            })?;
        if !self.warming_up.get()
            && let Some(facts) = stream.tls()
            && let (Some(version), Some(cipher)) = (facts.version(), facts.cipher_suite())
        {
            // The time in which the last message of the server was processed counts: only then can a request be sent.
            let time_ns = runtime::now_ns().saturating_sub(begun_ns);
            let handshake = Handshake {
                version: version_name(version).trim_start_matches("TLS "),
                cipher: cipher_suite_name(cipher),
                is_resumed: facts.is_resumed(),
            };
            self.recorder.borrow_mut().shook_hands(time_ns, handshake);
        }
        Ok(stream)
    }

    /// Records the time of an attempt that did not come to an end.
    fn give_up(&self, step: Step) {
        if self.warming_up.get() {
            return;
        }
        let now_ns = runtime::now_ns();
        let mut recorder = self.recorder.borrow_mut();
        match step {
            Step::Connect(begun_ns) | Step::Tunnel(begun_ns) => {
                recorder.connect_cut_short(now_ns.saturating_sub(begun_ns));
            }
            Step::Handshake(begun_ns) => recorder.handshake_cut_short(now_ns.saturating_sub(begun_ns)),
        }
    }

    /// Notes an error that means this machine ran out of descriptors or ports.
    fn note_shortage(&self, error: &io::Error) {
        let mut recorder = self.recorder.borrow_mut();
        match error.kind() {
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => recorder.ports_ran_out(),
            _ if error.raw_os_error().is_some_and(is_descriptor_shortage) => recorder.descriptors_ran_out(),
            _ => {}
        }
    }
}

/// What to say of an attempt that was at this step when its time was over.
fn timed_out(at: Step, target: &Target, timeout: Duration) -> ConnectFailure {
    match at {
        Step::Connect(_) => {
            ConnectFailure::connect(format!("could not connect to {target} within {timeout:?}"), true)
        }
        Step::Tunnel(_) => {
            let server = target.server();
            ConnectFailure::connect(format!("{target} opened no tunnel to {server} within {timeout:?}"), true)
        }
        Step::Handshake(_) => {
            let server = target.server();
            let text = format!("no end of the TLS handshake with {server} within {timeout:?} of the connect");
            ConnectFailure::tls(text, Some("timeout"), true)
        }
    }
}

/// Whether it is EMFILE or ENFILE, for which the standard library has no kind.
fn is_descriptor_shortage(errno: i32) -> bool {
    errno == nix::errno::Errno::EMFILE as i32 || errno == nix::errno::Errno::ENFILE as i32
}
