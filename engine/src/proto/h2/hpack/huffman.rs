//! The Huffman code of strings (RFC 7541 §5.2 and Appendix B).
//!
//! The code is canonical: sorted by length and then by symbol, each code is its predecessor plus one. So the lengths
//! determine it, and all tables are computed from them at compile time.

use super::Error;

/// The symbols: all bytes, and the end of the string.
const SYMBOL_COUNT: usize = 257;

/// The length of each symbol's code in bits. The last one is the end of the string.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOL_COUNT] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const LENGTH_MIN: usize = 5;
const LENGTH_MAX: usize = 30;
const END: u16 = 256;

/// So many bits are looked up in one step. They contain one or two codes of nearly all bytes that a field contains.
const STEP_BITS: usize = 11;

struct Tables {
    /// The code of each symbol, in the low bits.
    codes: [u32; SYMBOL_COUNT],
    /// The symbols in the order of their codes.
    sorted: [u16; SYMBOL_COUNT],
    /// For each length, its first code, in the high bits. `u32::MAX` if no code has that length.
    first_codes: [u32; LENGTH_MAX + 1],
    /// For each length, where in `sorted` its symbols begin.
    offsets: [u16; LENGTH_MAX + 1],
    /// For all values of the next bits, what they begin with.
    steps: [Step; 1 << STEP_BITS],
}

/// One or two bytes, or the beginning of a longer code.
#[derive(Clone, Copy)]
struct Step {
    bytes: [u8; 2],
    /// The length of the first code; 0 if it is longer than `STEP_BITS`.
    first_length: u8,
    /// The length of all codes.
    length: u8,
}

static TABLES: Tables = tables();

const fn tables() -> Tables {
    let mut tables = Tables {
        codes: [0; SYMBOL_COUNT],
        sorted: [0; SYMBOL_COUNT],
        first_codes: [u32::MAX; LENGTH_MAX + 1],
        offsets: [0; LENGTH_MAX + 1],
        steps: [Step { bytes: [0; 2], first_length: 0, length: 0 }; 1 << STEP_BITS],
    };
    let mut next_code = 0;
    let mut count = 0;
    let mut length = LENGTH_MIN;
    while length <= LENGTH_MAX {
        next_code <<= 1;
        tables.offsets[length] = count as u16;
        let mut symbol = 0;
        while symbol < SYMBOL_COUNT {
            if LENGTHS[symbol] as usize == length {
                if count == tables.offsets[length] as usize {
                    tables.first_codes[length] = next_code << (32 - length);
                }
                tables.codes[symbol] = next_code;
                tables.sorted[count] = symbol as u16;
                if length <= STEP_BITS {
                    let mut low = 0;
                    while low < 1 << (STEP_BITS - length) {
                        let index = ((next_code as usize) << (STEP_BITS - length)) | low;
                        let length = length as u8;
                        tables.steps[index] = Step { bytes: [symbol as u8, 0], first_length: length, length };
                        low += 1;
                    }
                }
                next_code += 1;
                count += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    // The last code is all ones: the code is complete, so the lengths are free of typing errors that change their sum.
    assert!(count == SYMBOL_COUNT && next_code == 1 << LENGTH_MAX);
    let mut index = 0;
    while index < 1 << STEP_BITS {
        let first = tables.steps[index];
        let second = tables.steps[(index << first.first_length) & ((1 << STEP_BITS) - 1)];
        let length = first.first_length + second.first_length;
        if first.first_length > 0 && second.first_length > 0 && length as usize <= STEP_BITS {
            tables.steps[index].bytes[1] = second.bytes[0];
            tables.steps[index].length = length;
        }
        index += 1;
    }
    tables
}

/// Returns the size of `bytes` when encoded, in bytes.
#[inline]
pub fn encoded_len(bytes: &[u8]) -> usize {
    let bits: usize = bytes.iter().map(|&byte| usize::from(LENGTHS[byte as usize])).sum();
    bits.div_ceil(8)
}

/// Appends the code of `bytes`, padded to whole bytes.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    // The bits that are not yet written, in the low bits: fewer than 32 before each byte.
    let mut pending: u64 = 0;
    let mut pending_bits: u32 = 0;
    for &byte in bytes {
        let length = u32::from(LENGTHS[byte as usize]);
        pending = (pending << length) | u64::from(TABLES.codes[byte as usize]);
        pending_bits += length;
        if pending_bits >= 32 {
            pending_bits -= 32;
            out.extend_from_slice(&((pending >> pending_bits) as u32).to_be_bytes());
        }
    }
    // Padded with the first bits of the end: ones.
    let size = pending_bits.div_ceil(8);
    let padding_bits = size * 8 - pending_bits;
    let last = (pending << padding_bits) | ((1 << padding_bits) - 1);
    out.extend_from_slice(&last.to_be_bytes()[8 - size as usize..]);
}

/// Appends the bytes that `code` stands for: at most 8 for each 5 of its bytes.
///
/// # Errors
/// Returns [`Error::HuffmanEnd`] or [`Error::HuffmanPadding`]. Some bytes may have been appended.
pub fn decode(code: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    // Room for all symbols, and for one more, as a step always writes two: faster than pushing each byte.
    out.resize(start + code.len() * 8 / LENGTH_MIN + 1, 0);
    let size = decode_into(code, &mut out[start..]);
    out.truncate(start + *size.as_ref().unwrap_or(&0));
    size.map(drop)
}

/// Returns how many bytes were written.
fn decode_into(code: &[u8], room: &mut [u8]) -> Result<usize, Error> {
    let mut size = 0;
    let mut position = 0;
    // The next bits, from the highest one on. Those behind `available` are what follows, or 0.
    let mut window: u64 = 0;
    let mut available: u32 = 0;
    while let Some(bytes) = code[position..].first_chunk() {
        window |= u64::from_be_bytes(*bytes) >> available;
        // Only whole bytes count as taken; the next round sets the same bits of a split one again.
        let taken = (63 - available) / 8;
        position += taken as usize;
        available += taken * 8;
        while available >= LENGTH_MAX as u32 {
            let step = TABLES.steps[(window >> (64 - STEP_BITS)) as usize];
            if step.first_length > 0 {
                room[size..size + 2].copy_from_slice(&step.bytes);
                size += 1 + usize::from(step.length > step.first_length);
                window <<= step.length;
                available -= u32::from(step.length);
            } else {
                let (byte, length) = long_symbol(window)?;
                room[size] = byte;
                size += 1;
                window <<= length;
                available -= length;
            }
        }
    }
    loop {
        while available < 56 && position < code.len() {
            window = window & !(u64::MAX >> available) | u64::from(code[position]) << (56 - available);
            available += 8;
            position += 1;
        }
        // Behind the end, ones: the rest of a correct padding.
        let padded = window & !(u64::MAX >> available) | (u64::MAX >> available);
        let found = symbol(padded);
        let length = found.map_or(LENGTH_MAX as u32, |(_, length)| length);
        if length > available {
            // Not a symbol but the padding.
            return if available < 8 && padded == u64::MAX { Ok(size) } else { Err(Error::HuffmanPadding) };
        }
        room[size] = found?.0;
        size += 1;
        window <<= length;
        available -= length;
    }
}

/// Returns the symbol at the start of `window`, and the length of its code.
#[inline]
fn symbol(window: u64) -> Result<(u8, u32), Error> {
    let step = TABLES.steps[(window >> (64 - STEP_BITS)) as usize];
    if step.first_length > 0 {
        Ok((step.bytes[0], u32::from(step.first_length)))
    } else {
        long_symbol(window)
    }
}

#[cold]
fn long_symbol(window: u64) -> Result<(u8, u32), Error> {
    let next = (window >> 32) as u32;
    // The last length whose first code is not above the bits.
    let mut length = LENGTH_MAX;
    while TABLES.first_codes[length] == u32::MAX || TABLES.first_codes[length] > next {
        length -= 1;
    }
    let offset = (next - TABLES.first_codes[length]) >> (32 - length);
    match TABLES.sorted[usize::from(TABLES.offsets[length]) + offset as usize] {
        END => Err(Error::HuffmanEnd),
        symbol => Ok((symbol as u8, length as u32)),
    }
}
