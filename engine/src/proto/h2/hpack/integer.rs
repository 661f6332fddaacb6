//! Integers with a prefix (RFC 7541 §5.1), up to 32 bits.

use super::Error;

/// The bytes behind the prefix that a 32-bit integer needs at most. More of them could only be padding.
const CONTINUATION_SIZE_MAX: usize = 5;

/// Takes an integer with a prefix of `prefix_bits` from the start of `rest`. Ignores the bits above the prefix.
///
/// # Errors
/// Returns [`Error::Truncated`] or [`Error::IntegerTooLarge`].
#[inline]
pub(super) fn decode(rest: &mut &[u8], prefix_bits: u32) -> Result<u32, Error> {
    let Some((&first, behind)) = rest.split_first() else { return Err(Error::Truncated) };
    *rest = behind;
    let mask = prefix_mask(prefix_bits);
    let prefix = first & mask;
    if prefix < mask { Ok(u32::from(prefix)) } else { continuation(rest, mask) }
}

fn continuation(rest: &mut &[u8], prefix: u8) -> Result<u32, Error> {
    let mut value = u64::from(prefix);
    for position in 0..CONTINUATION_SIZE_MAX {
        let Some(&byte) = rest.get(position) else { return Err(Error::Truncated) };
        value += u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            *rest = &rest[position + 1..];
            return u32::try_from(value).map_err(|_| Error::IntegerTooLarge);
        }
    }
    Err(Error::IntegerTooLarge)
}

/// Appends `value` with a prefix of `prefix_bits`, and `pattern` in the bits above it.
#[inline]
pub(super) fn encode(value: u32, prefix_bits: u32, pattern: u8, out: &mut Vec<u8>) {
    let mask = prefix_mask(prefix_bits);
    if value < u32::from(mask) {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | mask);
    let mut rest = value - u32::from(mask);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn prefix_mask(prefix_bits: u32) -> u8 {
    debug_assert!((1..=8).contains(&prefix_bits));
    0xff >> (8 - prefix_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(mut bytes: &[u8], prefix_bits: u32) -> Result<(u32, usize), Error> {
        decode(&mut bytes, prefix_bits).map(|value| (value, bytes.len()))
    }

    #[test]
    fn the_examples_of_rfc_7541_c_1() {
        for (value, prefix_bits, bytes) in
            [(10, 5, &[0x0a][..]), (1337, 5, &[0x1f, 0x9a, 0x0a]), (42, 8, &[0x2a])]
        {
            let mut out = Vec::new();
            encode(value, prefix_bits, 0, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(decoded(bytes, prefix_bits), Ok((value, 0)));
        }
    }

    #[test]
    fn every_prefix_at_its_edges() {
        for prefix_bits in 1..=8 {
            let mask = u32::from(prefix_mask(prefix_bits));
            let values =
                [0, mask - 1, mask, mask + 1, mask + 127, mask + 128, mask + 16_384, u32::MAX - 1, u32::MAX];
            for value in values {
                let pattern = !prefix_mask(prefix_bits);
                let mut out = Vec::new();
                encode(value, prefix_bits, pattern, &mut out);
                assert_eq!(out[0] & pattern, pattern);
                for length in 0..out.len() {
                    assert_eq!(decoded(&out[..length], prefix_bits), Err(Error::Truncated));
                }
                out.push(0xff);
                assert_eq!(decoded(&out, prefix_bits), Ok((value, 1)), "{value} in {prefix_bits} bits");
            }
        }
    }

    #[test]
    fn too_large_integers_are_refused() {
        // 2^32 - 1 and 2^32.
        assert_eq!(decoded(&[0xff, 0x80, 0xfe, 0xff, 0xff, 0x0f], 8), Ok((u32::MAX, 0)));
        assert_eq!(decoded(&[0xff, 0x81, 0xfe, 0xff, 0xff, 0x0f], 8), Err(Error::IntegerTooLarge));
        assert_eq!(decoded(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0x7f], 7), Err(Error::IntegerTooLarge));
        // Padded with zeros: up to the length of the largest integer, and beyond.
        assert_eq!(decoded(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x00], 7), Ok((127, 0)));
        assert_eq!(decoded(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], 7), Err(Error::IntegerTooLarge));
        assert_eq!(decoded(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x80], 7), Err(Error::IntegerTooLarge));
        assert_eq!(decoded(&[0x7f, 0x80, 0x80, 0x80, 0x80], 7), Err(Error::Truncated));
    }
}
