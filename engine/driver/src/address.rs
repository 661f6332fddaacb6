//! Socket addresses to connect to or to listen on: TCP over IPv4 or IPv6, and Unix sockets. Name resolution is
//! elsewhere.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use socket2::{Domain, SockAddr};

/// The address of a stream socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Converts the address to the form that system calls take.
    ///
    /// # Errors
    /// `InvalidInput` if a Unix path is longer than the system's limit (108 bytes on Linux, unix(7)).
    pub fn to_system(&self) -> io::Result<SockAddr> {
        match self {
            Self::Tcp(address) => Ok(SockAddr::from(*address)),
            Self::Unix(path) => SockAddr::unix(path),
        }
    }

    /// Converts an address that a system call returned.
    ///
    /// A Unix socket without a name, such as a client's or one of a pair, gets an empty path.
    pub fn from_system(address: &SockAddr) -> Self {
        match address.as_socket() {
            Some(address) => Self::Tcp(address),
            None => Self::Unix(address.as_pathname().map(PathBuf::from).unwrap_or_default()),
        }
    }

    /// Returns the socket domain of the address.
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

/// Parses `ADDRESS:PORT` (IPv6 in brackets) or `unix:PATH`, the same text that `Display` writes.
///
/// A host name is not an address. Resolve it first.
///
/// # Examples
/// ```
/// use ringtide_driver::Address;
///
/// assert_eq!("127.0.0.1:0".parse(), Ok(Address::Tcp(([127, 0, 0, 1], 0).into())));
/// assert_eq!("unix:/run/app.sock".parse(), Ok(Address::Unix("/run/app.sock".into())));
/// ```
impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix("unix:") {
            Some("") => Err(AddressError("the path after `unix:` is missing".to_owned())),
            Some(path) => Ok(Self::Unix(PathBuf::from(path))),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                let hint = match text.rsplit_once(':') {
                    Some(("" | "localhost", port)) => format!("127.0.0.1:{port}"),
                    _ => "127.0.0.1:8080, [::1]:8080 or unix:/tmp/ringtide.sock".to_owned(),
                };
                AddressError(format!("`{text}` is not an address and a port; write for example {hint}"))
            }),
        }
    }
}

/// The error for text that is not an [`Address`]. Its message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_tcp_or_unix() {
        for text in ["127.0.0.1:0", "[::1]:80", "unix:/run/a"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for (text, says) in [
            (":8080", "for example 127.0.0.1:8080"),
            ("localhost:81", "for example 127.0.0.1:81"),
            ("127.0.0.1", "for example 127.0.0.1:8080, [::1]"),
            ("unix:", "the path after `unix:` is missing"),
        ] {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
