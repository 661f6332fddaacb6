//! Blocks that break the rules of RFC 7541, or that want to be expensive.

use ringtide::proto::h2::FieldList;
use ringtide::proto::h2::hpack::{Decoder, Encoder, Error, Indexing};

use crate::support::{decode, entries, hex, texts};

fn refused(block: &str) -> Error {
    decode(&mut Decoder::new(4096), &hex(block)).unwrap_err()
}

#[test]
fn indices_that_no_table_has() {
    assert_eq!(refused("80"), Error::Index(0));
    assert_eq!(refused("be"), Error::Index(62));
    assert_eq!(refused("ffff 7f"), Error::Index(127 + 0x3fff));
    // As the name of a literal of each kind.
    for block in ["7f00 0161", "0f2f 0161", "1f2f 0161"] {
        assert!(matches!(refused(block), Error::Index(62 | 63)), "{block}");
    }
    // Right behind the last entry.
    let mut decoder = Decoder::new(4096);
    assert_eq!(decode(&mut decoder, &hex("4001 6101 62be")), Ok(texts(&[("a", "b"), ("a", "b")])));
    assert_eq!(decode(&mut decoder, &hex("bf")), Err(Error::Index(63)));
}

#[test]
fn every_cut_of_a_field_is_noticed() {
    for block in
        ["4001 6101 62", "0001 6101 62", "4181 1f", "0f13 0161", "ff80 01", "3fe1 01", "4183 1f1f 1f"]
    {
        let block = hex(block);
        for length in 1..block.len() {
            assert_eq!(
                decode(&mut Decoder::new(4096), &block[..length]),
                Err(Error::Truncated),
                "{:02x?}",
                &block[..length]
            );
        }
    }
    assert_eq!(decode(&mut Decoder::new(4096), b""), Ok(vec![]));
}

#[test]
fn integers_that_are_too_large() {
    for block in
        ["ffff ffff ffff 0f", "ffff ffff ff7f", "3fff ffff ff7f", "007f ffff ffff 7f", "ff80 8080 8080 00"]
    {
        assert_eq!(refused(block), Error::IntegerTooLarge, "{block}");
    }
    // The largest length: there are never so many bytes.
    assert_eq!(refused("007f 80ff ffff 0f61"), Error::Truncated);
}

#[test]
fn huffman_codes_that_break_the_rules() {
    // `:path` with a value of the given bytes.
    for (value, error) in [
        // 8, 16, 24 and 29 ones: no end, but too much padding.
        ("81ff", Error::HuffmanPadding),
        ("82ffff", Error::HuffmanPadding),
        ("83ffffff", Error::HuffmanPadding),
        // 'a' (00011), then 11 ones.
        ("821fff", Error::HuffmanPadding),
        // The end itself: 30 ones; also behind a symbol, and before one.
        ("84ffff ffff", Error::HuffmanEnd),
        ("84ffff fffc", Error::HuffmanEnd),
        ("851fff ffff ff", Error::HuffmanEnd),
        ("89ffff fffc 1fff ffff ff", Error::HuffmanEnd),
        // 'a', then padding of zeros, or of ones and a zero.
        ("8118", Error::HuffmanPadding),
        ("811e", Error::HuffmanPadding),
        // The beginning of a longer code.
        ("82ff fe", Error::HuffmanPadding),
        ("81fe", Error::HuffmanPadding),
    ] {
        assert_eq!(refused(&format!("04{value}")), error, "{value}");
    }
    assert_eq!(decode(&mut Decoder::new(4096), &hex("0480")), Ok(texts(&[(":path", "")])));
    assert_eq!(decode(&mut Decoder::new(4096), &hex("0481 1f")), Ok(texts(&[(":path", "a")])));
}

#[test]
fn a_size_update_stands_only_at_the_start_and_twice_at_most() {
    assert_eq!(refused("8220"), Error::SizeUpdateLate);
    assert_eq!(refused("2020 20"), Error::SizeUpdateRepeated);
    let mut decoder = Decoder::new(4096);
    assert_eq!(decode(&mut decoder, &hex("2020 82")), Ok(texts(&[(":method", "GET")])));
    assert_eq!(decoder.insert_count(), 2);
}

#[test]
fn a_table_grows_no_larger_than_was_announced() {
    // 4096 and 4097.
    assert_eq!(decode(&mut Decoder::new(4096), &hex("3fe1 1f")), Ok(vec![]));
    assert_eq!(refused("3fe2 1f"), Error::SizeUpdateTooLarge { size: 4097, size_max: 4096 });
    assert_eq!(decode(&mut Decoder::new(4097), &hex("3fe2 1f")), Ok(vec![]));
    // One that was announced as smaller, from the acknowledgement on.
    let mut decoder = Decoder::new(100);
    assert_eq!(decode(&mut decoder, &hex("4001 6101 62")), Ok(texts(&[("a", "b")])));
    let mut unaware = Decoder::new(33);
    decode(&mut unaware, &hex("4001 6101 62")).unwrap();
    assert_eq!(decode(&mut unaware, &hex("be")), Ok(texts(&[("a", "b")])));
    unaware.settings_acknowledged();
    assert_eq!(decode(&mut unaware, &hex("82")), Err(Error::SizeUpdateMissing));
    let mut just = Decoder::new(34);
    just.settings_acknowledged();
    assert_eq!(decode(&mut just, &hex("4001 6101 62")), Ok(texts(&[("a", "b")])));
    assert_eq!(decode(&mut just, &hex("be")), Ok(texts(&[("a", "b")])));
    decoder.settings_acknowledged();
    // 100: enough, and the entry stays.
    assert_eq!(decode(&mut decoder, &hex("3f45 be")), Ok(texts(&[("a", "b")])));
    assert_eq!(decode(&mut decoder, &hex("be")), Ok(texts(&[("a", "b")])));
    assert_eq!(
        decode(&mut decoder, &hex("3f46")),
        Err(Error::SizeUpdateTooLarge { size: 101, size_max: 100 })
    );
}

#[test]
fn a_smaller_table_evicts_and_an_entry_that_is_too_large_empties_it() {
    let mut decoder = Decoder::new(4096);
    // Two entries of 34 bytes.
    decode(&mut decoder, &hex("4001 6101 62 4001 6301 64")).unwrap();
    assert_eq!(decoder.table_size(), 68);
    // To 68: both stay; to 67: one.
    decode(&mut decoder, &hex("3f25")).unwrap();
    assert_eq!(entries(&mut decoder), texts(&[("c", "d"), ("a", "b")]));
    decode(&mut decoder, &hex("3f24")).unwrap();
    assert_eq!(entries(&mut decoder), texts(&[("c", "d")]));
    // To 0 and back: none.
    decode(&mut decoder, &hex("203f e11f")).unwrap();
    assert_eq!(entries(&mut decoder), texts(&[]));
    // A table of 34 takes exactly one of these entries; a larger one empties it, and is a field nevertheless.
    decode(&mut decoder, &hex("3f03 4001 6101 62")).unwrap();
    assert_eq!(entries(&mut decoder), texts(&[("a", "b")]));
    let count = decoder.insert_count();
    assert_eq!(decode(&mut decoder, &hex("4001 6102 6262")), Ok(texts(&[("a", "bb")])));
    assert_eq!((decoder.table_size(), decoder.insert_count()), (0, count + 1));
}

#[test]
fn an_entry_may_take_its_name_from_the_one_that_it_evicts() {
    let mut decoder = Decoder::new(4096);
    decode(&mut decoder, &hex("3f03 4001 6101 62")).unwrap();
    assert_eq!(decode(&mut decoder, &hex("7e01 63")), Ok(texts(&[("a", "c")])));
    assert_eq!(entries(&mut decoder), texts(&[("a", "c")]));
}

/// Adds a field with a value of 4,000 bytes, which fits into a table of 4,096.
fn large_entry() -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(4096).field(b"x", &[0xff; 4000], Indexing::Add, &mut out);
    out
}

#[test]
fn a_bomb_is_not_unpacked() {
    let mut decoder = Decoder::new(4096);
    decode(&mut decoder, &large_entry()).unwrap();
    // Without a limit, this would be 64 MB.
    let bomb = vec![0xbe; 16_384];
    let mut fields = FieldList::new(64 * 1024, 100);
    decoder.decode(&bomb, &mut fields).unwrap();
    assert!(fields.is_too_large());
    assert_eq!((fields.len(), fields.size()), (16, 16 * 4033));
    // The connection goes on.
    assert_eq!(decode(&mut decoder, &hex("82")), Ok(texts(&[(":method", "GET")])));
    assert_eq!(entries(&mut decoder).len(), 1);
}

#[test]
fn a_list_that_is_full_keeps_the_table_right() {
    let blocks = ["4001 6101 62", "4001 6301 64 7e01 65 0001 6601 67 be", "c0bf be"].map(hex);
    let (mut full, mut other) = (Decoder::new(4096), Decoder::new(4096));
    for block in blocks {
        let mut fields = FieldList::new(0, 0);
        full.decode(&block, &mut fields).unwrap();
        assert!(fields.is_too_large() && fields.is_empty() && fields.size() == 0);
        decode(&mut other, &block).unwrap();
    }
    assert_eq!(entries(&mut full), texts(&[("c", "e"), ("c", "d"), ("a", "b")]));
    assert_eq!(entries(&mut full), entries(&mut other));
}

#[test]
fn a_list_is_too_large_from_one_byte_or_one_field_more_on() {
    // 42 and 34 bytes.
    let block = hex("82 0001 6101 62");
    for (size_max, count_max, count) in
        [(76, 2, 2), (75, 2, 1), (76, 1, 1), (42, 2, 1), (41, 2, 0), (0, 0, 0)]
    {
        let mut fields = FieldList::new(size_max, count_max);
        Decoder::new(4096).decode(&block, &mut fields).unwrap();
        assert_eq!((fields.len(), fields.is_too_large()), (count, count < 2), "{size_max} {count_max}");
    }
    // Nothing follows what was left out, even if it were small enough.
    let mut fields = FieldList::new(75, 9);
    Decoder::new(4096).decode(&hex("82 0001 6102 6262 0001 6100"), &mut fields).unwrap();
    assert_eq!(fields.len(), 1);
    fields.clear();
    assert!(!fields.is_too_large());
    Decoder::new(4096).decode(&hex("0001 6100"), &mut fields).unwrap();
    assert_eq!((fields.len(), fields.size()), (1, 33));
}
