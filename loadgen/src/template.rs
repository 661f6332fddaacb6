//! Requests with values in them: compiled once, then rendered for each send into memory that is used again.

use std::ops::Range;

use http::Method;
use http::uri::Scheme;
use ringtide::PreparedRequest;

use crate::error::Error;
use crate::plan::{Plan, Step, TextPart};

/// Where the values of a user are while a request is rendered.
pub(crate) trait Values {
    /// A value of the user.
    fn value(&self, value: u16) -> &[u8];
    /// A column of the user's row in a table.
    fn column(&self, table: u16, column: u16) -> &[u8];
    /// Path and query that the last response led to.
    fn location(&self) -> &[u8];
    /// Appends the `Cookie` field for the path that is at this place of `out`, if there is one.
    fn cookies(&self, path: Range<usize>, out: &mut Vec<u8>);
}

/// A compiled request.
#[derive(Debug)]
pub(crate) struct Template {
    /// A request of the same method and scheme.
    pub(crate) like: PreparedRequest,
    target: Vec<Piece>,
    /// From the target to the empty line.
    head: Vec<Piece>,
    body: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(Box<[u8]>),
    Value(u16),
    Column(u16, u16),
    /// What the last response led to.
    Location,
    /// The field with the cookies.
    Cookies,
    /// The size of the body.
    BodySize,
}

/// The compiled requests of a scenario, by the requests of the plan.
#[derive(Debug)]
pub(crate) struct Templates {
    of_each: Vec<Template>,
    /// For the requests that follow a redirect: those that keep method and body.
    same: Vec<(u32, Template)>,
}

impl Templates {
    /// Compiles the requests of a plan with a scenario.
    ///
    /// # Errors
    /// When a request cannot be encoded.
    pub(crate) fn compile(plan: &Plan) -> Result<Option<Self>, Error> {
        let Some(scenario) = &plan.scenario else { return Ok(None) };
        let mut of_each = Vec::new();
        for (request, step) in plan.requests.iter().zip(&scenario.steps) {
            of_each.push(compile(plan, &request.method, step, Led::No, scenario.cookies)?);
        }
        let mut same = Vec::new();
        for (request, step) in plan.requests.iter().zip(&scenario.steps) {
            if let Some(redirect) = step.redirect {
                let method = if request.method == "HEAD" { "HEAD" } else { "GET" };
                of_each.push(compile(plan, method, step, Led::WithoutBody, scenario.cookies)?);
                same.push((redirect, compile(plan, &request.method, step, Led::WithBody, scenario.cookies)?));
            }
        }
        Ok(Some(Self { of_each, same }))
    }

    /// The template of a request. `same` says whether one that follows a redirect keeps method and body.
    #[inline]
    pub(crate) fn of(&self, request: u32, same: bool) -> &Template {
        if same && let Some((_, template)) = self.same.iter().find(|(redirect, _)| *redirect == request) {
            return template;
        }
        &self.of_each[request as usize]
    }
}

/// Whether a request follows a redirect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Led {
    No,
    WithoutBody,
    WithBody,
}

/// Whether a step makes a valid request, as far as that does not depend on its values.
pub(crate) fn check(method: &str, step: &Step) -> Result<(), String> {
    sample("h", method, &step.target, &step.headers, &step.body).map(|_| ())
}

/// A request of the step with a digit for each value.
fn sample(
    host: &str,
    method: &str,
    target: &[TextPart],
    headers: &[(String, Vec<TextPart>)],
    body: &[TextPart],
) -> Result<PreparedRequest, String> {
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{method}` is not an HTTP method"))?;
    let text = |parts: &[TextPart]| {
        parts.iter().fold(String::new(), |mut text, part| {
            text.push_str(if let TextPart::Text(part) = part { part } else { "0" });
            text
        })
    };
    let target = match text(target) {
        // The value is a whole path.
        target if target.starts_with('/') => target,
        target => format!("/{target}"),
    };
    let values: Vec<(String, String)> =
        headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    let has_host = values.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
    let fields = values.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let host = (!has_host).then_some((&b"Host"[..], host.as_bytes()));
    PreparedRequest::from_parts(&method, &target, host.into_iter().chain(fields), text(body).into_bytes())
        .map_err(|error| error.to_string())
}

fn compile(plan: &Plan, method: &str, step: &Step, led: Led, cookies: bool) -> Result<Template, Error> {
    let body: &[TextPart] = if led == Led::WithoutBody { &[] } else { &step.body };
    let has = |name: &str| step.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let mut headers: Vec<(String, Vec<TextPart>)> = Vec::new();
    let mut add = |name: &str, value: &str| {
        if !has(name) {
            headers.push((name.to_owned(), vec![TextPart::Text(value.to_owned())]));
        }
    };
    add("Host", &plan.url.authority);
    add("User-Agent", concat!("ringtide/", env!("CARGO_PKG_VERSION")));
    if !plan.keepalive {
        add("Connection", "close");
    }
    // RFC 9110 §15.4: a request that becomes a GET has no fields about a body.
    let is_left_out =
        |name: &str| led == Led::WithoutBody && name.to_ascii_lowercase().starts_with("content-");
    headers.extend(step.headers.iter().filter(|(name, _)| !is_left_out(name)).cloned());
    let like = sample(&plan.url.authority, method, &step.target, &headers, body).map_err(Error::Request)?;
    let scheme = if plan.url.is_https { Scheme::HTTPS } else { Scheme::HTTP };
    let mut head = vec![Piece::text(" HTTP/1.1\r\n")];
    for (name, value) in &headers {
        head.push(Piece::text(&format!("{name}: ")));
        head.extend(value.iter().map(Piece::of));
        head.push(Piece::text("\r\n"));
    }
    if cookies {
        head.push(Piece::Cookies);
    }
    let announces_empty = ["POST", "PUT", "PATCH"].contains(&method);
    if !body.is_empty() || announces_empty {
        head.extend([Piece::text("Content-Length: "), Piece::BodySize, Piece::text("\r\n")]);
    }
    head.push(Piece::text("\r\n"));
    let mut target = vec![Piece::text(&format!("{method} "))];
    match led {
        Led::No => target.extend(step.target.iter().map(Piece::of)),
        Led::WithBody | Led::WithoutBody => target.push(Piece::Location),
    }
    Ok(Template {
        like: like.scheme(scheme),
        target: joined(target),
        head: joined(head),
        body: body.iter().map(Piece::of).collect(),
    })
}

/// The same with texts that follow each other made one.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (joined.last_mut(), piece) {
            (Some(Piece::Text(last)), Piece::Text(text)) => *last = [&**last, &*text].concat().into(),
            (_, piece) => joined.push(piece),
        }
    }
    joined
}

impl Piece {
    fn text(text: &str) -> Self {
        Self::Text(text.as_bytes().into())
    }

    fn of(part: &TextPart) -> Self {
        match part {
            TextPart::Text(text) => Self::text(text),
            TextPart::Value(value) => Self::Value(*value),
            TextPart::Column { table, column } => Self::Column(*table, *column),
        }
    }
}

impl Template {
    /// Writes the request to `out`, which it empties first. Returns the size of the head.
    pub(crate) fn render(&self, values: &impl Values, out: &mut Vec<u8>) -> usize {
        out.clear();
        for piece in &self.target {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Value(value) => push_encoded(values.value(*value), out),
                Piece::Column(table, column) => push_encoded(values.column(*table, *column), out),
                Piece::Location => push_encoded(values.location(), out),
                Piece::Cookies | Piece::BodySize => {}
            }
        }
        let target_end = out.len();
        for piece in &self.head {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Value(value) => out.extend_from_slice(values.value(*value)),
                Piece::Column(table, column) => out.extend_from_slice(values.column(*table, *column)),
                Piece::Cookies => values.cookies(path_in(&out[..target_end]), out),
                Piece::BodySize => push_number(self.body_size(values) as u64, out),
                Piece::Location => {}
            }
        }
        let head_size = out.len();
        for piece in &self.body {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Value(value) => out.extend_from_slice(values.value(*value)),
                Piece::Column(table, column) => out.extend_from_slice(values.column(*table, *column)),
                _ => {}
            }
        }
        head_size
    }

    fn body_size(&self, values: &impl Values) -> usize {
        let size = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Value(value) => values.value(*value).len(),
            Piece::Column(table, column) => values.column(*table, *column).len(),
            _ => 0,
        };
        self.body.iter().map(size).sum()
    }
}

/// Where the path is in a request line that ends behind the target.
fn path_in(line: &[u8]) -> Range<usize> {
    let start = line.iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1);
    let size = line[start..].iter().position(|byte| *byte == b'?').unwrap_or(line.len() - start);
    start..start + size
}

/// Appends a value to a target. Bytes that no target may have are percent-encoded (RFC 3986 §2.1); what structures it, such as
/// `/` and `?`, stays, as a value may be a whole path.
fn push_encoded(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        let is_allowed = byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(byte);
        if is_allowed {
            out.push(*byte);
        } else {
            let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value)];
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Writes a number as a value.
pub(crate) fn set_number(value: &mut Vec<u8>, number: u64) {
    value.clear();
    push_number(number, value);
}

/// Appends a number in decimal digits. The standard library's formatting takes four times as long, for each request.
fn push_number(mut number: u64, out: &mut Vec<u8>) {
    const DIGITS_MAX: usize = 20;
    let mut digits = [0; DIGITS_MAX];
    let mut first = DIGITS_MAX;
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal_digits() {
        let mut value = b"left over".to_vec();
        for number in [0, 7, 10, 99, 100, 1_234_567_890, u64::MAX / 10, u64::MAX] {
            set_number(&mut value, number);
            assert_eq!(value, number.to_string().as_bytes());
        }
    }

    struct Fixed;

    impl Values for Fixed {
        fn value(&self, value: u16) -> &[u8] {
            [&b"a b/\xC3\xA9"[..], b"12345"][usize::from(value)]
        }

        fn column(&self, _: u16, _: u16) -> &[u8] {
            b"c"
        }

        fn location(&self) -> &[u8] {
            b"/next?x=1"
        }

        fn cookies(&self, path: Range<usize>, out: &mut Vec<u8>) {
            out.extend_from_slice(b"Cookie: at=");
            out.extend_from_within(path);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn step() -> Step {
        Step {
            target: vec![
                TextPart::Text("/x/".to_owned()),
                TextPart::Value(0),
                TextPart::Text("?q=".to_owned()),
                TextPart::Value(1),
            ],
            headers: vec![
                ("Content-Type".to_owned(), vec![TextPart::Text("text/plain".to_owned())]),
                ("X-Id".to_owned(), vec![TextPart::Value(1)]),
            ],
            body: vec![
                TextPart::Text("{".to_owned()),
                TextPart::Column { table: 0, column: 0 },
                TextPart::Text("}".to_owned()),
            ],
            captures: Vec::new(),
            think_ns: (0, 0),
            redirects: 1,
            redirect: Some(1),
        }
    }

    fn rendered(led: Led) -> String {
        let plan = Plan::for_url("http://h/").expect("valid");
        let method = if led == Led::WithoutBody { "GET" } else { "POST" };
        let template = compile(&plan, method, &step(), led, led == Led::No).expect("valid");
        let mut out = b"left over".to_vec();
        let head_size = template.render(&Fixed, &mut out);
        assert_eq!(&out[head_size - 4..head_size], b"\r\n\r\n");
        let agent = concat!("User-Agent: ringtide/", env!("CARGO_PKG_VERSION"), "\r\n");
        String::from_utf8(out).expect("ASCII").replace(agent, "")
    }

    #[test]
    fn values_are_put_where_they_belong() {
        assert_eq!(
            rendered(Led::No),
            "POST /x/a%20b/%C3%A9?q=12345 HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nX-Id: 12345\r\n\
             Cookie: at=/x/a%20b/%C3%A9\r\nContent-Length: 3\r\n\r\n{c}"
        );
        assert_eq!(
            rendered(Led::WithBody),
            "POST /next?x=1 HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nX-Id: 12345\r\nContent-Length: 3\r\n\r\n{c}"
        );
        assert_eq!(rendered(Led::WithoutBody), "GET /next?x=1 HTTP/1.1\r\nHost: h\r\nX-Id: 12345\r\n\r\n");
    }
}
