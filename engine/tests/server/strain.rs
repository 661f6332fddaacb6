//! Connections that stop reading, because their worker holds too much unread, and go on when it holds less.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use ringtide::conn::HttpVersion;
use ringtide::limits::{STRAINED_RECEIVE_SIZE_MAX, STRAINED_WORKER_UNREAD_SIZE};
use ringtide::proto::h2::{self, PREFACE};
use ringtide::runtime::{self, JoinHandle, Worker};
use ringtide::server::{Exchange, ServiceOptions, Shutdown, serve};
use ringtide::stream::{Listener, Stream};
use ringtide::{Address, Connection, ConnectionOptions, PreparedRequest};
use ringtide_driver::sim::{Sim, SimOptions};

use crate::http2_raw::{ACK, DATA, END_STREAM, GOAWAY, HEADERS, SETTINGS, frame, get, request, settings};

/// Even without one of them, the others hold enough to keep the worker under strain.
const UPLOADS: usize = 4;
const UPLOAD_SIZE: usize = STRAINED_WORKER_UNREAD_SIZE * 3 / 2 / UPLOADS;

/// One part of a body does not count as unread, two do.
const PART_SIZE: usize = 3_000;
const _: () = assert!(
    PART_SIZE <= STRAINED_RECEIVE_SIZE_MAX as usize && 2 * PART_SIZE > STRAINED_RECEIVE_SIZE_MAX as usize
);

/// Longer than a head may take.
const LONG: Duration = Duration::from_mins(1);
/// Nothing else than the end of the strain makes a connection look for more.
const NEVER: Duration = Duration::from_hours(24);

/// Handlers wait for it.
#[derive(Clone, Default)]
struct Gate(Rc<(Cell<bool>, RefCell<Vec<Waker>>)>);

impl Gate {
    fn open(&self) {
        self.0.0.set(true);
        self.0.1.take().into_iter().for_each(Waker::wake);
    }

    async fn pass(&self) {
        poll_fn(|context| {
            if self.0.0.get() {
                return Poll::Ready(());
            }
            self.0.1.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Sends a body, and expects its size in the answer.
fn upload(address: &Address, number: usize) -> JoinHandle<()> {
    let request = Request::post(format!("http://h/{number}")).body(Bytes::from(vec![b'x'; UPLOAD_SIZE]));
    let request = PreparedRequest::new(&request.unwrap()).unwrap();
    let address = address.clone();
    runtime::spawn(async move {
        let stream = Stream::connect(&address).await.unwrap();
        let options = ConnectionOptions::default().version(HttpVersion::Http2);
        let mut connection = Connection::new(stream, &options);
        let body = connection.send(&request).await.unwrap().body(100).await.unwrap().unwrap();
        assert_eq!(body, UPLOAD_SIZE.to_string().as_bytes());
    })
}

/// Connects, and says what a client of HTTP/2 says first.
async fn connect(address: &Address) -> Stream {
    let mut stream = Stream::connect(address).await.unwrap();
    let greeting = [PREFACE, &settings(&[])[..], &frame(SETTINGS, ACK, 0, b"")].concat();
    stream.write_all(&greeting).await.unwrap();
    stream
}

/// One of two parts of a body on the first stream.
fn part(flags: u8) -> Vec<u8> {
    frame(DATA, flags, 1, &[b'x'; PART_SIZE])
}

/// Waits for the head of a response to this stream. Returns false if it takes long.
async fn is_answered(stream: &mut Stream, id: u32) -> bool {
    loop {
        let mut head = [0; 9];
        let Some(read) = runtime::timeout(LONG, stream.read_exact(&mut head)).await else { return false };
        read.unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.unwrap();
        assert_ne!(head[3], GOAWAY, "{payload:?}");
        if head[3] == HEADERS {
            assert_eq!(head[5..], id.to_be_bytes());
            return true;
        }
    }
}

/// Large bodies, which wait for their handlers, bring the worker under strain. That holds back connections with small
/// ones: until the strain is over, not until their own bodies are read. Once the body of a connection is read, the rest of it
/// arrives, even under strain.
#[test]
fn http2_connections_go_on_after_the_strain_or_when_they_hold_nothing() {
    let mut worker = Worker::simulated(Sim::new(SimOptions::default())).unwrap();
    worker.block_on(async {
        let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
        let listener = Listener::bind(&any_port, false).unwrap();
        let address = listener.local_address().unwrap();
        let window = UPLOAD_SIZE as u32;
        let options = ServiceOptions::default()
            .http2(h2::Options::default().stream_window(window).connection_window(window))
            .idle_timeout(NEVER)
            .stall_timeout(NEVER)
            .request_timeout(None);
        assert!(options.head_timeout < LONG);
        let shutdown = Shutdown::new();
        // One for each upload, and one for the small bodies.
        let gates: [Gate; UPLOADS + 1] = Default::default();
        let handler = {
            let gates = gates.clone();
            async move |mut exchange: Exchange<'_>| {
                if let Ok(number) = exchange.head().path()[1..].parse::<usize>() {
                    gates[number].pass().await;
                }
                let mut size = 0;
                while let Some(piece) = exchange.data().await? {
                    size += piece.len();
                }
                exchange.respond(StatusCode::OK, &[], size.to_string())
            }
        };
        let server = runtime::spawn(serve(listener, options, shutdown.clone(), handler));

        let small = request(1, "POST", &format!("/{UPLOADS}"), 0);
        let mut other = connect(&address).await;
        let next = get(3, "/now");
        let (begin, rest) = next.split_at(12);
        other.write_all(&[&small, &part(0), &part(END_STREAM), begin].concat()).await.unwrap();
        other.flush().await.unwrap();
        runtime::sleep(Duration::from_millis(100)).await;
        let mut uploads: Vec<_> = (0..UPLOADS).map(|number| upload(&address, number)).collect();
        runtime::sleep(Duration::from_secs(1)).await;
        other.write_all(rest).await.unwrap();
        // It is not too late because it was not read.
        assert!(!is_answered(&mut other, 3).await, "the worker is not under strain");
        // Under strain, a connection receives until it holds enough. Of this one, the worker has all, but nobody decodes the end.
        let mut late = connect(&address).await;
        for bytes in [small, part(0), part(END_STREAM), get(3, "/now")] {
            late.write_all(&bytes).await.unwrap();
            late.flush().await.unwrap();
            runtime::sleep(Duration::from_millis(100)).await;
        }
        assert!(!is_answered(&mut late, 3).await, "it holds little");

        gates[0].open();
        runtime::timeout(LONG, uploads.remove(0)).await.expect("it goes on under strain").unwrap();
        assert!(!is_answered(&mut other, 3).await, "the strain is over");

        gates[1..UPLOADS].iter().for_each(Gate::open);
        assert!(is_answered(&mut other, 3).await, "it goes on");
        assert!(is_answered(&mut late, 3).await, "it goes on");
        for upload in uploads {
            runtime::timeout(LONG, upload).await.expect("it goes on").unwrap();
        }
        gates[UPLOADS].open();
        assert!(is_answered(&mut other, 1).await, "its body is read");
        assert!(is_answered(&mut late, 1).await, "its body is read");
        drop((other, late));
        shutdown.begin();
        server.await.unwrap();
    });
}
