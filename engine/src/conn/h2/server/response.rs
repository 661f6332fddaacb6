//! Responses: how they begin, go on and end.

use std::task::{Context, Poll};

use http::StatusCode;

use super::state::{Answer, State, unanswered_mut};
use super::wakes::{Wakes, wait_at};
use crate::conn::content::Content;
use crate::conn::h2::answers;
use crate::conn::response::{self, PreparedResponse};
use crate::error::Error;
use crate::proto::h1::{BodyLength, EncodeError};
use crate::proto::h2::StreamKey;

/// Bytes of one response that wait in its stream's queue above which its handler waits.
const STREAM_QUEUED_SIZE_MAX: usize = 64 * 1024;

impl State {
    /// Responds with a whole response. Does nothing if the stream is gone.
    #[inline]
    pub(in crate::conn::h2) fn respond(
        &mut self,
        stream: StreamKey,
        status: StatusCode,
        fields: &[(&str, &str)],
        body: Content<'_>,
    ) -> Result<(), EncodeError> {
        let size = body.as_bytes().len();
        let length = response::length_of(status, size)?;
        let Some(entry) = unanswered_mut(&mut self.streams, stream) else { return Ok(()) };
        let ends = size == 0 || entry.is_head;
        self.answers.send_head(&mut self.link, stream, (status, fields, length), ends)?;
        self.send_whole(stream, body, ends);
        Ok(())
    }

    /// Responds with a response that was encoded before. Does nothing if the stream is gone.
    #[inline]
    pub(in crate::conn::h2) fn respond_with(&mut self, stream: StreamKey, response: &PreparedResponse) {
        let Some(entry) = unanswered_mut(&mut self.streams, stream) else { return };
        let ends = response.body().is_empty() || entry.is_head;
        self.answers.send_prepared_head(&mut self.link, stream, response, ends);
        self.send_whole(stream, response.body().into(), ends);
    }

    pub(super) fn fail(&mut self, stream: StreamKey, status: StatusCode, reason: &str, wakes: &mut Wakes) {
        let Some(entry) = self.stream_mut(stream) else { return };
        if entry.answer != Answer::None {
            return;
        }
        wakes.add(entry.reader.take());
        let responded = if status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
            // Nobody knows whether its method is HEAD.
            self.respond(stream, status, &[], Content::from(&[]))
        } else {
            let body = format!("{status}: {reason}\n");
            let fields = [("content-type", "text/plain; charset=utf-8")];
            self.respond(stream, status, &fields, body.into())
        };
        responded.expect("constants are valid");
    }

    /// Begins a response. Returns whether its body is to be sent: not after HEAD, or if the stream is gone.
    pub(in crate::conn::h2) fn begin_response(
        &mut self,
        stream: StreamKey,
        status: StatusCode,
        fields: &[(&str, &str)],
        length: Option<u64>,
    ) -> Result<bool, EncodeError> {
        // It is never an error to begin a response that nobody waits for.
        let Some(entry) = unanswered_mut(&mut self.streams, stream) else { return Ok(true) };
        let has_body = !entry.is_head;
        let length = length.map_or(BodyLength::UntilClose, BodyLength::Length);
        // The stream does not end here, even without a body: it would be over, and its handler still be running.
        self.answers.send_head(&mut self.link, stream, (status, fields, length), false)?;
        entry.answer = Answer::Begun;
        Ok(has_body)
    }

    /// Sends a part of a response that was begun.
    #[inline]
    pub(in crate::conn::h2) fn send_part(&mut self, stream: StreamKey, data: Content<'_>) {
        if unanswered_mut(&mut self.streams, stream).is_some() {
            self.link.send_data(stream, data, false);
        }
    }

    /// Ends a response that was begun.
    pub(in crate::conn::h2) fn end_response(&mut self, stream: StreamKey) {
        if unanswered_mut(&mut self.streams, stream).is_some() {
            self.send_whole(stream, Content::from(&[]), false);
        }
    }

    /// Ends a response that was begun with trailers.
    pub(in crate::conn::h2) fn end_response_with(
        &mut self,
        stream: StreamKey,
        has_body: bool,
        trailers: &[(&str, &str)],
    ) -> Result<(), EncodeError> {
        let block = answers::encode_trailers(trailers)?;
        if block.is_empty() || !has_body {
            self.end_response(stream);
        } else if unanswered_mut(&mut self.streams, stream).is_some() {
            self.link.send_trailers(stream, block);
            self.send_whole(stream, Content::from(&[]), true);
        }
        Ok(())
    }

    #[inline]
    fn send_whole(&mut self, stream: StreamKey, body: Content<'_>, ended: bool) {
        if !ended {
            self.link.send_data(stream, body, true);
        }
        if let Some(entry) = self.stream_mut(stream) {
            entry.answer = Answer::Whole;
        }
        self.drop_unread(stream);
        self.settle_if_sent(stream);
    }

    /// Polls for room in the queue of a stream.
    pub(in crate::conn::h2) fn poll_room(
        &mut self,
        stream: StreamKey,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let now_ns = self.link.turn_time_ns();
        let queued_size = self.link.queued_size(stream);
        let Some(entry) = unanswered_mut(&mut self.streams, stream) else {
            return Poll::Ready(Err(self.why_lost(stream)));
        };
        if queued_size < STREAM_QUEUED_SIZE_MAX {
            return Poll::Ready(Ok(()));
        }
        if entry.writer.is_none() {
            entry.moved_ns = now_ns;
        }
        wait_at(&mut entry.writer, context);
        Poll::Pending
    }
}
