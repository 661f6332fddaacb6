//! Follows an incomplete head byte by byte. Each byte is scanned once, and one that is not allowed at its place is
//! detected as soon as it arrives. Values with a meaning (`Host`, `Content-Length`) are judged when the head is complete,
//! elsewhere.
//!
//! The follower only decides when to call the [parser](super::parse), which has the final word. Both detect the same
//! faults; tests compare them.

use super::framing::is_token;
use super::limits::Limits;

/// Which side receives the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// A client receives heads of responses.
    Client,
    /// A server receives heads of requests.
    Server,
}

/// What a byte means for its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    On,
    /// An element is complete that the parser checks as a whole.
    Checkpoint,
    /// The head is complete or invalid.
    Certain,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Follower {
    part: Part,
    /// Counts the bytes of the method, the version or the status code, and later the field lines. It saturates. This is
    /// sufficient: the limit on field lines is lower, and after a method that saturates it, the target is measured when
    /// the head is complete.
    count: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Start,
    Method,
    Target,
    /// The version at the end of a request line.
    LastVersion,
    /// The version at the start of a status line.
    FirstVersion,
    BehindFirstVersion,
    Code,
    BehindCode,
    Reason,
    /// The CR after the version of a request.
    StartLineCr,
    StartLineLf,
    /// The first byte of a field line or of the final empty line.
    LineStart,
    Name,
    Value,
    ValueLf,
    HeadLf,
}

/// RFC 9112 §2.3, without the last digit.
const VERSION: &[u8; 7] = b"HTTP/1.";

impl Follower {
    /// The longest method for which the follower measures the target while it arrives.
    pub(super) const METHOD_SIZE_MAX: usize = u8::MAX as usize - 1;

    /// Processes `byte`, which is at `position` in the head.
    #[inline]
    pub(super) fn step(&mut self, byte: u8, position: usize, side: Side, limits: &Limits) -> Step {
        if self.part == Part::Start {
            self.part = if side == Side::Server { Part::Method } else { Part::FirstVersion };
        }
        self.part = match (self.part, byte) {
            (Part::Value, b'\t' | b' '..=b'~' | 0x80..) => return Step::On,
            (Part::Value, b'\r') => Part::ValueLf,
            (Part::Value, b'\n') if side == Side::Client => return self.line(limits),
            (Part::ValueLf, b'\n') => return self.line(limits),

            (Part::Name, b':') => Part::Value,
            (Part::Name | Part::LineStart, _) if is_token(byte) => Part::Name,
            (Part::LineStart, b'\r') => Part::HeadLf,
            // Obsolete line folding continues the previous field line, if there is one.
            (Part::LineStart, b' ' | b'\t') if side == Side::Client && self.count > 0 => {
                self.count -= 1;
                Part::Value
            }

            (Part::Method, b' ') if self.count > 0 => Part::Target,
            (Part::Method, _) if is_token(byte) => {
                self.count = self.count.saturating_add(1);
                Part::Method
            }
            (Part::Target, b' ') => {
                self.count = 0;
                self.part = Part::LastVersion;
                return Step::Checkpoint;
            }
            (Part::Target, b'!'..=b'~' | 0x80..) => {
                let length = position - usize::from(self.count).min(position);
                let is_measured = usize::from(self.count) <= Self::METHOD_SIZE_MAX;
                if is_measured && length > limits.target_size_max as usize {
                    return Step::Certain;
                }
                Part::Target
            }
            (Part::LastVersion, _) if self.is_version(byte) => {
                self.part = self.counted(8, Part::StartLineCr);
                return if self.part == Part::StartLineCr { Step::Checkpoint } else { Step::On };
            }

            (Part::FirstVersion, _) if self.is_version(byte) => self.counted(8, Part::BehindFirstVersion),
            (Part::BehindFirstVersion, b' ') => Part::Code,
            (Part::Code, b'0'..=b'9') => {
                self.part = self.counted(3, Part::BehindCode);
                return if self.part == Part::BehindCode { Step::Checkpoint } else { Step::On };
            }
            (Part::BehindCode, b' ') | (Part::Reason, b'\t' | b' '..=b'~' | 0x80..) => Part::Reason,

            (Part::StartLineCr | Part::BehindCode | Part::Reason, b'\r') => Part::StartLineLf,
            (Part::BehindCode | Part::Reason | Part::StartLineLf, b'\n') => Part::LineStart,
            _ => return Step::Certain,
        };
        Step::On
    }

    fn is_version(self, byte: u8) -> bool {
        match VERSION.get(usize::from(self.count)) {
            Some(expected) => byte == *expected,
            None => byte.is_ascii_digit(),
        }
    }

    /// Counts a byte of the current part. Returns `next` after `size` bytes.
    fn counted(&mut self, size: u8, next: Part) -> Part {
        self.count += 1;
        if self.count < size {
            return self.part;
        }
        self.count = 0;
        next
    }

    /// Processes the end of a field line.
    fn line(&mut self, limits: &Limits) -> Step {
        self.part = Part::LineStart;
        self.count = self.count.saturating_add(1);
        if u16::from(self.count) > limits.header_count_max.min(super::limits::HEADER_COUNT_CEILING) {
            Step::Certain
        } else {
            Step::On
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes of `line` are taken for the beginning of a head.
    fn followed(line: &[u8], side: Side) -> usize {
        let mut follower = Follower::default();
        let is_certain = |(position, &byte): (usize, &u8)| {
            follower.step(byte, position, side, &Limits::default()) == Step::Certain
        };
        line.iter().enumerate().position(is_certain).unwrap_or(line.len())
    }

    #[test]
    fn a_start_line_is_followed_up_to_its_first_wrong_byte() {
        for (line, size) in [
            (&b" / HTTP/1.1"[..], 0),
            (b"\n", 0),
            (b"\r", 0),
            (b"GET /\x7f", 5),
            (b"GET / http", 6),
            (b"GET / HTTP/1.1\n", 14),
            (b"GET / HTTP/1.1\r\n", 16),
        ] {
            assert_eq!(followed(line, Side::Server), size, "{}", line.escape_ascii());
        }
        for (line, size) in [
            (&b" HTTP/1.1 200"[..], 0),
            (b"HTTP/1.1  200", 9),
            (b"HTTP/1.1 2000", 12),
            (b"HTTP/1.1 200\n", 13),
            (b"HTTP/1.1 200 OK\r\n", 17),
        ] {
            assert_eq!(followed(line, Side::Client), size, "{}", line.escape_ascii());
        }
    }
}
