//! Socket creation: the part of connect and listen that all drivers over real sockets share.

use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use socket2::{Protocol, SockRef, Socket, Type};

use crate::address::Address;
use crate::contract::source_address;
use crate::limits::LISTEN_BACKLOG;

/// Creates a stream socket for the address' family: close-on-exec, blocking, and with `TCP_NODELAY` on TCP.
///
/// If there is a `source`, binds the socket to it; see [`Driver::connect_from`](crate::Driver::connect_from).
///
/// io_uring needs a blocking socket. On a non-blocking one, its operations would fail with `EAGAIN` instead of waiting.
///
/// # Errors
/// Those of socket(2) and bind(2), and `InvalidInput` if the families of the addresses differ.
pub fn stream_socket(address: &Address, source: Option<IpAddr>) -> io::Result<Socket> {
    let source = source.map(|source| source_address(address, source)).transpose()?;
    let socket = Socket::new(address.domain(), Type::STREAM, protocol(address))?;
    if let Some(source) = source {
        leave_port_to_connect(&socket)?;
        socket.bind(&source.into())?;
    }
    if let Address::Tcp(_) = address {
        socket.set_tcp_nodelay(true)?;
    }
    Ok(socket)
}

/// Makes bind(2) leave the choice of the port to connect(2), which knows the destination. Otherwise no two sockets of one
/// source address could have the same port.
#[cfg(target_os = "linux")]
fn leave_port_to_connect(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option is an int, and `on` is one that lives during the call, which reads it only. The descriptor is
    // open: `socket` owns it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Other systems have no such option.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
fn leave_port_to_connect(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// Creates a socket that is bound and listens. See [`Driver::listen`](crate::Driver::listen).
///
/// # Errors
/// Those of bind(2) and listen(2).
pub fn listening_socket(address: &Address, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(address.domain(), Type::STREAM, protocol(address))?;
    match address {
        Address::Tcp(_) => {
            socket.set_reuse_address(true)?;
            if reuse_port {
                socket.set_reuse_port(true)?;
            }
            // Accepted sockets inherit this option (Linux and the BSDs), which saves a system call for each.
            socket.set_tcp_nodelay(true)?;
        }
        Address::Unix(path) => remove_abandoned_socket(path)?,
    }
    socket.bind(&address.to_system()?)?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket)
}

/// Returns whether a receive would report the end of the stream, or an error, now.
///
/// See [`Driver::is_at_end`](crate::Driver::is_at_end).
pub fn is_at_end(socket: BorrowedFd<'_>) -> bool {
    match peek(socket) {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
    }
}

/// Returns whether bytes have arrived that no receive has taken.
pub fn has_unread(socket: BorrowedFd<'_>) -> bool {
    peek(socket).is_ok_and(|count| count > 0)
}

/// Returns how many bytes a receive of one byte would take now, and leaves them there. 0 is the end of the stream.
fn peek(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut byte = [MaybeUninit::uninit()];
    SockRef::from(&socket).recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT)
}

fn protocol(address: &Address) -> Option<Protocol> {
    match address {
        Address::Tcp(_) => Some(Protocol::TCP),
        Address::Unix(_) => None,
    }
}

/// Removes the file of a Unix socket that has no listener any more.
///
/// A server that was killed leaves its socket file behind, and bind(2) would fail on that path for ever. This removes
/// the file only if it is a socket that refuses connections. Anything else stays, and bind(2) reports it.
fn remove_abandoned_socket(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Ok(());
    }
    let probe = Socket::new(socket2::Domain::UNIX, Type::STREAM, None)?;
    // If the listener's backlog is full, a blocking connect would wait for room (unix(7)). A non-blocking one fails
    // with EAGAIN, which also shows that there is a listener.
    probe.set_nonblocking(true)?;
    match probe.connect(&socket2::SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_source_address_has_all_ports_for_each_destination() {
        let source = IpAddr::from([127, 0, 0, 4]);
        for remote in ["127.0.0.1:1", "[::1]:1"] {
            let remote = Address::Tcp(remote.parse().expect("an address"));
            let source = if matches!(remote, Address::Tcp(tcp) if tcp.is_ipv4()) {
                source
            } else {
                IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])
            };
            let socket = match stream_socket(&remote, Some(source)) {
                Ok(socket) => socket,
                // A machine without IPv6.
                Err(error) if source.is_ipv6() => {
                    assert!(matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)));
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let local = socket.local_addr().expect("bound").as_socket().expect("TCP");
            assert_eq!((local.ip(), local.port()), (source, 0), "connect(2) chooses the port");
        }
    }
}
