//! Where to connect or to listen: TCP over IPv4 or IPv6, or a Unix socket. Names are resolved elsewhere.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use socket2::{Domain, SockAddr};

/// The address of a stream socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket by its path.
    Unix(PathBuf),
}

impl Address {
    /// The form that system calls take.
    ///
    /// # Errors
    /// `InvalidInput` when a Unix path is longer than the system's limit (108 bytes on Linux, unix(7)).
    pub fn to_system(&self) -> io::Result<SockAddr> {
        match self {
            Self::Tcp(address) => Ok(SockAddr::from(*address)),
            Self::Unix(path) => SockAddr::unix(path),
        }
    }

    /// The address in `address`. A Unix socket without a name (a client's, or one of a pair) has an empty path.
    pub fn from_system(address: &SockAddr) -> Self {
        match address.as_socket() {
            Some(address) => Self::Tcp(address),
            None => Self::Unix(address.as_pathname().map(PathBuf::from).unwrap_or_default()),
        }
    }

    /// The socket domain of the address.
    pub fn domain(&self) -> Domain {
        match self {
            Self::Tcp(address) => Domain::for_address(*address),
            Self::Unix(_) => Domain::UNIX,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
