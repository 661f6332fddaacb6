//! When a client's requests were sent, and when their responses began.

use http::StatusCode;

use super::{ClientConnection, Request, request_mut};
use crate::conn::completion::Timing;
use crate::proto::h2::StreamKey;

impl ClientConnection {
    /// The head of a response has arrived.
    #[inline]
    pub(super) fn note_head(&mut self, stream: StreamKey) {
        let now_ns = self.link.turn_time_ns();
        let status = self.link.codec.response_facts().map_or(0, |facts| facts.status);
        if let Some(request) = self.request_mut(stream) {
            request.status = StatusCode::from_u16(status).unwrap_or_default();
            if request.first_byte_ns == 0 {
                request.first_byte_ns = now_ns;
            }
        }
    }

    /// An interim response has arrived.
    #[cold]
    pub(super) fn note_begun(&mut self, stream: StreamKey) {
        let now_ns = self.link.turn_time_ns();
        if let Some(request) = self.request_mut(stream)
            && request.first_byte_ns == 0
        {
            request.first_byte_ns = now_ns;
        }
    }

    /// Notes the time of the last send in the requests that began in it. To be called before the next send, which
    /// overwrites the time, and once for many responses, which need it.
    #[inline]
    pub(super) fn note_sent_times(&mut self) {
        let transport = self.link.transport();
        let mut sent_ns = 0;
        while let Some(stream) = self.unnoted.front().copied() {
            if let Some(request) = request_mut(&mut self.requests, stream) {
                if !transport.has_started(request.position) {
                    return;
                }
                if sent_ns == 0 {
                    // If a send has failed, it depends on the request whether it was sent.
                    if transport.is_unsent() || transport.failed_send_size().is_some() {
                        return;
                    }
                    sent_ns = transport.sent_at_ns();
                }
                request.sent_ns = sent_ns;
            }
            self.unnoted.pop_front();
        }
    }

    #[inline]
    pub(super) fn timing_of(&self, request: &Request) -> Timing {
        let sent_ns = match request.sent_ns {
            0 => self.sent_ns_of(request).unwrap_or(request.first_byte_ns),
            sent_ns => sent_ns,
        };
        Timing { sent_ns, first_byte_ns: request.first_byte_ns }
    }

    pub(super) fn sent_ns_of(&self, request: &Request) -> Option<u64> {
        let transport = self.link.transport();
        let offset = transport.offset_in_last_send(request.position);
        let taken = transport.failed_send_size();
        let is_cut = taken.zip(offset).is_some_and(|(taken, offset)| offset >= taken as u64);
        if is_cut || !transport.has_started(request.position) {
            None
        } else if request.sent_ns > 0 {
            Some(request.sent_ns)
        } else {
            Some(transport.sent_at_ns())
        }
    }
}
