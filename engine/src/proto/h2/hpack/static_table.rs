//! The static table (RFC 7541 Appendix A).

/// The entries of the static table. Dynamic entries follow, from index `COUNT + 1` on.
pub(super) const COUNT: usize = 61;

/// In the order of their indices, which begin with 1. Entries with the same name follow each other.
const ENTRIES: [(&str, &str); COUNT] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// What the static table has of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An entry with this name and value.
    Field(u32),
    /// An entry with this name.
    Name(u32),
    Nothing,
}

/// Returns the entry at `index`, name and value behind each other, and the size of its name. `None` for 0 and for
/// indices of dynamic entries.
#[inline]
pub(super) fn get(index: usize) -> Option<(&'static [u8], usize)> {
    let place = JOINED.places.get(index.wrapping_sub(1))?;
    let start = usize::from(place.start);
    Some((&JOINED.bytes[start..start + usize::from(place.size)], usize::from(place.name_size)))
}

/// Finds a field. Computes the only place where its name can be, and compares once.
#[inline]
pub(super) fn find(name: &[u8], value: &[u8]) -> Found {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return Found::Nothing };
    let mut index = usize::from(SLOTS[slot(name.len(), first, last, name[name.len() / 2])]);
    if ENTRIES.get(index.wrapping_sub(1)).is_none_or(|entry| entry.0.as_bytes() != name) {
        return Found::Nothing;
    }
    let found = Found::Name(index as u32);
    // All other entries have names of their own, and no value but that of `accept-encoding`.
    let last = match index {
        2 => 3,
        4 => 5,
        6 => 7,
        8 => 14,
        index => index,
    };
    while index <= last {
        if ENTRIES[index - 1].1.as_bytes() == value {
            // An empty value is listed where the table means only the name, but it is a value nevertheless.
            return Found::Field(index as u32);
        }
        index += 1;
    }
    found
}

/// All names and values behind each other, so that a field is copied at once.
struct Joined {
    bytes: [u8; JOINED_SIZE],
    places: [Place; COUNT],
}

#[derive(Clone, Copy)]
struct Place {
    start: u16,
    name_size: u8,
    size: u8,
}

const JOINED_SIZE: usize = {
    let mut size = 0;
    let mut index = 0;
    while index < COUNT {
        size += ENTRIES[index].0.len() + ENTRIES[index].1.len();
        index += 1;
    }
    size
};

static JOINED: Joined = {
    let mut joined =
        Joined { bytes: [0; JOINED_SIZE], places: [Place { start: 0, name_size: 0, size: 0 }; COUNT] };
    let mut end = 0;
    let mut index = 0;
    while index < COUNT {
        let (name, value) = (ENTRIES[index].0.as_bytes(), ENTRIES[index].1.as_bytes());
        let start = end;
        let mut position = 0;
        while position < name.len() + value.len() {
            joined.bytes[end] =
                if position < name.len() { name[position] } else { value[position - name.len()] };
            end += 1;
            position += 1;
        }
        joined.places[index] =
            Place { start: start as u16, name_size: name.len() as u8, size: (end - start) as u8 };
        index += 1;
    }
    joined
};

const SLOT_BITS: u32 = 7;

/// For each slot, the first index of the name that belongs there, or 0.
static SLOTS: [u8; 1 << SLOT_BITS] = {
    let mut slots = [0; 1 << SLOT_BITS];
    let mut index = 0;
    while index < COUNT {
        let name = ENTRIES[index].0.as_bytes();
        let slot = slot(name.len(), name[0], name[name.len() - 1], name[name.len() / 2]);
        if slots[slot] == 0 {
            slots[slot] = index as u8 + 1;
        } else {
            // The factor in `slot` separates all names; only an entry of the same name can be here.
            assert!(ENTRIES[slots[slot] as usize - 1].0.len() == name.len());
        }
        index += 1;
    }
    slots
};

#[inline]
const fn slot(size: usize, first: u8, last: u8, middle: u8) -> usize {
    let key = size as u32 & 0xff | (first as u32) << 8 | (last as u32) << 16 | (middle as u32) << 24;
    // Found by trial: no two names of the table get the same slot.
    (key.wrapping_mul(0x1920_7c37) >> (32 - SLOT_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_at_its_index() {
        for (index, (name, value)) in (1..).zip(ENTRIES) {
            let (field, name_size) = get(index).unwrap();
            assert_eq!(field.split_at(name_size), (name.as_bytes(), value.as_bytes()));
            assert_eq!(find(name.as_bytes(), value.as_bytes()), Found::Field(index as u32));
            let first = ENTRIES.iter().position(|entry| entry.0 == name).unwrap() as u32 + 1;
            assert_eq!(find(name.as_bytes(), b"something else"), Found::Name(first));
        }
        assert_eq!((get(0), get(COUNT + 1)), (None, None));
        // Spot checks against Appendix A.
        for (index, name) in
            [(1, ":authority"), (14, ":status"), (31, "content-type"), (61, "www-authenticate")]
        {
            assert_eq!(ENTRIES[index - 1].0, name);
        }
    }

    #[test]
    fn other_names_are_not_found() {
        for name in ["", "x", ":protocol", "hosT", "hist", "via ", "content-lengtH", "x-content-type"] {
            assert_eq!(find(name.as_bytes(), b""), Found::Nothing, "{name:?}");
        }
        // As long as an entry, with the same bytes at the places that the slot depends on.
        for (name, _) in ENTRIES.iter().filter(|(name, _)| name.len() > 4) {
            let mut other = name.as_bytes().to_vec();
            other[1] ^= 1;
            assert_eq!(find(&other, b""), Found::Nothing, "{name}");
        }
        assert_eq!(find(&vec![b'a'; 70_000], b""), Found::Nothing);
    }
}
