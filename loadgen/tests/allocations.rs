//! What the generator takes from the heap: nothing for a request, and little for a connection. The server runs in a process
//! of its own, so that its memory does not count. Only this test is in this program: its allocator counts for all.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ringtide_driver::allocator::CountingAllocator;
use ringtide_loadgen::plan::{Plan, Stop};
use ringtide_loadgen::progress::Display;
use ringtide_loadgen::result::RunResult;
use ringtide_loadgen::run::Run;
use ringtide_loadgen::{scenario, urls};

#[global_allocator]
static HEAP: CountingAllocator = CountingAllocator::new();

const SHORT: u64 = 2_000;
const LONG: u64 = 22_000;

/// What a longer run may allocate beyond a shorter one: progress, and queues that grow a little more. One allocation in
/// twenty requests is more than that.
const MORE_MAX: usize = 500;

/// How much of the heap a connection may take.
const CONNECTION_SIZE_MAX: f64 = 720.0;

const SCENARIO: &str = r#"
order = "weight"

[variables]
number = "sequence"
any = { random = "1..1000000" }
word = { one_of = ["ring", "tide", "salt"] }

[[step]]
name = "read"
weight = 7
path = "/bytes/128?id=${any}&word=${word}"
expect = "status=200,size=128"

[[step]]
name = "write"
weight = 3
method = "POST"
path = "/echo?n=${number}"
headers = { Content-Type = "application/json" }
body = '{"number": ${number}, "word": "${word}"}'
expect = "status=200"
"#;

struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ringtide"))
            .args(["serve", "--addr", "127.0.0.1:0", "-t", "1", "--until-stdin-closes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let url = line.trim().strip_prefix("listening on ").expect("a URL").trim_end_matches('/').to_owned();
        Self { process, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn run(mut plan: Plan, requests: u64, connections: usize) -> RunResult {
    plan.threads = 1;
    plan.connections = connections;
    plan.stop = Stop::Requests { count: requests, within_ns: None };
    let run = Run::new(plan, Display::Silent, Some(&HEAP), |_| ()).expect("the plan is valid");
    let result = run.execute().expect("the server is there");
    assert_eq!(result.requests.completed, requests, "{:?}", result.errors);
    result
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ringtide-allocations-{}-{name}", std::process::id()));
    fs::write(&path, text).expect("the temporary directory can be written");
    path
}

#[test]
fn a_request_allocates_nothing_and_a_connection_takes_little() {
    let server = Server::start();
    let mix = file("mix.toml", &format!("url = \"{}\"\n{SCENARIO}", server.url));
    let lines = (1..=10).map(|size| format!("{}/bytes/{size}\t{size}", server.url));
    let list = lines.collect::<Vec<_>>().join("\n");
    let list = file("urls", &list);
    let plans = [
        ("one request", Plan::for_url(&server.url).expect("a URL")),
        ("--urls", urls::read(&list).expect("valid")),
        ("a scenario", scenario::read(&mix, None, &[]).expect("valid")),
    ];
    let _ = (fs::remove_file(mix), fs::remove_file(list));
    for (what, plan) in plans {
        let allocations = |requests| {
            let before = HEAP.allocations();
            run(plan.clone(), requests, 8);
            HEAP.allocations() - before
        };
        // What the program needs once.
        allocations(SHORT);
        let (short, long) = (allocations(SHORT), allocations(LONG));
        assert!(
            long <= short + MORE_MAX,
            "{what}: {short} allocations for {SHORT} requests, {long} for {LONG}"
        );
    }

    let plan = Plan::for_url(&server.url).expect("a URL");
    let size = |connections: usize| {
        let result = run(plan.clone(), 10 * connections as u64, connections);
        result.generator.heap_bytes_per_connection.expect("the heap is counted") as f64 * connections as f64
    };
    let (few, many) = (300, 900);
    let each = (size(many) - size(few)) / (many - few) as f64;
    assert!(each <= CONNECTION_SIZE_MAX, "{each} bytes for a connection");
}
