//! The server of a run: it does with each request what its plan says, and others take over from it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use ringtide::runtime::{self, JoinHandle};
use ringtide::server::{Answered, Exchange, PreparedResponse, Responder, ServiceOptions, Shutdown, serve};
use ringtide::stream::Listener;
use ringtide::{Address, Error};

use crate::ledger::Ledger;
use crate::world::{Plan, ServerWay, World};

/// Longer than any run.
const NEVER: Duration = Duration::from_hours(24);

type Running = (Shutdown, JoinHandle<()>);

/// The servers of a run, one after the other.
pub(crate) struct Servers {
    address: Address,
    running: Rc<RefCell<Vec<Running>>>,
    /// No further one takes over.
    is_over: Rc<Cell<bool>>,
}

impl Servers {
    pub(crate) fn start(world: Rc<World>, ledger: Rc<RefCell<Ledger>>) -> Self {
        let any_port = Address::Tcp(([127, 0, 0, 1], 0).into());
        let listener = Listener::bind(&any_port, true).unwrap();
        let address = listener.local_address().unwrap();
        let running = Rc::<RefCell<Vec<_>>>::default();
        let is_over = Rc::<Cell<bool>>::default();
        running.borrow_mut().push(begin(listener, &world, &ledger));
        if !world.restarts.is_empty() {
            let (address, running, is_over) = (address.clone(), Rc::clone(&running), Rc::clone(&is_over));
            runtime::spawn(async move {
                for after in world.restarts.clone() {
                    runtime::sleep(after).await;
                    if is_over.get() {
                        return;
                    }
                    let listener = Listener::bind(&address, true).unwrap();
                    running.borrow().last().unwrap().0.begin();
                    running.borrow_mut().push(begin(listener, &world, &ledger));
                }
            });
        }
        Self { address, running, is_over }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Ready when all have ended by themselves.
    pub(crate) async fn stop(self) {
        self.is_over.set(true);
        let running = self.running.take();
        for (shutdown, server) in running {
            shutdown.begin();
            server.await.unwrap();
        }
    }
}

fn begin(listener: Listener, world: &Rc<World>, ledger: &Rc<RefCell<Ledger>>) -> Running {
    let shutdown = Shutdown::new();
    let options = ServiceOptions::default()
        .http2(world.server)
        .head_timeout(NEVER)
        .idle_timeout(NEVER)
        .stall_timeout(NEVER)
        .request_timeout(None)
        .shutdown_timeout(NEVER);
    let (world, ledger) = (Rc::clone(world), Rc::clone(ledger));
    let handler = async move |exchange: Exchange<'_>| handle(&world, &ledger, exchange).await;
    let server = runtime::spawn(serve(listener, options, shutdown.clone(), handler));
    (shutdown, server)
}

async fn handle(
    world: &World,
    ledger: &RefCell<Ledger>,
    exchange: Exchange<'_>,
) -> Result<Answered, Box<dyn std::error::Error>> {
    let target = exchange.head().target();
    if let Some(size) = target.strip_prefix(b"/probe/") {
        let size: usize = std::str::from_utf8(size)?.parse()?;
        return Ok(probe(exchange, size).await?);
    }
    let number: u32 = std::str::from_utf8(&target[1..])?.parse()?;
    let plan = world.plan(number);
    ledger.borrow_mut().begin(number);
    check_head(&plan, &exchange);
    match answer(&plan, exchange).await {
        Ok(answered) => {
            ledger.borrow_mut().responded(number);
            Ok(answered)
        }
        Err(Failed::OnPurpose) => Err("on purpose".into()),
        Err(Failed::Error(error)) => {
            let text = error.to_string();
            ledger.borrow_mut().server_error(number, error);
            Err(text.into())
        }
    }
}

enum Failed {
    OnPurpose,
    Error(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Takes a body of any size, and sends one of `size` bytes.
async fn probe(mut exchange: Exchange<'_>, size: usize) -> Result<Answered, Error> {
    while exchange.data().await?.is_some() {}
    exchange.respond(StatusCode::OK, &[], vec![7; size])
}

fn check_head(plan: &Plan, exchange: &Exchange<'_>) {
    let head = exchange.head();
    let number = plan.number;
    assert_eq!(head.method(), plan.method, "request {number}");
    assert_eq!(head.fields().get("x-number"), Some(number.to_string().as_bytes()), "request {number}");
    let field = plan.field(plan.request_field);
    assert_eq!(head.fields().get("x-field"), Some(field.as_bytes()), "request {number}");
}

async fn answer(plan: &Plan, mut exchange: Exchange<'_>) -> Result<Answered, Failed> {
    let status = StatusCode::from_u16(plan.status()).unwrap();
    let (number, field) = (plan.number.to_string(), plan.field(plan.response_field));
    let fields = [("x-number", number.as_str()), ("x-field", field.as_str())];
    let mut taken = Taken { plan, position: 0 };
    match plan.server {
        ServerWay::Whole => {
            taken.read_all(&mut exchange).await?;
            Ok(exchange.respond(status, &fields, plan.response_body.clone())?)
        }
        ServerWay::Early => Ok(exchange.respond(status, &fields, plan.response_body.clone())?),
        ServerWay::Prepared => {
            taken.read_all(&mut exchange).await?;
            let response = PreparedResponse::new(status, fields, plan.response_body.clone());
            Ok(exchange.respond_with(&response.map_err(Error::from)?))
        }
        ServerWay::Both => {
            let first = exchange.data().await?.map(Bytes::copy_from_slice);
            taken.take(first.as_deref());
            let length = plan.is_announced.then_some(plan.response_body.len() as u64);
            let mut responder = exchange.stream(status, &fields, length)?;
            let mut rest = plan.response_body.clone();
            let mut is_reading = first.is_some();
            while is_reading || !rest.is_empty() {
                if is_reading {
                    let piece = responder.data().await?;
                    taken.take(piece);
                    is_reading = piece.is_some();
                }
                responder.send(rest.split_to(plan.piece.min(rest.len()))).await?;
            }
            Ok(finish(plan, responder)?)
        }
        ServerWay::Slow => {
            loop {
                runtime::sleep(plan.pause).await;
                let piece = exchange.data().await?;
                taken.take(piece);
                if piece.is_none() {
                    break;
                }
            }
            let mut responder = exchange.stream(status, &fields, None)?;
            send(plan, &mut responder, plan.response_body.clone()).await?;
            Ok(finish(plan, responder)?)
        }
        ServerWay::Detached => {
            taken.read_all(&mut exchange).await?;
            let exchange = exchange.detach().expect("HTTP/2");
            let (body, pause) = (plan.response_body.clone(), plan.pause);
            let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let task = runtime::spawn(async move {
                runtime::sleep(pause).await;
                let fields = fields.each_ref().map(|(name, value)| (name.as_str(), value.as_str()));
                exchange.respond(status, &fields, body)
            });
            Ok(task.await.expect("it does not panic")?)
        }
        ServerWay::FailsBefore => {
            exchange.data().await?;
            Err(Failed::OnPurpose)
        }
        ServerWay::FailsAfter => {
            let mut responder = exchange.stream(status, &fields, None)?;
            let half = plan.response_body.len() / 2;
            send(plan, &mut responder, plan.response_body.slice(..half)).await?;
            Err(Failed::OnPurpose)
        }
        ServerWay::Disconnects => {
            exchange.data().await?;
            Ok(exchange.disconnect())
        }
    }
}

async fn send(plan: &Plan, responder: &mut Responder<'_>, mut rest: Bytes) -> Result<(), Error> {
    while !rest.is_empty() {
        responder.send(rest.split_to(plan.piece.min(rest.len()))).await?;
        if plan.number.is_multiple_of(4) {
            runtime::sleep(plan.pause).await;
        }
    }
    Ok(())
}

fn finish(plan: &Plan, responder: Responder<'_>) -> Result<Answered, Error> {
    match plan.trailer() {
        Some(trailer) => responder.finish_with_trailers(&[("x-trailer", &trailer)]),
        None => responder.finish(),
    }
}

/// What the handler has read of a request's body.
struct Taken<'p> {
    plan: &'p Plan,
    position: usize,
}

impl Taken<'_> {
    /// Checks a piece of the body, or its end.
    fn take(&mut self, piece: Option<&[u8]>) {
        let Plan { number, request_body, .. } = self.plan;
        let rest = &request_body[self.position..];
        match piece {
            Some(piece) => {
                assert!(rest.starts_with(piece), "request {number}: a wrong piece at {}", self.position);
            }
            None => assert!(rest.is_empty(), "request {number}: it ends at {}", self.position),
        }
        self.position += piece.map_or(0, <[u8]>::len);
    }

    async fn read_all(&mut self, exchange: &mut Exchange<'_>) -> Result<(), Error> {
        loop {
            let piece = exchange.data().await?;
            self.take(piece);
            if piece.is_none() {
                return Ok(());
            }
        }
    }
}
