//! The host and port of a request. Requests with the same authority can share connections.

use std::fmt;

use http::Uri;
use http::uri::Scheme;

use crate::error::RequestError;

/// The port of `http://` (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;

/// A host and a port. The host is in lower case, because its case does not matter (RFC 9110 §4.2.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Authority {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
}

impl Authority {
    /// Returns the authority of `uri`.
    pub(crate) fn of(uri: &Uri) -> Result<Self, RequestError> {
        let refused = |reason: &str| RequestError::Uri { uri: uri.to_string(), reason: reason.to_owned() };
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => {}
            Some(scheme) if *scheme == Scheme::HTTPS => {
                return Err(refused("https:// needs TLS, which is not built yet"));
            }
            Some(_) => return Err(refused("the scheme is not http")),
            None => return Err(refused("it has no scheme; only http:// is supported")),
        }
        let authority = uri.authority().ok_or_else(|| refused("it has no host"))?;
        let host = authority.host();
        if host.is_empty() {
            return Err(refused("it has no host"));
        }
        let behind_user = authority.as_str().rsplit('@').next().unwrap_or_default();
        let port = match behind_user.get(host.len()..).unwrap_or_default() {
            "" | ":" => HTTP_PORT,
            _ => authority.port_u16().ok_or_else(|| refused("its port is not a number up to 65535"))?,
        };
        if port == 0 {
            return Err(refused("port 0 cannot be connected to"));
        }
        Ok(Self { host: host.to_ascii_lowercase().into(), port })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
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
    fn an_authority_is_a_host_and_a_port() {
        assert_eq!(of("http://Example.ORG").unwrap(), "example.org:80");
        assert_eq!(of("http://me:secret@example.org:/x").unwrap(), "example.org:80");
        assert_eq!(of("http://me@[::1]:8080/x").unwrap(), "[::1]:8080");
        assert_eq!(of("http://[::1]").unwrap(), "[::1]:80");
        for (uri, reason) in [
            ("https://example.org/", "TLS"),
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
