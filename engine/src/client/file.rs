//! Files as request bodies, and files into which response bodies are saved.
//!
//! Reading and writing files blocks, whatever flags they are opened with. So this is done on threads beside the worker.

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

/// Size of the pieces in which files are read and written, in bytes. While one piece is read or written, the network
/// transfers another.
const FILE_PIECE_SIZE: usize = 256 * 1024;

impl StreamedBody {
    /// Opens the file at `path` as a body. The body announces its size if it is a regular file. The contents are those
    /// at the time of each read.
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

/// A file, read one piece ahead.
struct FileSource {
    path: PathBuf,
    step: Step,
    /// Bytes of the announced size that have not been requested yet. A file that has grown is sent only up to that
    /// size.
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
    /// Writes the rest of the body to the file at `path` and returns the number of bytes.
    ///
    /// The file is created, or truncated if it exists. While one piece is written, the next is received. If the disk is
    /// slow, back-pressure stops the peer.
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
    /// # Cancel safety
    /// Not cancel-safe: a dropped future leaves the file as far as it was written. So does an error.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be created or written. Otherwise as for [`data`](Self::data). After an error
    /// the connection is closed.
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

/// Runs `work` on a new thread. `work` starts now and runs to its end, even if the returned future is dropped.
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

/// A future of the outcome of work on another thread.
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
