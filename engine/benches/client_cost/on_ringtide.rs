//! Ringtide's client on the worker that its callers are on.

use std::time::Instant;

use ringtide::Client;
use ringtide::runtime::{self, Worker, WorkerOptions};

use super::Plan;

/// More than any page here.
const BODY_SIZE_MAX: usize = 16 * 1024 * 1024;

pub(crate) fn client(plan: &Plan) -> u64 {
    let mut worker = Worker::new(&WorkerOptions::default()).expect("a worker can be set up here");
    worker.block_on(async {
        let client = Client::default();
        let tasks: Vec<_> = (0..plan.tasks)
            .map(|_| {
                let (plan, client) = (plan.clone(), client.clone());
                runtime::spawn(async move {
                    let mut count = 0;
                    while Instant::now() < plan.end {
                        let response = client.get(&plan.url).await.expect("the request succeeds");
                        assert_eq!(response.status(), 200);
                        response.into_body().bytes(BODY_SIZE_MAX).await.expect("the body comes");
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
