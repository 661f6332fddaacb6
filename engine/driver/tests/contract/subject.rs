//! What the suite needs to know about a driver under test: how to create it, and the differences between real and
//! simulated sockets.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use ringtide_driver::{Address, BufferPool, Driver};
use socket2::{Domain, Socket, Type};

use crate::pump::Pump;

/// A driver that the suite tests.
pub(crate) trait Subject {
    type Driver: Driver;

    /// The module of its tests.
    const NAME: &'static str;

    /// Whether it uses the kernel's sockets, so that descriptors can be adopted, polled and counted.
    const REAL: bool;

    /// Whether its kernel may take less of a send than there is room for.
    const CUTS_SENDS: bool = false;

    /// Returns whether the driver can run here. If it cannot, the tests fail, unless the user has chosen to skip them.
    fn usable() -> bool {
        true
    }

    fn driver(pool: BufferPool) -> Self::Driver;

    /// Returns a driver, an address at which a connect never completes, and descriptors that keep it so.
    fn black_hole() -> (Self::Driver, Address, Vec<OwnedFd>);

    fn pump() -> Pump<Self::Driver> {
        Pump::new(Self::driver(BufferPool::new()))
    }

    fn pump_with_pool(count: u16, size: u32) -> Pump<Self::Driver> {
        Pump::new(Self::driver(BufferPool::with_sizes(count, size)))
    }
}

/// Creates a listener with a full backlog: Linux drops further handshakes until a connection is accepted (listen(2)).
pub(crate) fn full_listener() -> (Address, Vec<OwnedFd>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    // A second listen(2) only changes the length of the backlog.
    let listener = Socket::from(listener);
    listener.listen(0).expect("a listener can listen");
    let mut kept: Vec<OwnedFd> = vec![listener.into()];
    // Linux lets in one connection more than the backlog, and one more waits half open. The others make sure of it.
    for _ in 0..4 {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        client.set_nonblocking(true).expect("a socket can be non-blocking");
        // Either in progress or already connected. Both take a place in the backlog.
        let _ = client.connect(&address.into());
        kept.push(client.into());
    }
    (Address::Tcp(address), kept)
}

/// A directory for the Unix sockets of one test, removed at the end.
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
        // If this fails, the files stay in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
