//! Frames in a stream of bytes, found without the code that is tested.

pub(crate) const PREFACE_SIZE: usize = 24;

/// The beginning of a frame, and the first bytes of its payload.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) id: u32,
    pub(crate) size: usize,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// Cuts bytes into frames, however they come.
#[derive(Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    skipped: usize,
}

impl Frames {
    /// `skip` bytes come before the first frame.
    pub(crate) fn new(skip: usize) -> Self {
        Self { bytes: Vec::new(), skipped: skip }
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Vec<Frame> {
        let skip = self.skipped.min(bytes.len());
        self.skipped -= skip;
        bytes = &bytes[skip..];
        self.bytes.extend_from_slice(bytes);
        let mut frames = Vec::new();
        let mut at = 0;
        while let Some(head) = self.bytes.get(at..at + 9) {
            let size = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = self.bytes.get(at + 9..at + 9 + size) else { break };
            let id = u32::from_be_bytes(head[5..9].try_into().unwrap());
            let kept = if head[3] == 0 { &payload[..0] } else { payload };
            frames.push(Frame { kind: head[3], flags: head[4], id, size, payload: kept.to_vec() });
            at += 9 + size;
        }
        self.bytes.drain(..at);
        frames
    }
}
