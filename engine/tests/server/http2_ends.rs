//! How HTTP/2 connections end whose peer has ended its side, or does not keep to the protocol, on a simulated network.

use std::time::Duration;

use ringtide::proto::h2::PREFACE;
use ringtide::runtime;
use ringtide::server::ServiceOptions;
use ringtide::testing::{self, Script};

use crate::http2_raw::{GOAWAY, INITIAL_WINDOW_SIZE, get, settings};
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

#[test]
fn a_client_that_does_not_acknowledge_settings_is_given_up_after_a_time() {
    testing::run(async |network| {
        let limit = Duration::from_secs(7);
        serve_simulated(ServiceOptions::default().head_timeout(limit));
        let begin = [&PREFACE[..], &settings(&[])].concat();
        for requests in [vec![get(1, "/wait")], vec![get(1, "/")], vec![]] {
            let before_ns = runtime::now_ns();
            let script = Script::new().send([begin.clone(), requests.concat()].concat()).expect_rest();
            let bytes = network.connect(SIMULATED, script).played().await;
            let took_ns = u128::from(runtime::now_ns() - before_ns);
            assert!((limit.as_nanos()..limit.as_nanos() + 1_000_000_000).contains(&took_ns), "{took_ns} ns");
            let error = b"SETTINGS were not acknowledged in time";
            assert_eq!(&bytes[bytes.len() - error.len()..], error);
            let head = &bytes[bytes.len() - error.len() - 17..];
            assert_eq!((head[3], head[16]), (GOAWAY, 4), "{head:?}");
        }
    });
}
