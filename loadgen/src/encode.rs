//! The requests of a plan, encoded as they are sent.

use std::sync::Arc;

use http::Method;
use http::uri::Scheme;
use ringtide::PreparedRequest;

use crate::error::Error;
use crate::plan::{Plan, Request};

/// Encodes the plan's requests with the given bodies. They are leaked: a program has few plans, and they are sent until it
/// ends.
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
        .map(|request| request.scheme(scheme).leak())
        .map_err(|source| Error::Request(source.to_string()))
}
