//! TLS settings and errors: what a client trusts, which certificates a server has, and what a failed handshake means.
//!
//! [`ClientTls`] and [`ServerTls`] are made once, from options, and shared by all workers: everything that can be read
//! or parsed in advance is, so a handshake costs cryptography and nothing else. TLS itself is [rustls] with the
//! cryptography of aws-lc-rs. This module has no sockets and no tasks.
//!
//! ```
//! use ringtide::tls::{ClientTls, ClientTlsOptions, Identity, ServerTls, ServerTlsOptions, Trust, Version};
//!
//! let identity = Identity::self_signed(&["localhost", "127.0.0.1"])?;
//! let server = ServerTls::new(&ServerTlsOptions::default().identity(identity.clone()).alpn(["http/1.1"]))?;
//!
//! let options = ClientTlsOptions::default()
//!     .trust(Trust::Given)
//!     .authorities(identity.chain().to_vec())
//!     .alpn(["http/1.1"])
//!     .min_version(Version::Tls13);
//! let client = ClientTls::new(&options)?;
//! # Ok::<(), ringtide::tls::SetupError>(())
//! ```

mod certificates;
mod client;
mod error;
mod key_log;
mod names;
mod server;
mod session;
mod session_cache;
mod setup_error;
mod verifier;
mod version;

pub use rustls;

pub use self::certificates::{Identity, read_certificates};
pub use self::client::{ClientTls, ClientTlsOptions, Trust};
pub use self::error::{Error, Peer};
pub use self::names::{cipher_suite_name, group_name, version_name};
pub use self::server::{ClientAuthentication, ServerTls, ServerTlsOptions};
pub use self::session::TlsFacts;
pub(crate) use self::session::{RECORD_CONTENT_SIZE_MAX, Session};
pub use self::setup_error::SetupError;
pub use self::version::Version;
