//! Keeps values under names, for clients that send commands as lines: `cargo run -p ringtide-examples --example
//! lines_server -- 127.0.0.1:7777 60`. The second argument is how many seconds a client may take for a command.
//!
//! | command | answer |
//! |---|---|
//! | `SET name value` | `OK` |
//! | `GET name` | `VALUE value`, or `NONE` |
//! | `QUIT` | `BYE`, then the end of the stream |
//!
//! A line with `ERROR` and a reason answers anything else. It is the last one if the line was too long, was no UTF-8 or did
//! not come in time, or if the stream has ended inside it. All clients are tasks of one thread, so the values need no lock.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::stream::{IncompleteRead, LimitExceeded, Listener, Stream};

const LINE_SIZE_MAX: usize = 1024;

type Values = Rc<RefCell<HashMap<String, String>>>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7777".to_owned()).parse()?;
    let patience =
        Duration::try_from_secs_f64(arguments.next().map_or(Ok(60.0), |seconds| seconds.parse())?)?;
    Worker::new(&WorkerOptions::default())?.block_on(async {
        let mut listener = Listener::bind(&address, false)?;
        println!("listening at {}", listener.local_address()?);
        let values = Values::default();
        loop {
            match listener.accept().await {
                Ok(client) => drop(runtime::spawn(serve(client, Rc::clone(&values), patience))),
                Err(error) => {
                    eprintln!("cannot accept: {error}");
                    runtime::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    })
}

async fn serve(mut client: Stream, values: Values, patience: Duration) {
    let outcome = converse(&mut client, &values, patience).await;
    let farewell = async {
        if let Err(error) = outcome {
            let reason = reason_of(&error);
            eprintln!("{reason}");
            client.write_all(format!("ERROR {reason}\n").as_bytes()).await?;
        }
        client.close().await
    };
    // A client that does not read is not waited for. If the connection has failed, nobody can be told.
    let _ = runtime::timeout(patience, farewell).await;
}

/// Answers the commands of a client until one side ends the conversation.
async fn converse(client: &mut Stream, values: &Values, patience: Duration) -> io::Result<()> {
    while !client.is_closing() {
        let Some(answered) = runtime::timeout(patience, answer(client, values)).await else {
            let reason = format!("a command took longer than {patience:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
        };
        answered?;
    }
    Ok(())
}

/// Answers one command. The end of the stream is answered by closing.
async fn answer(client: &mut Stream, values: &Values) -> io::Result<()> {
    let Some(line) = client.read_line(LINE_SIZE_MAX).await? else { return client.shutdown().await };
    let line = str::from_utf8(&line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let answer = match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
        ["SET", name, value] => {
            values.borrow_mut().insert(name.to_owned(), value.to_owned());
            "OK\n".to_owned()
        }
        ["GET", name] => match values.borrow().get(name) {
            Some(value) => format!("VALUE {value}\n"),
            None => "NONE\n".to_owned(),
        },
        ["QUIT"] => {
            client.write_all(b"BYE\n").await?;
            return client.shutdown().await;
        }
        _ => "ERROR the commands are SET name value, GET name and QUIT\n".to_owned(),
    };
    client.write_all(answer.as_bytes()).await
}

fn reason_of(error: &io::Error) -> String {
    if let Some(cut) = IncompleteRead::of_io(error) {
        format!("the last line is cut: {:?}", String::from_utf8_lossy(&cut.partial))
    } else if let Some(limit) = LimitExceeded::of_io(error) {
        format!("a line has at most {} bytes", limit.size_max)
    } else {
        error.to_string()
    }
}
