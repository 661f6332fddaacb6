//! Histograms as text, without loss: HdrHistogram's format V2, deflated, in base64. Its libraries in other languages
//! read it, and its interval logs consist of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compress, Compression, FlushCompress, Status};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};

/// What a deflated histogram of format V2 begins with.
const COOKIE: u32 = 0x1c84_9314;

/// The bytes before the deflated ones: the cookie and their number.
const HEAD_SIZE: usize = 8;

/// A buffer for the deflated bytes begins with this size, which few histograms exceed.
const PACKED_SIZE: usize = 32 * 1024;

/// Writes histograms as text. It keeps its memory, so that further ones of the same size need no more.
pub struct Encoder {
    v2: V2Serializer,
    plain: Vec<u8>,
    compress: Compress,
    packed: Vec<u8>,
}

impl Encoder {
    /// Allocates the memory for histograms of usual size.
    pub fn new() -> Self {
        Self {
            v2: V2Serializer::new(),
            plain: Vec::with_capacity(PACKED_SIZE),
            compress: Compress::new(Compression::fast(), true),
            packed: Vec::with_capacity(PACKED_SIZE),
        }
    }

    /// Appends the text of `histogram` to `out`.
    ///
    /// # Panics
    /// When a count exceeds [`i64::MAX`].
    pub fn append(&mut self, histogram: &Histogram<u64>, out: &mut String) {
        self.plain.clear();
        self.v2
            .serialize(histogram, &mut self.plain)
            .expect("counts are below 2⁶³, and memory takes all bytes");
        self.packed.clear();
        self.packed.resize(HEAD_SIZE, 0);
        self.compress.reset();
        loop {
            let done = self.compress.total_in() as usize;
            let status =
                self.compress.compress_vec(&self.plain[done..], &mut self.packed, FlushCompress::Finish);
            if status.expect("deflating has no errors") == Status::StreamEnd {
                break;
            }
            self.packed.reserve(PACKED_SIZE);
        }
        let size = (self.packed.len() - HEAD_SIZE) as u32;
        self.packed[..4].copy_from_slice(&COOKIE.to_be_bytes());
        self.packed[4..HEAD_SIZE].copy_from_slice(&size.to_be_bytes());
        STANDARD.encode_string(&self.packed, out);
    }

    /// The text of `histogram`; `None` if it is empty.
    pub fn text(&mut self, histogram: &Histogram<u64>) -> Option<String> {
        if histogram.is_empty() {
            return None;
        }
        let mut text = String::new();
        self.append(histogram, &mut text);
        Some(text)
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// Why a text is no histogram.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is not base64.
    #[error("it is not base64: {0}")]
    Base64(base64::DecodeError),
    /// What it encodes is not a histogram.
    #[error("it is not a histogram of HdrHistogram's format V2: {0}")]
    Histogram(String),
}

/// Reads the text of a histogram, deflated or not.
///
/// # Errors
/// When it is none.
pub fn decode(text: &str) -> Result<Histogram<u64>, DecodeError> {
    let bytes = STANDARD.decode(text.trim()).map_err(DecodeError::Base64)?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| DecodeError::Histogram(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As those of `metrics`.
    fn histogram() -> Histogram<u64> {
        Histogram::new_with_bounds(1, 24 * 3600 * 1_000_000_000, 3).expect("valid")
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_without_loss(
            values in proptest::collection::vec((0_u64..100_000_000_000_000, 1_u64..1_000_000_000_000), 0..300),
        ) {
            let mut encoder = Encoder::new();
            let mut written = histogram();
            // The second shows that nothing of the first is left in the encoder.
            for values in [&values[..], &values[..values.len() / 2]] {
                written.reset();
                for (value, count) in values {
                    written.saturating_record_n(*value, *count);
                }
                let mut text = String::new();
                encoder.append(&written, &mut text);
                prop_assert!(text.starts_with("HISTF"));
                prop_assert_eq!(&decode(&text).expect("it was written"), &written);
            }
        }
    }

    #[test]
    fn a_large_one_grows_the_buffer() {
        let mut all = histogram();
        for exponent in 0..46 {
            for step in 0..1024 {
                let value = (1 << exponent) + (step << exponent) / 1024;
                all.saturating_record_n(
                    value,
                    (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 3).max(1) & 0xff_ffff_ffff,
                );
            }
        }
        let text = Encoder::new().text(&all).expect("not empty");
        assert!(text.len() > PACKED_SIZE, "{}", text.len());
        assert_eq!(decode(&text).expect("it was written"), all);
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        assert_eq!(Encoder::new().text(&histogram()), None);
        assert!(matches!(decode("HISTF???"), Err(DecodeError::Base64(_))));
        for text in ["", "AAAA", "HISTFAAAAA", "SElTVEY="] {
            let error = decode(text).expect_err(text);
            assert!(matches!(error, DecodeError::Histogram(_) | DecodeError::Base64(_)), "{error}");
        }
    }
}
