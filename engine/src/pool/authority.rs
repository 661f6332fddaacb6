//! The origin of a request: host, port, and whether it is reached over TLS. Requests with the same origin can share
//! connections.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::OnceLock;

use http::Uri;
use http::uri::Scheme;

use crate::error::RequestError;

/// The port of `http://` (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;

/// The port of `https://` (RFC 9110 §4.2.2).
const HTTPS_PORT: u16 = 443;

static HASH_KEY: OnceLock<RandomState> = OnceLock::new();

/// A host, a port, and whether TLS is used. The host is in lower case, because its case does not matter (RFC 9110 §4.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Of the rest. It needs a key, as names come from others.
    hash: u64,
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    pub(crate) is_tls: bool,
}

impl Authority {
    /// Returns the authority of `uri`.
    pub(crate) fn of(uri: &Uri) -> Result<Self, RequestError> {
        let refused = |reason: &str| RequestError::Uri { uri: uri.to_string(), reason: reason.to_owned() };
        let is_tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(_) => return Err(refused("the scheme is neither http nor https")),
            None => return Err(refused("it has no scheme: http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| refused("it has no host"))?;
        let host = authority.host();
        if host.is_empty() {
            return Err(refused("it has no host"));
        }
        let behind_user = authority.as_str().rsplit('@').next().unwrap_or_default();
        let port = match behind_user.get(host.len()..).unwrap_or_default() {
            "" | ":" if is_tls => HTTPS_PORT,
            "" | ":" => HTTP_PORT,
            _ => authority.port_u16().ok_or_else(|| refused("its port is not a number up to 65535"))?,
        };
        if port == 0 {
            return Err(refused("port 0 cannot be connected to"));
        }
        let host: Box<str> = host.to_ascii_lowercase().into();
        let hash = HASH_KEY.get_or_init(RandomState::new).hash_one((&host, port, is_tls));
        Ok(Self { hash, host, port, is_tls })
    }
}

impl Hash for Authority {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes the hash of an [`Authority`] as it is.
#[derive(Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("an authority consists of its hash");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str) -> Result<String, String> {
        let uri = uri.parse().map_err(|error| format!("{error}"))?;
        Authority::of(&uri).map(|authority| authority.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_authority_is_scheme_host_and_port() {
        assert_eq!(of("http://Example.ORG").unwrap(), "http://example.org:80");
        assert_eq!(of("http://me:secret@example.org:/x").unwrap(), "http://example.org:80");
        assert_eq!(of("http://me@[::1]:8080/x").unwrap(), "http://[::1]:8080");
        assert_eq!(of("http://[::1]").unwrap(), "http://[::1]:80");
        assert_eq!(of("https://Example.ORG").unwrap(), "https://example.org:443");
        assert_eq!(of("https://example.org:8443/x").unwrap(), "https://example.org:8443");
        for (uri, reason) in [
            ("ftp://example.org/", "scheme"),
            ("/path", "no scheme"),
            ("example.org", "no scheme"),
            ("http://example.org:0/", "port 0"),
            ("http://example.org:70000/", "port"),
        ] {
            let error = of(uri).unwrap_err();
            assert!(error.contains(reason), "{uri}: {error}");
        }
    }
}
