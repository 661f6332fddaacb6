//! The clients for tokio tasks: reqwest, and ringtide's `ClientHandle`.

use std::time::Instant;

use bytes::Bytes;
use ringtide::ClientOptions;
use ringtide::client::ClientHandle;
use ringtide::runtime::WorkerOptions;
use tokio::runtime::Builder;

use super::Plan;

/// Larger than any page of this benchmark.
const BODY_SIZE_MAX: usize = 16 * 1024 * 1024;

pub(crate) fn reqwest(plan: &Plan) -> u64 {
    let client = reqwest::Client::new();
    repeat(plan, move |url| {
        let request = client.get(url);
        async {
            let response = request.send().await.expect("the request succeeds");
            assert_eq!(response.status(), 200);
            response.bytes().await.expect("the body comes")
        }
    })
}

pub(crate) fn handle(plan: &Plan) -> u64 {
    let client = ClientHandle::spawn(ClientOptions::default(), WorkerOptions::default())
        .expect("a worker can be set up here");
    repeat(plan, move |url| {
        let request = client.get(url);
        async {
            let response = request.await.expect("the request succeeds");
            assert_eq!(response.status(), 200);
            response.into_body().bytes(BODY_SIZE_MAX).await.expect("the body comes")
        }
    })
}

/// Makes all tasks call `fetch` until the time is up. Returns the number of calls.
fn repeat<F: Future<Output = Bytes> + Send>(
    plan: &Plan,
    fetch: impl Fn(&str) -> F + Clone + Send + 'static,
) -> u64 {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be set up here");
    runtime.block_on(async {
        let tasks: Vec<_> = (0..plan.tasks)
            .map(|_| {
                let (plan, fetch) = (plan.clone(), fetch.clone());
                tokio::spawn(async move {
                    let mut count = 0;
                    while Instant::now() < plan.end {
                        fetch(&plan.url).await;
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
