//! The list of decoded fields. It knows nothing of their meaning.

/// What each field of a list costs beside its bytes (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// Memory above this size is freed when the list is cleared: few heads are larger than a part of it.
const KEPT_SIZE_MAX: usize = 16 * 1024;

/// The decoded fields of a header block, in order. It is meant to be reused: clearing keeps its memory.
///
/// In a valid head the pseudo-header fields come first.
#[derive(Clone, Debug)]
pub struct FieldList {
    /// All names and values behind each other.
    bytes: Vec<u8>,
    ends: Vec<Ends>,
    count_max: u32,
    size_max: u32,
    is_too_large: bool,
}

/// Where the name and the value of a field end in `FieldList::bytes`. The name begins where the previous field ends.
#[derive(Clone, Copy, Debug)]
struct Ends {
    name: u32,
    value: u32,
}

impl FieldList {
    /// Creates an empty list. It admits `count_max` fields of `size_max` bytes together, counted as
    /// SETTINGS_MAX_HEADER_LIST_SIZE is: names, values, and 32 for each field (RFC 9113 §6.5.2).
    pub fn new(size_max: u32, count_max: u32) -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), count_max, size_max, is_too_large: false }
    }

    /// Removes all fields, and keeps their memory for the next ones, up to 16 KiB.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.is_too_large = false;
        if self.bytes.capacity() > KEPT_SIZE_MAX {
            self.shrink_to(KEPT_SIZE_MAX);
        }
    }

    /// Returns how many bytes of names and values the list has memory for.
    #[inline]
    pub(in crate::proto::h2) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Frees memory that the fields do not need, down to about `size` bytes.
    #[cold]
    pub(in crate::proto::h2) fn shrink_to(&mut self, size: usize) {
        self.bytes.shrink_to(size);
        self.ends.shrink_to(size / FIELD_OVERHEAD);
    }

    /// Takes over all fields of another list, whatever this one admits. Its memory is used again.
    pub fn copy_from(&mut self, other: &Self) {
        self.clear();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend_from_slice(&other.ends);
        self.is_too_large = other.is_too_large;
    }

    /// Appends a field. If the list does not admit it, it becomes [too large](Self::is_too_large).
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        if self.admits(name.len() + value.len()) {
            self.bytes.extend_from_slice(name);
            self.bytes.extend_from_slice(value);
            self.push_ends(name.len(), name.len() + value.len());
        }
    }

    /// Returns the number of fields.
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there is no field.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the size of all fields as `new` counts it.
    #[inline]
    pub fn size(&self) -> usize {
        self.end() + self.ends.len() * FIELD_OVERHEAD
    }

    /// Returns whether a field was not admitted. Since then nothing was appended, until [`clear`](Self::clear).
    #[inline]
    pub fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// Returns an iterator over all fields, as pairs of name and value.
    #[inline]
    pub fn iter(&self) -> FieldsIter<'_> {
        FieldsIter { bytes: &self.bytes, ends: self.ends.iter(), start: 0 }
    }

    /// Returns the value of the first field with this name. Case does not matter.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = name.as_ref();
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Appends a field whose name and value are behind each other.
    #[inline]
    pub(in crate::proto::h2) fn push_joined(&mut self, field: &[u8], name_size: usize) {
        if self.admits(field.len()) {
            self.bytes.extend_from_slice(field);
            self.push_ends(name_size, field.len());
        }
    }

    /// Returns the buffer, to append to it the name and the value of a field for [`push_spare`](Self::push_spare).
    #[inline]
    pub(in crate::proto::h2) fn spare(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Makes a field of what was appended to the buffer from `start` on, or removes it if the list does not admit it.
    #[inline]
    pub(in crate::proto::h2) fn push_spare(&mut self, start: usize, name_size: usize) {
        let size = self.bytes.len() - start;
        if self.admits(size) {
            self.push_ends(name_size, size);
        } else {
            self.bytes.truncate(start);
        }
    }

    /// Returns whether one more field may follow, with a name and a value of `size` bytes together.
    #[inline]
    fn admits(&mut self, size: usize) -> bool {
        let is_admitted = !self.is_too_large
            && self.ends.len() < self.count_max as usize
            && self.size() + size + FIELD_OVERHEAD <= self.size_max as usize;
        self.is_too_large = !is_admitted;
        is_admitted
    }

    #[inline]
    fn push_ends(&mut self, name_size: usize, size: usize) {
        // `size_max` has 32 bits, and counts these bytes.
        let start = self.end();
        self.ends.push(Ends { name: (start + name_size) as u32, value: (start + size) as u32 });
    }

    /// Returns where the last field ends in `bytes`.
    #[inline]
    fn end(&self) -> usize {
        self.ends.last().map_or(0, |ends| ends.value as usize)
    }
}

impl<'l> IntoIterator for &'l FieldList {
    type Item = (&'l [u8], &'l [u8]);
    type IntoIter = FieldsIter<'l>;

    fn into_iter(self) -> FieldsIter<'l> {
        self.iter()
    }
}

/// The iterator that [`FieldList::iter`] and [`Fields::iter`](super::Fields::iter) return.
#[derive(Clone, Debug)]
pub struct FieldsIter<'l> {
    bytes: &'l [u8],
    ends: std::slice::Iter<'l, Ends>,
    start: usize,
}

impl<'l> Iterator for FieldsIter<'l> {
    type Item = (&'l [u8], &'l [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let ends = self.ends.next()?;
        let field = &self.bytes[self.start..ends.value as usize];
        let name_size = ends.name as usize - self.start;
        self.start = ends.value as usize;
        Some(field.split_at(name_size))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ends.size_hint()
    }
}

impl ExactSizeIterator for FieldsIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_does_not_keep_the_memory_of_a_huge_head() {
        let mut list = FieldList::new(u32::MAX, u32::MAX);
        for _ in 0..2_000 {
            list.push(b"name", b"value");
        }
        list.push(b"name", &vec![b'x'; 100_000]);
        assert!(list.capacity() > 100_000 && list.ends.capacity() >= 2_001);
        list.clear();
        assert!(list.capacity() <= KEPT_SIZE_MAX, "{} bytes", list.capacity());
        assert!(list.ends.capacity() * FIELD_OVERHEAD <= KEPT_SIZE_MAX, "{} fields", list.ends.capacity());
        // That of an ordinary one is kept.
        list.push(b"name", &[b'x'; 3_000]);
        let kept = list.capacity();
        list.clear();
        assert_eq!(list.capacity(), kept);
    }
}
