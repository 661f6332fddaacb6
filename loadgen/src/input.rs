//! What a run reads from files and standard input: the request's body, read before anything else happens.
//!
//! `cli` only notes where the body is; this module reads it into the plan.

use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;

use crate::error::UsageError;
use crate::plan::{Plan, Request};

/// Where to find the request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodySource {
    /// On the command line.
    Text(String),
    /// In this file.
    File(PathBuf),
    /// In standard input, up to its end.
    StandardInput,
}

impl BodySource {
    /// Reads the body into `plan`.
    ///
    /// # Errors
    /// When the body cannot be read, or a `Content-Length` header differs from its size. Do not use the plan then.
    pub fn load(self, plan: &mut Plan) -> Result<(), UsageError> {
        // A replayed request has a body of its own.
        if plan.open_loop().is_some_and(|open| !open.replay.is_empty()) {
            return plan.requests.iter().try_for_each(check_content_length);
        }
        let body = match self {
            Self::Text(text) => text.into_bytes(),
            Self::File(path) => fs::read(&path)
                .map_err(|source| UsageError::Body { name: format!("`{}`", path.display()), source })?,
            Self::StandardInput => {
                let mut body = Vec::new();
                io::stdin()
                    .lock()
                    .read_to_end(&mut body)
                    .map_err(|source| UsageError::Body { name: "standard input".to_owned(), source })?;
                body
            }
        };
        // A large body must not be in memory twice.
        let Some((last, others)) = plan.requests.split_last_mut() else { return Ok(()) };
        for request in others {
            request.body.clone_from(&body);
        }
        last.body = body;
        plan.requests.iter().try_for_each(check_content_length)
    }
}

fn check_content_length(request: &Request) -> Result<(), UsageError> {
    let size = request.body.len();
    let given = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("content-length"));
    for header in given {
        if header.value != size.to_string() {
            let problem = format!(
                "Content-Length: {} does not match the body of {size} bytes; leave it out, ringtide adds it",
                header.value
            );
            return Err(UsageError::Value { flag: "--header (-H)", problem });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Header;

    fn plan() -> Plan {
        Plan::for_url("http://h/").expect("valid")
    }

    #[test]
    fn a_body_that_cannot_be_read_is_named() {
        let source = BodySource::File("/nonexistent/body.json".into());
        let error = source.load(&mut plan()).expect_err("no such file").to_string();
        assert!(error.contains("/nonexistent/body.json"), "{error}");
    }

    #[test]
    fn a_content_length_must_be_that_of_the_body() {
        let mut plan = plan();
        plan.requests[0].headers = vec![Header { name: "content-length".to_owned(), value: "3".to_owned() }];
        BodySource::Text("abc".to_owned()).load(&mut plan).expect("it fits");
        assert_eq!(plan.requests[0].body, b"abc");
        let error = BodySource::Text("abcd".to_owned()).load(&mut plan).expect_err("wrong").to_string();
        assert!(error.contains("does not match the body of 4 bytes"), "{error}");
    }
}
