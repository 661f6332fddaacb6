//! The body of a client's request that is given in pieces.

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::super::link::QUEUED_SIZE_MAX;
use super::{ClientConnection, Happened};
use crate::conn::content::Content;
use crate::error::{Error, RequestError};
use crate::proto::h1::BodyLength;
use crate::proto::h2::ErrorCode;

impl ClientConnection {
    /// Queues a piece of the last started request's body.
    pub(in crate::conn) fn queue_data(&mut self, data: Bytes) -> Result<(), Error> {
        let size = data.len() as u64;
        let is_full = self.is_upload_full();
        let Some((stream, length)) = &mut self.pending_body else {
            return Err(RequestError::BodyLength { announced: 0, given: size }.into());
        };
        if is_full && self.held.is_some() {
            // The response is there, and the peer reads no more of the body until that is read.
            return Err(RequestError::Busy.into());
        }
        let mut ends = false;
        if let BodyLength::Length(left) = length {
            if size > *left {
                return Err(RequestError::BodyLength { announced: *left, given: size }.into());
            }
            *left -= size;
            ends = *left == 0;
        }
        let stream = *stream;
        if ends {
            self.pending_body = None;
        }
        if size > 0 || ends {
            self.link.send_data(stream, Content::from(data), ends);
        }
        Ok(())
    }

    /// Queues the end of the last started request's body.
    pub(in crate::conn) fn queue_body_end(&mut self) -> Result<(), Error> {
        match self.pending_body.take() {
            Some((stream, BodyLength::Length(left))) if left > 0 => {
                self.link.drop_queued(stream);
                self.link.codec.reset(stream, ErrorCode::CANCEL);
                self.forget(stream);
                Err(RequestError::BodyLength { announced: left, given: 0 }.into())
            }
            Some((stream, _)) => {
                self.link.send_data(stream, Content::from(Bytes::new()), true);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Sends what is queued. Ready when there is room for more of the body, or a response has begun.
    pub(in crate::conn) fn poll_outgoing(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            ready!(self.poll_flush(context))?;
            if !self.is_upload_full() || self.held.is_some() {
                return Poll::Ready(Ok(()));
            }
            // Only the peer can make room, and only what it sends tells of that.
            match ready!(self.poll_happened(context))? {
                Happened::Nothing => {}
                happened => self.held = Some(happened),
            }
        }
    }

    /// Returns whether enough of the last request's body waits for the peer's windows.
    fn is_upload_full(&self) -> bool {
        self.pending_body.is_some_and(|(stream, _)| self.link.queued_size(stream) >= QUEUED_SIZE_MAX)
    }
}
