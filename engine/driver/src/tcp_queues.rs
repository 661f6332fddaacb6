//! What the kernel tells about the queues of a TCP socket, for reports: how much is not sent, whose fault that was, and how full
//! the receive queue is. It is asked when somebody wants to know, and costs nothing otherwise.

use std::io;
use std::os::fd::BorrowedFd;

/// The queues of a TCP socket. Times count from when the connection was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpQueues {
    /// Bytes that the kernel has taken and not sent yet (`tcpi_notsent_bytes`).
    pub unsent_size: u32,
    /// Time in which there was something to send, or to be acknowledged (`tcpi_busy_time`), in nanoseconds.
    pub sending_ns: u64,
    /// The part of it in which the peer's receive window was the limit (`tcpi_rwnd_limited`): the peer did not read.
    pub peer_limited_ns: u64,
    /// The part of it in which the own send buffer was the limit (`tcpi_sndbuf_limited`), while the peer had room.
    pub buffer_limited_ns: u64,
    /// Memory that received bytes take up until they are read,
    pub receive_used: u32,
    /// and how much they may take up.
    pub receive_size: u32,
}

/// Asks the kernel: `TCP_INFO` (tcp(7); linux/tcp.h, `struct tcp_info`, which only ever grows at its end) and `SO_MEMINFO`
/// (linux/sock_diag.h).
///
/// # Errors
/// Those of getsockopt(2), such as `EOPNOTSUPP` for a Unix socket; `Unsupported` before Linux 4.12.
#[cfg(target_os = "linux")]
pub fn tcp_queues(socket: BorrowedFd<'_>) -> io::Result<TcpQueues> {
    /// `tcpi_notsent_bytes`,
    const UNSENT: usize = 144 / 4;
    /// `tcpi_busy_time`,
    const BUSY_US: usize = 168 / 4;
    /// `tcpi_rwnd_limited`,
    const PEER_LIMITED_US: usize = 176 / 4;
    /// and `tcpi_sndbuf_limited`, each at its place among words of 4 bytes.
    const BUFFER_LIMITED_US: usize = 184 / 4;
    const WORDS: usize = 192 / 4;
    /// `SK_MEMINFO_RMEM_ALLOC` and `SK_MEMINFO_RCVBUF`.
    const RECEIVE_WORDS: usize = 2;

    let info: [u32; WORDS] = words(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    let [receive_used, receive_size]: [u32; RECEIVE_WORDS] =
        words(socket, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
    let long_ns = |place: usize| {
        let (first, second) = (info[place].to_ne_bytes(), info[place + 1].to_ne_bytes());
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&first);
        bytes[4..].copy_from_slice(&second);
        u64::from_ne_bytes(bytes).saturating_mul(1_000)
    };
    Ok(TcpQueues {
        unsent_size: info[UNSENT],
        sending_ns: long_ns(BUSY_US),
        peer_limited_ns: long_ns(PEER_LIMITED_US),
        buffer_limited_ns: long_ns(BUFFER_LIMITED_US),
        receive_used,
        receive_size,
    })
}

/// The first words of what an option gives.
#[cfg(target_os = "linux")]
fn words<const COUNT: usize>(socket: BorrowedFd<'_>, level: i32, option: i32) -> io::Result<[u32; COUNT]> {
    use std::os::fd::AsRawFd;

    let mut value = [0_u32; COUNT];
    let mut size = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes, the length of `value`, which lives during the call and may hold any
    // bytes. The descriptor is open, as it is borrowed.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, value.as_mut_ptr().cast(), &raw mut size)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if (size as usize) < size_of_val(&value) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel tells less of its sockets"));
    }
    Ok(value)
}

/// Other systems tell something else, if anything.
///
/// # Errors
/// Always `Unsupported`.
#[cfg(not(target_os = "linux"))]
pub fn tcp_queues(_: BorrowedFd<'_>) -> io::Result<TcpQueues> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_peer_that_does_not_read_is_told_from_a_buffer_that_is_small() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let mut sender = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (mut receiver, _) = listener.accept().expect("it came");
        let idle = tcp_queues(sender.as_fd()).expect("Linux tells");
        assert_eq!((idle.unsent_size, idle.peer_limited_ns, idle.receive_used), (0, 0, 0), "{idle:?}");
        assert!(idle.receive_size > 0, "{idle:?}");

        sender.set_nonblocking(true).expect("a socket");
        let bytes = vec![0; 1 << 16];
        while sender.write(&bytes).is_ok() {}
        thread::sleep(Duration::from_millis(100));
        let full = tcp_queues(sender.as_fd()).expect("Linux tells");
        assert!(full.unsent_size > 0 && full.sending_ns >= 50_000_000, "{full:?}");
        assert!(full.peer_limited_ns >= full.sending_ns / 2, "{full:?}");
        assert!(full.buffer_limited_ns <= full.sending_ns / 4, "{full:?}");
        let unread = tcp_queues(receiver.as_fd()).expect("Linux tells");
        assert!(unread.receive_used >= unread.receive_size / 2, "{unread:?}");
        assert_eq!(unread.unsent_size, 0, "{unread:?}");

        drop(sender);
        let mut scratch = vec![0; 1 << 16];
        while receiver.read(&mut scratch).is_ok_and(|count| count > 0) {}
        let read = tcp_queues(receiver.as_fd()).expect("Linux tells");
        assert!(read.receive_used < unread.receive_used, "{read:?}");
    }

    #[test]
    fn a_unix_socket_has_no_such_queues() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert!(tcp_queues(one.as_fd()).is_err());
    }
}
