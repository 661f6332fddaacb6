//! The texts and the sources of errors.

use std::error::Error as StdError;
use std::{fmt, io};

use http::StatusCode;
use ringtide::error::{Phase, ProtocolError, RequestError};
use ringtide::proto::h1::{self, EncodeError, Incomplete};
use ringtide::runtime::{SetupError, WorkerEnded};
use ringtide::server::{PreparedResponse, StartError};
use ringtide::{Address, Error};

/// An error with a source, of the kind that other crates define.
#[derive(Debug)]
struct Outer(io::Error);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the outer part")
    }
}

impl StdError for Outer {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

fn refused() -> io::Error {
    io::Error::from_raw_os_error(111)
}

fn nested() -> io::Error {
    io::Error::other(Outer(io::Error::other("the inner part")))
}

fn all() -> Vec<Box<dyn StdError>> {
    let address = Address::Tcp(([127, 0, 0, 1], 1).into());
    let mut errors: Vec<Box<dyn StdError>> = vec![
        Box::new(Error::Timeout(Phase::Pool)),
        Box::new(Error::Closed),
        Box::new(Error::Incomplete(Incomplete::Head)),
        Box::new(Error::Protocol(ProtocolError::H1(h1::Error::UnexpectedBytes))),
        Box::new(ProtocolError::H1(h1::Error::UnexpectedBytes)),
        Box::new(Error::BodyTooLarge { size_max: 1 }),
        Box::new(Error::WorkerEnded),
        Box::new(WorkerEnded),
        Box::new(SetupError::IoUring("the reason".to_owned())),
        Box::new(SetupError::UnknownDriver("x".to_owned())),
        Box::new(SetupError::Pin(1)),
        Box::new(StartError::Worker(SetupError::Pin(1))),
    ];
    for io in [refused, nested] {
        errors.push(Box::new(Error::Resolve { host: "h".to_owned(), source: io() }));
        errors.push(Box::new(Error::Connect { address: address.clone(), source: io() }));
        errors.push(Box::new(Error::Network(io())));
        errors.push(Box::new(Error::File { path: "notes.txt".into(), source: io() }));
        errors.push(Box::new(SetupError::Fallback(io())));
        errors.push(Box::new(SetupError::Thread(io())));
        errors.push(Box::new(StartError::Listen { address: address.clone(), source: io() }));
        errors.push(Box::new(StartError::Thread(io())));
        errors.push(Box::new(StartError::Worker(SetupError::Fallback(io()))));
    }
    let requests: [fn() -> RequestError; 8] = [
        || RequestError::Busy,
        || RequestError::NotReusable,
        || RequestError::Head(EncodeError::BodyLength),
        || RequestError::Uri { uri: "u".to_owned(), reason: "the reason".to_owned() },
        || RequestError::Body("the body's own".into()),
        || RequestError::Body(Box::new(nested())),
        || RequestError::Body(Box::new(Outer(io::Error::other("the inner part")))),
        || RequestError::BodyLength { announced: 1, given: 2 },
    ];
    for request in requests {
        errors.push(Box::new(request()));
        errors.push(Box::new(Error::Request(request())));
    }
    errors
}

#[test]
fn the_sources_of_an_error_repeat_nothing_and_leave_nothing_out() {
    for error in all() {
        let mut said = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let text = error.to_string();
            assert!(!said.contains(&text), "{said}: {text}");
            said = format!("{said}: {text}");
            source = error.source();
        }
        assert_eq!(said.contains("the outer part"), said.contains("the inner part"), "{said}");
    }
}

#[test]
fn an_error_text_is_one_line() {
    let error = Error::Connect { address: Address::Unix("/a".into()), source: refused() };
    assert_eq!(error.to_string(), "could not connect to unix:/a: Connection refused (os error 111)");
    let error = PreparedResponse::new(StatusCode::NO_CONTENT, [("A", "b")], "a body").unwrap_err();
    assert_eq!(error.to_string(), "the head cannot be encoded: status 204 cannot have a body");
}
