//! Encoding header blocks (RFC 7541 §3 and §6).

use std::collections::VecDeque;

use super::static_table::{self, Found};
use super::table::{ENTRY_OVERHEAD, Table};
use super::{TABLE_SIZE_INITIAL, huffman, integer};

/// The largest table that an encoder uses, in bytes, whatever the peer allows. Looking a field up takes time in
/// proportion to the number of entries: at most 128.
pub const TABLE_SIZE_MAX: u32 = 4096;

const _: () = assert!(TABLE_SIZE_MAX <= TABLE_SIZE_INITIAL);

/// The encoding context of a connection.
///
/// A block is one call of [`begin`](Self::begin) and one of [`field`](Self::field) for each field. Blocks must be sent in
/// the order in which they were encoded.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    /// The hash of each entry, the oldest first: see [`hash_of`].
    hashes: VecDeque<u64>,
    /// The smallest size of the table since the last block, if it has changed.
    smallest_size: Option<u32>,
}

/// Whether a field becomes an entry of the dynamic table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexing {
    /// It does: for fields that repeat.
    Add,
    /// It does not: for values that are unlikely to repeat.
    Without,
    /// It does not, and intermediaries must not index it either: for secrets (RFC 7541 §7.1.3).
    Never,
}

impl Encoder {
    /// Creates an encoder with a table of `table_size_max` bytes, capped at [`TABLE_SIZE_MAX`]. If that is less than
    /// [`TABLE_SIZE_INITIAL`], the first block says so.
    pub fn new(table_size_max: u32) -> Self {
        let mut encoder =
            Self { table: Table::new(TABLE_SIZE_INITIAL), hashes: VecDeque::new(), smallest_size: None };
        encoder.set_table_size_max(table_size_max);
        encoder
    }

    /// Follows the peer's SETTINGS_HEADER_TABLE_SIZE, capped at [`TABLE_SIZE_MAX`]. The next block begins with the size
    /// update, if there is a change (RFC 7541 §4.2). Not to be called within a block.
    pub fn set_table_size_max(&mut self, size: u32) {
        let size = size.min(TABLE_SIZE_MAX);
        if size == self.table.size_max() {
            return;
        }
        self.table.set_size_max(size);
        self.forget_evicted();
        self.smallest_size = Some(self.smallest_size.map_or(size, |smallest| smallest.min(size)));
    }

    /// Begins a block: appends pending size updates.
    #[inline]
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(smallest) = self.smallest_size.take() {
            self.size_updates(smallest, out);
        }
    }

    /// Appends a field. `name` must be in lower case.
    ///
    /// A field that is larger than the table is not added, as that would empty it.
    pub fn field(&mut self, name: &[u8], value: &[u8], indexing: Indexing, out: &mut Vec<u8>) {
        let in_static = static_table::find(name, value);
        if let Found::Field(index) = in_static
            && indexing != Indexing::Never
        {
            integer::encode(index, 7, 0x80, out);
            return;
        }
        let hash = hash_of(name, value);
        // The index of a name is smaller in the static table.
        let needs_name = in_static == Found::Nothing;
        let in_dynamic = self.find(hash, name, value, needs_name);
        let name_index = match (in_static, in_dynamic) {
            (_, Found::Field(index)) if indexing != Indexing::Never => {
                integer::encode(index, 7, 0x80, out);
                return;
            }
            (Found::Field(index) | Found::Name(index), _) | (_, Found::Field(index) | Found::Name(index)) => {
                index
            }
            (Found::Nothing, Found::Nothing) => 0,
        };
        let fits = name.len() + value.len() + ENTRY_OVERHEAD <= self.table.size_max() as usize;
        let (prefix_bits, pattern) = match indexing {
            Indexing::Add if fits => (6, 0x40),
            Indexing::Add | Indexing::Without => (4, 0),
            Indexing::Never => (4, 0x10),
        };
        literal(name_index, prefix_bits, pattern, name, value, out);
        if indexing == Indexing::Add && fits {
            self.table.insert(name, value);
            self.hashes.push_back(hash);
            self.forget_evicted();
        }
    }

    /// Returns a number that grows by one with each entry that is added and each change of the table's size. While it
    /// stays the same, an encoded block that added no entry can be sent again.
    #[inline]
    pub fn insert_count(&self) -> u64 {
        self.table.change_count()
    }

    #[cold]
    fn size_updates(&self, smallest: u32, out: &mut Vec<u8>) {
        let size = self.table.size_max();
        if smallest < size {
            integer::encode(smallest, 5, 0x20, out);
        }
        integer::encode(size, 5, 0x20, out);
    }

    fn forget_evicted(&mut self) {
        while self.hashes.len() > self.table.len() {
            self.hashes.pop_front();
        }
    }

    /// Finds a field in the dynamic table, the newest entry first, or only its name if that is of use.
    fn find(&self, hash: u64, name: &[u8], value: &[u8], mut needs_name: bool) -> Found {
        let mut found = Found::Nothing;
        for (age, &other) in self.hashes.iter().rev().enumerate() {
            // A table may be full of fields of the same name.
            if other != hash && !(needs_name && other >> 32 == hash >> 32) {
                continue;
            }
            let Some((entry, name_size)) = self.table.get(age) else { break };
            if &entry[..name_size] != name {
                continue;
            }
            let index = (static_table::COUNT + 1 + age) as u32;
            if other == hash && &entry[name_size..] == value {
                return Found::Field(index);
            }
            if needs_name {
                found = Found::Name(index);
                needs_name = false;
            }
        }
        found
    }
}

/// Appends a field without a dynamic table: from the static table, or as a literal that does not become an entry.
/// `name` must be in lower case. A `sensitive` value is marked as never to be indexed.
///
/// The size update of an [`Encoder`] has to precede such fields like others: call [`Encoder::begin`] for every block.
pub fn encode_stateless(name: &[u8], value: &[u8], sensitive: bool, out: &mut Vec<u8>) {
    let pattern = if sensitive { 0x10 } else { 0 };
    match static_table::find(name, value) {
        Found::Field(index) if !sensitive => integer::encode(index, 7, 0x80, out),
        Found::Field(index) | Found::Name(index) => literal(index, 4, pattern, name, value, out),
        Found::Nothing => literal(0, 4, pattern, name, value, out),
    }
}

/// Appends a literal. `name_index` 0: with its name.
fn literal(name_index: u32, prefix_bits: u32, pattern: u8, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    integer::encode(name_index, prefix_bits, pattern, out);
    if name_index == 0 {
        string(name, out);
    }
    string(value, out);
}

/// Appends a string, Huffman-coded if that is shorter (§5.2).
fn string(bytes: &[u8], out: &mut Vec<u8>) {
    let size = huffman::encoded_len(bytes);
    if size < bytes.len() {
        integer::encode(size as u32, 7, 0x80, out);
        huffman::encode(bytes, out);
    } else {
        integer::encode(bytes.len() as u32, 7, 0, out);
        out.extend_from_slice(bytes);
    }
}

/// Returns the hash of a name in the high half, and that of a value in the low half. Whoever makes them collide makes
/// the encoder compare at most all bytes of its table.
#[inline]
fn hash_of(name: &[u8], value: &[u8]) -> u64 {
    mix(name) & !u64::from(u32::MAX) | mix(value) >> 32
}

/// Returns a hash of the size and of up to eight bytes at each end, good in the high bits. That costs the same for all
/// sizes, and usually tells fields apart.
#[inline]
fn mix(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (first, last) = match bytes {
        [] => (0, 0),
        [first, .., last] if bytes.len() < 4 => {
            (u64::from(*first) | u64::from(bytes[bytes.len() / 2]) << 8, u64::from(*last))
        }
        [only] => (u64::from(*only), 0),
        _ if bytes.len() < 8 => (word::<4>(bytes.first_chunk()), word::<4>(bytes.last_chunk())),
        _ => (word::<8>(bytes.first_chunk()), word::<8>(bytes.last_chunk())),
    };
    let mut state = (first ^ bytes.len() as u64).wrapping_mul(FACTOR);
    state ^= state >> 32;
    (state ^ last).wrapping_mul(FACTOR)
}

#[inline]
fn word<const SIZE: usize>(bytes: Option<&[u8; SIZE]>) -> u64 {
    let mut word = [0; 8];
    if let Some(bytes) = bytes {
        word[..SIZE].copy_from_slice(bytes);
    }
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(encoder: &mut Encoder) -> Vec<u8> {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        out
    }

    fn field(encoder: &mut Encoder, name: &str, value: &str, indexing: Indexing) -> Vec<u8> {
        let mut out = begun(encoder);
        encoder.field(name.as_bytes(), value.as_bytes(), indexing, &mut out);
        out
    }

    #[test]
    fn a_field_is_an_index_a_named_literal_or_a_literal() {
        let mut encoder = Encoder::new(4096);
        let field = |encoder: &mut Encoder, indexing| field(encoder, "x-a", "b", indexing);
        // No Huffman code: "x-a" and "b" are no shorter with one.
        assert_eq!(field(&mut encoder, Indexing::Without), b"\x00\x03x-a\x01b");
        assert_eq!(field(&mut encoder, Indexing::Never), b"\x10\x03x-a\x01b");
        assert_eq!(encoder.insert_count(), 0);
        assert_eq!(field(&mut encoder, Indexing::Add), b"\x40\x03x-a\x01b");
        assert_eq!(encoder.insert_count(), 1);
        assert_eq!(field(&mut encoder, Indexing::Add), [0xbe]);
        assert_eq!(field(&mut encoder, Indexing::Without), [0xbe]);
        // A secret is no index, whatever the table has: only its name is.
        assert_eq!(field(&mut encoder, Indexing::Never), b"\x1f\x2f\x01b");
        assert_eq!(encoder.insert_count(), 1);
        for indexing in [Indexing::Add, Indexing::Without] {
            assert_eq!(super::tests::field(&mut encoder, ":method", "GET", indexing), [0x82]);
        }
        assert_eq!(super::tests::field(&mut encoder, ":method", "GET", Indexing::Never), b"\x12\x03GET");
    }

    #[test]
    fn the_newest_entry_is_preferred_and_the_static_name() {
        let mut encoder = Encoder::new(4096);
        field(&mut encoder, "x-a", "1", Indexing::Add);
        field(&mut encoder, "x-a", "2", Indexing::Add);
        field(&mut encoder, "via", "3", Indexing::Add);
        // 62 is `via`, 63 the second `x-a`.
        assert_eq!(field(&mut encoder, "x-a", "4", Indexing::Add), b"\x7f\x00\x014");
        assert_eq!(field(&mut encoder, "x-a", "1", Indexing::Add), [0xc1]);
        assert_eq!(field(&mut encoder, "via", "4", Indexing::Add), b"\x7c\x014");
        assert_eq!(field(&mut encoder, "via", "3", Indexing::Add), [0xc0]);
    }

    #[test]
    fn a_field_that_does_not_fit_is_not_added() {
        let mut encoder = Encoder::new(34);
        assert_eq!(begun(&mut encoder), [0x3f, 0x03]);
        field(&mut encoder, "a", "1", Indexing::Add);
        let count = encoder.insert_count();
        assert_eq!(field(&mut encoder, "a", "22", Indexing::Add), b"\x0f\x2f\x0222");
        assert_eq!(encoder.insert_count(), count);
        assert_eq!(field(&mut encoder, "a", "1", Indexing::Add), [0xbe]);
        assert_eq!(field(&mut encoder, "b", "1", Indexing::Add), b"\x40\x01b\x011");
        assert_eq!(field(&mut encoder, "a", "1", Indexing::Without), b"\x00\x01a\x011");
        assert_eq!(encoder.hashes.len(), 1);
    }

    #[test]
    fn a_change_of_the_size_is_told_once_with_the_smallest_size_before_it() {
        let mut encoder = Encoder::new(65_536);
        assert!(begun(&mut encoder).is_empty());
        assert_eq!(encoder.insert_count(), 0);
        encoder.set_table_size_max(100_000);
        assert!(begun(&mut encoder).is_empty());
        encoder.set_table_size_max(20);
        assert_eq!(encoder.insert_count(), 1);
        assert_eq!(begun(&mut encoder), [0x34]);
        assert!(begun(&mut encoder).is_empty());
        // Down and up: both, as the peer evicts in between.
        encoder.set_table_size_max(4096);
        encoder.set_table_size_max(0);
        encoder.set_table_size_max(10);
        assert_eq!(begun(&mut encoder), [0x20, 0x2a]);
        encoder.set_table_size_max(5);
        encoder.set_table_size_max(u32::MAX);
        assert_eq!(begun(&mut encoder), [0x25, 0x3f, 0xe1, 0x1f]);
        // Up only.
        encoder.set_table_size_max(0);
        begun(&mut encoder);
        encoder.set_table_size_max(30);
        assert_eq!(begun(&mut encoder), [0x3e]);
    }

    #[test]
    fn a_table_that_was_emptied_finds_nothing() {
        let mut encoder = Encoder::new(4096);
        field(&mut encoder, "a", "1", Indexing::Add);
        encoder.set_table_size_max(0);
        encoder.set_table_size_max(4096);
        assert_eq!(field(&mut encoder, "a", "1", Indexing::Without), b"\x20\x3f\xe1\x1f\x00\x01a\x011");
    }

    #[test]
    fn without_state_only_the_static_table_is_used() {
        let encoded = |name: &str, value: &str, sensitive| {
            let mut out = Vec::new();
            encode_stateless(name.as_bytes(), value.as_bytes(), sensitive, &mut out);
            out
        };
        assert_eq!(encoded(":method", "GET", false), [0x82]);
        assert_eq!(encoded(":method", "GET", true), b"\x12\x03GET");
        assert_eq!(encoded("via", "a", false), b"\x0f\x2d\x01a");
        assert_eq!(encoded("x-a", "b", true), b"\x10\x03x-a\x01b");
        // Shorter with the Huffman code.
        assert_eq!(encoded("x-a", "aaa", false), b"\x00\x03x-a\x82\x18\xc7");
    }

    #[test]
    fn hashes_depend_on_the_size_and_both_ends() {
        for size in 1..40 {
            let bytes = vec![b'a'; size];
            assert_ne!(hash_of(&bytes, &bytes) >> 32, hash_of(&bytes[1..], &bytes) >> 32);
            assert_ne!(hash_of(&bytes, &bytes) as u32, hash_of(&bytes, &bytes[1..]) as u32);
            for at in (0..size).filter(|&at| at < 8 || at + 8 >= size) {
                let mut other = bytes.clone();
                other[at] = b'b';
                assert_ne!(hash_of(&bytes, b"") >> 32, hash_of(&other, b"") >> 32, "{size} {at}");
                assert_ne!(hash_of(b"", &bytes) as u32, hash_of(b"", &other) as u32, "{size} {at}");
            }
        }
    }
}
