//! The URL of a load test, split into the parts that the generator needs. Errors name the place.
//!
//! Nothing is normalised: the request target goes out as typed, percent-encoding and dot segments included. That is
//! why no URL crate is used.

use std::fmt::{self, Write as _};
use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

/// RFC 9110 §4.2.1.
const HTTP_PORT: u16 = 80;

/// RFC 9110 §4.2.2.
const HTTPS_PORT: u16 = 443;

/// A host name has at most this many bytes (RFC 1035 §2.3.4, without the final root).
const HOST_SIZE_MAX: usize = 253;

/// An `http://` or `https://` URL, valid by construction when it comes from [`Url::parse`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Url {
    /// As it was typed.
    pub text: String,
    /// Whether it is `https://`.
    #[serde(default)]
    pub is_https: bool,
    /// A name or an address; IPv6 without its brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
    /// Host and port as typed: the value of the `Host` field (RFC 9110 §7.2).
    pub authority: String,
    /// Path and query as typed, without the fragment: the request target in origin form (RFC 9112 §3.2.1).
    pub target: String,
}

/// What is wrong with a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError {
    url: String,
    problem: String,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid URL `{}`: {}", self.url, self.problem)
    }
}

impl std::error::Error for UrlError {}

impl Url {
    /// Reads `text`.
    ///
    /// # Errors
    /// When it is not an `http://` or `https://` URL with a host. The message names the place and, where possible, what would be
    /// right.
    ///
    /// ```
    /// let url = ringtide_loadgen::url::Url::parse("http://[::1]:8080/a%2Fb?x=1#top").unwrap();
    /// assert_eq!((url.host.as_str(), url.port, url.target.as_str()), ("::1", 8080, "/a%2Fb?x=1"));
    /// assert_eq!(url.authority, "[::1]:8080");
    /// ```
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        split(text).map_err(|problem| UrlError { url: without_user(text), problem })
    }
}

/// Reads `HOST:PORT`, as `--connect-to` takes it. The host comes back without the brackets of IPv6.
///
/// # Errors
/// The problem in words, naming the place.
pub fn parse_host_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = split_authority(text)?;
    match port {
        Some(port) => Ok((host, port)),
        None => Err(format!("`{text}` has no port; write HOST:PORT, for example {text}:8080")),
    }
}

/// The URL without user name and password, as messages end up in logs.
fn without_user(text: &str) -> String {
    let Some((scheme, after)) = text.split_once("://") else { return text.to_owned() };
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://…{}", &after[user.len()..]),
        None => text.to_owned(),
    }
}

fn split(text: &str) -> Result<Url, String> {
    if text.is_empty() {
        return Err("it is empty; write for example http://127.0.0.1:8080/".to_owned());
    }
    if let Some((at, character)) = text.char_indices().find(|(_, c)| !c.is_ascii_graphic()) {
        return Err(unusable_character(text, at, character));
    }
    let Some((scheme, after)) = text.split_once("://") else {
        return Err(match text.split_once(':') {
            Some((scheme @ ("http" | "https"), _)) => {
                format!("`{scheme}:` must be followed by `//`")
            }
            _ => format!(
                "it has no scheme; did you mean http://{}?",
                if text.contains('/') { text.to_owned() } else { format!("{text}/") }
            ),
        });
    };
    // Schemes are case-insensitive (RFC 3986 §3.1).
    let is_https = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        "" => return Err("the scheme before `://` is missing; write http:// or https://".to_owned()),
        _ => return Err(format!("the scheme `{scheme}` is not supported; only http:// and https:// are")),
    };
    let authority_end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (authority, rest) = after.split_at(authority_end);
    if authority.is_empty() {
        return Err("the host after `://` is missing".to_owned());
    }
    if let Some((_, host)) = authority.rsplit_once('@') {
        return Err(format!(
            "it contains a user name or password before `@{host}`; \
             send a header instead: -H 'Authorization: Basic …'"
        ));
    }
    let (host, port) = split_authority(authority)?;
    let target = rest.split('#').next().unwrap_or_default();
    // An empty path is sent as "/" (RFC 9112 §3.2.1).
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok(Url {
        text: text.to_owned(),
        is_https,
        host,
        port: port.unwrap_or(if is_https { HTTPS_PORT } else { HTTP_PORT }),
        authority: authority.to_owned(),
        target: format!("{slash}{target}"),
    })
}

fn split_authority(authority: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let Some((address, after)) = bracketed.split_once(']') else {
            return Err(format!("the IPv6 address in `{authority}` lacks its closing `]`"));
        };
        if address.contains('%') {
            return Err(format!("`[{address}]` has a zone identifier, which is not supported"));
        }
        if address.parse::<Ipv6Addr>().is_err() {
            return Err(format!("`[{address}]` is not an IPv6 address"));
        }
        match after.strip_prefix(':') {
            Some(port) => (address, Some(port)),
            None if after.is_empty() => (address, None),
            None => return Err(format!("`{after}` after `[{address}]` is neither a port nor a path")),
        }
    } else {
        if authority.matches(':').count() > 1 {
            let hint = if authority.parse::<Ipv6Addr>().is_ok() {
                format!("; write an IPv6 address in brackets: [{authority}]")
            } else {
                String::new()
            };
            return Err(format!("`{authority}` has more than one `:`{hint}"));
        }
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        check_host_name(host)?;
        (host, port)
    };
    let port = port.map(|port| parse_port(host, port)).transpose()?;
    Ok((host.to_owned(), port))
}

fn check_host_name(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("the host before `:` is missing".to_owned());
    }
    if host.len() > HOST_SIZE_MAX {
        return Err(format!("the host has {} characters; the limit is {HOST_SIZE_MAX}", host.len()));
    }
    match host.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))) {
        None => Ok(()),
        Some(c) => Err(format!("`{c}` is not allowed in the host `{host}`")),
    }
}

fn parse_port(host: &str, port: &str) -> Result<u16, String> {
    if port.is_empty() {
        return Err(format!("the port after `{host}:` is missing"));
    }
    match port.parse::<u16>() {
        Ok(0) => Err("nothing can listen on port 0".to_owned()),
        Ok(number) if port.bytes().all(|b| b.is_ascii_digit()) => Ok(number),
        _ => Err(format!("the port `{port}` is not a number from 1 to 65535")),
    }
}

fn unusable_character(text: &str, at: usize, character: char) -> String {
    let host_end = text.find("://").map_or(0, |scheme| {
        let after = scheme + 3;
        text[after..].find(['/', '?', '#']).map_or(text.len(), |end| after + end)
    });
    let position = text[..at].chars().count() + 1;
    let name =
        if character.is_control() { character.escape_debug().to_string() } else { character.to_string() };
    if at < host_end {
        let hint = if character.is_ascii() { "" } else { "; write an international name in its xn-- form" };
        return format!("`{name}` (character {position}) is not allowed in a host{hint}");
    }
    let encoded = character.to_string().bytes().fold(String::new(), |mut encoded, byte| {
        let _ = write!(encoded, "%{byte:02X}");
        encoded
    });
    format!("`{name}` (character {position}) must be percent-encoded: {encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_stays_as_typed() {
        for (text, authority, port, target) in [
            ("http://localhost", "localhost", 80, "/"),
            ("http://localhost:8080/", "localhost:8080", 8080, "/"),
            ("HTTP://h:80/a/../b%2f?q=%20&r", "h:80", 80, "/a/../b%2f?q=%20&r"),
            ("http://h?x=1", "h", 80, "/?x=1"),
            ("http://h#frag", "h", 80, "/"),
            ("http://h/p#frag?no", "h", 80, "/p"),
            ("http://h/a@b:c", "h", 80, "/a@b:c"),
            ("http://[::1]/", "[::1]", 80, "/"),
            ("https://h/x", "h", 443, "/x"),
            ("HTTPS://h:80/x", "h:80", 80, "/x"),
            ("http://my_service.internal:65535/x", "my_service.internal:65535", 65535, "/x"),
        ] {
            let url = Url::parse(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((&*url.authority, url.port, &*url.target), (authority, port, target), "{text}");
            assert_eq!(url.is_https, text.to_ascii_lowercase().starts_with("https:"));
        }
        assert_eq!(Url::parse("http://[2001:db8::1]:81/").expect("valid").host, "2001:db8::1");
    }

    #[test]
    fn each_error_names_the_url_and_the_place() {
        for (text, says) in [
            ("", "it is empty"),
            ("localhost:8080/", "did you mean http://localhost:8080/?"),
            ("localhost:8080", "did you mean http://localhost:8080/?"),
            ("example.org/x", "did you mean http://example.org/x?"),
            ("http:/h/", "`http:` must be followed by `//`"),
            ("ftp://h/", "the scheme `ftp` is not supported"),
            ("://h/", "the scheme before `://` is missing"),
            ("http:///x", "the host after `://` is missing"),
            ("http://", "the host after `://` is missing"),
            ("http://:80/", "the host before `:` is missing"),
            ("http://h:0/", "port 0"),
            ("http://h:/", "the port after `h:` is missing"),
            ("http://h:80x/", "the port `80x` is not a number"),
            ("http://h:+80/", "the port `+80` is not a number"),
            ("http://h:65536/", "the port `65536` is not a number"),
            ("http://::1/", "in brackets: [::1]"),
            ("http://a:b:c/", "more than one `:`"),
            ("http://[::1/", "closing `]`"),
            ("http://[::zz]/", "`[::zz]` is not an IPv6 address"),
            ("http://[fe80::1%eth0]/", "zone identifier"),
            ("http://[::1]x/", "`x` after `[::1]`"),
            ("http://ho st/", "` ` (character 10) is not allowed in a host"),
            ("http://h%20/", "`%` is not allowed in the host"),
            ("http://bücher.example/", "xn--"),
            ("http://h/a b", "` ` (character 11) must be percent-encoded: %20"),
            ("http://h/é", ": %C3%A9"),
        ] {
            let error = Url::parse(text).expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn an_error_about_credentials_does_not_repeat_them() {
        for text in ["http://me:secret@h/", "http://secret@h:80/?a@b", "ftp://a@secret@h"] {
            let error = Url::parse(text).expect_err(text).to_string();
            assert!(!error.contains("secret") && error.contains("://…@h"), "{error}");
        }
        let error = Url::parse("http://me:secret@h/").expect_err("credentials").to_string();
        assert!(error.contains("Authorization"), "{error}");
    }

    #[test]
    fn a_connect_address_needs_its_port() {
        assert_eq!(parse_host_port("[::1]:80"), Ok(("::1".to_owned(), 80)));
        assert!(parse_host_port("h").expect_err("no port").contains("h:8080"));
        assert!(parse_host_port("h:0").is_err());
    }
}
