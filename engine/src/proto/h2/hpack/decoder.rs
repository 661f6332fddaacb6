//! Decoding header blocks (RFC 7541 §3 and §6).

use super::super::head::FieldList;
use super::table::Table;
use super::{Error, TABLE_SIZE_INITIAL, huffman, integer, static_table};

/// The size updates that a block can begin with: the smallest size since the last block, and the final one (RFC 7541
/// §4.2).
const SIZE_UPDATES_MAX: u8 = 2;

/// The decoding context of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    table_size_max: u32,
    is_acknowledged: bool,
}

impl Decoder {
    /// Creates a decoder. `table_size_max` is the SETTINGS_HEADER_TABLE_SIZE that the peer is sent, in bytes.
    pub fn new(table_size_max: u32) -> Self {
        Self { table: Table::new(TABLE_SIZE_INITIAL), table_size_max, is_acknowledged: false }
    }

    /// Notes that the peer acknowledged the SETTINGS with `table_size_max`. Until then it may use a table of
    /// [`TABLE_SIZE_INITIAL`] bytes even if `table_size_max` is smaller. From now on, a block must begin with a size update
    /// if the entries take more than `table_size_max` (RFC 9113 §4.3.1).
    pub fn settings_acknowledged(&mut self) {
        self.is_acknowledged = true;
    }

    /// Decodes a whole header block and appends its fields to `fields`.
    ///
    /// More or larger fields than `fields` admits are no error: see [`FieldList::is_too_large`]. The decoder then appends
    /// no more of them, and stays usable.
    ///
    /// The work is linear in the size of the block, except that a field of two bytes can make the table copy an entry, of
    /// at most the table's size. `fields` takes what it admits; until a literal is complete also its value, of at most 1.6
    /// times the block, and a name from the table.
    ///
    /// # Errors
    /// Returns an [`Error`]. `fields` is incomplete, and the decoder cannot be used again.
    pub fn decode(&mut self, block: &[u8], fields: &mut FieldList) -> Result<(), Error> {
        let mut rest = block;
        self.size_updates(&mut rest)?;
        while let Some(&first) = rest.first() {
            match first {
                // §6.1: an indexed field.
                0x80.. => {
                    let index = integer::decode(&mut rest, 7)?;
                    let (field, name_size) = self.entry(index)?;
                    fields.push_joined(field, name_size);
                }
                // §6.2.1: a literal that becomes an entry.
                0x40.. => self.literal(&mut rest, 6, true, fields)?,
                0x20.. => return Err(Error::SizeUpdateLate),
                // §6.2.2 and §6.2.3: a literal that does not. The difference matters to intermediaries.
                _ => self.literal(&mut rest, 4, false, fields)?,
            }
        }
        Ok(())
    }

    /// Returns a number that grows by one with each insertion and each size update. While it stays the same, the table
    /// does, and equal blocks mean equal fields.
    #[inline]
    pub fn insert_count(&self) -> u64 {
        self.table.change_count()
    }

    /// Returns the size of the dynamic table's entries in bytes, as RFC 7541 §4.1 counts: 32 for each entry, and its name
    /// and value.
    #[inline]
    pub fn table_size(&self) -> usize {
        self.table.size()
    }

    fn size_updates(&mut self, rest: &mut &[u8]) -> Result<(), Error> {
        let size_max = if self.is_acknowledged {
            self.table_size_max
        } else {
            self.table_size_max.max(TABLE_SIZE_INITIAL)
        };
        let mut count = 0;
        while let Some(0x20..0x40) = rest.first() {
            if count == SIZE_UPDATES_MAX {
                return Err(Error::SizeUpdateRepeated);
            }
            count += 1;
            let size = integer::decode(rest, 5)?;
            if size > size_max {
                return Err(Error::SizeUpdateTooLarge { size, size_max });
            }
            self.table.set_size_max(size);
        }
        // A peer that never adds an entry may do without a size update.
        if self.table.size() > size_max as usize { Err(Error::SizeUpdateMissing) } else { Ok(()) }
    }

    /// Returns the field at `index`, name and value behind each other, and the size of its name.
    #[inline]
    fn entry(&self, index: u32) -> Result<(&[u8], usize), Error> {
        let at = index as usize;
        let found = if at > static_table::COUNT {
            self.table.get(at - static_table::COUNT - 1)
        } else {
            static_table::get(at)
        };
        found.ok_or(Error::Index(index))
    }

    /// Decodes a literal. Joins its name and its value at the end of `fields`, which may then drop them.
    fn literal(
        &mut self,
        rest: &mut &[u8],
        prefix_bits: u32,
        becomes_entry: bool,
        fields: &mut FieldList,
    ) -> Result<(), Error> {
        let index = integer::decode(rest, prefix_bits)?;
        let is_wanted = becomes_entry || !fields.is_too_large();
        let start = fields.spare().len();
        if index == 0 {
            string(rest, fields.spare())?;
        } else {
            let (field, name_size) = self.entry(index)?;
            // A long name behind a short index costs more than its share of the block, so not in vain.
            if is_wanted {
                fields.spare().extend_from_slice(&field[..name_size]);
            }
        }
        let name_size = fields.spare().len() - start;
        string(rest, fields.spare())?;
        if becomes_entry {
            let (name, value) = fields.spare()[start..].split_at(name_size);
            self.table.insert(name, value);
        }
        fields.push_spare(start, name_size);
        Ok(())
    }
}

/// Appends a string (§5.2).
#[inline]
fn string(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let is_huffman = rest.first().is_some_and(|&first| first & 0x80 != 0);
    let size = integer::decode(rest, 7)? as usize;
    let Some((bytes, behind)) = rest.split_at_checked(size) else { return Err(Error::Truncated) };
    *rest = behind;
    if is_huffman {
        huffman::decode(bytes, out)
    } else {
        out.extend_from_slice(bytes);
        Ok(())
    }
}
