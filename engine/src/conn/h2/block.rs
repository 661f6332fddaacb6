//! The header block of the request that a client sent last. A constant request is encoded once.

use std::mem;

use crate::conn::request::PreparedRequest;
use crate::proto::h1::RequestKind;
use crate::proto::h2::{self, Codec, hpack::Indexing};

/// The header block of the request that was sent last. Constant requests are encoded once.
#[derive(Default)]
pub(super) struct Block {
    request: Option<PreparedRequest>,
    /// State of the encoder's table, with which it is valid.
    insert_count: u64,
    pub(super) bytes: Vec<u8>,
    /// Memory for the names of fields.
    names: Vec<u8>,
    paths: Paths,
}

/// Tells paths that come again from those that come once, which would displace all else in the peer's table.
#[derive(Default)]
struct Paths {
    /// Hashes of recent ones.
    hashes: [u32; 16],
}

impl Block {
    /// Makes `bytes` the header block of `request`.
    #[inline]
    pub(super) fn prepare(&mut self, request: &PreparedRequest, codec: &mut Codec) {
        let is_known = self.request.as_ref().is_some_and(|known| known.has_head_of(request));
        if !is_known || self.insert_count != codec.encoder().insert_count() {
            self.encode(request, codec);
        }
    }

    #[inline(never)]
    fn encode(&mut self, request: &PreparedRequest, codec: &mut Codec) {
        let encoder = codec.encoder();
        self.bytes.clear();
        self.insert_count = encoder.insert_count();
        encoder.begin(&mut self.bytes);
        // A block with an update of the table's size is sent once.
        let mut is_constant = self.bytes.is_empty();
        request.for_each_field(|name, value, is_secret| {
            let indexing = match name {
                _ if is_secret => Indexing::Never,
                b":path" if !self.paths.has_come_before(value) => {
                    is_constant = false;
                    Indexing::Without
                }
                _ => Indexing::Add,
            };
            encoder.field(name, value, indexing, &mut self.bytes);
        });
        is_constant &= self.insert_count == encoder.insert_count();
        self.request = is_constant.then(|| request.clone());
    }

    /// Makes `bytes` the header block of another head, which is not expected to be sent again.
    #[inline(never)]
    pub(super) fn encode_other(&mut self, like: &PreparedRequest, head: &[u8], codec: &mut Codec) {
        let encoder = codec.encoder();
        self.bytes.clear();
        self.request = None;
        encoder.begin(&mut self.bytes);
        like.for_each_field_of(head, &mut self.names, |name, value, is_secret| {
            let indexing = match name {
                _ if is_secret => Indexing::Never,
                // These are what differs.
                b":path" | b"content-length" | b"cookie" => Indexing::Without,
                _ => Indexing::Add,
            };
            encoder.field(name, value, indexing, &mut self.bytes);
        });
    }
}

impl Paths {
    /// Returns whether `path` is probably among the last that were asked for.
    fn has_come_before(&mut self, path: &[u8]) -> bool {
        let mut hash = path.len() as u64;
        for chunk in path.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 32;
        }
        let known = &mut self.hashes[hash as usize % 16];
        mem::replace(known, hash as u32) == hash as u32
    }
}

/// Returns what a request says about its response.
#[inline]
pub(super) fn kind_of(request: &PreparedRequest) -> h2::RequestKind {
    match request.kind() {
        RequestKind::Head => h2::RequestKind::Head,
        RequestKind::Connect => h2::RequestKind::Connect,
        _ => h2::RequestKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::h2::{Options, Role};

    /// The size of the block of `GET path`.
    fn block_size(block: &mut Block, codec: &mut Codec, path: &str) -> usize {
        let fields = [(&b"host"[..], &b"localhost:8080"[..])];
        let request = PreparedRequest::from_parts(&http::Method::GET, path, fields.into_iter(), b"").unwrap();
        block.prepare(&request, codec);
        block.bytes.len()
    }

    #[test]
    fn only_paths_that_come_again_enter_the_table() {
        let (mut block, mut codec) = (Block::default(), Codec::new(Role::Client, &Options::default()));
        let mut size_of = |path: &str| block_size(&mut block, &mut codec, path);
        assert!(size_of("/constant/path") > 20);
        assert!(size_of("/constant/path") > 10);
        assert_eq!([size_of("/constant/path"), size_of("/constant/path")], [4, 4]);
        for number in 0..1000 {
            assert!(size_of(&format!("/unique/{number}")) > 6, "{number}");
        }
        assert_eq!(size_of("/constant/path"), 4, "it is still there");
        assert_eq!(codec.encoder().insert_count(), 2, "the authority and the path");
    }
}
