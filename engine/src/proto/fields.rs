//! What each view of fields offers beyond its iterator: search by name, `IntoIterator` and `Debug`.
//!
//! The views of HTTP/1.1, of HTTP/2 and of both iterate in different ways, and all else follows from that.

use std::fmt;

/// Bytes that are usually text, for `Debug`.
pub(crate) struct Text<'b>(pub(crate) &'b [u8]);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Implements what follows from `$Fields::iter`, which returns a `$FieldsIter`.
macro_rules! fields_by_iteration {
    ($Fields:ident, $FieldsIter:ident) => {
        impl<'b> $Fields<'b> {
            /// Returns the value of the first field with this name. Case does not matter.
            pub fn get(&self, name: &str) -> Option<&'b [u8]> {
                self.get_all(name).next()
            }

            /// Returns the values of all fields with this name. Case does not matter.
            pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + use<'b, 'n> {
                self.iter()
                    .filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
                    .map(|(_, value)| value)
            }
        }

        impl<'b> IntoIterator for $Fields<'b> {
            type Item = (&'b [u8], &'b [u8]);
            type IntoIter = $FieldsIter<'b>;

            fn into_iter(self) -> $FieldsIter<'b> {
                self.iter()
            }
        }

        impl<'b> IntoIterator for &$Fields<'b> {
            type Item = (&'b [u8], &'b [u8]);
            type IntoIter = $FieldsIter<'b>;

            fn into_iter(self) -> $FieldsIter<'b> {
                self.iter()
            }
        }

        impl std::fmt::Debug for $Fields<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                use $crate::proto::fields::Text;
                f.debug_map().entries(self.iter().map(|(name, value)| (Text(name), Text(value)))).finish()
            }
        }
    };
}

pub(crate) use fields_by_iteration;
