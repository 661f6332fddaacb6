//! Drives the examples from outside, each as a process of its own.
//!
//! Cargo builds them together with these tests, unless it was told to build this test program alone.

mod echo_loop;
mod lines;
mod packet_proxy;
mod support;
mod two_requests;
