//! `two_requests`: both responses advance as their pieces come, and each failure is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use crate::support::{Example, PATIENCE};

/// Accepts a connection, and returns it with the path that it asks for.
fn accept(listener: &TcpListener) -> (TcpStream, String) {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(&stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    assert_eq!(lines.count(), 1, "Host");
    (stream, path)
}

/// Starts the program against a server of the test's own, and returns the connection for each path, in order.
fn start(paths: [&str; 2]) -> (Example, [TcpStream; 2]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let program = Example::start("two_requests", &[&address, paths[0], paths[1]]);
    let mut accepted = [accept(&listener), accept(&listener)];
    accepted.sort_by_key(|(_, path)| path != paths[0]);
    assert_eq!(accepted.each_ref().map(|(_, path)| &path[..]), paths);
    (program, accepted.map(|(stream, _)| stream))
}

#[test]
fn two_responses_alternate_on_one_thread() {
    let (mut program, [first, second]) = start(["/first", "/second"]);
    // The line of each piece proves that the program waits for neither of the two.
    for (mut stream, piece, line) in [
        (&second, "HTTP/1.1 200 OK\r\nContent-Le", "/second: 27 bytes more"),
        (&first, "HTTP/1.1 404 Not Found\r\n\r\n", "/first: 26 bytes more"),
        (&second, "ngth: 5\r\n\r\nhe", "/second: 13 bytes more"),
        (&first, "until the end", "/first: 13 bytes more"),
        (&second, "llo", "/second: 3 bytes more"),
    ] {
        stream.write_all(piece.as_bytes()).unwrap();
        assert_eq!(program.line(), line);
    }
    assert_eq!(program.line(), "/second: 200 OK, 5 bytes");
    drop(first);
    assert_eq!(program.rest(), ["/first: 404 Not Found, 13 bytes"]);
    assert!(program.wait().success());
}

#[test]
fn a_response_that_is_cut_is_an_error_and_the_other_one_goes_on() {
    let (mut program, [mut first, mut second]) = start(["/cut", "/whole"]);
    first.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").unwrap();
    drop(first);
    let error = program.error_line();
    assert!(error.starts_with("/cut: "), "{error}");
    second.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    assert_eq!(program.rest().last().unwrap(), "/whole: 204 No Content, 0 bytes");
    assert_eq!(program.wait().code(), Some(1));
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let mut program = Example::start("two_requests", &["unix:/no/such/socket", "/"]);
    let error = program.error_line();
    assert!(error.contains("No such file"), "{error}");
    assert_eq!(program.wait().code(), Some(1));
}
