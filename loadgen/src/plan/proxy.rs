//! The proxy that connections go through, and the addresses that names stand for.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::url::parse_host_port;

/// A length in SOCKS5 is one byte (RFC 1928 §5, RFC 1929 §2).
const SOCKS_TEXT_MAX: usize = 255;

/// A proxy, asked for a tunnel on each connection, whether the target is `http://` or `https://`. Displayed without the
/// credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// How it is spoken to.
    pub kind: ProxyKind,
    /// A name or an address; IPv6 without its brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
    /// Who connects; `None` if the proxy does not ask.
    pub credentials: Option<Credentials>,
}

/// How a proxy is spoken to, by the scheme of its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyKind {
    /// `http://`: CONNECT (RFC 9110 §9.3.6), without TLS.
    Http,
    /// `socks5://`: SOCKS5 (RFC 1928) with the target's address.
    Socks5,
    /// `socks5h://`: the same with the target's name, which the proxy resolves.
    Socks5h,
}

impl ProxyKind {
    fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }
}

/// A user and a password, which no report may show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password; may be empty.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{}{close}:{}", self.kind.scheme(), self.host, self.port)
    }
}

impl Proxy {
    /// Reads `SCHEME://[USER[:PASSWORD]@]HOST:PORT`.
    ///
    /// # Errors
    /// The problem in words, without the credentials.
    pub fn parse(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "write for example http://HOST:3128 or socks5://HOST:1080";
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("the value has no scheme; {EXAMPLE}"));
        };
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => ProxyKind::Http,
            "socks5" => ProxyKind::Socks5,
            "socks5h" => ProxyKind::Socks5h,
            _ => return Err(format!("the scheme `{scheme}` is not supported; use http, socks5 or socks5h")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, authority) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((userinfo, authority)) => (Some(Credentials::parse(userinfo, kind)?), authority),
        };
        if authority.contains(['/', '?', '#']) {
            return Err(format!("`{authority}` goes on after the port; a proxy has no path"));
        }
        let (host, port) = parse_host_port(authority)?;
        Ok(Self { kind, host, port, credentials })
    }
}

impl Credentials {
    fn parse(userinfo: &str, kind: ProxyKind) -> Result<Self, String> {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let decoded = |text: &str| {
            decode_percent(text)
                .ok_or("the user or password has a `%` that begins no valid encoding; write %25 for it")
        };
        let (user, password) = (decoded(user)?, decoded(password)?);
        if user.is_empty() {
            return Err("the user before `@` is empty".to_owned());
        }
        let problem = match kind {
            // RFC 7617 §2.
            ProxyKind::Http if user.contains(':') => Some("the user must not contain a colon"),
            ProxyKind::Http if user.chars().chain(password.chars()).any(char::is_control) => {
                Some("the user and the password must not contain control characters")
            }
            ProxyKind::Socks5 | ProxyKind::Socks5h if password.is_empty() => {
                Some("SOCKS5 wants a password with the user: USER:PASSWORD@")
            }
            ProxyKind::Socks5 | ProxyKind::Socks5h if user.len().max(password.len()) > SOCKS_TEXT_MAX => {
                Some("the user and the password of SOCKS5 have at most 255 bytes each")
            }
            _ => None,
        };
        match problem {
            Some(problem) => Err(problem.to_owned()),
            None => Ok(Self { user, password }),
        }
    }
}

/// `text` with its `%XX` decoded; `None` if one is malformed or the result is not UTF-8.
fn decode_percent(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |digit: u8| char::from(digit).to_digit(16);
        bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// An address that a name stands for, instead of what the system says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolve {
    /// A name.
    pub host: String,
    /// For connections to this port only.
    pub port: u16,
    /// What it stands for.
    pub address: IpAddr,
}

impl fmt::Display for Resolve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, address } = self;
        match address {
            IpAddr::V4(address) => write!(f, "{host}:{port}:{address}"),
            IpAddr::V6(address) => write!(f, "{host}:{port}:[{address}]"),
        }
    }
}

impl Resolve {
    /// Reads `HOST:PORT:ADDR`.
    ///
    /// # Errors
    /// The problem in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut colons = text.match_indices(':').map(|(at, _)| at);
        let Some((_, second)) = colons.next().zip(colons.next()) else {
            return Err(format!(
                "`{text}` is not HOST:PORT:ADDR; write for example localhost:8080:127.0.0.1"
            ));
        };
        let (host, port) = parse_host_port(&text[..second])?;
        let typed = &text[second + 1..];
        let bare = typed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(typed);
        let address = bare
            .parse()
            .map_err(|_| format!("`{typed}` in `{text}` is not an IP address such as 127.0.0.1 or [::1]"))?;
        Ok(Self { host, port, address })
    }

    /// Whether it says what `host` stands for in connections to `port`. Names know no case (RFC 4343).
    pub fn is_for(&self, host: &str, port: u16) -> bool {
        self.port == port && self.host.eq_ignore_ascii_case(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_url_without_a_path() {
        for (text, kind, host, port, credentials) in [
            ("http://h:3128", ProxyKind::Http, "h", 3128, None),
            ("HTTP://h:3128/", ProxyKind::Http, "h", 3128, None),
            ("socks5://[::1]:1080", ProxyKind::Socks5, "::1", 1080, None),
            ("socks5h://u:p%40%3a@h:1", ProxyKind::Socks5h, "h", 1, Some(("u", "p@:"))),
            ("http://u@h:1", ProxyKind::Http, "h", 1, Some(("u", ""))),
            ("http://a@b:c:d@h:1", ProxyKind::Http, "h", 1, Some(("a@b", "c:d"))),
        ] {
            let proxy = Proxy::parse(text).expect(text);
            assert_eq!((proxy.kind, &*proxy.host, proxy.port), (kind, host, port), "{text}");
            let found = proxy.credentials.as_ref().map(|own| (&*own.user, &*own.password));
            assert_eq!(found, credentials, "{text}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_without_its_password() {
        for (text, says) in [
            ("h:3128", "the value has no scheme; write for example http://HOST:3128"),
            ("https://h:1", "the scheme `https` is not supported; use http, socks5 or socks5h"),
            ("http://u:secret@h", "`h` has no port"),
            ("http://u:secret@h:1/x", "`h:1/x` goes on after the port"),
            ("http://:secret@h:1", "the user before `@` is empty"),
            ("http://u:sec%ret@h:1", "a `%` that begins no valid encoding"),
            ("http://u:sec%ff@h:1", "a `%` that begins no valid encoding"),
            ("http://u%3a:secret@h:1", "the user must not contain a colon"),
            ("http://u:sec%0aret@h:1", "control characters"),
            ("socks5://u@h:1", "USER:PASSWORD@"),
            (&format!("socks5://u:{}@h:1", "secret".repeat(50)), "at most 255 bytes each"),
        ] {
            let error = Proxy::parse(text).expect_err(text);
            assert!(error.contains(says) && !error.contains("sec"), "{text}: {error}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let proxy = Proxy::parse("http://user:secret@[::1]:1").expect("valid");
        assert_eq!(proxy.to_string(), "http://[::1]:1");
        let debug = format!("{proxy:?}");
        assert!(!debug.contains("user") && !debug.contains("secret"), "{debug}");
    }

    #[test]
    fn an_address_for_a_name_is_read_as_curl_does() {
        let resolve =
            |text| Resolve::parse(text).map(|found| (found.host, found.port, found.address.to_string()));
        let expected = |host: &str, port, address: &str| Ok((host.to_owned(), port, address.to_owned()));
        assert_eq!(resolve("Example.com:443:127.0.0.1"), expected("Example.com", 443, "127.0.0.1"));
        assert_eq!(resolve("h:80:[::1]"), expected("h", 80, "::1"));
        assert_eq!(resolve("h:80:::1"), expected("h", 80, "::1"));
        for (text, says) in [
            ("h:80", "`h:80` is not HOST:PORT:ADDR"),
            ("", "`` is not HOST:PORT:ADDR"),
            ("h:80:x", "`x` in `h:80:x` is not an IP address"),
            ("h:80:", "`` in `h:80:` is not an IP address"),
            ("h:0:127.0.0.1", "port 0"),
            (":80:127.0.0.1", "the host before `:` is missing"),
            ("*:80:127.0.0.1", "`*` is not allowed in the host"),
        ] {
            let error = Resolve::parse(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
        let rule = Resolve::parse("Example.com:443:127.0.0.1").expect("valid");
        assert!(rule.is_for("example.COM", 443) && !rule.is_for("example.com", 80) && !rule.is_for("x", 443));
    }
}
