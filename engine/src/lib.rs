//! The engine.

pub mod proto;
