//! Bytes in messages: readable text with escapes, shortened if there are many.

use std::fmt;

/// How many bytes a message shows. Longer ones are cut on both sides of what matters.
const SHOWN_SIZE_MAX: usize = 800;

/// How many of the shown bytes precede the byte that matters.
const BEFORE_SIZE: usize = 300;

/// Writes `bytes` as text with escapes. Of many bytes, it writes those around position `around`.
pub(super) struct Excerpt<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) around: usize,
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.bytes.len();
        if length == 0 {
            return f.write_str("nothing");
        }
        let from = if length <= SHOWN_SIZE_MAX {
            0
        } else {
            self.around.saturating_sub(BEFORE_SIZE).min(length - SHOWN_SIZE_MAX)
        };
        let to = (from + SHOWN_SIZE_MAX).min(length);
        if from > 0 {
            write!(f, "({from} bytes) ")?;
        }
        write!(f, "\"{}\"", self.bytes[from..to].escape_ascii())?;
        if to < length {
            write!(f, " ({} bytes)", length - to)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_bytes_are_shortened_around_what_matters() {
        let shown = |bytes: &[u8], around| Excerpt { bytes, around }.to_string();
        assert_eq!(shown(b"", 0), "nothing");
        assert_eq!(shown(b"a\r\n\xff", 9), r#""a\r\n\xff""#);
        let mut bytes = vec![b'x'; 2_000];
        bytes[1_000] = b'!';
        let text = shown(&bytes, 1_000);
        assert!(text.starts_with("(700 bytes) \"x") && text.ends_with("x\" (500 bytes)"), "{text}");
        assert_eq!(text.find('!'), Some("(700 bytes) \"".len() + BEFORE_SIZE));
        assert!(shown(&bytes, 0).ends_with("x\" (1200 bytes)"));
        assert!(shown(&bytes, 2_000).starts_with("(1200 bytes) \"x"));
    }
}
