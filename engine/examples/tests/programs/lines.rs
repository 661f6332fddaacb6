//! `lines_server` and `lines_client`: with each other, and each against a peer that misbehaves.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use crate::support::{Example, PATIENCE};

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `text`, and returns everything that the server answers up to the end of the stream.
fn answers(address: &str, text: &[u8], ends: bool) -> String {
    let mut stream = connect(address);
    stream.write_all(text).unwrap();
    if ends {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    answers
}

#[test]
fn two_clients_at_once_see_the_same_values() {
    let (_server, address) = Example::serve("lines_server", &["127.0.0.1:0"]);
    let mut first = Example::start("lines_client", &[&address]);
    let mut second = Example::start("lines_client", &[&address]);
    for (is_first, command, answer) in [
        (true, "GET colour", "NONE"),
        (true, "SET colour dark blue", "OK"),
        (false, "GET colour", "VALUE dark blue"),
        (false, "SET colour red", "OK"),
        (true, "GET colour", "VALUE red"),
        (false, "PUT colour", "ERROR the commands are SET name value, GET name and QUIT"),
        (false, "QUIT", "BYE"),
        (true, "GET colour", "VALUE red"),
    ] {
        let client = if is_first { &mut first } else { &mut second };
        client.type_line(command);
        assert_eq!(client.line(), answer);
    }
    first.end_input();
    assert!(first.wait().success());
    // The server has ended the second conversation.
    second.type_line("GET colour");
    assert_eq!(second.wait().code(), Some(1));
}

#[test]
fn the_server_answers_lines_however_they_come() {
    let (_server, address) = Example::serve("lines_server", &["127.0.0.1:0"]);
    assert_eq!(
        answers(&address, b"SET a 1\r\nGET a\nGET b\nQUIT\nGET a\n", false),
        "OK\nVALUE 1\nNONE\nBYE\n"
    );
    assert_eq!(answers(&address, b"GET a\n", true), "VALUE 1\n", "the end after a line is no error");
    let mut stream = connect(&address);
    for byte in b"GET a\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"VALUE 1\n");
}

#[test]
fn the_server_tells_what_is_wrong_with_a_line() {
    let (server, address) = Example::serve("lines_server", &["127.0.0.1:0"]);
    let reason = "the last line is cut: \"SET a ha\"";
    assert_eq!(answers(&address, b"SET b 1\nSET a ha", true), format!("OK\nERROR {reason}\n"));
    assert_eq!(server.error_line(), reason);
    assert_eq!(answers(&address, b"GET a\n", true), "NONE\n", "half a command does nothing");

    let reason = "invalid utf-8 sequence of 1 bytes from index 6";
    assert_eq!(answers(&address, b"SET a \xff\nGET a\n", false), format!("ERROR {reason}\n"));
    assert_eq!(server.error_line(), reason);

    // A line may have 1024 bytes with its end.
    let longest = format!("SET a {}\n", "x".repeat(1024 - 7));
    assert_eq!(answers(&address, longest.as_bytes(), true), "OK\n");
    let reason = "a line has at most 1024 bytes";
    assert_eq!(answers(&address, &b"x".repeat(100_000), false), format!("ERROR {reason}\n"));
    assert_eq!(server.error_line(), reason);
}

#[test]
fn a_slow_client_has_no_time_left() {
    let (server, address) = Example::serve("lines_server", &["127.0.0.1:0", "1"]);
    assert_eq!(answers(&address, b"GET a\nGET ", false), "NONE\nERROR a command took longer than 1s\n");
    assert_eq!(server.error_line(), "a command took longer than 1s");
}

#[test]
fn the_client_tells_what_is_wrong_with_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let ask = |seconds: &str| {
        let mut client = Example::start("lines_client", &[&address, seconds]);
        client.type_line("GET a");
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
        (client, stream)
    };
    let (mut client, mut stream) = ask("60");
    stream.write_all(b"VALUE ha").unwrap();
    drop(stream);
    assert_eq!(client.line(), "VALUE ha", "what has come");
    assert_eq!(client.error_line(), "the stream has ended after 8 bytes without a delimiter");
    assert_eq!(client.wait().code(), Some(1));

    let (mut client, stream) = ask("60");
    drop(stream);
    assert_eq!(client.error_line(), "the server has ended the conversation");
    assert_eq!(client.wait().code(), Some(1));

    let (mut client, _silent) = ask("1");
    assert_eq!(client.error_line(), "no answer within 1s");
    assert_eq!(client.wait().code(), Some(1));
}
