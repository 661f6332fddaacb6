//! A connection without a network. It feeds a codec with pieces of a stream, as a connection does, and records the
//! events. It also checks that the codec keeps its contract.

use ringtide::proto::h1::{
    BodyLength, ClientCodec, Error, Fields, Limits, RequestEvent, RequestHead, RequestKind, ResponseEvent,
    ResponseHead, ServerCodec, Version,
};

/// An event that owns its bytes. Adjacent pieces of a body form one `Data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Informational(u16),
    Response {
        status: u16,
        version: Version,
        reason: Vec<u8>,
        fields: Pairs,
        body: BodyLength,
    },
    Request {
        method: Vec<u8>,
        target: Vec<u8>,
        version: Version,
        flags: [bool; 2],
        fields: Pairs,
        body: BodyLength,
    },
    Data(Vec<u8>),
    Trailers(Pairs),
    End {
        reusable: bool,
    },
    /// The connection has left HTTP; contains the bytes that follow.
    Upgraded(Vec<u8>),
    /// The codec has failed; no event follows.
    Failed(Error),
    /// The stream has ended; after `Ok` an `End` may follow.
    EndOfStream(Result<(), Error>),
}

pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The codec to test, with the context that it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side<'r> {
    /// The kinds of the requests whose responses the stream contains.
    Client(&'r [RequestKind]),
    Server,
}

enum Codec<'r> {
    Client(ClientCodec, std::slice::Iter<'r, RequestKind>),
    Server(ServerCodec),
}

/// `None` stands for `NeedMore`.
type Step = Result<(usize, Option<Event>), Error>;

impl<'r> Codec<'r> {
    fn new(side: Side<'r>, limits: Limits) -> Self {
        match side {
            Side::Client(requests) => {
                let mut codec = Self::Client(ClientCodec::new(limits), requests.iter());
                codec.begin();
                codec
            }
            Side::Server => Self::Server(ServerCodec::new(limits)),
        }
    }

    /// Moves on to a client's next request, if there is one.
    fn begin(&mut self) {
        if let Self::Client(codec, requests) = self
            && let Some(&request) = requests.next()
        {
            codec.begin(request);
        }
    }

    fn decode(&mut self, input: &mut [u8]) -> Step {
        match self {
            Self::Client(codec, _) => {
                let (consumed, event) = codec.decode(input)?;
                let event = match event {
                    ResponseEvent::NeedMore => None,
                    ResponseEvent::Informational(head) => Some(Event::Informational(head.status().as_u16())),
                    ResponseEvent::Head(head) => Some(response(head, codec.body_length())),
                    ResponseEvent::Data(bytes) => Some(Event::Data(bytes.to_vec())),
                    ResponseEvent::Trailers(fields) => Some(Event::Trailers(pairs(fields))),
                    ResponseEvent::End { reusable } => {
                        assert_eq!(reusable, codec.is_reusable());
                        Some(Event::End { reusable })
                    }
                    ResponseEvent::Upgraded => Some(Event::Upgraded(Vec::new())),
                };
                Ok((consumed, event))
            }
            Self::Server(codec) => {
                let (consumed, event) = codec.decode(input)?;
                let event = match event {
                    RequestEvent::NeedMore => None,
                    RequestEvent::Head(head) => Some(request(head, codec.body_length())),
                    RequestEvent::Data(bytes) => Some(Event::Data(bytes.to_vec())),
                    RequestEvent::Trailers(fields) => Some(Event::Trailers(pairs(fields))),
                    RequestEvent::End { reusable } => {
                        assert_eq!(reusable, codec.is_reusable());
                        Some(Event::End { reusable })
                    }
                };
                Ok((consumed, event))
            }
        }
    }

    fn end_of_stream(&mut self) -> Result<(), Error> {
        match self {
            Self::Client(codec, _) => codec.end_of_stream(),
            Self::Server(codec) => codec.end_of_stream(),
        }
    }
}

/// Returns the events of `stream` when it arrives in pieces that end at `cuts`. The cuts must be in ascending order.
pub(crate) fn events(
    side: Side<'_>,
    limits: Limits,
    stream: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> Vec<Event> {
    let mut codec = Codec::new(side, limits);
    let mut events = Vec::new();
    let mut start = 0;
    let mut stream = stream.to_vec();
    for end in cuts.into_iter().chain([stream.len()]) {
        if !drain(&mut codec, limits, &mut stream, &mut start, end, &mut events) {
            return events;
        }
    }
    let ended = codec.end_of_stream();
    events.push(Event::EndOfStream(ended));
    if ended.is_ok()
        && let Ok((0, Some(event))) = codec.decode(&mut [])
    {
        assert_eq!(event, Event::End { reusable: false }, "only that is left at the end of a stream");
        events.push(event);
    }
    events
}

/// Decodes everything in `stream[start..end]`. Returns false if no event can follow.
fn drain(
    codec: &mut Codec<'_>,
    limits: Limits,
    stream: &mut [u8],
    start: &mut usize,
    end: usize,
    events: &mut Vec<Event>,
) -> bool {
    // At most one event per byte, plus a head and an end for each. More would be an endless loop.
    for _ in 0..3 * (end - *start) + 3 {
        let input = &mut stream[*start..end];
        let (consumed, event) = match codec.decode(input) {
            Ok(step) => step,
            Err(error) => {
                assert!(
                    !error.to_string().is_empty()
                        && error.status().is_client_error() | error.status().is_server_error()
                );
                assert_eq!(codec.decode(input), Err(Error::Failed));
                events.push(Event::Failed(error));
                return false;
            }
        };
        assert!(consumed <= input.len(), "consumed {consumed} of {} bytes", input.len());
        *start += consumed;
        let Some(event) = event else {
            let (kept, most) =
                (input.len() - consumed, limits.head_size_max.max(limits.trailer_size_max) as usize);
            assert!(kept <= most, "{kept} bytes are to be kept, which is more than the limit of {most}");
            return true;
        };
        match (event, events.last_mut()) {
            (Event::Data(bytes), last) => {
                assert!(!bytes.is_empty(), "a piece of a body has bytes");
                if let Some(Event::Data(before)) = last {
                    before.extend_from_slice(&bytes);
                } else {
                    events.push(Event::Data(bytes));
                }
            }
            (Event::Upgraded(_), _) => {
                events.push(Event::Upgraded(stream[*start..].to_vec()));
                return false;
            }
            (event @ Event::End { .. }, _) => {
                events.push(event);
                codec.begin();
            }
            (event, _) => events.push(event),
        }
    }
    panic!("the codec makes no progress after {events:?}");
}

fn response(head: ResponseHead<'_>, body: BodyLength) -> Event {
    let kept = head.bytes().to_vec();
    let again = ResponseHead::from_parts(&kept, head.meta());
    assert_eq!(again, head, "a head made again from its parts is the same");
    assert_eq!(head.keep().head(), head);
    let known = with_known_version(&kept, 0);
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Response::new(&mut headers);
    parsed.parse(&known).unwrap();
    assert_eq!(pairs(again.fields()), pairs_of(parsed.headers));
    Event::Response {
        status: again.status().as_u16(),
        version: again.version(),
        reason: again.reason().to_vec(),
        fields: pairs(again.fields()),
        body,
    }
}

fn request(head: RequestHead<'_>, body: BodyLength) -> Event {
    let kept = head.bytes().to_vec();
    let again = RequestHead::from_parts(&kept, head.meta());
    assert_eq!(again, head, "a head made again from its parts is the same");
    assert_eq!(head.keep().head(), head);
    let known = with_known_version(&kept, again.method().len() + again.target().len() + 2);
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(&known).unwrap();
    assert_eq!(pairs(again.fields()), pairs_of(parsed.headers));
    Event::Request {
        method: again.method().into(),
        target: again.target().to_vec(),
        version: again.version(),
        flags: [again.expects_continue(), again.requests_upgrade()],
        fields: pairs(again.fields()),
        body,
    }
}

/// Returns the head with a version that httparse accepts; it rejects versions after 1.1.
fn with_known_version(head: &[u8], at: usize) -> Vec<u8> {
    let mut head = head.to_vec();
    let minor = &mut head[at + "HTTP/1.".len()];
    *minor = (*minor).min(b'1');
    head
}

/// The fields as httparse parsed them, to compare with [`Fields`], which splits the lines again.
fn pairs_of(headers: &[httparse::Header<'_>]) -> Pairs {
    headers.iter().map(|header| (header.name.into(), header.value.into())).collect()
}

fn pairs(fields: Fields<'_>) -> Pairs {
    fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// Asserts that `stream`, cut at `cuts`, gives the same events as `whole`.
pub(crate) fn assert_same(side: Side<'_>, limits: Limits, stream: &[u8], whole: &[Event], cuts: &[usize]) {
    let pieces = events(side, limits, stream, cuts.iter().copied());
    assert!(
        whole == pieces,
        "{side:?}\n{}\nwhole: {whole:#?}\ncut at {cuts:?}: {pieces:#?}",
        stream.escape_ascii()
    );
}
