//! How HTTP/2 connections end whose peer has ended its side, on a simulated network.

use std::time::Duration;

use ringtide::proto::h2::PREFACE;
use ringtide::runtime;
use ringtide::server::ServiceOptions;
use ringtide::testing::{self, Script};

use crate::http2_raw::{INITIAL_WINDOW_SIZE, get, settings};
use crate::site::{SIMULATED, serve_simulated};

/// A client with a window of ten bytes, which sends these requests.
fn narrow(requests: &[Vec<u8>]) -> Script {
    let begin = [&PREFACE[..], &settings(&[(INITIAL_WINDOW_SIZE, 10)])].concat();
    Script::new().send([begin, requests.concat()].concat())
}

#[test]
fn a_response_for_which_no_window_can_come_does_not_keep_the_connection() {
    testing::run(async |network| {
        serve_simulated(ServiceOptions::default().stall_timeout(Duration::from_hours(1)));
        // A whole response, one that waits for room, and one that is produced later.
        let requests = [get(1, "/large"), get(3, "/endless"), get(5, "/later-pieces")];
        network.connect(SIMULATED, narrow(&requests).end().expect_rest()).played().await;
        assert!(runtime::now_ns() < 1_000_000_000, "after {} ns", runtime::now_ns());
    });
}
