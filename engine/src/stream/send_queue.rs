//! The bytes that wait to be sent on a stream, in order, and the position of each in the stream.
//!
//! A position counts the bytes of a stream from its first. It tells which messages a send contains, even if the send
//! carries many of them or only a part of one. The queue knows no socket: [`Stream`](super::Stream) moves the bytes on.

use ringtide_driver::SendBuffer;

use crate::limits::COALESCED_SEND_SIZE_MAX;
use crate::runtime::InlineQueue;

/// Size of a new buffer. A typical message fits.
const BUFFER_SIZE: usize = 512;

#[derive(Debug, Default)]
pub(super) struct SendQueue {
    /// Sent in this order, before `open`.
    sealed: InlineQueue<SendBuffer>,
    sealed_size: usize,
    /// Still appended to.
    open: Vec<u8>,
    /// Position after the last byte that was taken out.
    taken: u64,
    /// Position of the first byte that was taken out last.
    taken_last_from: u64,
}

impl SendQueue {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.sealed.is_empty()
    }

    /// Returns the number of bytes in the queue.
    #[inline]
    pub(super) fn size(&self) -> usize {
        self.sealed_size + self.open.len()
    }

    /// Returns the position after the last byte in the queue.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.taken + self.size() as u64
    }

    /// Returns the position after the last byte that was taken out.
    #[inline]
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Returns the position of the first byte that was taken out last.
    #[inline]
    pub(super) fn taken_last_from(&self) -> u64 {
        self.taken_last_from
    }

    /// Whether the queue has no memory to append to.
    #[inline]
    pub(super) fn wants_memory(&self) -> bool {
        self.open.capacity() == 0
    }

    /// Uses the memory of a send that has ended, unless the queue has some.
    #[inline]
    pub(super) fn reuse(&mut self, mut memory: Vec<u8>) {
        if self.wants_memory() {
            memory.clear();
            self.open = memory;
        }
    }

    /// Frees the memory of an empty queue.
    #[inline]
    pub(super) fn free_memory(&mut self) {
        if self.open.is_empty() {
            self.open = Vec::new();
        }
    }

    /// Returns the buffer to append to. It may contain earlier bytes.
    #[inline]
    pub(super) fn open(&mut self) -> &mut Vec<u8> {
        if !self.sealed.is_empty() {
            self.reopen();
        }
        if self.wants_memory() {
            self.open.reserve(BUFFER_SIZE);
        }
        &mut self.open
    }

    /// Appends `bytes`: a copy if they are few, in a send with their neighbours.
    pub(super) fn push(&mut self, bytes: SendBuffer) {
        if bytes.is_empty() {
            return;
        }
        if bytes.len() > COALESCED_SEND_SIZE_MAX {
            self.seal_open();
            self.seal(bytes);
        } else if self.is_empty() {
            // Without neighbours they need no copy.
            self.seal(bytes);
        } else {
            self.reopen();
            if self.open.len() + bytes.len() > COALESCED_SEND_SIZE_MAX {
                self.seal_open();
            }
            self.open.extend_from_slice(&bytes);
        }
    }

    /// Counts `size` bytes that are sent without the queue, which is empty.
    #[inline]
    pub(super) fn pass(&mut self, size: usize) {
        debug_assert!(self.is_empty());
        self.taken_last_from = self.taken;
        self.taken += size as u64;
    }

    /// Takes out what to send next.
    #[inline]
    pub(super) fn take(&mut self) -> Option<SendBuffer> {
        let buffer = match self.sealed.pop_front() {
            Some(buffer) => {
                self.sealed_size -= buffer.len();
                buffer
            }
            None if self.open.is_empty() => return None,
            None => SendBuffer::Owned(std::mem::take(&mut self.open)),
        };
        self.taken_last_from = self.taken;
        self.taken += buffer.len() as u64;
        Some(buffer)
    }

    /// Drops the queued bytes from `position` on.
    pub(super) fn truncate(&mut self, position: u64) {
        let mut left = usize::try_from(position.saturating_sub(self.taken)).unwrap_or(usize::MAX);
        let mut sealed = std::mem::take(&mut self.sealed);
        self.sealed_size = 0;
        while let Some(mut buffer) = sealed.pop_front() {
            let size = buffer.len().min(left);
            left -= size;
            if size < buffer.len() {
                buffer = SendBuffer::Owned(buffer[..size].to_vec());
            }
            if size > 0 {
                self.seal(buffer);
            }
        }
        self.open.truncate(left);
    }

    /// Lets a small buffer that waits alone be appended to.
    fn reopen(&mut self) {
        if !self.open.is_empty() || self.sealed.len() != 1 || self.sealed_size > COALESCED_SEND_SIZE_MAX {
            return;
        }
        self.sealed_size = 0;
        match self.sealed.pop_front() {
            Some(SendBuffer::Owned(bytes)) => self.open = bytes,
            Some(bytes) => self.open.extend_from_slice(&bytes),
            None => {}
        }
    }

    fn seal_open(&mut self) {
        if !self.open.is_empty() {
            let open = std::mem::take(&mut self.open);
            self.seal(SendBuffer::Owned(open));
        }
    }

    fn seal(&mut self, buffer: SendBuffer) {
        self.sealed_size += buffer.len();
        self.sealed.push_back(buffer);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize),
        Push(usize, u8),
        Pass(usize),
        Take,
        Truncate(usize),
    }

    fn size() -> impl Strategy<Value = usize> {
        let edge = COALESCED_SEND_SIZE_MAX;
        prop_oneof![4 => 0..100_usize, 1 => edge - 50..edge + 50]
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => size().prop_map(Step::Write),
            3 => (size(), 0..3_u8).prop_map(|(size, kind)| Step::Push(size, kind)),
            1 => (1..100_usize).prop_map(Step::Pass),
            3 => Just(Step::Take),
            1 => size().prop_map(Step::Truncate),
        ];
        prop::collection::vec(step, 1..60)
    }

    fn buffer(bytes: Vec<u8>, kind: u8) -> SendBuffer {
        match kind {
            0 => SendBuffer::Static(Box::leak(bytes.into_boxed_slice())),
            1 => SendBuffer::Shared(Bytes::from(bytes)),
            _ => SendBuffer::Owned(bytes),
        }
    }

    proptest! {
        /// What is taken out is what was put in, in order, and each byte is at its position.
        #[test]
        fn bytes_keep_their_order_and_positions(steps in steps()) {
            let mut queue = SendQueue::default();
            // The stream as it should be: all bytes that were taken out or are still queued.
            let mut stream = Vec::new();
            let mut taken = 0;
            let mut next = 0_u8;
            let mut fresh = |size: usize| {
                next = next.wrapping_add(1);
                vec![next; size]
            };
            for step in steps {
                match step {
                    Step::Write(size) => {
                        let bytes = fresh(size);
                        queue.open().extend_from_slice(&bytes);
                        stream.extend_from_slice(&bytes);
                    }
                    Step::Push(size, kind) => {
                        let bytes = fresh(size);
                        stream.extend_from_slice(&bytes);
                        queue.push(buffer(bytes, kind));
                    }
                    Step::Pass(size) if queue.is_empty() => {
                        stream.extend_from_slice(&fresh(size));
                        queue.pass(size);
                        taken += size;
                        prop_assert_eq!(queue.taken_last_from(), (taken - size) as u64);
                    }
                    Step::Pass(_) => {}
                    Step::Take => match queue.take() {
                        Some(bytes) => {
                            prop_assert!(!bytes.is_empty());
                            prop_assert_eq!(queue.taken_last_from(), taken as u64);
                            prop_assert_eq!(&stream[taken..taken + bytes.len()], &bytes[..]);
                            taken += bytes.len();
                        }
                        None => prop_assert!(queue.is_empty()),
                    },
                    Step::Truncate(kept) => {
                        queue.truncate((taken + kept) as u64);
                        stream.truncate(taken + kept);
                    }
                }
                prop_assert_eq!(queue.taken(), taken as u64);
                prop_assert_eq!(queue.end(), stream.len() as u64);
                prop_assert_eq!(queue.size(), stream.len() - taken);
                prop_assert_eq!(queue.is_empty(), stream.len() == taken);
            }
        }
    }

    fn sends(queue: &mut SendQueue) -> Vec<usize> {
        std::iter::from_fn(|| queue.take()).map(|buffer| buffer.len()).collect()
    }

    #[test]
    fn small_neighbours_leave_in_one_send_and_a_large_one_alone() {
        let large = COALESCED_SEND_SIZE_MAX + 1;
        let mut queue = SendQueue::default();
        queue.push(SendBuffer::Static(b"head"));
        queue.open().extend_from_slice(b"5\r\n");
        queue.push(SendBuffer::Static(b"piece"));
        queue.push(SendBuffer::Owned(vec![0; large]));
        queue.push(SendBuffer::Static(b"end"));
        queue.push(SendBuffer::Static(b"head"));
        assert_eq!(sends(&mut queue), [12, large, 7]);
        // A send is never larger than the limit for what is copied.
        queue.push(SendBuffer::Owned(vec![0; COALESCED_SEND_SIZE_MAX - 2]));
        queue.push(SendBuffer::Static(b"end"));
        assert_eq!(sends(&mut queue), [COALESCED_SEND_SIZE_MAX - 2, 3]);
    }

    #[test]
    fn a_buffer_without_neighbours_is_not_copied() {
        static ALONE: [u8; 100] = [0; 100];
        let mut queue = SendQueue::default();
        queue.push(SendBuffer::Static(&ALONE));
        assert!(matches!(queue.take(), Some(SendBuffer::Static(_))));
    }
}
