//! Which version of HTTP a run speaks, and the settings that it announces in HTTP/2.

use serde::{Deserialize, Serialize};

/// Default size of the table that decodes the fields of responses (RFC 9113 §6.5.2).
pub const H2_HEADER_TABLE_SIZE_DEFAULT: u32 = 4_096;

/// The largest flow-control window (RFC 9113 §6.9.1).
pub const H2_WINDOW_MAX: u32 = (1 << 31) - 1;

/// The name of HTTP/2 in ALPN (RFC 9113 §3.1).
pub const ALPN_H2: &str = "h2";

/// The name of HTTP/1.1 in ALPN (RFC 7301 §6).
pub const ALPN_HTTP1: &str = "http/1.1";

/// How a run speaks HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpChoice {
    /// Which version.
    pub version: HttpVersion,
    /// How many bytes of one response the server may send ahead of what has been read, from 1 to [`H2_WINDOW_MAX`];
    /// `None` leaves it to the engine. A connection has as many times that as it has requests in flight.
    pub h2_window: Option<u32>,
    /// The size of the table that decodes the fields of responses. 0: they decode without state.
    pub h2_header_table_size: u32,
}

impl Default for HttpChoice {
    fn default() -> Self {
        Self {
            version: HttpVersion::default(),
            h2_window: None,
            h2_header_table_size: H2_HEADER_TABLE_SIZE_DEFAULT,
        }
    }
}

/// Which version of HTTP a run speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpVersion {
    /// With TLS, the one that the server chooses (ALPN); otherwise HTTP/1.1.
    #[default]
    ByAlpn,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2; without TLS by prior knowledge (RFC 9113 §3.3).
    Http2,
}

impl HttpVersion {
    /// What to offer in ALPN, the preferred first.
    pub fn alpn(self) -> Vec<String> {
        let names: &[&str] = match self {
            Self::ByAlpn => &[ALPN_H2, ALPN_HTTP1],
            Self::Http1 => &[ALPN_HTTP1],
            Self::Http2 => &[ALPN_H2],
        };
        names.iter().map(ToString::to_string).collect()
    }
}
