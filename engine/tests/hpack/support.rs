//! What the tests of header compression share.

use ringtide::proto::h2::FieldList;
use ringtide::proto::h2::hpack::{Decoder, Error};

pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// Admits everything that these tests decode.
pub(crate) fn roomy() -> FieldList {
    FieldList::new(u32::MAX, u32::MAX)
}

pub(crate) fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<Field>, Error> {
    let mut fields = roomy();
    decoder.decode(block, &mut fields)?;
    assert!(!fields.is_too_large());
    Ok(owned(&fields))
}

pub(crate) fn owned(fields: &FieldList) -> Vec<Field> {
    fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

pub(crate) fn texts(fields: &[(&str, &str)]) -> Vec<Field> {
    fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// Returns the bytes that hexadecimal digits stand for. White space is for readers.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// Returns the entries of the dynamic table, the newest first.
pub(crate) fn entries(decoder: &mut Decoder) -> Vec<Field> {
    let mut entries: Vec<Field> = Vec::new();
    let size = |entries: &[Field]| -> usize {
        entries.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
    };
    while size(&entries) < decoder.table_size() {
        let index = 62 + entries.len();
        let block = if index < 127 { vec![0x80 | index as u8] } else { vec![0xff, (index - 127) as u8] };
        entries.extend(decode(decoder, &block).unwrap());
    }
    assert_eq!(size(&entries), decoder.table_size());
    entries
}
