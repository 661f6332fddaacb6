//! TLS between a stream's bytes and its socket: it decrypts what is received, encrypts what is sent, and sends what the
//! session itself has to say (handshake, tickets, key updates, alerts).

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::task::{Context, Poll, ready};

use ringtide_driver::{Lease, SendBuffer};

use super::send_queue::SendQueue;
use crate::limits::{COALESCED_SEND_SIZE_MAX, TLS_PIECES_MAX, TLS_SEND_SIZE_MAX};
use crate::runtime::Socket;
use crate::tls::{self, Session};

#[derive(Debug)]
pub(super) struct TlsLayer {
    session: Session,
    /// Decrypted and not yet read.
    received: VecDeque<Lease>,
    end: End,
    /// Memory for the next send.
    spare: Vec<u8>,
    last: LastSend,
    /// The bytes of the stream that came before the handshake has ended, in case that the server refuses those that were
    /// sent early. Few, as only small requests come early.
    early: Vec<u8>,
    /// How many of them were sent early.
    early_sent_size: usize,
    sent_close_notify: bool,
}

/// How the peer's direction has ended.
#[derive(Clone, Debug)]
enum End {
    Open,
    /// By close_notify.
    Clean,
    Failed(tls::Error),
}

/// The records of the last send that carried bytes of the stream.
#[derive(Debug, Default)]
struct LastSend {
    size: usize,
    /// For each record: its offset in the send, and that of its first byte among the plain bytes.
    records: Vec<(u32, u32)>,
    /// When it was submitted, if the session has sent something after it.
    sent_at_ns: Option<u64>,
}

impl TlsLayer {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            received: VecDeque::new(),
            end: End::Open,
            spare: Vec::new(),
            last: LastSend::default(),
            early: Vec::new(),
            early_sent_size: 0,
            sent_close_notify: false,
        }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Ready when the handshake has ended. The last message of this side may still be in flight.
    ///
    /// # Errors
    /// The peer has been told the reason, if TLS has an alert for it.
    pub(super) fn poll_handshake(
        &mut self,
        socket: &mut Socket,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let End::Failed(_) = self.end {
                return self.poll_failure(socket, context);
            }
            if !self.session.is_handshaking() {
                self.try_own(socket);
                return Poll::Ready(Ok(()));
            }
            let sent = self.poll_own(socket, context);
            // A peer that refuses the handshake may close before it has read everything. What it sent tells why.
            match (socket.poll_receive(context), sent) {
                (Poll::Ready(Ok(Some(lease))), _) => self.feed(lease),
                (_, Poll::Ready(Err(error))) | (Poll::Ready(Err(error)), _) => {
                    return Poll::Ready(Err(error));
                }
                (Poll::Ready(Ok(None)), _) => self.end = End::Failed(self.session.end_of_stream()),
                (Poll::Pending, _) => return Poll::Pending,
            }
        }
    }

    #[inline]
    pub(super) fn poll_receive(
        &mut self,
        socket: &mut Socket,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Lease>>> {
        loop {
            if let Some(lease) = self.received.pop_front() {
                return Poll::Ready(Ok(Some(lease)));
            }
            match &self.end {
                End::Open => {}
                End::Clean => return Poll::Ready(Ok(None)),
                End::Failed(_) => return self.poll_failure(socket, context).map_ok(|()| None),
            }
            if let Poll::Ready(received) = socket.poll_receive(context) {
                match received? {
                    Some(lease) => self.feed(lease),
                    None => self.end = End::Failed(self.session.end_of_stream()),
                }
                self.try_own(socket);
                continue;
            }
            // A failure to send shows in what is received, or in the next send.
            let _ = self.poll_own(socket, context);
            return Poll::Pending;
        }
    }

    /// Decrypts received bytes.
    pub(super) fn feed(&mut self, lease: Lease) {
        match self.session.receive(lease, &mut self.received) {
            Ok(()) if self.session.has_received_close_notify() => self.end = End::Clean,
            Ok(()) => {}
            Err(error) => self.end = End::Failed(error),
        }
        if !self.early.is_empty() && !self.session.is_handshaking() {
            self.end_early_data();
        }
    }

    /// Sends what could not be sent early, and if the server has refused it, all of it.
    #[cold]
    fn end_early_data(&mut self) {
        let early = mem::take(&mut self.early);
        let done_size = if self.session.is_early_data_accepted() { self.early_sent_size } else { 0 };
        if !self.has_failed()
            && let Err(error) = self.session.queue(&early[done_size..])
        {
            self.end = End::Failed(tls::Error::Internal { reason: error.to_string() });
        }
    }

    /// Encrypts and sends what waits in `queue`, up to the size of one send, after what the session has to say. Returns
    /// whether there was any of it.
    ///
    /// # Errors
    /// If the session has failed, nothing leaves the queue; the alert for the peer is sent.
    pub(super) fn start_next(&mut self, socket: &mut Socket, queue: &mut SendQueue) -> io::Result<bool> {
        if queue.is_empty() {
            return self.start_own(socket);
        }
        match &self.end {
            // The peer has ended its side only.
            End::Open | End::Clean | End::Failed(tls::Error::Truncated) => {}
            End::Failed(error) => {
                let error = error.clone();
                self.start_own(socket)?;
                return Err(error.into());
            }
        }
        let Self { session, last, early, early_sent_size, .. } = self;
        let mut out = mem::take(&mut self.spare);
        out.clear();
        session.take_output(&mut out);
        last.size = 0;
        last.sent_at_ns = None;
        last.records.clear();
        let mut outcome = Ok(());
        let is_early = session.is_handshaking();
        queue.take_up_to(TLS_SEND_SIZE_MAX, |bytes| {
            for bytes in bytes.chunks(tls::RECORD_CONTENT_SIZE_MAX) {
                let from = out.len();
                if outcome.is_err() {
                    return;
                }
                if is_early {
                    if early.len() == *early_sent_size {
                        *early_sent_size += session.queue_early(bytes);
                        session.take_output(&mut out);
                    }
                    early.extend_from_slice(bytes);
                } else {
                    outcome = session.encrypt(bytes, &mut out);
                }
                last.note_record(&out, from, bytes.len());
            }
        });
        outcome?;
        if out.is_empty() {
            // Too late to be sent early, and too early for the rest.
            return Ok(true);
        }
        socket.send(SendBuffer::Owned(out)).map(|()| true)
    }

    /// Starts to send close_notify. Returns whether it was still to be sent.
    pub(super) fn start_close_notify(&mut self, socket: &mut Socket) -> io::Result<bool> {
        if mem::replace(&mut self.sent_close_notify, true) {
            return Ok(false);
        }
        self.session.send_close_notify();
        self.start_own(socket)
    }

    /// Answers the peer's close_notify with ours, unless the peer has closed the connection as well. Some peers wait for it
    /// before they close (RFC 5246 §7.2.1).
    pub(super) fn answer_close_notify(&mut self, socket: &mut Socket) {
        if matches!(self.end, End::Clean) && !socket.has_ended() && socket.try_sent().is_ready() {
            // The stream is at its end, whether this can be sent or not.
            let _ = self.start_close_notify(socket);
        }
    }

    /// Uses the memory of a send that has ended.
    #[inline]
    pub(super) fn reuse(&mut self, memory: Vec<u8>) {
        if self.spare.capacity() == 0 {
            self.spare = memory;
        }
    }

    /// Frees the memory of a large send.
    pub(super) fn free_large_memory(&mut self) {
        if self.spare.capacity() > COALESCED_SEND_SIZE_MAX {
            self.spare = Vec::new();
        }
    }

    pub(super) fn free_memory(&mut self) {
        self.spare = Vec::new();
        self.last.records.shrink_to_fit();
        if self.received.is_empty() {
            self.received = VecDeque::new();
        }
    }

    /// Returns whether the last send was one of the session itself, without bytes of the stream.
    pub(super) fn is_last_send_own(&self) -> bool {
        self.last.sent_at_ns.is_some()
    }

    /// Returns whether the peer has ended its direction, or the session has failed.
    pub(super) fn has_ended(&self) -> bool {
        !matches!(self.end, End::Open)
    }

    /// Returns whether the session has failed.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.end, End::Failed(_))
    }

    /// Returns how many plain bytes of the last send count as sent, if the kernel accepted `size` bytes of the send that
    /// failed.
    pub(super) fn plain_size_sent(&self, size: usize) -> usize {
        if self.last.sent_at_ns.is_some() {
            // The one that failed came later.
            return self.last.size;
        }
        let next = self.last.records.iter().find(|(offset, _)| *offset as usize >= size);
        next.map_or(self.last.size, |(_, plain)| *plain as usize)
    }

    /// Returns when the last send that carried bytes of the stream was submitted.
    pub(super) fn sent_at_ns(&self, socket: &Socket) -> u64 {
        self.last.sent_at_ns.unwrap_or_else(|| socket.sent_at_ns())
    }

    /// Returns whether plain bytes or the end of the stream have arrived. What only the session sees is no news:
    /// tickets arrive unasked.
    pub(super) fn has_news(&mut self, socket: &mut Socket) -> bool {
        self.decrypt_received(socket);
        self.try_own(socket);
        !self.received.is_empty() || !matches!(self.end, End::Open) || socket.has_news()
    }

    pub(super) fn has_unread(&mut self, socket: &mut Socket) -> bool {
        self.decrypt_received(socket);
        self.try_own(socket);
        !self.received.is_empty() && matches!(self.end, End::Open) && !socket.has_news()
    }

    /// Returns how many decrypted pieces are unread. Starts no send, as the caller is about to start one.
    pub(super) fn unread_count(&mut self, socket: &mut Socket) -> usize {
        self.decrypt_received(socket);
        self.received.len()
    }

    /// Decrypts what has arrived. Bytes that were decrypted no longer count as unread, so there is a limit to them.
    fn decrypt_received(&mut self, socket: &mut Socket) {
        while matches!(self.end, End::Open)
            && self.received.len() < TLS_PIECES_MAX
            && let Some(lease) = socket.take_received()
        {
            self.feed(lease);
        }
    }

    /// Sends what the session has to say. Ready when it has nothing more to say.
    ///
    /// This is for the task that receives. Another task may wait for the end of a send at the same time.
    fn poll_own(&mut self, socket: &mut Socket, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.has_output() {
            if let Some(memory) = ready!(socket.poll_sent_as_receiver(context))? {
                self.reuse(memory);
            }
            self.start_own(socket)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Starts to send what the session has to say, if no send is in flight. A failure shows in the next send.
    fn try_own(&mut self, socket: &mut Socket) {
        if self.session.has_output()
            && let Poll::Ready(Ok(memory)) = socket.try_sent()
        {
            if let Some(memory) = memory {
                self.reuse(memory);
            }
            let _ = self.start_own(socket);
        }
    }

    /// Starts to send what the session has to say. Returns whether there was anything. No send may be in flight.
    fn start_own(&mut self, socket: &mut Socket) -> io::Result<bool> {
        if !self.session.has_output() {
            return Ok(false);
        }
        self.last.sent_at_ns.get_or_insert_with(|| socket.sent_at_ns());
        let mut out = mem::take(&mut self.spare);
        out.clear();
        self.session.take_output(&mut out);
        socket.send(SendBuffer::Owned(out)).map(|()| true)
    }

    /// Returns the failure, after the alert that tells the peer about it has been sent.
    fn poll_failure<T>(&mut self, socket: &mut Socket, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        // If the alert cannot be sent, the failure is still the reason. Without an alert there is nothing to wait for.
        if self.session.has_output() || self.is_last_send_own() {
            let own = self.poll_own(socket, context);
            if own.is_pending() || socket.poll_sent_as_receiver(context).is_pending() {
                return Poll::Pending;
            }
        }
        match &self.end {
            End::Failed(error) => Poll::Ready(Err(error.clone().into())),
            End::Open | End::Clean => unreachable!("the caller has seen the failure"),
        }
    }
}

impl LastSend {
    /// Notes that the last record in `out` carries `plain_size` bytes. It is looked for from `from` on: rustls may put the
    /// answer to a key update before it.
    fn note_record(&mut self, out: &[u8], mut from: usize, plain_size: usize) {
        let mut start = from;
        // RFC 8446 §5.1: type, version, and the length of the fragment that follows.
        while let Some([_, _, _, high, low]) = out.get(from..from + 5) {
            start = from;
            from += 5 + usize::from(u16::from_be_bytes([*high, *low]));
        }
        self.records.push((start as u32, self.size as u32));
        self.size += plain_size;
    }
}
