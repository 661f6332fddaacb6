//! Tests of the HTTP/2 codec from outside: each rule and its scope, floods, the same bytes cut anywhere, arbitrary bytes, two
//! codecs with each other, and the codec with that of the `h2` crate.

mod cuts;
mod floods;
mod fuzz;
mod heads;
mod other;
mod pair;
mod scopes;
mod support;
mod windows;
