//! The completion contract that the runtime stands on, for programs that have a loop of their own instead of tasks.
//!
//! A program starts operations on a [`Driver`] and calls [`turn`](Driver::turn), which sends them to the kernel, waits,
//! and returns what has completed. [`Driver`] states what is guaranteed. There are no tasks, no timers except the
//! deadline of a turn, and no streams. Of the other layers, [`proto`](crate::proto) works with it, as it does no I/O.
//!
//! ```
//! use ringtide::driver::{self, Completion, Driver, DriverChoice, Event, SendBuffer};
//!
//! let mut driver = driver::open(DriverChoice::Auto)?;
//! let listener = driver.listen(&"127.0.0.1:0".parse()?, false)?;
//! driver.accept(listener)?;
//! driver.connect(&driver.local_address(listener)?)?;
//! let mut completions = Vec::new();
//! let received = 'received: loop {
//!     driver.turn(None, &mut completions)?;
//!     for Completion { handle, event } in completions.drain(..) {
//!         match event {
//!             Event::Connected(result) => {
//!                 result?;
//!                 driver.send(handle, SendBuffer::Static(b"hello"))?;
//!             }
//!             Event::Accepted(socket) => driver.receive(socket)?,
//!             Event::Received(bytes) => break 'received bytes,
//!             event => println!("{handle:?}: {event:?}"),
//!         }
//!     }
//! };
//! assert_eq!(&*received, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use ringtide_driver::{
    BufferPool, Completion, CutSend, Driver, Event, Handle, Interest, Lease, Notifier, ReceiveEnd, SendBuffer,
};

use crate::runtime::AnyDriver;
pub use crate::runtime::{DriverChoice, SetupError};

/// Opens a driver for this thread. [`Driver::name`] tells which one it is, and [`DriverChoice::resolve`] why it is the
/// fallback.
///
/// # Errors
/// If the driver that was asked for is not usable, or if the environment variable does not name one.
pub fn open(choice: DriverChoice) -> Result<impl Driver, SetupError> {
    AnyDriver::new(choice).map(|(driver, _)| driver)
}
