//! Where a worker connects, and the tunnel through a proxy that it asks for there.
//!
//! Every target is reached through a tunnel, plain HTTP as well: the requests on the wire, the connections, pipelining and
//! HTTP/2 are the same with a proxy and without, and no cache answers for the server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use ringtide::Address;
use ringtide::stream::{LimitExceeded, Stream};

use crate::plan::{Credentials, Proxy, ProxyKind};

/// The head of a proxy's answer has at most this many bytes.
const HEAD_SIZE_MAX: usize = 16 * 1024;

/// How much of an answer that cannot be understood is shown.
const SHOWN_MAX: usize = 40;

// RFC 1928 and 1929.
const SOCKS_VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xFF;
const CONNECT: u8 = 1;

/// Where to connect, and what to do there before the connection is the server's.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The server's or the proxy's.
    pub address: Address,
    /// The tunnel to ask for; `None` for the server itself.
    pub tunnel: Option<Arc<Tunnel>>,
}

impl Target {
    /// The server itself.
    pub(crate) fn direct(address: Address) -> Self {
        Self { address, tunnel: None }
    }

    /// The server that is reached here.
    pub(super) fn server(&self) -> String {
        self.tunnel.as_ref().map_or_else(|| self.address.to_string(), |tunnel| tunnel.to.clone())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = if self.tunnel.is_some() { "the proxy " } else { "" };
        write!(f, "{proxy}{}", self.address)
    }
}

/// What to say to a proxy.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// The server, as `HOST:PORT`.
    to: String,
    hello: Hello,
}

enum Hello {
    Http { request: Bytes, has_credentials: bool },
    Socks5 { request: Bytes, credentials: Option<Credentials> },
}

/// What is said may contain a password.
impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http { .. } => "Http",
            Self::Socks5 { .. } => "Socks5",
        })
    }
}

impl Tunnel {
    /// A tunnel through `proxy` to `host`, which is a name of at most 255 bytes or an address without brackets.
    pub(crate) fn new(proxy: &Proxy, host: &str, port: u16) -> Self {
        let to = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let credentials = proxy.credentials.as_ref();
        let hello = match proxy.kind {
            ProxyKind::Http => {
                let authorization = credentials.map_or_else(String::new, |Credentials { user, password }| {
                    let encoded = STANDARD.encode(format!("{user}:{password}"));
                    format!("Proxy-Authorization: Basic {encoded}\r\n")
                });
                let agent = concat!("ringtide/", env!("CARGO_PKG_VERSION"));
                let request = format!(
                    "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: {agent}\r\n{authorization}\r\n"
                );
                Hello::Http { request: request.into(), has_credentials: credentials.is_some() }
            }
            ProxyKind::Socks5 | ProxyKind::Socks5h => {
                let mut request = vec![SOCKS_VERSION, CONNECT, 0];
                match host.parse() {
                    Ok(IpAddr::V4(address)) => {
                        request.push(1);
                        request.extend(address.octets());
                    }
                    Ok(IpAddr::V6(address)) => {
                        request.push(4);
                        request.extend(address.octets());
                    }
                    Err(_) => {
                        request.extend([3, host.len() as u8]);
                        request.extend(host.bytes());
                    }
                }
                request.extend(port.to_be_bytes());
                Hello::Socks5 { request: request.into(), credentials: credentials.cloned() }
            }
        };
        Self { to, hello }
    }

    /// Asks for the tunnel, and returns how many bytes were sent for it. What the proxy at `address` says against it is the
    /// error, with what to do.
    pub(super) async fn open(&self, stream: &mut Stream, address: &Address) -> Result<u64, String> {
        let opened = match &self.hello {
            Hello::Http { request, has_credentials } => connect(stream, request, *has_credentials).await,
            Hello::Socks5 { request, credentials } => socks5(stream, request, credentials.as_ref()).await,
        };
        opened.map(|size| size as u64).map_err(|refusal| {
            let to = &self.to;
            match refusal {
                Refusal::Said(what) => format!("the proxy {address} refused the tunnel to {to}: {what}"),
                Refusal::NotUnderstood(what) => format!("{address} did not answer as {what}"),
                Refusal::Failed(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    format!("the proxy {address} closed the connection instead of opening a tunnel to {to}")
                }
                Refusal::Failed(error) => format!("the connection to the proxy {address} failed: {error}"),
            }
        })
    }
}

/// Why there is no tunnel.
enum Refusal {
    /// The proxy's answer.
    Said(String),
    /// The answer is none of such a proxy. What it should have been, and what it was.
    NotUnderstood(String),
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

async fn connect(stream: &mut Stream, request: &Bytes, has_credentials: bool) -> Result<usize, Refusal> {
    stream.write_bytes(request.clone()).await?;
    loop {
        let head = match stream.read_until(b"\r\n\r\n", HEAD_SIZE_MAX).await {
            Ok(head) => head,
            Err(error) if LimitExceeded::of_io(&error).is_some() => {
                return Err(not_http(stream.buffered()));
            }
            Err(error) => return Err(error.into()),
        };
        let Some((status, line)) = status_line(&head) else { return Err(not_http(&head)) };
        let hint = match status {
            // An interim response (RFC 9110 §15.2).
            100..=199 => continue,
            // What follows is the server's (RFC 9110 §9.3.6).
            200..=299 => return Ok(request.len()),
            407 if has_credentials => "; it does not accept the user and password of --proxy",
            407 => "; it wants to know who connects: --proxy http://USER:PASSWORD@HOST:PORT",
            403 | 405 => "; many proxies allow tunnels to port 443 only",
            _ => "",
        };
        return Err(Refusal::Said(format!("{line}{hint}")));
    }
}

fn not_http(bytes: &[u8]) -> Refusal {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]).escape_debug().to_string();
    Refusal::NotUnderstood(format!("an HTTP proxy: it sent `{shown}`"))
}

/// The status, and it with its reason (RFC 9112 §4).
fn status_line(head: &[u8]) -> Option<(u16, String)> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    let digits = rest.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    if rest.get(3).is_some_and(|next| *next != b' ') {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().escape_debug().to_string();
    Some((text(digits).parse().ok()?, text(rest)))
}

async fn socks5(
    stream: &mut Stream,
    request: &Bytes,
    credentials: Option<&Credentials>,
) -> Result<usize, Refusal> {
    let methods: &[u8] = match credentials {
        None => &[SOCKS_VERSION, 1, NO_AUTHENTICATION],
        Some(_) => &[SOCKS_VERSION, 2, NO_AUTHENTICATION, USER_PASSWORD],
    };
    stream.write_all(methods).await?;
    let mut choice = [0; 2];
    stream.read_exact(&mut choice).await?;
    let login_size = match (choice, credentials) {
        ([SOCKS_VERSION, NO_AUTHENTICATION], _) => 0,
        ([SOCKS_VERSION, USER_PASSWORD], Some(credentials)) => log_in(stream, credentials).await?,
        ([SOCKS_VERSION, NO_METHOD], Some(_)) => {
            return Err(Refusal::Said("it accepts neither a user and password nor nobody".to_owned()));
        }
        ([SOCKS_VERSION, NO_METHOD], None) => {
            let hint = "it wants to know who connects: --proxy socks5://USER:PASSWORD@HOST:PORT";
            return Err(Refusal::Said(hint.to_owned()));
        }
        (bytes, _) => return Err(not_socks(&bytes)),
    };
    stream.write_bytes(request.clone()).await?;
    let mut reply = [0; 5];
    stream.read_exact(&mut reply).await?;
    let [SOCKS_VERSION, code, _, address_type, first] = reply else { return Err(not_socks(&reply)) };
    if code != 0 {
        return Err(Refusal::Said(socks_reply(code)));
    }
    // The address that the proxy connects from, of which the first byte is read, and its port.
    let rest = match address_type {
        1 => 3,
        4 => 15,
        3 => usize::from(first),
        _ => return Err(not_socks(&reply)),
    } + 2;
    let mut bound = [0; 257];
    stream.read_exact(&mut bound[..rest]).await?;
    Ok(methods.len() + login_size + request.len())
}

async fn log_in(stream: &mut Stream, Credentials { user, password }: &Credentials) -> Result<usize, Refusal> {
    let mut message = vec![1, user.len() as u8];
    message.extend(user.bytes());
    message.push(password.len() as u8);
    message.extend(password.bytes());
    stream.write_all(&message).await?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await?;
    match answer {
        [_, 0] => Ok(message.len()),
        _ => Err(Refusal::Said("it does not accept the user and password of --proxy".to_owned())),
    }
}

fn not_socks(bytes: &[u8]) -> Refusal {
    Refusal::NotUnderstood(format!("a SOCKS5 proxy: it sent `{}`", bytes.escape_ascii()))
}

/// RFC 1928 §6.
fn socks_reply(code: u8) -> String {
    match code {
        1 => "it failed".to_owned(),
        2 => "its rules do not allow it".to_owned(),
        3 => "it cannot reach the network".to_owned(),
        4 => "it cannot reach the host, or not resolve its name".to_owned(),
        5 => "the server refused the connection".to_owned(),
        6 => "the connection took too many hops".to_owned(),
        7 => "it does not know the command".to_owned(),
        8 => "it does not know this type of address".to_owned(),
        _ => format!("code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_has_three_digits() {
        for (head, status) in [
            (&b"HTTP/1.1 200 Connection established\r\n\r\n"[..], Some(200)),
            (b"HTTP/1.0 407\r\n\r\n", Some(407)),
            (b"HTTP/1.1 2000 OK\r\n\r\n", None),
            (b"HTTP/2 200 OK\r\n\r\n", None),
            (b"HTTP/1.1 +20 OK\r\n\r\n", None),
            (b"SSH-2.0-x\r\n\r\n", None),
            (b"", None),
        ] {
            assert_eq!(status_line(head).map(|(status, _)| status), status, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn what_is_said_to_a_proxy_is_not_shown() {
        let proxy = Proxy::parse("http://user:secret@h:1").expect("valid");
        let shown = format!("{:?}", Tunnel::new(&proxy, "::1", 443));
        assert!(shown.contains("[::1]:443") && !shown.contains("Basic"), "{shown}");
    }
}
