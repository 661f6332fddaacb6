//! `ringtide merge` from outside: results of two runs that went on at the same time.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A server of our own, and a folder; both go away with the test.
struct Bench {
    server: Child,
    url: String,
    folder: PathBuf,
}

impl Bench {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ringtide-merge-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary directory can be written");
        let mut server = Command::new(env!("CARGO_BIN_EXE_ringtide"))
            .args(["serve", "--addr", "127.0.0.1:0", "-t", "1", "--until-stdin-closes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let stdout = server.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let url = line.trim().strip_prefix("listening on ").expect("a URL").to_owned();
        Self { server, url, folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn begin(&self, name: &str, flags: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_ringtide"))
            .args(["run", &self.url, "--format", "json", "-o", &self.file(name), "--quiet"])
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts")
    }

    fn read(&self, name: &str) -> Value {
        let text =
            fs::read_to_string(self.folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_str(&text).expect("JSON")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn merge(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringtide")).arg("merge").args(words).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn two_runs_at_the_same_time_become_one() {
    let bench = Bench::start("two");
    let flags =
        ["-R", "300", "-d", "2500ms", "-c", "2", "-t", "1", "--threshold", "p99<1ns", "--threshold", "rps>1"];
    let runs = [bench.begin("a.json", &flags), bench.begin("b.json", &flags)];
    for mut run in runs {
        assert_eq!(run.wait().expect("it ends").code(), Some(3));
    }
    let (a, b) = (bench.file("a.json"), bench.file("b.json"));
    let merged = merge(&[&a, &b, "--format", "json", "-o", &bench.file("all.json")]);
    assert_eq!(merged.status.code(), Some(3), "{}", text(&merged.stderr));
    assert!(text(&merged.stderr).contains("threshold missed: p99<1ns"), "{}", text(&merged.stderr));
    let (one, two, all) = (bench.read("a.json"), bench.read("b.json"), bench.read("all.json"));
    for field in ["scheduled", "sent", "completed", "failed", "censored"] {
        let sum = |of: &Value| of["requests"][field].as_u64().expect("a number");
        assert_eq!(sum(&all), sum(&one) + sum(&two), "{field}");
    }
    let count = |of: &Value| of["latency_us"]["response"]["count"].as_u64().expect("a number");
    assert_eq!(count(&all), count(&one) + count(&two));
    let max = |of: &Value| of["latency_us"]["response"]["max"].as_f64().expect("a number");
    assert!((max(&all) - max(&one).max(max(&two))).abs() < 1e-9);
    let from = |of: &Value| of["started_unix_s"].as_f64().expect("a number");
    let to = |of: &Value| of["ended_unix_s"].as_f64().expect("a number");
    assert!((from(&all) - from(&one).max(from(&two))).abs() < 1e-6, "the common window");
    assert!((to(&all) - to(&one).min(to(&two))).abs() < 1e-6, "the common window");
    assert_eq!(all["plan"]["rate"], 600.0);
    let points = all["series"]["points"].as_array().expect("points");
    let sum: u64 = points.iter().map(|point| point["completed"].as_u64().expect("a number")).sum();
    assert_eq!(Some(sum), all["requests"]["completed"].as_u64());
    // What was merged can be merged and shown again.
    let again = merge(&[&bench.file("all.json"), &a]);
    assert_eq!(again.status.code(), Some(3), "{}", text(&again.stderr));
    assert!(text(&again.stdout).contains("Verdict"), "{}", text(&again.stdout));
    let csv = merge(&[&a, &b, "--format", "csv"]);
    assert!(text(&csv.stdout).starts_with("url,method,"), "{}", text(&csv.stdout));
}

#[test]
fn what_cannot_be_merged_is_named() {
    let bench = Bench::start("refused");
    for (name, flags) in
        [("a.json", &["-n", "10", "-c", "1"][..]), ("b.json", &["-n", "10", "-c", "1", "-X", "PUT"])]
    {
        assert_eq!(bench.begin(name, flags).wait().expect("it ends").code(), Some(0));
    }
    let (a, b) = (bench.file("a.json"), bench.file("b.json"));
    fs::write(bench.file("text.json"), "no JSON").expect("writable");
    let mut broken = bench.read("a.json");
    broken["requests"].as_object_mut().expect("an object").remove("sent");
    fs::write(bench.file("broken.json"), broken.to_string()).expect("writable");
    let mut damaged = bench.read("a.json");
    damaged["histograms"]["service"]["completed"] = Value::from("!");
    fs::write(bench.file("damaged.json"), damaged.to_string()).expect("writable");
    for (words, says) in [
        (vec![a.clone()], "name at least two results".to_owned()),
        (vec![a.clone(), b.clone()], format!("{a} and {b} differ in plan.method: \"GET\" and \"PUT\"")),
        (vec![a.clone(), "/nonexistent.json".to_owned()], "/nonexistent.json: cannot be read: ".to_owned()),
        (vec![a.clone(), bench.file("text.json")], "text.json: is not JSON".to_owned()),
        (vec![a.clone(), bench.file("broken.json")], "missing field `sent` at line 1".to_owned()),
        (
            vec![a.clone(), bench.file("damaged.json")],
            "damaged.json: histograms.service.completed: it is".to_owned(),
        ),
    ] {
        let refused = merge(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.starts_with("error: ") && said.contains(&says), "`{says}` in {said}");
        assert!(refused.stdout.is_empty());
    }
    assert_eq!(merge(&[]).status.code(), Some(2));
}
