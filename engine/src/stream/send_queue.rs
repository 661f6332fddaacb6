//! The bytes that wait to be sent on a stream, in order, and the position of each in the stream.
//!
//! A position counts the bytes of a stream from its first. It tells which messages a send contains, even if the send
//! carries many of them or only a part of one. The queue knows no socket: [`Stream`](super::Stream) moves the bytes on.

use bytes::{Buf, Bytes};
use ringtide_driver::SendBuffer;
use ringtide_driver::limits::SEND_PIECES_MAX;

use crate::limits::{BULK_SEND_SIZE_MAX, COALESCED_SEND_SIZE_MAX};
use crate::runtime::InlineQueue;

/// Size of a new buffer. A typical message fits.
const BUFFER_SIZE: usize = 512;

#[derive(Debug, Default)]
pub(super) struct SendQueue {
    /// Sent in this order, each of one piece. One that is empty is alone, and kept for its memory.
    buffers: InlineQueue<SendBuffer>,
    /// Position after the last byte that was taken out.
    taken: u64,
    /// Position of the first byte that was taken out last.
    taken_last_from: u64,
}

impl SendQueue {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.buffers.front().is_none_or(SendBuffer::is_empty)
    }

    /// Returns the number of bytes in the queue.
    #[inline]
    pub(super) fn size(&self) -> usize {
        // One buffer is usual.
        if self.buffers.len() > 1 {
            self.size_of_all()
        } else {
            self.buffers.front().map_or(0, SendBuffer::len)
        }
    }

    #[cold]
    fn size_of_all(&self) -> usize {
        self.buffers.iter().map(SendBuffer::len).sum()
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
        self.buffers.is_empty()
    }

    /// Uses the memory of a send that has ended, unless the queue has some.
    #[inline]
    pub(super) fn reuse(&mut self, mut memory: Vec<u8>) {
        if self.wants_memory() {
            memory.clear();
            self.buffers.push_back(SendBuffer::Owned(memory));
        }
    }

    /// Frees the memory of an empty queue.
    #[inline]
    pub(super) fn free_memory(&mut self) {
        if self.is_empty() {
            self.buffers = InlineQueue::default();
        }
    }

    /// Calls `write` to append to a buffer, which may contain earlier bytes.
    #[inline]
    pub(super) fn write<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        write(self.open())
    }

    /// Appends `bytes`: a copy if they are few, in a send with their neighbours.
    #[inline]
    pub(super) fn push(&mut self, bytes: SendBuffer) {
        let size = bytes.len();
        if size == 0 {
            return;
        }
        match self.buffers.back_mut() {
            Some(last) if last.len() + size <= COALESCED_SEND_SIZE_MAX => {
                to_owned(last).extend_from_slice(bytes_of(&bytes));
            }
            Some(last) if last.is_empty() => *last = bytes,
            // Without neighbours they need no copy.
            Some(_) | None => self.buffers.push_back(bytes),
        }
    }

    /// Appends `head` and `piece`, which is not copied, whatever its size.
    pub(super) fn push_piece(&mut self, head: &[u8], piece: Bytes) {
        match self.buffers.back_mut() {
            Some(SendBuffer::Owned(memory)) => memory.extend_from_slice(head),
            _ if head.is_empty() => {}
            _ => self.buffers.push_back(SendBuffer::Owned(head.to_vec())),
        }
        match self.buffers.back_mut() {
            Some(last) if last.is_empty() => *last = SendBuffer::Shared(piece),
            _ if piece.is_empty() => {}
            _ => self.buffers.push_back(SendBuffer::Shared(piece)),
        }
    }

    /// Counts `size` bytes that are sent without the queue, which is empty.
    #[inline]
    pub(super) fn pass(&mut self, size: usize) {
        self.taken_last_from = self.taken;
        self.taken += size as u64;
    }

    /// Takes out what to send next: a buffer; if it `gathers`, also what follows, as far as one send carries it.
    #[inline]
    pub(super) fn take(&mut self, gathers: bool) -> Option<SendBuffer> {
        if self.is_empty() {
            return None;
        }
        let mut buffer = self.buffers.pop_front()?;
        if gathers && !self.buffers.is_empty() {
            buffer = self.gather(buffer);
        }
        self.pass(buffer.len());
        Some(buffer)
    }

    /// Takes out what follows `first`.
    #[cold]
    fn gather(&mut self, first: SendBuffer) -> SendBuffer {
        let mut size = first.len();
        if size >= BULK_SEND_SIZE_MAX {
            return first;
        }
        let mut pieces = Vec::with_capacity(SEND_PIECES_MAX.min(1 + self.buffers.len()));
        pieces.push(into_bytes(first));
        while size < BULK_SEND_SIZE_MAX
            && pieces.len() < SEND_PIECES_MAX
            && let Some(next) = self.buffers.pop_front()
        {
            size += next.len();
            pieces.push(into_bytes(next));
        }
        SendBuffer::Pieces(pieces)
    }

    /// Takes out up to `size_max` bytes and passes them to `take`, buffer by buffer. Together they are what was taken
    /// out last.
    pub(super) fn take_up_to(&mut self, size_max: usize, mut take: impl FnMut(&[u8])) {
        self.taken_last_from = self.taken;
        let mut left = size_max;
        while left > 0
            && let Some(buffer) = self.buffers.front_mut()
        {
            if buffer.is_empty() {
                break;
            }
            let size = buffer.len().min(left);
            take(&bytes_of(buffer)[..size]);
            left -= size;
            self.taken += size as u64;
            if size < buffer.len() {
                cut_front(buffer, size);
            } else if let Some(SendBuffer::Owned(mut memory)) = self.buffers.pop_front()
                && self.buffers.is_empty()
            {
                // Kept for what comes next.
                memory.clear();
                self.buffers.push_back(SendBuffer::Owned(memory));
            }
        }
    }

    /// Drops the queued bytes from `position` on.
    pub(super) fn truncate(&mut self, position: u64) {
        let mut left = usize::try_from(position.saturating_sub(self.taken)).unwrap_or(usize::MAX);
        let mut buffers = std::mem::take(&mut self.buffers);
        while left > 0
            && let Some(mut buffer) = buffers.pop_front()
        {
            if buffer.len() > left {
                buffer = SendBuffer::Owned(bytes_of(&buffer)[..left].to_vec());
            }
            left -= buffer.len();
            self.buffers.push_back(buffer);
        }
    }

    /// Returns the buffer to append to.
    #[inline]
    fn open(&mut self) -> &mut Vec<u8> {
        let is_open = match self.buffers.back_mut() {
            Some(SendBuffer::Owned(_)) => true,
            Some(last) => last.len() <= COALESCED_SEND_SIZE_MAX,
            None => false,
        };
        if !is_open {
            self.buffers.push_back(SendBuffer::Owned(Vec::with_capacity(BUFFER_SIZE)));
        }
        to_owned(self.buffers.back_mut().expect("one was pushed if there was none"))
    }
}

/// Makes a buffer one that can be appended to.
#[inline]
fn to_owned(buffer: &mut SendBuffer) -> &mut Vec<u8> {
    if !matches!(buffer, SendBuffer::Owned(_)) {
        let mut memory = Vec::with_capacity(BUFFER_SIZE.max(2 * buffer.len()));
        memory.extend_from_slice(bytes_of(buffer));
        *buffer = SendBuffer::Owned(memory);
    }
    match buffer {
        SendBuffer::Owned(memory) => memory,
        _ => unreachable!("it was replaced above"),
    }
}

/// Returns the bytes of a buffer of the queue.
#[inline]
fn bytes_of(buffer: &SendBuffer) -> &[u8] {
    buffer.as_one().expect("a queued buffer has one piece")
}

/// Returns the bytes of a buffer of the queue without a copy.
fn into_bytes(buffer: SendBuffer) -> Bytes {
    match buffer {
        SendBuffer::Static(bytes) => Bytes::from_static(bytes),
        SendBuffer::Shared(bytes) => bytes,
        SendBuffer::Owned(bytes) => Bytes::from(bytes),
        SendBuffer::Pieces(_) => unreachable!("a queued buffer has one piece"),
    }
}

/// Drops the first `size` bytes of a buffer.
fn cut_front(buffer: &mut SendBuffer, size: usize) {
    match buffer {
        SendBuffer::Static(bytes) => *bytes = &bytes[size..],
        SendBuffer::Shared(bytes) => bytes.advance(size),
        SendBuffer::Owned(bytes) => {
            let mut bytes = Bytes::from(std::mem::take(bytes));
            bytes.advance(size);
            *buffer = SendBuffer::Shared(bytes);
        }
        SendBuffer::Pieces(_) => unreachable!("a queued buffer has one piece"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize),
        Push(usize, u8),
        Pass(usize),
        PushPiece(usize, usize),
        Take(bool),
        TakeUpTo(usize),
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
            2 => (0..20_usize, 1..200_usize).prop_map(|(head, piece)| Step::PushPiece(head, piece)),
            3 => any::<bool>().prop_map(Step::Take),
            2 => (1..1000_usize).prop_map(Step::TakeUpTo),
            1 => size().prop_map(Step::Truncate),
        ];
        prop::collection::vec(step, 1..60)
    }

    static ZEROS: [u8; COALESCED_SEND_SIZE_MAX + 50] = [0; COALESCED_SEND_SIZE_MAX + 50];

    fn buffer(bytes: Vec<u8>, kind: u8) -> SendBuffer {
        match kind {
            0 => SendBuffer::Static(&ZEROS[..bytes.len()]),
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
                        queue.write(|out| out.extend_from_slice(&bytes));
                        stream.extend_from_slice(&bytes);
                    }
                    Step::Push(size, kind) => {
                        let bytes = if kind == 0 { vec![0; size] } else { fresh(size) };
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
                    Step::PushPiece(head, piece) => {
                        let (head, piece) = (fresh(head), fresh(piece));
                        stream.extend_from_slice(&head);
                        stream.extend_from_slice(&piece);
                        queue.push_piece(&head, piece.into());
                    }
                    Step::Take(gathers) => match queue.take(gathers) {
                        Some(bytes) => {
                            prop_assert!(!bytes.is_empty());
                            prop_assert_eq!(queue.taken_last_from(), taken as u64);
                            let joined = bytes.pieces_from(0).collect::<Vec<_>>().concat();
                            prop_assert_eq!(&stream[taken..taken + bytes.len()], &joined[..]);
                            taken += bytes.len();
                        }
                        None => prop_assert!(queue.is_empty()),
                    },
                    Step::TakeUpTo(size_max) => {
                        let from = taken;
                        queue.take_up_to(size_max, |bytes| {
                            assert_eq!(&stream[taken..taken + bytes.len()], bytes);
                            taken += bytes.len();
                        });
                        prop_assert_eq!(taken - from, size_max.min(stream.len() - from));
                        prop_assert_eq!(queue.taken_last_from(), from as u64);
                    }
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
        std::iter::from_fn(|| queue.take(false)).map(|buffer| buffer.len()).collect()
    }

    #[test]
    fn small_neighbours_leave_in_one_send_and_a_large_one_alone() {
        let large = COALESCED_SEND_SIZE_MAX + 1;
        let mut queue = SendQueue::default();
        queue.push(SendBuffer::Static(b"head"));
        queue.write(|out| out.extend_from_slice(b"5\r\n"));
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

    /// Returns the sizes of the pieces of each send.
    fn bulk_sends(queue: &mut SendQueue) -> Vec<Vec<usize>> {
        std::iter::from_fn(|| queue.take(true))
            .map(|buffer| buffer.pieces_from(0).map(<[u8]>::len).collect())
            .collect()
    }

    #[test]
    fn a_send_of_pieces_has_limits() {
        let mut queue = SendQueue::default();
        let (part, bulk) = (BULK_SEND_SIZE_MAX / 2, BULK_SEND_SIZE_MAX);
        for size in [part, part, 20_000, bulk, bulk, 20_000] {
            queue.push(SendBuffer::Shared(vec![0; size].into()));
        }
        assert_eq!(bulk_sends(&mut queue), [vec![part, part], vec![20_000, bulk], vec![bulk], vec![20_000]]);
        for _ in 0..SEND_PIECES_MAX {
            queue.push_piece(b"h", Bytes::from_static(b"piece"));
        }
        let counts: Vec<_> = bulk_sends(&mut queue).iter().map(Vec::len).collect();
        assert_eq!(counts, [SEND_PIECES_MAX, SEND_PIECES_MAX]);
    }

    #[test]
    fn pieces_are_sent_from_their_own_memory() {
        let piece = Bytes::from(vec![7; COALESCED_SEND_SIZE_MAX]);
        let mut queue = SendQueue::default();
        queue.write(|out| out.extend_from_slice(b"first"));
        queue.push_piece(b"head", piece.clone());
        queue.push_piece(b"head", piece.clone());
        let Some(SendBuffer::Pieces(pieces)) = queue.take(true) else { panic!("several pieces") };
        let heads = [&pieces[0][..], &pieces[2][..]];
        assert_eq!((heads, pieces.len()), ([&b"firsthead"[..], b"head"], 4));
        assert!([1, 3].iter().all(|&at| pieces[at].as_ptr() == piece.as_ptr()), "a copy");
    }

    #[test]
    fn a_buffer_without_neighbours_is_not_copied() {
        static ALONE: [u8; 100] = [0; 100];
        let mut queue = SendQueue::default();
        queue.push(SendBuffer::Static(&ALONE));
        assert!(matches!(queue.take(false), Some(SendBuffer::Static(_))));
    }
}
