//! Files as the bodies of requests, and files that the bodies of responses go to. Reading and writing files blocks, whatever flags they are
//! opened with, so it is done beside the worker.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

use bytes::Bytes;

use super::body::Body;
use super::call::{lock, wake};
use super::request_body::{Source, StreamedBody};
use crate::error::Error;

/// Bytes that are read from a file, or written to it, at a time. One such piece is under way beside the network's.
const FILE_PIECE_SIZE: usize = 256 * 1024;

impl StreamedBody {
    /// The contents of the file at `path`, as they are when they are read. Its size is announced if it is a plain file.
    pub(super) async fn open(path: PathBuf) -> Result<Self, Error> {
        let opened = off_thread({
            let path = path.clone();
            move || {
                let file = File::open(path)?;
                let facts = file.metadata()?;
                Ok((file, facts.is_file().then_some(facts.len())))
            }
        });
        match opened.await {
            Ok((file, size)) => {
                let unread = size.unwrap_or(u64::MAX);
                Ok(Self::new(Box::pin(FileSource { path, step: Step::Idle(file), unread }), size))
            }
            Err(source) => Err(Error::File { path, source }),
        }
    }
}

/// A file that is read one piece ahead.
struct FileSource {
    path: PathBuf,
    step: Step,
    /// What of the size at its opening has not been asked for. A file that has grown is sent as it was announced.
    unread: u64,
}

enum Step {
    Idle(File),
    Reading(OffThread<(File, Bytes)>),
    Ended,
}

impl FileSource {
    fn read_ahead(&mut self, file: File) {
        let size_max = self.unread.min(FILE_PIECE_SIZE as u64);
        self.step = Step::Reading(off_thread(move || {
            let mut piece = Vec::with_capacity(size_max as usize);
            (&file).take(size_max).read_to_end(&mut piece)?;
            Ok((file, piece.into()))
        }));
    }
}

impl Source for FileSource {
    fn poll_data(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            match std::mem::replace(&mut self.step, Step::Ended) {
                Step::Idle(file) => self.read_ahead(file),
                Step::Ended => return Poll::Ready(Ok(None)),
                Step::Reading(mut reading) => {
                    let outcome = match Pin::new(&mut reading).poll(context) {
                        Poll::Ready(outcome) => outcome,
                        Poll::Pending => {
                            self.step = Step::Reading(reading);
                            return Poll::Pending;
                        }
                    };
                    let path = &self.path;
                    let (file, piece) =
                        outcome.map_err(|source| Error::File { path: path.clone(), source })?;
                    if piece.is_empty() {
                        return Poll::Ready(Ok(None));
                    }
                    self.unread -= piece.len() as u64;
                    if self.unread > 0 {
                        self.read_ahead(file);
                    }
                    return Poll::Ready(Ok(Some(piece)));
                }
            }
        }
    }
}

impl Body {
    /// Writes the whole rest of the body to the file at `path`, which is made, or emptied if it is there, and gives its size. While a piece is
    /// written the next one is received; a slow disk holds the peer back.
    ///
    /// Not cancel-safe: a file that was begun stays as far as it was written, also after an error.
    ///
    /// ```no_run
    /// # async fn example(client: ringtide::Client) -> Result<(), ringtide::Error> {
    /// let response = client.get("http://127.0.0.1:8080/large.iso").await?;
    /// let size = response.into_body().save("large.iso").await?;
    /// println!("{size} bytes");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be made or written; otherwise as [`data`](Self::data). The connection has been closed.
    pub async fn save(mut self, path: impl AsRef<Path>) -> Result<u64, Error> {
        let path = path.as_ref().to_owned();
        let failed = |source| Error::File { path: path.clone(), source };
        let making = off_thread({
            let path = path.clone();
            move || File::create(path)
        });
        let file = Arc::new(making.await.map_err(failed)?);
        let mut writing: Option<OffThread<Vec<u8>>> = None;
        let mut received = Vec::new();
        let mut ended = false;
        let mut size = 0;
        loop {
            while !ended && received.len() < FILE_PIECE_SIZE {
                match self.data().await? {
                    Some(piece) => received.extend_from_slice(&piece),
                    None => ended = true,
                }
            }
            let written = match writing.take() {
                Some(writing) => writing.await.map_err(failed)?,
                None => Vec::new(),
            };
            if received.is_empty() {
                return Ok(size);
            }
            let mut piece = std::mem::replace(&mut received, written);
            size += piece.len() as u64;
            let file = Arc::clone(&file);
            writing = Some(off_thread(move || {
                (&*file).write_all(&piece)?;
                piece.clear();
                Ok(piece)
            }));
        }
    }
}

/// Has `work` done on a thread of its own; from now on, and to its end even if nobody waits for it.
fn off_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> OffThread<T> {
    let place = Arc::<Mutex<Place<T>>>::new(Mutex::new(Place { outcome: None, waker: None }));
    let put = {
        let place = Arc::clone(&place);
        move |outcome| {
            let waker = {
                let mut place = lock(&place);
                place.outcome = Some(outcome);
                place.waker.take()
            };
            wake(waker);
        }
    };
    let run = {
        let put = put.clone();
        move || put(work())
    };
    if let Err(error) = thread::Builder::new().name("ringtide-file".to_owned()).spawn(run) {
        put(Err(error));
    }
    OffThread(place)
}

/// The outcome of what is done on another thread.
struct OffThread<T>(Arc<Mutex<Place<T>>>);

struct Place<T> {
    outcome: Option<io::Result<T>>,
    waker: Option<Waker>,
}

impl<T> Future for OffThread<T> {
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let mut place = lock(&self.0);
        if let Some(outcome) = place.outcome.take() {
            return Poll::Ready(outcome);
        }
        place.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
