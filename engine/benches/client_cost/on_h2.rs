//! The bare h2 crate: all tasks share one connection, without TLS.

use std::time::Instant;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Uri};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use super::Plan;

pub(crate) fn h2(plan: &Plan) -> u64 {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be set up here");
    runtime.block_on(async {
        let url: Uri = plan.url.parse().expect("the URL is valid");
        let authority = url.authority().expect("the URL names a server");
        let stream = TcpStream::connect(authority.as_str()).await.expect("the server accepts");
        stream.set_nodelay(true).expect("a socket has this option");
        let (sender, connection) = h2::client::handshake(stream).await.expect("the server speaks HTTP/2");
        tokio::spawn(connection);
        let tasks: Vec<_> =
            (0..plan.tasks).map(|task| tokio::spawn(repeat(plan.clone(), task, sender.clone()))).collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.expect("the task does not panic");
        }
        sum
    })
}

async fn repeat(plan: Plan, task: usize, sender: SendRequest<Bytes>) -> u64 {
    let mut count = 0;
    while Instant::now() < plan.end {
        fetch(&plan.url_of(task, count), sender.clone()).await.expect("the request succeeds");
        count += 1;
    }
    count
}

async fn fetch(url: &str, sender: SendRequest<Bytes>) -> Result<(), h2::Error> {
    let request = Request::get(url).body(()).expect("the URL is valid");
    let (response, _) = sender.ready().await?.send_request(request, true)?;
    let response = response.await?;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    Ok(())
}
