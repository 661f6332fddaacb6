//! Incomplete heads: decides when to parse, so that the work is linear however the network splits the bytes.

use super::error::{Error, LimitExceeded, SyntaxPart};
use super::follow::{Follower, Side, Step};
use super::framing::Facts;
use super::head::{RequestMeta, ResponseMeta};
use super::limits::Limits;
use super::parse;
use super::repeat;

/// How far an incomplete head was scanned.
///
/// httparse starts from the beginning in each call, so parsing at each arrival would be quadratic. Therefore the parser
/// is called for the first bytes of a head, which are almost always the whole head. It is called again only when the
/// [`Follower`] knows that the parser will find something: the end, a fault, or one of a few places in a start line
/// that the parser checks. Some faults are visible only in the complete head and are found at its end: a
/// `Content-Length` that differs from another, or a missing `Host`.
// Packed because the codecs have no bytes to spare; see the assertions on their sizes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(Rust, packed(2))]
pub(super) struct HeadScan {
    scanned: u32,
    follower: Follower,
}

impl HeadScan {
    /// Returns whether an incomplete head has begun.
    pub(super) fn has_begun(self) -> bool {
        self.scanned > 0
    }

    /// Parses the head of a response if it is complete, and then collects the framing facts of its fields in `facts`,
    /// which must be new. `facts` is an argument because returning it would copy it from result to result, which costs
    /// as much as collecting it.
    ///
    /// Replaces obsolete line folding with spaces, in place (RFC 9112 §5.2).
    #[inline]
    pub(super) fn response(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        facts: &mut Facts,
    ) -> Result<Option<ResponseMeta>, Error> {
        if let Some(meta) = repeat::recall(input, limits, facts) {
            *self = Self::default();
            return Ok(Some(meta));
        }
        let Some(size) = self.window(input, Side::Client, limits) else { return Ok(None) };
        let window = &mut input[..size];
        match parse::response(window, limits, facts)? {
            Some(meta) => {
                *self = Self::default();
                repeat::remember(window, limits, meta, facts);
                Ok(Some(meta))
            }
            None => self.incomplete(window, Side::Client, limits).map(|()| None),
        }
    }

    /// Parses the head of a request, like [`response`](Self::response). `input` must not begin with an empty line.
    #[inline]
    pub(super) fn request(
        &mut self,
        input: &[u8],
        limits: &Limits,
        facts: &mut Facts,
    ) -> Result<Option<RequestMeta>, Error> {
        let Some(size) = self.window(input, Side::Server, limits) else { return Ok(None) };
        let window = &input[..size];
        match parse::request(window, limits, facts)? {
            Some(meta) => {
                *self = Self::default();
                Ok(Some(meta))
            }
            None => self.incomplete(window, Side::Server, limits).map(|()| None),
        }
    }

    /// Returns how much of `input` to parse, or `None` if the parser would find nothing new.
    #[inline]
    fn window(&mut self, input: &[u8], side: Side, limits: &Limits) -> Option<usize> {
        let length = input.len().min(limits.head_size_max as usize);
        if length < self.scanned as usize {
            // The caller broke the contract: these are different bytes.
            *self = Self::default();
        }
        let is_worthwhile = self.scanned == 0
            || self.follow(&input[..length], side, limits) != Step::On
            || length == limits.head_size_max as usize;
        #[cfg(test)]
        parse::work::add(if is_worthwhile { length } else { 0 });
        is_worthwhile.then_some(length)
    }

    /// Records that `window` contains no complete head.
    #[cold]
    fn incomplete(&mut self, window: &[u8], side: Side, limits: &Limits) -> Result<(), Error> {
        if window.len() == limits.head_size_max as usize {
            return Err(Error::Limit(LimitExceeded::HeadSize(limits.head_size_max)));
        }
        if self.follow(window, side, limits) == Step::Certain {
            // The follower found a fault that the parser did not report. Fail now instead of waiting for more bytes.
            return Err(parse::syntax(SyntaxPart::LineEnd, self.scanned as usize));
        }
        Ok(())
    }

    /// Follows the new bytes of `window`, at most up to the one that makes the result certain.
    fn follow(&mut self, window: &[u8], side: Side, limits: &Limits) -> Step {
        let mut found = Step::On;
        let scanned = self.scanned as usize;
        #[cfg(test)]
        parse::work::add(window.len().saturating_sub(scanned));
        for (position, &byte) in window.iter().enumerate().skip(scanned) {
            let mut follower = self.follower;
            match follower.step(byte, position, side, limits) {
                Step::On => {}
                Step::Checkpoint => found = Step::Checkpoint,
                Step::Certain => return Step::Certain,
            }
            self.follower = follower;
            self.scanned = position as u32 + 1;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::framing::BodyLength;
    use super::super::head::Version;
    use super::super::parse::work;
    use super::*;

    #[test]
    fn a_limit_may_be_reached_but_not_exceeded() {
        let limits =
            Limits { head_size_max: 40, header_count_max: 2, target_size_max: 5, ..Limits::default() };
        let response = |bytes: &[u8]| {
            HeadScan::default()
                .response(&mut bytes.to_vec(), &limits, &mut Facts::default())
                .map(|found| found.is_some())
        };
        let request = |bytes: &[u8]| {
            HeadScan::default().request(bytes, &limits, &mut Facts::default()).map(|found| found.is_some())
        };
        let exceeded = |limit| Err(Error::Limit(limit));

        let status = b"HTTP/1.1 200 OK\r\n".to_vec();
        assert_eq!(response(&[&status, &b"A: 3456789012345678\r\n\r\n"[..]].concat()), Ok(true));
        assert_eq!(
            response(&[&status, &b"A: 34567890123456789\r\n\r\n"[..]].concat()),
            exceeded(LimitExceeded::HeadSize(40))
        );
        assert_eq!(response(&[&status, &b"A: 345678901234567890"[..]].concat()), Ok(false));
        assert_eq!(
            response(&[&status, &b"A: 34567890123456789012"[..]].concat()),
            exceeded(LimitExceeded::HeadSize(40))
        );
        assert_eq!(response(&[&status, &b"A:1\r\nB:2\r\n\r\n"[..]].concat()), Ok(true));
        assert_eq!(
            response(&[&status, &b"A:1\r\nB:2\r\nC:3\r\n\r\n"[..]].concat()),
            exceeded(LimitExceeded::HeaderCount(2))
        );

        assert_eq!(request(b"GET /2345 HTTP/1.1\r\n\r\n"), Ok(true));
        assert_eq!(request(b"GET /23456 HTTP/1.1\r\n\r\n"), exceeded(LimitExceeded::TargetSize(5)));
        // The target exceeds the limit before it is complete.
        assert_eq!(request(b"GET /2345"), Ok(false));
        assert_eq!(request(b"GET /23456"), exceeded(LimitExceeded::TargetSize(5)));
        assert_eq!(request(b"GET /23456\0"), exceeded(LimitExceeded::TargetSize(5)));
        assert_eq!(request(&[&b"GET /"[..], &[b'a'; 40]].concat()), exceeded(LimitExceeded::TargetSize(5)));
        assert_eq!(
            request(&[&b"GET / HTTP/1.1\r\nA: "[..], &[b'a'; 40]].concat()),
            exceeded(LimitExceeded::HeadSize(40))
        );
        assert_eq!(request(&[b'a'; 40]), exceeded(LimitExceeded::HeadSize(40)));
    }

    #[test]
    fn a_head_like_the_last_is_not_parsed_again() {
        let usual = Limits::default();
        // The bytes that are scanned to find the values of the head.
        let scanned = |bytes: &[u8], limits: &Limits| {
            work::take();
            let mut facts = Facts::default();
            let found = HeadScan::default().response(&mut bytes.to_vec(), limits, &mut facts);
            (
                work::take(),
                found.map(|meta| (meta.map(|meta| meta.length()), facts.response_body(Version::Http11))),
            )
        };
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
        let found = Ok((Some(head.len()), Ok((BodyLength::Length(5), false))));
        assert_eq!(scanned(head, &usual), (head.len(), found));
        assert_eq!(scanned(head, &usual), (0, found));
        assert_eq!(scanned(&[&head[..], b"HTTP"].concat(), &usual), (0, found));
        // One that is cut off is not the last one.
        assert_eq!(scanned(&head[..head.len() - 1], &usual).1.unwrap().0, None);
        assert_eq!(scanned(head, &usual), (0, found));
        // Other limits count.
        let few = Limits { header_count_max: 1, ..usual };
        assert_eq!(scanned(head, &few).1, Err(Error::Limit(LimitExceeded::HeaderCount(1))));
        let small = Limits { head_size_max: head.len() as u32 - 1, ..usual };
        assert_eq!(scanned(head, &small).1, Err(Error::Limit(LimitExceeded::HeadSize(small.head_size_max))));
        // So does each byte, and then that head is the last.
        let mut other = head.to_vec();
        let at = other.iter().position(|byte| *byte == b'5').unwrap();
        other[at] = b'6';
        let found = Ok((Some(head.len()), Ok((BodyLength::Length(6), false))));
        assert_eq!(scanned(&other, &usual), (head.len(), found));
        assert_eq!(scanned(&other, &usual), (0, found));
        assert_eq!(scanned(head, &usual).0, head.len());
        // One that is too large to be remembered is parsed each time, and one with folded lines as well: it never
        // arrives as it was remembered.
        let large = [&b"HTTP/1.1 200 OK\r\nA: "[..], &[b'a'; 600], b"\r\n\r\n"].concat();
        let folded = b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n\r\n";
        for head in [&large[..], folded] {
            let first = scanned(head, &usual);
            assert!(first.0 > 0 && first.1.as_ref().is_ok_and(|(length, _)| length.is_some()));
            assert_eq!(scanned(head, &usual), first);
        }
    }

    #[test]
    fn a_head_that_drips_in_costs_linear_time() {
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        for _ in 0..90 {
            bytes.extend_from_slice(b"Some-Field: with a value that is not short, and so on and so on\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        for step in [1, 2, 3, 7, 100] {
            let mut scan = HeadScan::default();
            work::take();
            for end in (1..bytes.len()).step_by(step) {
                assert_eq!(
                    scan.response(&mut bytes[..end], &Limits::default(), &mut Facts::default()).unwrap(),
                    None
                );
            }
            assert!(scan.response(&mut bytes, &Limits::default(), &mut Facts::default()).unwrap().is_some());
            // Each new byte is scanned once or twice, and the complete head is parsed once.
            let (work, most) = (work::take(), 4 * bytes.len() + 8);
            assert!(work <= most, "{work} bytes looked at for {}, in steps of {step}", bytes.len());
        }
    }

    #[test]
    fn a_head_that_never_ends_costs_linear_time_and_fails_at_the_limit() {
        let mut bytes = b"GET / HTTP/1.1\r\nA: ".to_vec();
        bytes.resize(Limits::default().head_size_max as usize, b'a');
        let mut scan = HeadScan::default();
        work::take();
        let failed = (1..=bytes.len())
            .find_map(|end| scan.request(&bytes[..end], &Limits::default(), &mut Facts::default()).err());
        assert_eq!(failed, Some(Error::Limit(LimitExceeded::HeadSize(bytes.len() as u32))));
        let work = work::take();
        assert!(work <= 4 * bytes.len() + 8, "{work} bytes looked at for {}", bytes.len());
    }

    #[test]
    fn input_that_shrinks_against_the_contract_is_harmless() {
        let mut scan = HeadScan::default();
        assert!(
            scan.response(
                &mut b"HTTP/1.1 200 OK\r\nA: b".to_owned(),
                &Limits::default(),
                &mut Facts::default()
            )
            .unwrap()
            .is_none()
        );
        assert!(
            scan.response(&mut b"HTTP".to_owned(), &Limits::default(), &mut Facts::default())
                .unwrap()
                .is_none()
        );
        assert!(
            scan.response(
                &mut b"HTTP/1.1 200 OK\r\n\r\n".to_owned(),
                &Limits::default(),
                &mut Facts::default()
            )
            .unwrap()
            .is_some()
        );
    }

    #[test]
    fn a_target_that_drips_in_may_reach_its_limit_and_fails_with_the_next_byte() {
        let limits = Limits { target_size_max: 5, ..Limits::default() };
        // Where the first error comes, when one byte comes after the other.
        let failed = |line: &[u8]| {
            let mut scan = HeadScan::default();
            (1..=line.len()).find_map(|end| {
                Some((end, scan.request(&line[..end], &limits, &mut Facts::default()).err()?))
            })
        };
        for method_size in [1, 3, 254, 255, 300] {
            let method = "M".repeat(method_size);
            assert_eq!(failed(format!("{method} /2345 HTTP/1.1\r\nHost: a\r\n").as_bytes()), None);
            let line = format!("{method} /23456 HTTP/1.1\r\n");
            let (end, error) = failed(line.as_bytes()).unwrap();
            assert_eq!(error, Error::Limit(LimitExceeded::TargetSize(5)));
            // Behind a method that is too long to be counted, the target is measured when it is whole.
            let known = method_size + " /23456".len() + usize::from(method_size > Follower::METHOD_SIZE_MAX);
            assert_eq!(end, known, "behind a method of {method_size} bytes");
        }
    }

    #[test]
    fn bytes_that_are_shown_again_are_not_looked_at_again() {
        let mut scan = HeadScan::default();
        let mut show = |bytes: &[u8]| {
            work::take();
            assert_eq!(scan.request(bytes, &Limits::default(), &mut Facts::default()), Ok(None));
            work::take()
        };
        assert!(show(b"GET / HTTP/1.1\r\nA: b") > 0);
        assert_eq!(show(b"GET / HTTP/1.1\r\nA: b"), 0);
        assert_eq!(show(b"GET / HTTP/1.1\r\nA: bc"), 1);
    }
}
