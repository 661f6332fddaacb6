//! Whether the windows of a connection have lost nothing: what was sent is given back once it was read, to the last byte.

use std::time::Duration;

use ringtide::runtime;

use crate::Run;

/// Longer than what a relay and a network still have under way.
const QUIET: Duration = Duration::from_secs(20);

/// Sends a request with a body of the first size, and reads a response of the second one.
pub(crate) trait Probe {
    async fn probe(&mut self, sizes: [usize; 2]);
}

/// Reads more than half of a window in both directions. Each side then gives back all that was read before; what is missing
/// then is lost.
pub(crate) async fn settle(run: &Run, mut by: impl Probe) {
    let world = &run.world;
    if !(world.is_calm && world.is_wide() && world.is_observed && world.restarts.is_empty()) {
        return;
    }
    runtime::sleep(QUIET).await;
    by.probe([0, 0]).await;
    runtime::sleep(QUIET).await;
    let windows = [world.server.connection_window, world.client.connection_window].map(i64::from);
    let Some(before) = run.observer.owed(windows) else { return };
    let half = windows.map(|window| window / 2);
    let missing = [0, 1].map(|side| {
        assert!(
            (0..=half[side]).contains(&before[side]),
            "{before:?} bytes of windows of {windows:?} are lost"
        );
        (half[side] + 1 - before[side]) as usize
    });
    by.probe(missing).await;
    runtime::sleep(QUIET).await;
    // A connection without a task of its own sends what it has to say with the next request.
    by.probe([0, 0]).await;
    runtime::sleep(QUIET).await;
    let after = run.observer.owed(windows).expect("the connection is still there");
    assert_eq!(after, [0, 0], "bytes of windows of {windows:?} are lost; there were {before:?} before");
    run.observer.note_settled();
}
