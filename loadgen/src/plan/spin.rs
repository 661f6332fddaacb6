//! How a worker waits. What the engine does with it is the matter of [`ringtide::runtime::Spin`].

use serde::{Deserialize, Serialize};

/// How a worker waits for an answer, and for the last moments before a scheduled send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spin {
    /// Spins before a send for as long as recent wake-ups were late, and for answers as long as they come soon; not at
    /// all if the workers would leave no core to the server, or share theirs.
    #[default]
    Auto,
    /// Sleeps in the kernel all the time: saves the core, but sends and sees answers as late as the wake-up comes.
    Off,
    /// Spins for this long.
    For {
        /// Not 0.
        ns: u64,
    },
}
