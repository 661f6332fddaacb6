//! Why a head is malformed.

use std::fmt;

/// Up to this size an error quotes the name of a field.
const QUOTED_NAME_SIZE_MAX: usize = 64;

/// Why a head or a trailer section is malformed (RFC 9113 §8.1.1), or why a field cannot be sent.
///
/// Names are cut after 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// The name of a field is not a token; in a received one, not in lower case.
    FieldName(Box<[u8]>),
    /// The value of the named field contains a control character, or begins or ends with white space.
    FieldValue(Box<[u8]>),
    /// The named field belongs to a connection, which HTTP/2 does not allow (RFC 9113 §8.2.2).
    ConnectionField(Box<[u8]>),
    /// The named field frames the message. Only the body may set it.
    FramingField(Box<[u8]>),
    /// The named pseudo-header field is unknown, or is not allowed in this kind of head.
    PseudoUnexpected(Box<[u8]>),
    /// The named pseudo-header field follows another field.
    PseudoLate(Box<[u8]>),
    /// The named pseudo-header field is there twice.
    PseudoRepeated(&'static str),
    /// The named pseudo-header field is missing.
    PseudoMissing(&'static str),
    /// The value of the named pseudo-header field is not valid.
    PseudoInvalid(&'static str),
    /// `host` is repeated or is not a host, or differs from `:authority` (RFC 9113 §8.3.1).
    Host,
    /// `content-length` is not a plain number of 64 bits.
    ContentLengthInvalid,
    /// Several `content-length` fields differ.
    ContentLengthsDiffer,
    /// The status is 101, which HTTP/2 does not have (RFC 9113 §8.6).
    SwitchingProtocols,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FieldName(name) => {
                write!(f, "field name \"{}\" is not a token in lower case", name.escape_ascii())
            }
            Self::FieldValue(name) => write!(
                f,
                "the value of field \"{}\" contains a control character, or white space at an end",
                name.escape_ascii()
            ),
            Self::ConnectionField(name) => {
                write!(f, "field \"{}\" is not allowed in HTTP/2", name.escape_ascii())
            }
            Self::FramingField(name) => {
                write!(f, "field \"{}\" is set by the body and must not be given", name.escape_ascii())
            }
            Self::PseudoUnexpected(name) => {
                write!(f, "pseudo-header field \"{}\" is not allowed here", name.escape_ascii())
            }
            Self::PseudoLate(name) => {
                write!(f, "pseudo-header field \"{}\" follows another field", name.escape_ascii())
            }
            Self::PseudoRepeated(name) => write!(f, "pseudo-header field \"{name}\" is repeated"),
            Self::PseudoMissing(name) => write!(f, "pseudo-header field \"{name}\" is missing"),
            Self::PseudoInvalid(name) => {
                write!(f, "the value of pseudo-header field \"{name}\" is not valid")
            }
            Self::Host => {
                f.write_str("field \"host\" is repeated, is not a host, or differs from \":authority\"")
            }
            Self::ContentLengthInvalid => f.write_str("field \"content-length\" is not a number"),
            Self::ContentLengthsDiffer => f.write_str("several \"content-length\" fields differ"),
            Self::SwitchingProtocols => f.write_str("\":status\" is 101, which HTTP/2 does not have"),
        }
    }
}

impl std::error::Error for HeadError {}

#[cold]
pub(super) fn quoted(name: &[u8]) -> Box<[u8]> {
    name[..name.len().min(QUOTED_NAME_SIZE_MAX)].into()
}
