//! What the suite has to know of a driver under test: how it is made, and the few things that differ between real sockets
//! and simulated ones.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use ringtide_driver::{Address, BufferPool, Driver};
use socket2::{Domain, Socket, Type};

use crate::pump::Pump;

/// A driver that the suite runs against.
pub(crate) trait Subject {
    type Driver: Driver;

    /// The module of its tests.
    const NAME: &'static str;

    /// Whether its sockets are the kernel's, so that descriptors can be adopted, polled and counted.
    const REAL: bool;

    /// Whether its kernel may take less of a send than there is room for.
    const CUTS_SENDS: bool = false;

    /// Whether it can run here. When it can not, the tests fail, unless the person who runs them said otherwise.
    fn usable() -> bool {
        true
    }

    fn driver(pool: BufferPool) -> Self::Driver;

    /// A driver, an address at which a connect is never answered, and what has to be kept for that.
    fn black_hole() -> (Self::Driver, Address, Vec<OwnedFd>);

    fn pump() -> Pump<Self::Driver> {
        Pump::new(Self::driver(BufferPool::new()))
    }

    fn pump_with_pool(count: u16, size: u32) -> Pump<Self::Driver> {
        Pump::new(Self::driver(BufferPool::with_sizes(count, size)))
    }
}

/// A listener whose backlog is full: Linux drops further handshakes until somebody accepts (listen(2)).
pub(crate) fn full_listener() -> (Address, Vec<OwnedFd>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    // A second listen(2) only changes the length of the backlog.
    let listener = Socket::from(listener);
    listener.listen(0).expect("a listener can listen");
    let mut kept: Vec<OwnedFd> = vec![listener.into()];
    // One more than the backlog is let in, and one more waits half open; the others make sure.
    for _ in 0..4 {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        client.set_nonblocking(true).expect("a socket can be non-blocking");
        // In progress, or already connected; either takes its place in the backlog.
        let _ = client.connect(&address.into());
        kept.push(client.into());
    }
    (Address::Tcp(address), kept)
}

/// A directory of this test's own for Unix sockets, removed at the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringtide-contract-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).expect("the temporary directory can be written");
        Self(path)
    }

    pub(crate) fn address(&self, name: &str) -> Address {
        Address::Unix(self.0.join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind on failure is in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
