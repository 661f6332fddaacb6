//! The server from outside: raw bytes over real sockets, and whole exchanges over the simulated network.
//!
//! Everything runs on the driver that `RINGTIDE_DRIVER` names.

mod bodies;
mod connection;
mod failures;
mod lifecycle;
mod peer;
mod requests;
mod simulated;
mod site;
mod time_limits;
