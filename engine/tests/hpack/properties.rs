//! Properties of header compression, on generated inputs.
//!
//! `cargo test` tries some inputs, `cargo bolero test` goes on without end.

use std::collections::HashMap;

use bolero::{TypeGenerator, check};
use ringtide::proto::h2::FieldList;
use ringtide::proto::h2::hpack::{Decoder, Encoder, Indexing, encode_stateless, huffman};

use crate::support::{decode, owned, roomy};

const ITERATIONS: usize = 500;

/// Names and values from which fields are made: few, so that they repeat; some are in the static table.
const WORDS: &[&[u8]] = &[
    b":path",
    b":status",
    b"200",
    b"/",
    b"accept-encoding",
    b"gzip, deflate",
    b"cookie",
    b"",
    b"x",
    b"x-trace",
    b"a longer value, in which the code saves something",
    b"\x00\xff\xfe binary \x80",
    &[b'a'; 300],
    &[0xf5; 1_500],
];

#[derive(Clone, Debug, TypeGenerator)]
enum Step {
    /// A block.
    Block(Vec<Draft>),
    /// The peer's SETTINGS_HEADER_TABLE_SIZE.
    Resize(u16),
}

#[derive(Clone, Debug, TypeGenerator)]
struct Draft {
    name: u8,
    value: Value,
    indexing: u8,
}

#[derive(Clone, Debug, TypeGenerator)]
enum Value {
    Word(u8),
    Bytes(Vec<u8>),
}

impl Draft {
    fn name(&self) -> &[u8] {
        word(self.name)
    }

    fn value(&self) -> &[u8] {
        match &self.value {
            Value::Word(index) => word(*index),
            Value::Bytes(bytes) => bytes,
        }
    }
}

fn word(index: u8) -> &'static [u8] {
    WORDS[usize::from(index) % WORDS.len()]
}

#[test]
fn what_is_encoded_is_decoded() {
    check!().with_type().with_iterations(ITERATIONS).for_each(|steps: &Vec<Step>| {
        let mut encoder = Encoder::new(4096);
        let mut decoder = Decoder::new(4096);
        // A peer whose lists admit little follows the table nevertheless.
        let mut busy = Decoder::new(4096);
        for step in steps {
            let drafts = match step {
                Step::Resize(size) => {
                    encoder.set_table_size_max(u32::from(*size) % 5_000);
                    continue;
                }
                Step::Block(drafts) => drafts,
            };
            let mut block = Vec::new();
            encoder.begin(&mut block);
            for draft in drafts {
                let indexing =
                    [Indexing::Add, Indexing::Without, Indexing::Never][usize::from(draft.indexing) % 3];
                encoder.field(draft.name(), draft.value(), indexing, &mut block);
            }
            let expected: Vec<_> =
                drafts.iter().map(|draft| (draft.name().to_vec(), draft.value().to_vec())).collect();
            assert_eq!(decode(&mut decoder, &block), Ok(expected));
            busy.decode(&block, &mut FieldList::new(200, 2)).unwrap();
            assert_eq!(
                (busy.table_size(), busy.insert_count()),
                (decoder.table_size(), decoder.insert_count())
            );
        }
    });
}

#[test]
fn what_is_encoded_without_state_is_decoded_anywhere() {
    check!().with_type().with_iterations(ITERATIONS).for_each(|drafts: &Vec<(Draft, bool)>| {
        let mut block = Vec::new();
        let mut expected = Vec::new();
        for (draft, is_sensitive) in drafts {
            encode_stateless(draft.name(), draft.value(), *is_sensitive, &mut block);
            expected.push((draft.name().to_vec(), draft.value().to_vec()));
        }
        let mut decoder = Decoder::new(0);
        assert_eq!(decode(&mut decoder, &block), Ok(expected));
        assert_eq!((decoder.insert_count(), decoder.table_size()), (0, 0));
    });
}

/// Arbitrary blocks: no panic, no limit exceeded, and the same fields and table however much the list admits.
#[test]
fn limits_hold_for_arbitrary_blocks() {
    check!().with_type().with_iterations(ITERATIONS).for_each(|blocks: &Vec<Vec<u8>>| {
        let (mut decoder, mut busy) = (Decoder::new(512), Decoder::new(512));
        for block in blocks {
            let mut fields = roomy();
            let result = decoder.decode(block, &mut fields);
            let mut few = FieldList::new(150, 3);
            assert_eq!(busy.decode(block, &mut few), result);
            assert_eq!(busy.table_size(), decoder.table_size());
            assert!(decoder.table_size() <= 4096 && few.len() <= 3 && few.size() <= 150);
            let (fields, few) = (owned(&fields), owned(&few));
            if result.is_err() {
                break;
            }
            assert_eq!(few, fields[..few.len()]);
        }
    });
}

#[test]
fn huffman_codes_are_what_was_encoded() {
    check!().with_type().with_iterations(ITERATIONS).for_each(|bytes: &Vec<u8>| {
        let mut code = b"kept".to_vec();
        huffman::encode(bytes, &mut code);
        assert_eq!(code.len() - 4, huffman::encoded_len(bytes));
        let mut decoded = b"kept".to_vec();
        huffman::decode(&code[4..], &mut decoded).unwrap();
        assert_eq!(decoded, [b"kept", &bytes[..]].concat());
    });
}

/// Arbitrary bytes, read as a code bit by bit.
#[test]
fn arbitrary_huffman_codes_are_read_alike_bit_by_bit() {
    // The byte of each code, written as ones and zeros. The codes of eight copies are whole bytes.
    let bytes_of: HashMap<String, u8> = (0..=255)
        .map(|byte| {
            let mut code = Vec::new();
            huffman::encode(&[byte; 8], &mut code);
            (bits(&code)[..code.len()].to_owned(), byte)
        })
        .collect();
    let slow = |code: &[u8]| {
        let mut bytes = Vec::new();
        let mut read = String::new();
        for bit in bits(code).chars() {
            read.push(bit);
            if let Some(byte) = bytes_of.get(&read) {
                bytes.push(*byte);
                read.clear();
            }
        }
        (read.len() < 8 && !read.contains('0')).then_some(bytes)
    };
    check!().with_type().with_iterations(ITERATIONS).for_each(|bytes: &(Vec<u8>, u8)| {
        // Most bytes as they are; and with a beginning of ones, that of the long codes.
        let (mut code, kind) = bytes.clone();
        if kind < 128 {
            code.iter_mut().step_by(usize::from(kind) % 4 + 2).for_each(|byte| *byte |= 0xf0);
            code.iter_mut().skip(1).step_by(3).for_each(|byte| *byte = 0xff);
        }
        let mut decoded = Vec::new();
        let result = huffman::decode(&code, &mut decoded);
        assert_eq!(result.is_ok().then_some(decoded), slow(&code), "{code:02x?}: {result:?}");
    });
}

fn bits(bytes: &[u8]) -> String {
    let bit = |byte: u8, at: u8| if byte >> at & 1 == 1 { '1' } else { '0' };
    bytes.iter().flat_map(|&byte| (0..8).rev().map(move |at| bit(byte, at))).collect()
}
