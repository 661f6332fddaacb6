//! The key log: the secrets of sessions in the format of SSLKEYLOGFILE, with which Wireshark decrypts a capture.

use std::fmt;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use rustls::KeyLog;

use super::setup_error::SetupError;

/// Appends each secret to a file, as one line and with one write, so that threads and processes can share the file. A
/// write that fails is not reported: a handshake should not depend on it.
pub(super) struct KeyLogFile {
    file: File,
}

impl KeyLogFile {
    /// Creates the file if needed, readable by its owner only.
    pub(super) fn open(path: &Path) -> Result<Arc<Self>, SetupError> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Ok(file) => Ok(Arc::new(Self { file })),
            Err(source) => Err(SetupError::File { path: path.to_owned(), source }),
        }
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = String::with_capacity(label.len() + 2 * (client_random.len() + secret.len()) + 3);
        line.push_str(label);
        for bytes in [client_random, secret] {
            line.push(' ');
            for byte in bytes {
                let _ = write!(line, "{byte:02x}");
            }
        }
        line.push('\n');
        let _ = (&self.file).write_all(line.as_bytes());
    }
}

impl fmt::Debug for KeyLogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLogFile")
    }
}
