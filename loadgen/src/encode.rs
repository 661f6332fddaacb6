//! The requests of a plan, encoded as they are sent.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use http::Method;
use http::uri::Scheme;
use ringtide::PreparedRequest;

use crate::error::Error;
use crate::plan::{Plan, Request};

/// The requests that were leaked, by the hash of their scheme and bytes, which are all that makes them differ. `ab` and
/// `find` run one plan many times, which must not leak its body each time.
static LEAKED: LazyLock<Mutex<Leaked>> = LazyLock::new(Mutex::default);

type Leaked = HashMap<u64, Vec<(Scheme, PreparedRequest)>>;

/// Encodes the plan's requests with the given bodies. They are leaked, each once: a program has few different ones, and
/// they are sent until it ends.
///
/// # Errors
/// When a method is none, or a request cannot be encoded.
pub(crate) fn requests(plan: &Plan, bodies: Vec<Vec<u8>>) -> Result<Arc<[PreparedRequest]>, Error> {
    if plan.scenario.is_some() {
        // Its requests are rendered for each send.
        return Ok([].into());
    }
    plan.requests.iter().zip(bodies).map(|(request, body)| encode(plan, request, body)).collect()
}

fn encode(plan: &Plan, request: &Request, body: Vec<u8>) -> Result<PreparedRequest, Error> {
    let method =
        Method::from_bytes(request.method.as_bytes()).map_err(|_| Error::Method(request.method.clone()))?;
    let has = |name: &str| request.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    let own =
        |name: &'static str, value: &'static str| (!has(name)).then_some((name.as_bytes(), value.as_bytes()));
    let host = (!has("host")).then_some((&b"Host"[..], plan.url.authority.as_bytes()));
    let agent = own("User-Agent", concat!("ringtide/", env!("CARGO_PKG_VERSION")));
    let close = if plan.keepalive { None } else { own("Connection", "close") };
    let given = request
        .headers
        .iter()
        // The engine adds it for the body; `input` has checked that it agrees.
        .filter(|header| !header.name.eq_ignore_ascii_case("content-length"))
        .map(|header| (header.name.as_bytes(), header.value.as_bytes()));
    let fields = host.into_iter().chain(agent).chain(close).chain(given);
    let scheme = if plan.url.is_https { Scheme::HTTPS } else { Scheme::HTTP };
    PreparedRequest::from_parts(&method, &request.target, fields, body)
        .map(|request| leak(request, scheme))
        .map_err(|source| Error::Request(source.to_string()))
}

/// Leaks `request`, unless the same one was leaked before.
fn leak(request: PreparedRequest, scheme: Scheme) -> PreparedRequest {
    let hash = BuildHasherDefault::<DefaultHasher>::new().hash_one((&scheme, request.bytes()));
    // The map is whole at any time.
    let mut leaked = LEAKED.lock().unwrap_or_else(PoisonError::into_inner);
    let same = leaked.entry(hash).or_default();
    if let Some((_, known)) =
        same.iter().find(|(of, known)| *of == scheme && known.bytes() == request.bytes())
    {
        return known.clone();
    }
    let request = request.scheme(scheme.clone()).leak();
    same.push((scheme, request.clone()));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_is_leaked_once() {
        let encoded = |url: &str, body: &[u8]| {
            let plan = Plan::for_url(url).expect("valid");
            requests(&plan, vec![body.to_vec()]).expect("it can be encoded")[0].clone()
        };
        let same_memory = |a: &PreparedRequest, b: &PreparedRequest| std::ptr::eq(a.bytes(), b.bytes());
        let first = encoded("http://leaked.test/", b"body");
        assert!(same_memory(&first, &encoded("http://leaked.test/", b"body")));
        assert!(!same_memory(&first, &encoded("http://leaked.test/", b"other")));
        // The bytes are the same, but HTTP/2 also sends the scheme.
        let other = encoded("https://leaked.test/", b"body");
        assert_eq!(first.bytes(), other.bytes());
        assert_ne!(first.header_block(), other.header_block());
    }
}
