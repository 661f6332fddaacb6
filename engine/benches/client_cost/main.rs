//! The cost of a client library: several tasks GET one page again and again for a given time, and read its body.
//! `ci/bench` runs this program pinned to a core and counts the CPU time of the whole process, so that it includes all
//! threads of a client.
//!
//! ```text
//! client_cost CLIENT URL TASKS MILLISECONDS
//! ```
//!
//! | CLIENT | who sends requests | who does the work |
//! |---|---|---|
//! | `reqwest` | tasks of a tokio current-thread runtime | reqwest, on the same thread |
//! | `h2` | tasks of a tokio current-thread runtime | the bare h2 crate, on the same thread, over one connection |
//! | `handle` | tasks of a tokio current-thread runtime | a ringtide worker on its own thread, through `ClientHandle` |
//! | `client` | tasks of a ringtide worker | ringtide's `Client`, on the same thread |
//! | `client-h2` | tasks of a ringtide worker | the same over HTTP/2, without TLS, over one connection |
//! | `h2-distinct`, `client-h2-distinct` | as without `-distinct` | the same, with a query that differs in each request |
//!
//! Each client uses its defaults, gets the URL as text for each request, checks the status and reads the whole body.
//! Ringtide's recognizes a URL that it has just sent, and does not parse it again. The program prints one line of JSON at
//! the end. It ends early if a request fails.

mod on_h2;
mod on_ringtide;
mod on_tokio;

use std::borrow::Cow;
use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The parameters that the tasks of a run share.
#[derive(Clone)]
struct Plan {
    url: String,
    tasks: usize,
    end: Instant,
    /// Whether no two requests have the same URL.
    distinct: bool,
}

impl Plan {
    /// The URL of a task's request number `count`.
    fn url_of(&self, task: usize, count: u64) -> Cow<'_, str> {
        let url = &self.url;
        if self.distinct { format!("{url}?{task}.{count}").into() } else { url.into() }
    }
}

/// Runs a plan. Returns how many requests were completed.
type Run = fn(&Plan) -> u64;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let Some((run, plan, duration)) = parse(&arguments) else {
        eprintln!(
            "usage: client_cost reqwest|h2[-distinct]|handle|client|client-h2[-distinct] URL TASKS MILLISECONDS"
        );
        return ExitCode::from(2);
    };
    let requests = run(&plan);
    let requests_per_second = requests as f64 / duration.as_secs_f64();
    println!(r#"{{"requests": {requests}, "requests_per_second": {requests_per_second:.1}}}"#);
    ExitCode::SUCCESS
}

fn parse(arguments: &[String]) -> Option<(Run, Plan, Duration)> {
    let [client, url, tasks, milliseconds] = arguments else { return None };
    let (client, distinct) = match client.strip_suffix("-distinct") {
        Some(client @ ("h2" | "client-h2")) => (client, true),
        _ => (client.as_str(), false),
    };
    let run: Run = match client {
        "reqwest" => on_tokio::reqwest,
        "h2" => on_h2::h2,
        "handle" => on_tokio::handle,
        "client" => on_ringtide::client,
        "client-h2" => on_ringtide::client_http2,
        _ => return None,
    };
    let duration = Duration::from_millis(milliseconds.parse().ok()?);
    let plan =
        Plan { url: url.clone(), tasks: tasks.parse().ok()?, end: Instant::now() + duration, distinct };
    Some((run, plan, duration))
}
