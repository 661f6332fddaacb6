//! The header blocks of responses.
//!
//! A block is encoded once and sent again as it is, as long as the peer's table is the one that it was encoded for, and
//! the second of its date lasts.

use bytes::Bytes;
use http::StatusCode;

use super::link::Link;
use crate::conn::date::with_date;
use crate::conn::response::PreparedResponse;
use crate::proto::h1::{self, BodyLength, EncodeError};
use crate::proto::h2::StreamKey;
use crate::proto::h2::hpack::{Encoder, Indexing, encode_stateless};

/// How many blocks of each kind a connection keeps.
const BLOCKS_MAX: usize = 4;

/// A larger block is not kept.
const BLOCK_SIZE_MAX: usize = 256;

#[derive(Default)]
pub(super) struct Answers {
    prepared: Blocks<Bytes>,
    /// The keys are what [`push_key`] makes of the response.
    others: Blocks<Vec<u8>>,
    /// The last content length, which is worth a place in the table if it comes again.
    last_length: Option<u64>,
    /// The block that is being encoded.
    block: Vec<u8>,
}

/// What a head says: the status, the fields, and how long the body is.
type Head<'h> = (StatusCode, &'h [(&'h str, &'h str)], BodyLength);

struct Blocks<K> {
    blocks: Vec<Block<K>>,
    /// The one to replace next.
    oldest: usize,
}

struct Block<K> {
    key: K,
    insert_count: u64,
    /// When the date is over.
    until_ns: u64,
    bytes: Vec<u8>,
}

impl<K> Default for Blocks<K> {
    fn default() -> Self {
        Self { blocks: Vec::new(), oldest: 0 }
    }
}

impl<K> Blocks<K> {
    #[inline]
    fn find(&self, encoder: &Encoder, now_ns: u64, is_key: impl Fn(&K) -> bool) -> Option<&[u8]> {
        let insert_count = encoder.insert_count();
        self.blocks
            .iter()
            .find(|block| block.insert_count == insert_count && now_ns < block.until_ns && is_key(&block.key))
            .map(|block| &block.bytes[..])
    }

    fn keep(&mut self, key: K, insert_count: u64, until_ns: u64, bytes: &[u8], is_key: impl Fn(&K) -> bool) {
        let block = Block { key, insert_count, until_ns, bytes: bytes.to_vec() };
        if let Some(place) = self.blocks.iter_mut().find(|block| is_key(&block.key)) {
            *place = block;
        } else if self.blocks.len() < BLOCKS_MAX {
            self.blocks.push(block);
        } else {
            self.blocks[self.oldest] = block;
            self.oldest = (self.oldest + 1) % BLOCKS_MAX;
        }
    }
}

impl Answers {
    /// Sends the head of a response. Nothing is sent if it fails.
    #[inline]
    pub(super) fn send_head(
        &mut self,
        link: &mut Link,
        stream: StreamKey,
        (status, fields, length): Head<'_>,
        ends: bool,
    ) -> Result<(), EncodeError> {
        let now_ns = link.turn_time_ns();
        let is_key = |key: &Vec<u8>| is_key(key, status, fields, length);
        if let Some(block) = self.others.find(link.codec.encoder(), now_ns, is_key) {
            link.send_head(stream, block, ends);
            return Ok(());
        }
        check(fields)?;
        if !link.codec.is_sendable(stream) {
            // What is encoded must be sent: the peer's table follows each block.
            return Ok(());
        }
        let encoded = self.encode(link.codec.encoder(), (status, fields, length), now_ns);
        if let Some((insert_count, until_ns)) = encoded {
            let mut key = Vec::new();
            push_key(&mut key, status, fields, length);
            self.others.keep(key, insert_count, until_ns, &self.block, is_key);
        }
        link.send_head(stream, &self.block, ends);
        Ok(())
    }

    /// Sends the head of a response that was encoded before.
    #[inline]
    pub(super) fn send_prepared_head(
        &mut self,
        link: &mut Link,
        stream: StreamKey,
        response: &PreparedResponse,
        ends: bool,
    ) {
        let now_ns = link.turn_time_ns();
        let is_key = |key: &Bytes| key.as_ptr() == response.head().as_ptr();
        if let Some(block) = self.prepared.find(link.codec.encoder(), now_ns, is_key) {
            return link.send_head(stream, block, ends);
        }
        if !link.codec.is_sendable(stream) {
            return;
        }
        if let Some((insert_count, until_ns)) = self.encode_prepared(link.codec.encoder(), response, now_ns) {
            self.prepared.keep(response.head().clone(), insert_count, until_ns, &self.block, is_key);
        }
        link.send_head(stream, &self.block, ends);
    }

    /// Sends `100 Continue`.
    pub(super) fn send_continue(&mut self, link: &mut Link, stream: StreamKey) {
        if !link.codec.is_sendable(stream) {
            return;
        }
        self.block.clear();
        // It may be the first block since the table was to change.
        link.codec.encoder().begin(&mut self.block);
        encode_stateless(b":status", b"100", false, &mut self.block);
        link.send_head(stream, &self.block, false);
    }

    fn encode_prepared(
        &mut self,
        encoder: &mut Encoder,
        response: &PreparedResponse,
        now_ns: u64,
    ) -> Option<(u64, u64)> {
        let is_clean = begin(encoder, &mut self.block);
        let before = encoder.insert_count();
        encoder.field(b":status", response.status_bytes(), Indexing::Add, &mut self.block);
        let mut name = Vec::new();
        for (found, value) in response.fields() {
            name.clear();
            name.extend(found.iter().map(u8::to_ascii_lowercase));
            if !is_of_http1(&name) {
                encoder.field(&name, value, Indexing::Add, &mut self.block);
            }
        }
        let until_ns = push_date(encoder, now_ns, &mut self.block);
        keepable(is_clean, before, encoder, until_ns, &self.block)
    }

    /// Encodes a head into the buffer for blocks. Returns the table's insert count and the end of the date's second if
    /// the block can be sent again.
    fn encode(
        &mut self,
        encoder: &mut Encoder,
        (status, fields, length): Head<'_>,
        now_ns: u64,
    ) -> Option<(u64, u64)> {
        let is_clean = begin(encoder, &mut self.block);
        let before = encoder.insert_count();
        encoder.field(b":status", status.as_str().as_bytes(), Indexing::Add, &mut self.block);
        let mut lower = [0; 64];
        for (name, value) in fields {
            let name = name.as_bytes();
            let indexing = |name: &[u8]| if is_unique(name) { Indexing::Without } else { Indexing::Add };
            if let Some(lower) = lower.get_mut(..name.len()) {
                lower.copy_from_slice(name);
                lower.make_ascii_lowercase();
                if !is_of_http1(lower) {
                    encoder.field(lower, value.as_bytes(), indexing(lower), &mut self.block);
                }
            } else {
                encoder.field(
                    &name.to_ascii_lowercase(),
                    value.as_bytes(),
                    Indexing::Without,
                    &mut self.block,
                );
            }
        }
        if let BodyLength::Length(length) = length {
            let mut digits = [0; 20];
            let repeated = self.last_length.replace(length) == Some(length);
            let indexing = if repeated { Indexing::Add } else { Indexing::Without };
            encoder.field(b"content-length", decimal(length, &mut digits), indexing, &mut self.block);
        }
        let until_ns = push_date(encoder, now_ns, &mut self.block);
        keepable(is_clean, before, encoder, until_ns, &self.block)
    }
}

/// Encodes trailers, without a table: others may be sent before them.
pub(super) fn encode_trailers(fields: &[(&str, &str)]) -> Result<Vec<u8>, EncodeError> {
    check(fields)?;
    let mut block = Vec::new();
    for (name, value) in fields {
        let name = name.to_ascii_lowercase();
        if !is_of_http1(name.as_bytes()) {
            encode_stateless(name.as_bytes(), value.as_bytes(), false, &mut block);
        }
    }
    Ok(block)
}

fn check(fields: &[(&str, &str)]) -> Result<(), EncodeError> {
    fields.iter().try_for_each(|(name, value)| h1::check_field(name.as_bytes(), value.as_bytes()))
}

/// Begins a block. Returns whether it begins with the first field.
fn begin(encoder: &mut Encoder, block: &mut Vec<u8>) -> bool {
    block.clear();
    encoder.begin(block);
    block.is_empty()
}

fn push_date(encoder: &mut Encoder, now_ns: u64, block: &mut Vec<u8>) -> u64 {
    with_date(now_ns, |date, until_ns| {
        encoder.field(b"date", date, Indexing::Add, block);
        until_ns
    })
}

/// A block that has changed the table means another thing when it is sent again.
fn keepable(
    is_clean: bool,
    before: u64,
    encoder: &Encoder,
    until_ns: u64,
    block: &[u8],
) -> Option<(u64, u64)> {
    let after = encoder.insert_count();
    (is_clean && before == after && block.len() <= BLOCK_SIZE_MAX).then_some((after, until_ns))
}

/// Fields that only HTTP/1.1 has (RFC 9113 §8.2.2). Frames say what they say.
fn is_of_http1(name: &[u8]) -> bool {
    matches!(name, b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade")
}

/// Fields whose values hardly come again. In the table they would displace others.
fn is_unique(name: &[u8]) -> bool {
    matches!(
        name,
        b"age" | b"etag" | b"last-modified" | b"location" | b"content-range" | b"expires" | b"set-cookie"
    )
}

fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}

/// Appends what tells one head from another.
fn push_key(key: &mut Vec<u8>, status: StatusCode, fields: &[(&str, &str)], length: BodyLength) {
    key.extend_from_slice(&facts(status, length));
    for (name, value) in fields {
        for text in [name, value] {
            key.extend_from_slice(&(text.len() as u32).to_ne_bytes());
            key.extend_from_slice(text.as_bytes());
        }
    }
}

/// Returns whether [`push_key`] would make this key.
#[inline]
fn is_key(key: &[u8], status: StatusCode, fields: &[(&str, &str)], length: BodyLength) -> bool {
    let Some(mut key) = key.strip_prefix(&facts(status, length)) else { return false };
    for text in fields.iter().flat_map(|(name, value)| [name, value]) {
        let Some(rest) = key
            .strip_prefix(&(text.len() as u32).to_ne_bytes())
            .and_then(|rest| rest.strip_prefix(text.as_bytes()))
        else {
            return false;
        };
        key = rest;
    }
    key.is_empty()
}

#[inline]
fn facts(status: StatusCode, length: BodyLength) -> [u8; 10] {
    let length = match length {
        BodyLength::Length(length) => length,
        _ => u64::MAX,
    };
    let mut facts = [0; 10];
    facts[..2].copy_from_slice(&status.as_u16().to_ne_bytes());
    facts[2..].copy_from_slice(&length.to_ne_bytes());
    facts
}
