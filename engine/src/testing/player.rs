//! Plays a script on a stream, and says how the code under test deviates from it.

use std::fmt::Write;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;

use super::excerpt::Excerpt;
use super::pieces::Pieces;
use super::progress::Progress;
use super::script::Action;
use crate::runtime;
use crate::stream::Stream;

/// The time between two pieces. It is longer than the latency of the network, so that a reader gets each by itself.
const PIECE_INTERVAL: Duration = Duration::from_micros(100);

/// A player of one script.
pub(super) struct Player {
    /// `None` once the script has closed it, or a handshake has failed.
    stream: Option<Stream>,
    progress: Rc<Progress>,
    /// How the receiving half ended, in words.
    ended: Option<Ended>,
    /// Whether the last thing done was to send a piece.
    has_just_sent: bool,
}

/// How the peer's half of the stream ended.
#[derive(Clone, Debug)]
enum Ended {
    Eof,
    Failed(String),
}

/// What differs from the script, as the lines of a message.
pub(super) type Deviation = String;

impl Player {
    pub(super) fn new(stream: Stream, progress: Rc<Progress>) -> Self {
        progress.connected();
        Self { stream: Some(stream), progress, ended: None, has_just_sent: false }
    }

    /// Plays all steps.
    pub(super) async fn play(&mut self) -> Result<(), Deviation> {
        let progress = Rc::clone(&self.progress);
        while let Some(step) = progress.step() {
            let sends = matches!(step.action, Action::Send(_));
            match self.act(&step.action).await {
                // What cannot be sent any more is left out.
                Err(_) if progress.ignores() => {}
                outcome => outcome?,
            }
            self.has_just_sent = sends;
            progress.advance();
        }
        Ok(())
    }

    /// Waits behind the last step for the end of the connection, however it ends.
    pub(super) async fn watch(&mut self) -> Result<(), Deviation> {
        loop {
            if self.progress.ignores() {
                self.consume_all();
            }
            if !self.progress.unread().is_empty() {
                return Err(self.deviation("nothing more", 0));
            }
            if !self.more().await {
                return Ok(());
            }
        }
    }

    async fn act(&mut self, action: &Action) -> Result<(), Deviation> {
        match action {
            Action::Expect(bytes) => self.expect(bytes).await,
            Action::ExpectUntil(delimiter) => self.expect_until(delimiter).await,
            Action::ExpectAny(size) => self.expect_any(*size).await,
            Action::ExpectSilence(duration) => self.expect_silence(*duration).await,
            Action::ExpectEnd => self.expect_end().await,
            Action::ExpectRest => {
                while self.more().await {}
                if !matches!(self.ended, Some(Ended::Eof)) {
                    return Err(self.deviation("the end of the stream", usize::MAX));
                }
                self.consume_all();
                Ok(())
            }
            Action::IgnoreRest => {
                self.progress.ignore_rest();
                Ok(())
            }
            Action::Send(pieces) => self.send(pieces).await,
            Action::Delay(duration) => {
                runtime::sleep(*duration).await;
                Ok(())
            }
            Action::AcceptTls(tls) => {
                let stream = self.before_tls()?;
                self.with_tls(stream.accept_tls(tls).await)
            }
            Action::StartTls(host, tls) => {
                let stream = self.before_tls()?;
                self.with_tls(stream.start_tls(host, tls).await)
            }
            Action::End => self.open()?.shutdown().await.map_err(failed),
            Action::Close => {
                self.stream = None;
                Ok(())
            }
            Action::Reset => {
                let stream = self.stream.take().ok_or_else(closed)?;
                let addresses = stream.local_address().and_then(|local| Ok((local, stream.peer_address()?)));
                // The connection has failed if there are none.
                if let Ok((local, peer)) = addresses {
                    runtime::reset_at_close(&local, &peer);
                }
                Ok(())
            }
        }
    }

    async fn expect(&mut self, expected: &Bytes) -> Result<(), Deviation> {
        loop {
            let same = {
                let unread = self.progress.unread();
                unread.iter().zip(expected).take_while(|(came, expected)| came == expected).count()
            };
            if same == expected.len() {
                self.progress.consume(same);
                return Ok(());
            }
            if same < self.progress.unread().len() || !self.more().await {
                let mut deviation =
                    self.deviation(&Excerpt { bytes: expected, around: same }.to_string(), same);
                if same < self.progress.unread().len() {
                    let _ = write!(deviation, "\n  they differ from byte {same} on");
                }
                return Err(deviation);
            }
        }
    }

    async fn expect_until(&mut self, delimiter: &Bytes) -> Result<(), Deviation> {
        loop {
            let found = memmem::find(&self.progress.unread(), delimiter);
            if let Some(position) = found {
                self.progress.consume(position + delimiter.len());
                return Ok(());
            }
            if !self.more().await {
                let expected = format!("anything up to \"{}\"", delimiter.escape_ascii());
                return Err(self.deviation(&expected, usize::MAX));
            }
        }
    }

    async fn expect_any(&mut self, size: usize) -> Result<(), Deviation> {
        while self.progress.unread().len() < size {
            if !self.more().await {
                let came = self.progress.unread().len();
                return Err(self.deviation(&format!("{size} bytes, not {came}"), usize::MAX));
            }
        }
        self.progress.consume(size);
        Ok(())
    }

    async fn expect_end(&mut self) -> Result<(), Deviation> {
        let is_end = self.progress.unread().is_empty() && !self.more().await;
        if is_end && matches!(self.ended, Some(Ended::Eof)) {
            Ok(())
        } else {
            Err(self.deviation("the end of the stream", 0))
        }
    }

    async fn expect_silence(&mut self, duration: Duration) -> Result<(), Deviation> {
        let is_silent = self.progress.unread().is_empty()
            && self.ended.is_none()
            && runtime::timeout(duration, self.more()).await.is_none();
        if is_silent { Ok(()) } else { Err(self.deviation("silence", 0)) }
    }

    async fn send(&mut self, pieces: &Pieces) -> Result<(), Deviation> {
        for piece in pieces.iter() {
            if self.has_just_sent {
                runtime::sleep(PIECE_INTERVAL).await;
            }
            self.has_just_sent = true;
            if let Err(error) = self.open()?.send(piece.clone()).await {
                let bytes = Excerpt { bytes: piece, around: 0 };
                return Err(format!("\n  sending {bytes} failed: {error}"));
            }
        }
        Ok(())
    }

    /// Receives more bytes. Returns false once the peer's half has ended.
    async fn more(&mut self) -> bool {
        let Some(stream) = self.stream.as_mut().filter(|_| self.ended.is_none()) else { return false };
        match stream.receive().await {
            Ok(Some(lease)) => {
                self.progress.receive(&lease);
                return true;
            }
            Ok(None) => self.ended = Some(Ended::Eof),
            Err(error) => self.ended = Some(Ended::Failed(error.to_string())),
        }
        false
    }

    fn consume_all(&self) {
        let size = self.progress.unread().len();
        self.progress.consume(size);
    }

    fn open(&mut self) -> Result<&mut Stream, Deviation> {
        self.stream.as_mut().ok_or_else(closed)
    }

    /// Takes the stream for a handshake.
    fn before_tls(&mut self) -> Result<Stream, Deviation> {
        if !self.progress.unread().is_empty() {
            return Err(self.deviation("TLS", 0));
        }
        self.stream.take().ok_or_else(closed)
    }

    fn with_tls(&mut self, stream: io::Result<Stream>) -> Result<(), Deviation> {
        self.stream = Some(stream.map_err(failed)?);
        Ok(())
    }

    /// Returns the message that `expected` did not come. What came is shown around position `around`.
    fn deviation(&self, expected: &str, around: usize) -> Deviation {
        let unread = self.progress.unread();
        let came = Excerpt { bytes: &unread, around };
        let end = match &self.ended {
            None => String::new(),
            Some(Ended::Eof) => ", then the end of the stream".to_owned(),
            Some(Ended::Failed(error)) => format!(", then the connection failed: {error}"),
        };
        format!("\n  expected: {expected}\n  came:     {came}{end}")
    }
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` gives it")]
fn failed(error: io::Error) -> Deviation {
    format!("\n  it failed: {error}")
}

/// Only what comes behind a failure that is ignored meets this.
fn closed() -> Deviation {
    "\n  the connection has failed before".to_owned()
}
