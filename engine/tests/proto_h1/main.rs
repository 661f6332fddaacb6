//! The HTTP/1.1 codec seen from outside: what it makes of whole messages, of the same bytes cut anywhere, and of bytes
//! that nobody would write. The units have tests of their own beside them.

mod cuts;
mod framing;
mod fuzz;
mod support;
