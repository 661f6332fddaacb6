//! The stream of an HTTP connection, taken over by another protocol.

use bytes::Bytes;
use futures_util::future::join;
use http::{Request, StatusCode};
use ringtide::{Connection, ConnectionOptions, PreparedRequest};

use crate::on_all;

fn exchange(request: &Request<Bytes>, answer: &'static str) {
    let request = PreparedRequest::new(request).unwrap();
    on_all(async |client, mut server, _| {
        let serve = async {
            server.read_until(b"\r\n\r\n", 10_000).await.unwrap();
            // In one piece with the head, unless the network cuts it.
            server.write_vectored(&[answer, "\r\nfrom the server\n"]).await.unwrap();
            assert_eq!(&*server.read_line(100).await.unwrap().unwrap(), b"from the client");
            server.close().await.unwrap();
        };
        let ask = async {
            let mut connection = Connection::new(client, &ConnectionOptions::default());
            let response = connection.send(&request).await.unwrap();
            let expected = answer.split(' ').nth(1).unwrap().parse::<StatusCode>().unwrap();
            assert_eq!(response.status(), expected);
            drop(response);
            let mut stream = connection.into_stream();
            assert_eq!(&*stream.read_line(100).await.unwrap().unwrap(), b"from the server");
            stream.write_all(b"from the client\n").await.unwrap();
            assert!(stream.read_line(100).await.unwrap().is_none());
            stream.close().await.unwrap();
        };
        join(serve, ask).await;
    });
}

#[test]
fn a_stream_continues_after_a_switch_of_protocols() {
    let request = Request::get("http://host/chat")
        .header("connection", "upgrade")
        .header("upgrade", "chat")
        .body(Bytes::new())
        .unwrap();
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n";
    exchange(&request, answer);
}

#[test]
fn a_stream_continues_as_a_tunnel_after_connect() {
    let request = Request::connect("host:443").header("host", "host:443").body(Bytes::new()).unwrap();
    exchange(&request, "HTTP/1.1 200 Connected\r\n");
}
