//! Files as request bodies, and files into which response bodies are saved.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringtide::client::{RemoteRequestBody, RequestBody};
use ringtide::error::{Culprit, RequestError};
use ringtide::runtime::WorkerOptions;
use ringtide::{Client, ClientOptions, Error, client::ClientHandle, runtime};

use crate::server::Server;
use crate::{read, run};

/// Size of several pieces and a part of one.
const SIZE: usize = 1_500_000;

/// A folder, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringtide-files-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, contents: &[u8]) -> PathBuf {
        let path = self.0.join("file");
        fs::write(&path, contents).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn contents(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index % 251) as u8).collect()
}

/// Responds with the framing of the request's body, and sends the body to the test.
fn receiver() -> (Server, Arc<Mutex<Vec<u8>>>) {
    let received = Arc::<Mutex<Vec<u8>>>::default();
    let server = Server::start({
        let received = Arc::clone(&received);
        move |_, peer| {
            while let Some(request) = peer.request() {
                received.lock().unwrap().clone_from(&request.body);
                peer.respond(request.field("content-length").unwrap_or("chunked"));
            }
        }
    });
    (server, received)
}

#[test]
fn a_file_is_sent_with_its_size() {
    let folder = Folder::new("sent");
    let (server, received) = receiver();
    run(async {
        let client = Client::default();
        for size in [SIZE, 0, 1, 256 * 1024] {
            let path = folder.file(&contents(size));
            let answer = read(client.post(&server.url("/"), RequestBody::file(path)).await).await.unwrap();
            assert_eq!(answer, (200, size.to_string().into()));
            assert!(*received.lock().unwrap() == contents(size), "{size}");
        }
    });
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_file_is_sent_through_a_handle() {
    let folder = Folder::new("remote");
    let (server, received) = receiver();
    let client = ClientHandle::spawn(ClientOptions::default(), WorkerOptions::default()).unwrap();
    let path = folder.file(&contents(SIZE));
    let response = pollster::block_on(client.post(&server.url("/"), RemoteRequestBody::file(path))).unwrap();
    assert_eq!(response.status(), 200);
    assert!(*received.lock().unwrap() == contents(SIZE));
}

#[test]
fn a_file_that_is_not_regular_is_sent_in_chunks() {
    let folder = Folder::new("pipe");
    let (server, received) = receiver();
    let path = folder.0.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let writer = std::thread::spawn({
        let path = path.clone();
        move || fs::write(path, contents(SIZE)).unwrap()
    });
    run(async {
        let answer = read(Client::default().post(&server.url("/"), RequestBody::file(path)).await).await;
        assert_eq!(answer.unwrap(), (200, "chunked".into()));
    });
    writer.join().unwrap();
    assert!(*received.lock().unwrap() == contents(SIZE));
}

#[test]
fn an_unreadable_file_is_named_and_nothing_is_sent() {
    let folder = Folder::new("missing");
    let (server, _) = receiver();
    let missing = folder.0.join("nothing");
    run(async {
        let client = Client::default();
        let error = client.post(&server.url("/"), RequestBody::file(&missing)).await.unwrap_err();
        assert_eq!(error.culprit(), Culprit::Caller);
        let expected = format!("the file '{}': No such file or directory", missing.display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert_eq!(server.accepted(), 0);
        // A folder can be opened but not read.
        let error = client.post(&server.url("/"), RequestBody::file(&folder.0)).await.unwrap_err();
        assert!(matches!(&error, Error::File { path, .. } if *path == folder.0), "{error}");
    });
}

/// Returns a server that waits for a message, then reads the body and responds.
fn late_reader() -> (Server, mpsc::Sender<()>, mpsc::Receiver<usize>) {
    let (go_on, order) = mpsc::channel();
    let (size, sizes) = mpsc::channel();
    let channels = Mutex::new((order, size));
    let server = Server::start(move |_, peer| {
        let channels = channels.lock().unwrap();
        peer.head();
        channels.0.recv().unwrap();
        let mut received = 0;
        while let Some(piece) = peer.take(10_000) {
            received += piece.len();
            if received == 50_000_000 {
                peer.respond("all");
            }
        }
        channels.1.send(received).unwrap();
    });
    (server, go_on, sizes)
}

#[test]
fn a_file_that_changes_while_it_is_sent_keeps_to_its_size() {
    for grows in [false, true] {
        let folder = Folder::new(if grows { "grows" } else { "shrinks" });
        let (server, go_on, sizes) = late_reader();
        let path = folder.0.join("file");
        let file = fs::File::create(&path).unwrap();
        file.set_len(50_000_000).unwrap();
        run(async {
            let url = server.url("/");
            let answer = runtime::spawn(async move {
                read(Client::default().post(&url, RequestBody::file(path)).await).await
            });
            // The file is open once the head has arrived. The sockets hold less than the whole file.
            while server.accepted() == 0 {
                runtime::sleep(Duration::from_millis(1)).await;
            }
            runtime::sleep(Duration::from_millis(50)).await;
            file.set_len(if grows { 60_000_000 } else { 40_000_000 }).unwrap();
            go_on.send(()).unwrap();
            match answer.await.unwrap() {
                Ok(answer) => assert!(grows && answer == (200, "all".into())),
                Err(Error::Request(RequestError::BodyLength { announced, given })) => {
                    assert!(!grows);
                    assert_eq!((announced, given), (50_000_000, 40_000_000));
                }
                Err(error) => panic!("{error}"),
            }
        });
        assert_eq!(sizes.recv().unwrap(), if grows { 50_000_000 } else { 40_000_000 });
    }
}

/// Returns a server that sends up to `size` bytes, and reports the size of each piece that was taken.
fn sender(size: usize) -> (Server, mpsc::Receiver<usize>) {
    let (progress, sent) = mpsc::channel();
    let progress = Mutex::new(progress);
    let server = Server::start(move |_, peer| {
        while peer.request().is_some() {
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"));
            for piece in contents(size).chunks(64 * 1024) {
                peer.send(piece);
                let _ = progress.lock().unwrap().send(piece.len());
            }
        }
    });
    (server, sent)
}

async fn save(client: &Client, server: &Server, path: &Path) -> Result<u64, Error> {
    client.get(&server.url("/")).await.unwrap().into_body().save(path).await
}

#[test]
fn a_saved_body_replaces_the_old_contents() {
    for size in [SIZE, 0, 1, 256 * 1024] {
        let folder = Folder::new("saved");
        let (server, _sent) = sender(size);
        let path = folder.file(&vec![7; SIZE + 1000]);
        run(async {
            let client = Client::default();
            assert_eq!(save(&client, &server, &path).await.unwrap(), size as u64);
            assert!(fs::read(&path).unwrap() == contents(size), "{size}");
            // The connection can be used again.
            save(&client, &server, &path).await.unwrap();
        });
        assert_eq!(server.accepted(), 1);
    }
}

#[test]
fn a_path_that_cannot_be_written_is_named() {
    let folder = Folder::new("unwritable");
    let (server, _sent) = sender(SIZE);
    run(async {
        let client = Client::default();
        for path in [folder.0.join("not/there"), folder.0.clone()] {
            let error = save(&client, &server, &path).await.unwrap_err();
            assert!(error.to_string().starts_with(&format!("the file '{}': ", path.display())), "{error}");
        }
        // A device that is always full.
        let error = save(&client, &server, Path::new("/dev/full")).await.unwrap_err();
        assert!(matches!(&error, Error::File { source, .. } if source.raw_os_error() == Some(28)), "{error}");
    });
}

#[test]
fn a_body_that_ends_early_leaves_what_was_written() {
    let folder = Folder::new("early");
    let server = Server::start(|_, peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        peer.send(contents(600_000));
    });
    let path = folder.0.join("part");
    run(async {
        let error = save(&Client::default(), &server, &path).await.unwrap_err();
        assert!(matches!(error, Error::Incomplete(_)), "{error}");
        // Another thread still writes the current piece.
        for _ in 0..500 {
            runtime::sleep(Duration::from_millis(10)).await;
            if fs::metadata(&path).unwrap().len() >= 500_000 {
                break;
            }
        }
    });
    let saved = fs::read(&path).unwrap();
    assert!(saved.len() >= 500_000 && saved == contents(600_000)[..saved.len()], "{}", saved.len());
}

#[test]
fn a_full_pipe_holds_the_peer_back() {
    const LARGE: usize = 64 * 1024 * 1024;
    let folder = Folder::new("slow");
    let (server, sent) = sender(LARGE);
    let path = folder.0.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    // A reader must have the pipe open, so that it can be opened for writing. It reads nothing yet.
    let reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    run(async {
        let saving = runtime::spawn({
            let (url, path) = (server.url("/"), path.clone());
            async move { Client::default().get(&url).await.unwrap().into_body().save(path).await }
        });
        let mut taken = 0;
        let mut quiet_turns = 0;
        while quiet_turns < 20 {
            runtime::sleep(Duration::from_millis(10)).await;
            let more: usize = sent.try_iter().sum();
            quiet_turns = if more == 0 { quiet_turns + 1 } else { 0 };
            taken += more;
        }
        assert!(taken < LARGE / 2, "{taken} bytes were taken from the server while nothing was written");
        // The worker continues while another thread reads the pipe.
        let reading = std::thread::spawn(move || {
            use std::io::Read;
            let mut all = vec![0; LARGE];
            (&reader).read_exact(&mut all).unwrap();
            all
        });
        assert_eq!(saving.await.unwrap().unwrap(), LARGE as u64);
        assert!(reading.join().unwrap() == contents(LARGE));
    });
}
