//! `echo_loop`: many clients at once, one that does not read, and one that breaks off.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::support::{Example, PATIENCE};

const CLIENTS: usize = 500;

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn many_clients_have_their_own_echo() {
    let (_server, address) = Example::serve("echo_loop", &["127.0.0.1:0"]);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect(&address)).collect();
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.write_all(format!("{round:4}{number:4}").as_bytes()).unwrap();
        }
        for (number, client) in clients.iter_mut().enumerate().rev() {
            let mut echo = [0; 8];
            client.read_exact(&mut echo).unwrap();
            assert_eq!(echo, format!("{round:4}{number:4}").as_bytes());
        }
    }
    for client in &mut clients {
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the server closes too");
    }
}

#[test]
fn a_client_that_does_not_read_is_held_back_and_loses_nothing() {
    // More than any socket holds.
    const SIZE_MAX: usize = 256 * 1024 * 1024;
    let (_server, address) = Example::serve("echo_loop", &["127.0.0.1:0"]);
    let mut late = connect(&address);
    let block: Vec<_> = (0..=64 * 1024).map(|at| (at % 251) as u8).collect();
    let mut sent = 0;
    late.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    loop {
        match late.write(&block[sent % block.len()..]) {
            Ok(count) => sent += count,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                break;
            }
        }
        assert!(sent < SIZE_MAX, "the server takes everything");
    }
    // Others are served.
    let mut other = connect(&address);
    other.write_all(b"hello").unwrap();
    other.read_exact(&mut [0; 5]).unwrap();
    late.shutdown(Shutdown::Write).unwrap();
    let mut echo = Vec::new();
    late.read_to_end(&mut echo).unwrap();
    assert_eq!(echo.len(), sent);
    assert!(echo.chunks(block.len()).all(|chunk| chunk == &block[..chunk.len()]));
}

#[test]
fn a_client_that_breaks_off_ends_only_its_connection() {
    let (server, address) = Example::serve("echo_loop", &["127.0.0.1:0"]);
    let mut other = connect(&address);
    let mut broken = connect(&address);
    broken.write_all(b"never read").unwrap();
    // The echo has arrived. Closing without reading it resets the connection.
    broken.peek(&mut [0]).unwrap();
    drop(broken);
    let error = server.error_line();
    assert!(error.contains("reset"), "{error}");
    other.write_all(b"hello").unwrap();
    other.read_exact(&mut [0; 5]).unwrap();
}
