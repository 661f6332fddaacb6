//! What the two floor examples speak: HTTP, or frames that the server sends back.

use std::str::FromStr;

/// The frame of [`Protocol::Echo`]. It ends as the head of a request does, so the server finds its end in the same way.
pub(crate) const FRAME: &[u8; 16] = b"twelve bytes\r\n\r\n";

#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    Http,
    Echo,
}

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "http" => Ok(Self::Http),
            "echo" => Ok(Self::Echo),
            _ => Err("a protocol is http or echo"),
        }
    }
}
