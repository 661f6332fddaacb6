//! `echo_loop`: many clients at once, one that does not read, and one that breaks off.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use crate::support::{Example, PATIENCE};

const CLIENTS: usize = 500;

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
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

/// More than the sockets hold, so the server has to stop receiving, and to go on later.
#[test]
fn a_client_that_reads_late_gets_everything() {
    const SIZE: usize = 24 * 1024 * 1024;
    let (_server, address) = Example::serve("echo_loop", &["127.0.0.1:0"]);
    let mut late = connect(&address);
    let mut writer = late.try_clone().unwrap();
    let content: Vec<u8> = (0..SIZE).map(|at| (at / 7) as u8).collect();
    let writing = thread::spawn({
        let content = content.clone();
        move || {
            writer.write_all(&content).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        }
    });
    // The server serves others while it holds this one back.
    let mut other = connect(&address);
    other.write_all(b"hello").unwrap();
    other.read_exact(&mut [0; 5]).unwrap();
    let mut echo = Vec::new();
    late.read_to_end(&mut echo).unwrap();
    assert!(echo == content, "{} of {SIZE} bytes", echo.len());
    writing.join().unwrap();
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
