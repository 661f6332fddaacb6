//! Making sockets: the part of connect and listen that every driver over real sockets shares.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use socket2::{Protocol, SockRef, Socket, Type};

use crate::address::Address;
use crate::limits::LISTEN_BACKLOG;

/// A stream socket of the address' family, close-on-exec, blocking as io_uring wants it (a non-blocking one would have
/// its operations answered with `EAGAIN` instead of waited for), `TCP_NODELAY` set.
///
/// # Errors
/// As socket(2).
pub fn stream_socket(address: &Address) -> io::Result<Socket> {
    let socket = Socket::new(address.domain(), Type::STREAM, protocol(address))?;
    if let Address::Tcp(_) = address {
        socket.set_tcp_nodelay(true)?;
    }
    Ok(socket)
}

/// A bound and listening socket. See [`Driver::listen`](crate::Driver::listen).
///
/// # Errors
/// As bind(2) and listen(2).
pub fn listening_socket(address: &Address, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(address.domain(), Type::STREAM, protocol(address))?;
    match address {
        Address::Tcp(_) => {
            socket.set_reuse_address(true)?;
            if reuse_port {
                socket.set_reuse_port(true)?;
            }
            // Accepted sockets inherit it (Linux and the BSDs), which spares a system call for each.
            socket.set_tcp_nodelay(true)?;
        }
        Address::Unix(path) => remove_abandoned_socket(path)?,
    }
    socket.bind(&address.to_system()?)?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket)
}

/// Whether a receive would give the end of the stream, or an error, now. See [`Driver::is_at_end`](crate::Driver::is_at_end).
pub fn is_at_end(socket: BorrowedFd<'_>) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    match SockRef::from(&socket).recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT) {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
    }
}

fn protocol(address: &Address) -> Option<Protocol> {
    match address {
        Address::Tcp(_) => Some(Protocol::TCP),
        Address::Unix(_) => None,
    }
}

/// A server that was killed leaves its socket file behind, and bind(2) would refuse the path for ever. The file goes if
/// it is a socket at which nobody answers; anything else is left, and bind reports it.
fn remove_abandoned_socket(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Ok(());
    }
    let probe = Socket::new(socket2::Domain::UNIX, Type::STREAM, None)?;
    // Where the owner's backlog is full it would wait for room (unix(7)); EAGAIN says as well that somebody is there.
    probe.set_nonblocking(true)?;
    match probe.connect(&socket2::SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}
