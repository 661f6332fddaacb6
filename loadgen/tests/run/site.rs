//! The embedded server, for tests of what a scripted one would have to repeat.

use ringtide::Address;
use ringtide_loadgen::serve::{ServeHandle, ServeOptions, serve};

/// A running server.
pub(crate) struct Site(ServeHandle);

impl Site {
    pub(crate) fn start() -> Self {
        let options = ServeOptions { threads: 1, ..ServeOptions::default() };
        Self(serve(&options).expect("loopback has free ports"))
    }

    /// The URL of its root.
    pub(crate) fn url(&self) -> String {
        match &self.0.addresses()[0] {
            Address::Tcp(address) => format!("http://{address}/"),
            Address::Unix(_) => panic!("it listens on TCP"),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}
