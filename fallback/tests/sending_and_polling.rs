//! Sends, connects, foreign descriptors and deadlines with edge-triggered readiness.

mod common;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use common::Rig;
use ringtide_driver::{Address, Driver, Event, Handle, Interest, SendBuffer, monotonic_ns};
use socket2::{Domain, SockAddr, Socket, Type};

fn is_sent(event: &Event) -> bool {
    matches!(event, Event::Sent(Ok(()), _))
}

fn is_connected(event: &Event) -> bool {
    matches!(event, Event::Connected(Ok(())))
}

#[test]
fn a_send_larger_than_the_socket_buffer_is_continued_to_its_end() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connection();
    let bytes: Vec<u8> = (0..16_u32 << 20).map(|i| (i >> 8) as u8 ^ i as u8).collect();
    rig.driver.send(socket, SendBuffer::Owned(bytes.clone())).unwrap();
    rig.turn();
    assert_eq!(rig.count(socket, is_sent), 0, "the socket's buffer is smaller than the test thinks");
    let busy = rig.driver.send(socket, SendBuffer::Static(b"x")).unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::ResourceBusy);
    assert_eq!(rig.driver.shutdown(socket).unwrap_err().kind(), ErrorKind::ResourceBusy);
    let reader = std::thread::spawn(move || {
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        received
    });
    rig.until("Sent", |rig| rig.count(socket, is_sent) == 1);
    rig.driver.shutdown(socket).unwrap();
    assert!(reader.join().unwrap() == bytes);
    rig.turn();
    assert_eq!(rig.completions.len(), 1);
}

#[test]
fn a_send_that_waits_is_dropped_by_close() {
    let mut rig = Rig::new();
    let (socket, _peer) = rig.connection();
    rig.driver.send(socket, SendBuffer::Owned(vec![0; 16 << 20])).unwrap();
    rig.driver.close(socket);
    assert_eq!(rig.driver.send(socket, SendBuffer::Static(b"x")).unwrap_err().kind(), ErrorKind::NotFound);
    rig.turn();
    rig.turn();
    assert!(matches!(rig.completions[..], [ref one] if matches!(one.event, Event::Closed)));
}

/// Creates a listening socket whose backlog has room for one connection.
fn tiny_listener(address: &SockAddr) -> Socket {
    let listener = Socket::new(address.domain(), Type::STREAM, None).unwrap();
    listener.bind(address).unwrap();
    listener.listen(0).unwrap();
    listener
}

/// A path for a Unix socket. Dropping it removes the file.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringtide-fallback-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_unix_connect_waits_for_room_in_the_backlog() {
    let path = SocketPath::new("backlog");
    let listener = tiny_listener(&SockAddr::unix(&path.0).unwrap());
    let mut rig = Rig::new();
    let sockets: Vec<Handle> =
        (0..8).map(|_| rig.driver.connect(&Address::Unix(path.0.clone())).unwrap()).collect();
    let connected =
        |rig: &Rig| sockets.iter().filter(|&&socket| rig.count(socket, is_connected) == 1).count();
    rig.until("Connected", |rig| connected(rig) == 1);
    // The waiting connects cost one retry per millisecond. They do not spin.
    let before = rig.driver.syscalls();
    let deadline_ns = monotonic_ns() + 10_000_000;
    while monotonic_ns() < deadline_ns {
        rig.driver.turn(Some(deadline_ns), &mut rig.completions).unwrap();
    }
    assert_eq!(connected(&rig), 1);
    let tries = rig.driver.syscalls() - before;
    assert!(tries < 10 * (7 + 8), "{tries} system calls in 10 ms");
    // One of them is closed while it waits. The others connect as the listener accepts.
    rig.driver.close(*sockets.last().unwrap());
    let mut accepted = Vec::new();
    for n in 1..8 {
        rig.until("Connected", |rig| connected(rig) >= n);
        accepted.push(listener.accept().unwrap());
    }
    let last = sockets.last().unwrap();
    assert_eq!(rig.count(*last, |event| matches!(event, Event::Closed)), 1);
    assert_eq!(rig.count(*last, is_connected), 0);
    // They are registered like any other socket: bytes arrive.
    let first = sockets[1];
    rig.driver.receive(first).unwrap();
    for (peer, _) in &accepted {
        peer.send(b"welcome").unwrap();
    }
    assert_eq!(rig.received_in_all(first, 7), b"welcome");
}

#[test]
fn a_send_before_the_connection_stands_goes_out_with_it() {
    // A TCP listener with a full backlog drops the SYN, and the client's kernel repeats it after a second.
    let listener = tiny_listener(&SockAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 0))));
    let address = Address::from_system(&listener.local_addr().unwrap());
    let mut rig = Rig::new();
    let sockets: Vec<Handle> = (0..4).map(|_| rig.driver.connect(&address).unwrap()).collect();
    let waiting = |rig: &Rig| sockets.iter().copied().find(|&s| rig.count(s, is_connected) == 0);
    rig.turn();
    rig.turn();
    let socket = waiting(&rig).expect("a backlog of one is full");
    rig.driver.send(socket, SendBuffer::Static(b"early")).unwrap();
    rig.turn();
    assert_eq!(rig.count(socket, is_sent), 0);
    // Makes room at once, and whenever the kernel's retries need more.
    listener.set_nonblocking(true).unwrap();
    let deadline_ns = monotonic_ns() + 20_000_000_000;
    let mut peers = Vec::new();
    let mut arrived = false;
    while !arrived {
        let now_ns = monotonic_ns();
        assert!(now_ns < deadline_ns, "nothing arrived: {:?}", rig.completions);
        rig.driver.turn(Some(now_ns + 10_000_000), &mut rig.completions).unwrap();
        peers.extend(listener.accept().map(|(peer, _)| peer));
        for peer in &mut peers {
            peer.set_nonblocking(true).unwrap();
            let mut buffer = [0; 5];
            arrived |= peer.read(&mut buffer).is_ok_and(|length| buffer[..length] == *b"early");
        }
    }
    assert_eq!((rig.count(socket, is_connected), rig.count(socket, is_sent)), (1, 1));
}

#[test]
fn one_descriptor_can_be_polled_more_than_once_at_a_time() {
    let mut rig = Rig::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let fd = ours.as_raw_fd();
    let readable = rig.driver.poll(fd, Interest::Readable).unwrap();
    let writable = rig.driver.poll(fd, Interest::Writable).unwrap();
    let again = rig.driver.poll(fd, Interest::Readable).unwrap();
    let closed = rig.driver.poll(fd, Interest::Readable).unwrap();
    let is_polled = |event: &Event| matches!(event, Event::Polled(Ok(())));
    rig.until("Polled", |rig| rig.count(writable, is_polled) == 1);
    rig.turn();
    assert_eq!(rig.completions.len(), 1, "nothing is readable yet");
    rig.driver.close(closed);
    rig.turn();
    theirs.write_all(b"x").unwrap();
    rig.until("Polled", |rig| {
        rig.count(readable, is_polled) == 1
            && rig.count(again, is_polled) == 1
            && rig.count(closed, |event| matches!(event, Event::Closed)) == 1
    });
    // It has fired once and is gone. The caller still has the descriptor.
    theirs.write_all(b"y").unwrap();
    assert!(rig.is_undisturbed(), "woken by a poll that has ended");
    assert_eq!(rig.completions.len(), 4);
    assert_eq!((&ours).read(&mut [0; 2]).unwrap(), 2);
    rig.driver.close(readable);
    rig.turn();
    assert_eq!(rig.completions.len(), 4);
}

#[test]
fn what_cannot_be_waited_for_is_refused() {
    let mut rig = Rig::new();
    assert_eq!(rig.driver.poll(-1, Interest::Readable).unwrap_err().raw_os_error(), Some(libc::EBADF));
    let (pipe, _other_end) = std::io::pipe().unwrap();
    assert!(rig.driver.adopt(pipe.into()).is_err());
    let datagrams = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    assert!(rig.driver.adopt(datagrams.into()).is_err());
    // epoll refuses plain files, kqueue accepts them.
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    if let Err(error) = rig.driver.poll(file.as_raw_fd(), Interest::Readable) {
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
}

#[test]
fn an_adopted_listener_accepts_and_a_closed_one_is_silent() {
    let path = SocketPath::new("adopted");
    let listener = UnixListener::bind(&path.0).unwrap();
    let kept = listener.try_clone().unwrap();
    let mut rig = Rig::new();
    let handle = rig.driver.adopt(listener.into()).unwrap();
    rig.driver.accept(handle).unwrap();
    let _client = UnixStream::connect(&path.0).unwrap();
    rig.until("Accepted", |rig| rig.count(handle, |event| matches!(event, Event::Accepted(_))) == 1);
    rig.driver.close(handle);
    rig.until("Closed", |rig| rig.count(handle, |event| matches!(event, Event::Closed)) == 1);
    // First removes the edge of the accepted socket.
    rig.turn();
    // `kept` shares the open file. If the driver did not remove the registration, it would live on and wake the driver.
    let _second = UnixStream::connect(&path.0).unwrap();
    assert!(rig.is_undisturbed(), "woken by a closed listener");
    drop(kept);
}

#[test]
fn a_deadline_between_two_milliseconds_is_waited_for_and_not_spun_for() {
    let mut rig = Rig::new();
    for wait_ns in [300_000, 1_700_000] {
        let before = rig.driver.syscalls();
        let deadline_ns = monotonic_ns() + wait_ns;
        while monotonic_ns() < deadline_ns {
            rig.driver.turn(Some(deadline_ns), &mut rig.completions).unwrap();
        }
        let calls = rig.driver.syscalls() - before;
        assert!(calls <= 6, "{calls} system calls to wait {wait_ns} ns");
    }
    assert!(rig.completions.is_empty());
}

#[test]
fn a_listener_that_nobody_arms_does_not_disturb() {
    let mut rig = Rig::new();
    let listener = rig.driver.listen(&Address::Tcp(([127, 0, 0, 1], 0).into()), false).unwrap();
    let Address::Tcp(address) = rig.driver.local_address(listener).unwrap() else { unreachable!() };
    let _clients = [(); 100].map(|()| std::net::TcpStream::connect(address).unwrap());
    rig.turn();
    assert!(rig.completions.is_empty());
    // An accept that starts late finds all connections, in more than one turn, although no further edge comes.
    rig.driver.accept(listener).unwrap();
    rig.until("Accepted", |rig| rig.count(listener, |event| matches!(event, Event::Accepted(_))) == 100);
}
