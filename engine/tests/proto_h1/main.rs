//! Tests of the HTTP/1.1 codec from outside: whole messages, the same bytes cut anywhere, and arbitrary bytes. The
//! modules have unit tests of their own.

mod cuts;
mod framing;
mod fuzz;
mod support;
