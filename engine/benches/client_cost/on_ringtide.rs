//! Ringtide's client on the same worker as its callers.

use std::time::Instant;

use ringtide::client::HttpVersion;
use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::{Client, ClientOptions};

use super::Plan;

/// Larger than any page of this benchmark.
const BODY_SIZE_MAX: usize = 16 * 1024 * 1024;

pub(crate) fn client(plan: &Plan) -> u64 {
    repeat(plan, HttpVersion::Http1)
}

/// Over HTTP/2, on one connection for all tasks.
pub(crate) fn client_http2(plan: &Plan) -> u64 {
    repeat(plan, HttpVersion::Http2)
}

fn repeat(plan: &Plan, version: HttpVersion) -> u64 {
    let mut worker = Worker::new(&WorkerOptions::default()).expect("the worker is created");
    worker.block_on(async {
        let client = Client::new(ClientOptions::default().http_version(version));
        let tasks: Vec<_> = (0..plan.tasks)
            .map(|task| {
                let (plan, client) = (plan.clone(), client.clone());
                runtime::spawn(async move {
                    let mut count = 0;
                    while Instant::now() < plan.end {
                        let response =
                            client.get(&plan.url_of(task, count)).await.expect("the request succeeds");
                        assert_eq!(response.status(), 200);
                        response.into_body().bytes(BODY_SIZE_MAX).await.expect("the body is received");
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.expect("the task does not panic");
        }
        sum
    })
}
