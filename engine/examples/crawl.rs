//! Crawls a site from one URL, several pages at a time: `cargo run -p ringtide-examples --example crawl --
//! http://127.0.0.1:8080/ 8`
//!
//! The number of tasks bounds the concurrency. All tasks share one thread, one client and its connections, so their
//! shared state needs no lock.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::error::Error;
use std::future::poll_fn;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringtide::Client;
use ringtide::http::{StatusCode, Uri};
use ringtide::runtime::{self, Worker, WorkerOptions};

/// Larger pages are not read.
const PAGE_SIZE_MAX: usize = 4 * 1024 * 1024;

/// Maximum of different pages to visit.
const PAGES_MAX: usize = 1_000;

#[derive(Default)]
struct Frontier {
    seen: BTreeSet<String>,
    queue: VecDeque<String>,
    in_flight: usize,
    fetched: usize,
    waiting: Vec<Waker>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(start), Ok(tasks)) = (arguments.next(), arguments.next().map_or(Ok(8), |tasks| tasks.parse()))
    else {
        eprintln!("usage: crawl URL [TASKS]");
        return ExitCode::from(2);
    };
    match crawl(start, tasks) {
        Ok(0) => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Crawls from `start`. Returns how many pages were fetched.
fn crawl(start: String, tasks: usize) -> Result<usize, Box<dyn Error>> {
    Worker::new(&WorkerOptions::default())?.block_on(async {
        let client = Client::default();
        let frontier = Rc::new(RefCell::new(Frontier::default()));
        frontier.borrow_mut().add(start);
        let tasks: Vec<_> =
            (0..tasks.max(1)).map(|_| runtime::spawn(work(client.clone(), Rc::clone(&frontier)))).collect();
        for task in tasks {
            task.await?;
        }
        let fetched = frontier.borrow().fetched;
        println!("{fetched} pages");
        Ok(fetched)
    })
}

/// The body of one task: fetches pages until the queue is empty and no page in flight can add to it.
async fn work(client: Client, frontier: Rc<RefCell<Frontier>>) {
    while let Some(url) = poll_fn(|context| frontier.borrow_mut().poll_take(context)).await {
        match fetch(&client, &url).await {
            Ok((status, page)) => {
                println!("{status} {} bytes {url}", page.len());
                let mut frontier = frontier.borrow_mut();
                frontier.fetched += 1;
                for link in links(&url, &page) {
                    frontier.add(link);
                }
            }
            Err(error) => println!("--- {url}: {error}"),
        }
        frontier.borrow_mut().done();
    }
}

async fn fetch(client: &Client, url: &str) -> Result<(StatusCode, String), ringtide::Error> {
    let response = client.get(url).await?;
    Ok((response.status(), response.into_body().text(PAGE_SIZE_MAX).await?))
}

impl Frontier {
    fn add(&mut self, url: String) {
        if self.seen.len() < PAGES_MAX && self.seen.insert(url.clone()) {
            self.queue.push_back(url);
        }
    }

    /// Takes the next page to fetch. Returns `None` if there is none and no page in flight can add one.
    fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Option<String>> {
        if let Some(url) = self.queue.pop_front() {
            self.in_flight += 1;
            return Poll::Ready(Some(url));
        }
        if self.in_flight == 0 {
            return Poll::Ready(None);
        }
        self.waiting.push(context.waker().clone());
        Poll::Pending
    }

    fn done(&mut self) {
        self.in_flight -= 1;
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

/// Returns the links of a page to the same site, as found by a simple search for `href="`.
fn links(base: &str, page: &str) -> Vec<String> {
    let Ok(base) = base.parse::<Uri>() else { return Vec::new() };
    let Some(authority) = base.authority() else { return Vec::new() };
    let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
    page.split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split(['"', '#']).next())
        .filter_map(|link| match link {
            "" => None,
            _ if link.starts_with(&format!("http://{authority}/")) => Some(link.to_owned()),
            _ if link.contains(':') || link.starts_with("//") => None,
            _ if link.starts_with('/') => Some(format!("http://{authority}{link}")),
            _ => Some(format!("http://{authority}{directory}/{link}")),
        })
        .collect()
}
