//! Bytes to send, and where they are cut.

use std::fmt;

use bytes::Bytes;

/// Bytes that a [`Script`](super::Script) sends one piece after the other, so that each piece arrives by itself.
///
/// Text and bytes of any kind become one piece: `"abc".into()`.
#[derive(Clone, PartialEq, Eq)]
pub struct Pieces(Vec<Bytes>);

impl Pieces {
    /// Cuts `bytes` before each of the positions. Repeated positions, 0 and the length cut nothing.
    ///
    /// # Panics
    /// If the positions do not ascend or exceed the length.
    ///
    /// ```
    /// use ringtide::testing::Pieces;
    ///
    /// assert_eq!(format!("{:?}", Pieces::cut_at("HTTP/1.1", [4, 5])), r#""HTTP" "/" "1.1""#);
    /// ```
    #[track_caller]
    pub fn cut_at(bytes: impl AsRef<[u8]>, positions: impl IntoIterator<Item = usize>) -> Self {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        let mut pieces = Vec::new();
        let mut from = 0;
        for to in positions.into_iter().chain([bytes.len()]) {
            assert!(
                from <= to && to <= bytes.len(),
                "cannot cut {} bytes at {to} behind {from}",
                bytes.len()
            );
            if from < to {
                pieces.push(bytes.slice(from..to));
            }
            from = to;
        }
        Self(pieces)
    }

    /// Cuts `bytes` into pieces of `size` bytes. The last one may be smaller.
    ///
    /// # Panics
    /// If `size` is 0.
    #[track_caller]
    pub fn of_size(size: usize, bytes: impl AsRef<[u8]>) -> Self {
        assert!(size > 0, "a piece has at least one byte");
        let bytes = bytes.as_ref();
        Self::cut_at(bytes, (size..bytes.len()).step_by(size))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.0.iter()
    }
}

impl<T: AsRef<[u8]>> From<T> for Pieces {
    fn from(bytes: T) -> Self {
        Self::cut_at(bytes, [])
    }
}

/// Writes the pieces as text with escapes.
impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, piece) in self.0.iter().enumerate() {
            let space = if number > 0 { " " } else { "" };
            write!(f, "{space}\"{}\"", piece.escape_ascii())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_cut_where_they_should_be() {
        let shown = |pieces: Pieces| format!("{pieces:?}");
        assert_eq!(shown("ab\r\n".into()), r#""ab\r\n""#);
        assert_eq!(shown(Pieces::cut_at("abc", [0, 1, 1, 3])), r#""a" "bc""#);
        assert_eq!(shown(Pieces::of_size(2, "abcde")), r#""ab" "cd" "e""#);
        assert_eq!(shown(Pieces::of_size(5, "abcde")), r#""abcde""#);
        assert_eq!(shown(Pieces::of_size(1, "")), "");
    }

    #[test]
    #[should_panic(expected = "cannot cut 3 bytes at 1 behind 2")]
    fn positions_ascend() {
        Pieces::cut_at("abc", [2, 1]);
    }

    #[test]
    #[should_panic(expected = "cannot cut 3 bytes at 4 behind 0")]
    fn positions_are_inside() {
        Pieces::cut_at("abc", [4]);
    }
}
