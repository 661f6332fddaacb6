//! One suite of tests that checks every driver against the contract (`ringtide_driver::Driver`).
//!
//! Each case is a plain function over a [`subject::Subject`]. `suite!` generates the tests of one driver from all
//! cases. The `ledger` checks every completion against what was started. The `pump` limits every wait, so a hang is a
//! failure.

/// Generates the tests of one driver in the current module.
macro_rules! suite {
    ($subject:ty) => {
            suite!($subject;
                connecting: connect_v4, connect_v6, connect_unix, connect_from_a_source,
                    a_source_that_cannot_be_is_an_error_of_the_call,
                    connect_is_refused,
                    connect_is_refused_at_an_abandoned_unix_socket, connect_fails_at_a_missing_unix_path,
                    a_unix_path_that_is_too_long_is_an_error_of_the_call, an_address_in_use_is_an_error_of_listen,
                    an_abandoned_unix_socket_is_listened_at_again, a_unix_address_with_a_full_backlog_is_in_use,
                    listeners_share_an_address_when_all_want_to,
                    accept_lasts_until_it_is_cancelled, a_connection_that_came_before_accept_is_accepted,
                    many_sockets_at_once;
                receiving: echo, a_second_receive_is_busy, bytes_that_came_before_receive_are_received,
                    the_end_comes_after_the_last_byte, the_end_can_be_looked_for, a_reset_ends_the_receive_with_an_error,
                    a_cancelled_receive_leaves_later_bytes_in_the_socket, cancelling_twice_ends_once,
                    cancelling_nothing_does_nothing, a_cancel_that_races_with_bytes_loses_none,
                    a_cancel_that_races_with_the_end_ends_once, bytes_keep_their_order_both_ways,
                    a_limited_receive_brings_its_share_in_each_turn;
                sending: an_empty_send_completes, a_second_send_is_busy, buffers_come_back, a_send_waits_for_its_reader,
                    a_blocked_send_fails_when_the_peer_closes, a_failed_send_tells_how_much_was_taken,
                    a_cancelled_send_tells_how_much_was_taken, cancelling_a_send_that_has_ended_does_nothing,
                    shutdown_ends_one_half,
                    a_skip_success_send_says_nothing_when_it_succeeds, a_skip_success_send_reports_failure,
                    a_skip_success_send_that_is_too_large_is_an_error_of_the_call,
                    a_skip_success_send_that_has_to_wait_arrives_whole, nothing_overtakes_a_skip_success_send_that_waits,
                    skip_success_sends_into_little_room_keep_their_order, a_skip_success_send_that_waits_can_be_cancelled,
                    a_skip_success_send_that_is_cut_short_is_reported,
                    a_send_follows_an_empty_one, an_empty_skip_success_send_says_nothing,
                    a_skip_success_send_that_fails_leaves_the_next_send_alone;
                pieces: pieces_arrive_in_order_as_one_send, an_empty_list_of_pieces_completes,
                    more_pieces_than_one_call_takes_arrive, pieces_go_on_inside_a_piece_after_a_short_send,
                    a_cancelled_send_of_pieces_tells_how_much_was_taken,
                    a_blocked_send_of_pieces_fails_when_the_peer_closes,
                    close_ends_a_blocked_send_of_pieces_and_drops_them_once;
                closing: a_stale_handle_is_refused_by_every_call,
                    a_stale_handle_never_reaches_the_next_socket_in_its_slot,
                    close_ends_an_armed_receive_and_sends_the_end, the_end_leaves_before_close_returns,
                    close_with_bytes_unread_resets_the_connection,
                    what_was_sent_before_the_close_goes_before_the_end, close_leaves_others_of_the_same_file_alone,
                    close_ends_a_receive_with_bytes_on_the_way,
                    close_ends_a_blocked_send_and_drops_its_buffer, close_ends_a_connect_that_is_never_answered,
                    close_ends_a_connect_at_once, close_ends_an_armed_accept,
                    close_ends_the_connections_that_nobody_has_accepted;
                leases: held_leases_starve_nobody_for_good, below_the_reserve_bytes_come_as_copies,
                    bytes_of_a_fresh_pool_come_without_a_copy, leases_outlive_the_driver,
                    what_comes_for_a_closed_socket_costs_no_buffer, a_starved_receive_waits_without_spinning;
                waiting: a_wait_ends_at_its_deadline, a_deadline_in_the_past_does_not_wait, a_notifier_ends_the_wait,
                    a_notify_before_the_turn_is_not_lost,
                    a_turn_that_has_something_to_tell_does_not_wait, a_turn_without_a_deadline_waits;
                foreign: poll_waits_until_readable_and_writable, poll_waits_for_room,
                    close_ends_a_poll_and_leaves_the_descriptor_open, adopted_sockets_are_like_others;
                process: a_driver_says_its_name, dropping_the_driver_ends_everything_under_way, running_out_of_descriptors_is_survived,
                    a_closed_socket_makes_room_for_the_next,
                    what_was_started_before_a_close_never_reaches_the_next_descriptor;
            );
    };
    ($subject:ty; $($module:ident: $($case:ident),+;)+) => {
        $($(
            #[test]
            fn $case() {
                crate::run::<$subject>(crate::$module::$case::<$subject>);
            }
        )+)+
    };
}

mod closing;
mod connecting;
mod fallback;
mod foreign;
#[cfg(target_os = "linux")]
mod io_uring;
mod leases;
mod ledger;
mod pieces;
mod process;
mod pump;
mod receiving;
mod sending;
mod sim;
mod subject;
mod waiting;

use std::io::Write as _;

use subject::Subject;

fn run<S: Subject>(case: fn()) {
    if S::usable() {
        case();
    }
}

/// Reports what cannot be tested on this machine.
///
/// It writes to standard error directly, because the captured output of a test is not shown when the test passes.
fn not_checked(what: &str) {
    let _ = std::io::stderr().write_all(format!("NOT CHECKED: {what}\n").as_bytes());
}
