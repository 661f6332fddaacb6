//! The cookies of one user (RFC 6265), all of one origin. Times of expiry other than `Max-Age` of 0 or less are not followed: a
//! walk is short.

use std::ops::Range;

/// The cookies that a user was given.
#[derive(Debug, Default)]
pub(super) struct Jar {
    cookies: Vec<Cookie>,
}

#[derive(Debug)]
struct Cookie {
    name: Vec<u8>,
    value: Vec<u8>,
    path: Vec<u8>,
}

impl Jar {
    pub(super) fn clear(&mut self) {
        self.cookies.clear();
    }

    /// Takes the value of a `Set-Cookie` field.
    pub(super) fn take(&mut self, line: &[u8]) {
        let mut parts = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let pair = parts.next().unwrap_or_default();
        let Some(at) = pair.iter().position(|byte| *byte == b'=') else { return };
        let (name, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        if name.is_empty() {
            return;
        }
        let (mut path, mut is_over) = (&b"/"[..], false);
        for part in parts {
            let at = part.iter().position(|byte| *byte == b'=').unwrap_or(part.len());
            let value = part.get(at + 1..).unwrap_or_default().trim_ascii();
            match part[..at].trim_ascii() {
                key if key.eq_ignore_ascii_case(b"path") && value.starts_with(b"/") => path = value,
                key if key.eq_ignore_ascii_case(b"max-age") => {
                    is_over = value == b"0" || value.starts_with(b"-");
                }
                _ => {}
            }
        }
        self.cookies.retain(|cookie| cookie.name != name || cookie.path != path);
        if !is_over {
            let cookie = Cookie { name: name.to_vec(), value: value.to_vec(), path: path.to_vec() };
            self.cookies.push(cookie);
        }
    }

    /// Appends the `Cookie` field for the path that is at this place of `out`, if there are cookies for it.
    pub(super) fn write(&self, path: Range<usize>, out: &mut Vec<u8>) {
        let mut is_first = true;
        for cookie in &self.cookies {
            if !is_below(&out[path.clone()], &cookie.path) {
                continue;
            }
            out.extend_from_slice(if is_first { b"Cookie: " } else { b"; " });
            is_first = false;
            out.extend_from_slice(&cookie.name);
            out.push(b'=');
            out.extend_from_slice(&cookie.value);
        }
        if !is_first {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// RFC 6265 §5.1.4.
fn is_below(path: &[u8], of_cookie: &[u8]) -> bool {
    path.strip_prefix(of_cookie)
        .is_some_and(|rest| rest.is_empty() || of_cookie.ends_with(b"/") || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_go_where_their_path_is() {
        let mut jar = Jar::default();
        for line in [
            "a=1; Path=/; HttpOnly",
            "b=2;path=/shop",
            "c = x=y ; Secure",
            "a=3",
            "gone=1",
            "gone=; Max-Age=0",
            "=x",
            "x",
        ] {
            jar.take(line.as_bytes());
        }
        let written = |path: &str| {
            let mut out = path.as_bytes().to_vec();
            jar.write(0..path.len(), &mut out);
            String::from_utf8(out[path.len()..].to_vec()).expect("ASCII")
        };
        assert_eq!(written("/"), "Cookie: c=x=y; a=3\r\n");
        assert_eq!(written("/shop/cart"), "Cookie: b=2; c=x=y; a=3\r\n");
        assert_eq!(written("/shopping"), "Cookie: c=x=y; a=3\r\n");
        jar.clear();
        let mut out = b"/".to_vec();
        jar.write(0..1, &mut out);
        assert_eq!(out, b"/");
    }
}
