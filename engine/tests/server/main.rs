//! Tests of the server from outside: raw bytes over real sockets, and whole exchanges over the simulated network.
//!
//! All tests run on the driver that `RINGTIDE_DRIVER` names.

mod bodies;
mod connection;
mod failures;
mod http2;
mod http2_client;
mod http2_ends;
mod http2_hostile;
mod http2_raw;
mod lifecycle;
mod panics;
mod peer;
mod requests;
mod simulated;
mod site;
mod strain;
mod time_limits;
mod upgrade;
