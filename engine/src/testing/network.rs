//! The network of one test: where scripts are given to, and what knows whether they were kept to.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringtide_driver::Address;

use super::player::Player;
use super::progress::{Progress, Unplayed};
use super::script::Script;
use crate::runtime::{self, Timer};
use crate::stream::{Listener, Stream};

/// How long a server waits after an accept that failed, as a fault may have it.
const ACCEPT_AGAIN: Duration = Duration::from_millis(1);

/// The simulated network of one test, to which the test gives its scripts. Clones are the same network.
///
/// An address at which neither a script nor the code under test listens refuses connections.
///
/// # Panics
/// The methods panic outside their test.
#[derive(Clone, Debug, Default)]
pub struct Network {
    shared: Rc<Shared>,
}

/// The scripts for the next connections to a scripted server.
type Scripts = Rc<RefCell<VecDeque<Rc<Progress>>>>;

#[derive(Debug, Default)]
struct Shared {
    servers: RefCell<HashMap<SocketAddr, Scripts>>,
    scripts: RefCell<Vec<Rc<Progress>>>,
    /// The first deviation.
    failure: RefCell<Option<String>>,
    /// Who waits for a deviation: the test itself.
    waiting: RefCell<Option<Waker>>,
}

impl Network {
    /// Scripts a server at `address`, such as `"10.0.0.1:80"`: the next connection to it plays `script`.
    ///
    /// Several scripts for one address are played in their order, one for each connection. A connection without a
    /// script fails the test.
    ///
    /// # Panics
    /// If `address` is not an IP address with a port, or the code under test listens there.
    #[track_caller]
    pub fn serve(&self, address: &str, script: Script) -> Peer {
        let address = parse(address);
        let mut servers = self.shared.servers.borrow_mut();
        let scripts = servers.entry(address).or_insert_with(|| {
            let listener = match Listener::bind(&address.into(), false) {
                Ok(listener) => listener,
                Err(error) => panic!("no server can be scripted at {address}: {error}"),
            };
            let scripts = Rc::default();
            runtime::spawn(self.clone().accept(listener, address, Rc::clone(&scripts)));
            scripts
        });
        let progress = self.progress(format!("the scripted server at {address}"), script);
        scripts.borrow_mut().push_back(Rc::clone(&progress));
        Peer { progress }
    }

    /// Scripts a client: it connects to `address`, where the code under test listens already, and plays `script`.
    ///
    /// # Panics
    /// If `address` is not an IP address with a port.
    #[track_caller]
    pub fn connect(&self, address: &str, script: Script) -> Peer {
        let address = parse(address);
        let progress = self.progress(format!("the scripted client of {address}"), script);
        let (network, playing) = (self.clone(), Rc::clone(&progress));
        runtime::spawn(async move {
            match Stream::connect(&address.into()).await {
                Ok(stream) => network.play(stream, playing).await,
                Err(error) => network.fail(format!("{playing}\n  it could not connect: {error}")).await,
            }
        });
        Peer { progress }
    }

    /// Returns a stream to a peer that plays `script`, for code under test that takes a connected stream.
    #[track_caller]
    pub fn stream(&self, script: Script) -> impl Future<Output = (Stream, Peer)> + use<> {
        let progress = self.progress("the scripted peer".to_owned(), script);
        let network = self.clone();
        async move {
            let (ours, theirs) = network.pair().await;
            runtime::spawn(network.play(theirs, Rc::clone(&progress)));
            (ours, Peer { progress })
        }
    }

    /// Returns the two ends of a connection, without a script: the one that connected and the one that was accepted.
    ///
    /// # Panics
    /// If a fault of the simulation prevents the connection.
    pub async fn pair(&self) -> (Stream, Stream) {
        let any_port = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut listener = Listener::bind(&any_port, false).expect("there are free ports");
        let address = listener.local_address().expect("it listens");
        let connected = Stream::connect(&address).await.expect("only a fault can prevent it");
        (connected, listener.accept().await.expect("only a fault can prevent it"))
    }

    #[track_caller]
    fn progress(&self, name: String, script: Script) -> Rc<Progress> {
        let mut scripts = self.shared.scripts.borrow_mut();
        let progress = Rc::new(Progress::new(name, script));
        scripts.push(Rc::clone(&progress));
        progress
    }

    async fn accept(self, mut listener: Listener, address: SocketAddr, scripts: Scripts) {
        let mut count = 0;
        loop {
            let Ok(stream) = listener.accept().await else {
                runtime::sleep(ACCEPT_AGAIN).await;
                continue;
            };
            let next = scripts.borrow_mut().pop_front();
            let Some(progress) = next else {
                let few = format!("the scripted server at {address}: connection {} has no script", count + 1);
                return self.fail(few).await;
            };
            count += 1;
            runtime::spawn(self.clone().play(stream, progress));
        }
    }

    async fn play(self, stream: Stream, progress: Rc<Progress>) {
        let mut player = Player::new(stream, Rc::clone(&progress));
        let mut outcome = player.play().await;
        if outcome.is_ok() {
            outcome = player.watch().await;
        }
        if let Err(deviation) = outcome {
            self.fail(format!("{progress}{deviation}")).await;
        }
    }

    /// Makes the test fail with `message`. Never returns, so that the caller's streams stay open until the test has
    /// failed: what the code under test makes of their end does not matter any more.
    async fn fail(&self, message: String) {
        self.shared.failure.borrow_mut().get_or_insert(message);
        if let Some(waker) = self.shared.waiting.take() {
            waker.wake();
        }
        std::future::pending::<()>().await;
    }

    /// Runs `main` until it ends, but fails with the first deviation, or after `time_max`.
    pub(super) async fn watch<T>(
        &self,
        time_max: Duration,
        main: impl Future<Output = T>,
    ) -> Result<T, String> {
        let what = format!("the test has not ended after {time_max:?} of virtual time");
        self.until(time_max, &what, main).await
    }

    /// Waits until all scripts have been played and nothing is under way any more.
    pub(super) async fn finish(&self, time_max: Duration, settle_time: Duration) -> Result<(), String> {
        let all_played = async {
            let scripts = self.shared.scripts.borrow().clone();
            for progress in scripts {
                progress.played().await;
            }
        };
        self.until(time_max, "the test has ended, but not all its scripts", all_played).await?;
        self.watch(Duration::MAX, runtime::sleep(settle_time)).await
    }

    /// Waits for the end of `future`. Returns an error at the first deviation, or after `time_max`, which is `what`.
    async fn until<T>(
        &self,
        time_max: Duration,
        what: &str,
        future: impl Future<Output = T>,
    ) -> Result<T, String> {
        let mut future = pin!(future);
        let mut timer = Timer::new();
        let time_max_ns = u64::try_from(time_max.as_nanos()).unwrap_or(u64::MAX);
        timer.set(runtime::now_ns().saturating_add(time_max_ns));
        poll_fn(|context| {
            // Looks here first, so that the test does not see what follows from a deviation.
            if let Some(failure) = self.shared.failure.take() {
                return Poll::Ready(Err(failure));
            }
            self.shared.waiting.replace(Some(context.waker().clone()));
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            timer.poll_elapsed(context).map(|()| Err(self.unplayed(what)))
        })
        .await
    }

    /// Returns `what`, and where each script is that has not been played.
    fn unplayed(&self, what: &str) -> String {
        let scripts = self.shared.scripts.borrow();
        let mut message = what.to_owned();
        let unplayed = scripts.iter().filter(|progress| !progress.is_played());
        for progress in unplayed {
            let _ = write!(message, "\n{}", Unplayed(progress));
        }
        message
    }
}

/// The scripted side of one connection.
#[derive(Clone, Debug)]
pub struct Peer {
    progress: Rc<Progress>,
}

impl Peer {
    /// Returns everything that the code under test has sent to it until now.
    pub fn received(&self) -> Vec<u8> {
        self.progress.received().clone()
    }

    /// Waits until the last step has been played. Returns everything that was received until then.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn played(&self) -> Vec<u8> {
        self.progress.played().await;
        self.received()
    }
}

#[track_caller]
fn parse(address: &str) -> SocketAddr {
    let Ok(parsed) = address.parse() else {
        panic!("`{address}` is not an IP address with a port, such as 10.0.0.1:80")
    };
    parsed
}
