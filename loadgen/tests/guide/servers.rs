//! What the commands of the pages talk to: the embedded server, plain, with TLS and on a Unix socket, and a proxy.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use ringtide::Address;
use ringtide::tls::{ServerTls, ServerTlsOptions};
use ringtide_loadgen::serve::{ServeHandle, ServeOptions, serve};

use crate::certificates::Authority;

/// Where they listen.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) plain: u16,
    pub(crate) tls: u16,
    pub(crate) proxy: u16,
}

impl Ports {
    /// The ports that pages show, each with the one that is used instead.
    pub(crate) fn by_shown(self) -> [(u16, u16); 5] {
        [(8080, self.plain), (8081, self.plain), (8082, self.plain), (8443, self.tls), (3128, self.proxy)]
    }
}

/// The running servers.
pub(crate) struct Servers {
    plain: ServeHandle,
    tls: ServeHandle,
    proxy_port: u16,
    authority: Authority,
    client: (String, String),
}

impl Servers {
    pub(crate) fn start() -> Self {
        let authority = Authority::new();
        let identity = authority.issue(&["localhost", "127.0.0.1"], |_| {});
        let client = authority.issue_files(&["client"], |_| {});
        let options = ServeOptions { threads: 1, ..ServeOptions::default() };
        let tls =
            ServerTls::new(&ServerTlsOptions::default().identity(identity)).expect("the settings are sound");
        let with_tls = ServeOptions { tls: Some(tls), ..options.clone() };
        Self {
            plain: serve(&options).expect("loopback has free ports"),
            tls: serve(&with_tls).expect("loopback has free ports"),
            proxy_port: start_proxy(),
            authority,
            client,
        }
    }

    pub(crate) fn ports(&self) -> Ports {
        Ports { plain: port(&self.plain), tls: port(&self.tls), proxy: self.proxy_port }
    }

    /// Writes what pages name without showing it: certificates, and a body.
    pub(crate) fn write_files(&self, folder: &Path) {
        for (from, name) in [
            (&self.authority.path(), "ca.pem"),
            (&self.client.0, "client.pem"),
            (&self.client.1, "client.key"),
        ] {
            std::fs::copy(from, folder.join(name)).expect("it can be copied");
        }
        std::fs::write(folder.join("order.json"), "{\"item\": 7}\n").expect("it can be written");
    }

    /// Starts a server at the Unix socket that pages name. It ends with the returned handle.
    pub(crate) fn at_socket(folder: &Path) -> ServeHandle {
        let addresses = vec![Address::Unix(folder.join("app.sock"))];
        serve(&ServeOptions { addresses, threads: 1, ..ServeOptions::default() })
            .expect("a socket can be made")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.plain.shutdown();
        self.tls.shutdown();
    }
}

fn port(server: &ServeHandle) -> u16 {
    match &server.addresses()[0] {
        Address::Tcp(address) => address.port(),
        Address::Unix(_) => panic!("it listens on TCP"),
    }
}

/// A proxy that makes tunnels (CONNECT), until the test process ends. Returns its port.
fn start_proxy() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.expect("there are descriptors");
            thread::spawn(move || tunnel(client));
        }
    });
    port
}

fn tunnel(mut client: TcpStream) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?;
    let mut server = TcpStream::connect(target).ok()?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
    Some(())
}
