//! One HTTP/1.1 request and its response: what the connection lends to a handler.

use std::future::poll_fn;
use std::io;
use std::num::NonZeroU64;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use ringtide_driver::Address;

use super::server::ServerConnection;
use super::wire::Answer;
use crate::conn::content::Content;
use crate::conn::response::{self, Persistence, PreparedResponse};
use crate::conn::takeover::Takeover;
use crate::error::{Error, RequestError};
use crate::proto::h1::{self, BodyLength, ChunkHeader, RequestHead, Version};
use crate::proto::h2::FieldList;

/// A request that waits for its response.
pub(in crate::conn) struct Exchange<'c> {
    pub(in crate::conn) connection: &'c mut ServerConnection,
}

impl<'c> Exchange<'c> {
    #[inline]
    pub(in crate::conn) fn head(&self) -> RequestHead<'_> {
        self.connection.request_head()
    }

    pub(in crate::conn) fn body_size(&self) -> Option<u64> {
        match self.connection.body_length() {
            BodyLength::None => Some(0),
            BodyLength::Length(size) => Some(size),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        }
    }

    pub(in crate::conn) fn peer_address(&self) -> io::Result<Address> {
        self.connection.peer_address()
    }

    pub(in crate::conn) async fn data(&mut self) -> Result<Option<&[u8]>, Error> {
        data(self.connection).await
    }

    pub(in crate::conn) fn trailers(&self) -> Option<&FieldList> {
        self.connection.trailers()
    }

    #[inline]
    pub(in crate::conn) fn respond(
        self,
        status: StatusCode,
        fields: &[(&str, &str)],
        body: Content<'_>,
    ) -> Result<(), Error> {
        let length = response::length_of(status, body.as_bytes().len()).map_err(RequestError::Head)?;
        let connection = self.connection;
        let is_head = connection.is_head_request();
        let ending = connection.begin_answer(true, false);
        encode(connection, status, fields, length, ending)?;
        if !is_head {
            connection.wire.write_data(body);
        }
        connection.wire.note(|progress| progress.answer = Answer::Whole);
        Ok(())
    }

    #[inline]
    pub(in crate::conn) fn respond_with(self, response: &PreparedResponse) {
        let connection = self.connection;
        let is_head = connection.is_head_request();
        let ending = connection.begin_answer(true, false);
        connection.wire.write(|out| response.encode_head(out, ending));
        if !is_head {
            connection.wire.write_data(response.body().into());
        }
        connection.wire.note(|progress| progress.answer = Answer::Whole);
    }

    pub(in crate::conn) fn stream(
        self,
        status: StatusCode,
        fields: &[(&str, &str)],
        length: Option<u64>,
    ) -> Result<Responder<'c>, Error> {
        let connection = self.connection;
        response::length_of(status, 1).map_err(RequestError::Head)?;
        let length = match (length, connection.version()) {
            (Some(length), _) => BodyLength::Length(length),
            (None, Version::Http11) => BodyLength::Chunked,
            (None, Version::Http10) => BodyLength::UntilClose,
        };
        let has_body = !connection.is_head_request();
        let ending = connection.begin_answer(length != BodyLength::UntilClose, true);
        encode(connection, status, fields, length, ending)?;
        Ok(Responder { connection, left: length, has_body })
    }

    pub(in crate::conn) fn upgrade(
        self,
        status: StatusCode,
        fields: &[(&str, &str)],
        takeover: Takeover,
    ) -> Result<(), Error> {
        let connection = self.connection;
        if let Some(reason) = connection.upgrade_refusal(status) {
            return Err(RequestError::Upgrade { reason }.into());
        }
        let is_tunnel = status != StatusCode::SWITCHING_PROTOCOLS;
        let persistence = if is_tunnel { Persistence::Implied } else { Persistence::Upgrade };
        let ending = connection.ending(persistence);
        // RFC 9110 §9.3.6, §15.2.2: what follows is no content.
        encode(connection, status, fields, BodyLength::None, ending)?;
        connection.hand_over(takeover);
        Ok(())
    }

    pub(in crate::conn) fn disconnect(self) {
        self.connection.disconnect();
    }
}

/// A response that has begun.
pub(in crate::conn) struct Responder<'c> {
    connection: &'c mut ServerConnection,
    left: BodyLength,
    has_body: bool,
}

impl Responder<'_> {
    pub(in crate::conn) async fn send(&mut self, data: Content<'_>) -> Result<(), Error> {
        poll_fn(|context| self.poll_room(context)).await?;
        self.queue(data)
    }

    pub(in crate::conn) async fn data(&mut self) -> Result<Option<&[u8]>, Error> {
        data(self.connection).await
    }

    pub(in crate::conn) fn trailers(&self) -> Option<&FieldList> {
        self.connection.trailers()
    }

    pub(in crate::conn) fn finish(self) -> Result<(), Error> {
        self.finish_with_trailers(&[])
    }

    pub(in crate::conn) fn finish_with_trailers(self, trailers: &[(&str, &str)]) -> Result<(), Error> {
        for (name, value) in trailers {
            h1::check_field(name.as_bytes(), value.as_bytes()).map_err(RequestError::Head)?;
        }
        match self.left {
            BodyLength::Length(left) if left > 0 && self.has_body => {
                return Err(RequestError::BodyLength { announced: left, given: 0 }.into());
            }
            BodyLength::Chunked if self.has_body => {
                let trailers = trailers.iter().copied();
                let encoded = self.connection.wire.write(|out| h1::encode_last_chunk(out, trailers));
                encoded.map_err(RequestError::Head)?;
            }
            _ => {}
        }
        self.connection.wire.note(|progress| progress.answer = Answer::Whole);
        Ok(())
    }

    pub(in crate::conn) fn left(&self) -> BodyLength {
        self.left
    }

    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let wire = &self.connection.wire;
        let room = wire.poll_room(context);
        wire.note(|progress| progress.waits |= room.is_pending());
        ready!(room).map_err(Error::of_stream)?;
        Poll::Ready(Ok(()))
    }

    fn queue(&mut self, data: Content<'_>) -> Result<(), Error> {
        let Some(size) = NonZeroU64::new(data.as_bytes().len() as u64) else { return Ok(()) };
        match &mut self.left {
            BodyLength::Length(left) if size.get() > *left => {
                return Err(RequestError::BodyLength { announced: *left, given: size.get() }.into());
            }
            BodyLength::Length(left) => *left -= size.get(),
            _ => {}
        }
        if !self.has_body {
            return Ok(());
        }
        let wire = &self.connection.wire;
        if self.left == BodyLength::Chunked {
            wire.write(|out| out.extend_from_slice(&ChunkHeader::new(size)));
            wire.write_data(data);
            wire.write(|out| out.extend_from_slice(h1::CHUNK_END));
        } else {
            wire.write_data(data);
        }
        Ok(())
    }
}

async fn data(connection: &mut ServerConnection) -> Result<Option<&[u8]>, Error> {
    let range = poll_fn(|context| connection.poll_data(context)).await?;
    Ok(range.map(|range| &connection.input.buffer()[range]))
}

fn encode(
    connection: &ServerConnection,
    status: StatusCode,
    fields: &[(&str, &str)],
    length: BodyLength,
    ending: response::Ending,
) -> Result<(), Error> {
    let encoded = connection
        .wire
        .write(|out| response::encode_head(out, status, fields.iter().copied(), length, ending));
    encoded.map_err(|error| {
        // Nothing was written, so another response is possible.
        connection.wire.note(|progress| progress.answer = Answer::None);
        RequestError::Head(error).into()
    })
}
