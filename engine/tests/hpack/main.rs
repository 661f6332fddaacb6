//! Header compression through its public interface: the examples of RFC 7541, hostile blocks, and properties.

mod examples;
mod hostile;
mod properties;
mod support;
