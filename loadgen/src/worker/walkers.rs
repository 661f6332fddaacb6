//! The users of a scenario on one worker: where each is, and what it carries with it. When each may go on is the matter of `queue`.

use std::ops::Range;
use std::sync::Arc;

use fastrand::Rng;
use regex::bytes::Regex;
use ringtide::PreparedRequest;
use ringtide::message::ResponseHead;

use super::choice::Choice;
use super::cookies::Jar;
use super::queue::Next;
use super::random;
use crate::plan::{Capture, CaptureFrom, Generator, Plan, RowOrder, Scenario, Step, Table};
use crate::template::{Templates, Values, set_number};

/// The users of one worker.
pub(super) struct Walkers {
    plan: Arc<Plan>,
    templates: Arc<Templates>,
    workers: usize,
    random: Rng,
    kinds: Choice,
    /// For each kind: the choice among its steps, if they are chosen by weight.
    steps: Vec<Option<Choice>>,
    /// The next numbers of the sequences, and the next rows of the tables.
    sequences: Vec<u64>,
    rows: Vec<usize>,
    /// The expressions of the captures, by the value that they become.
    patterns: Vec<Option<Regex>>,
    users: Vec<Walker>,
    /// The request that was rendered last.
    buffer: Vec<u8>,
}

/// One user.
#[derive(Default)]
struct Walker {
    /// Whether its next request begins a walk.
    is_new: bool,
    kind: usize,
    /// Its place in the steps of its kind.
    place: usize,
    /// The step that it is at.
    step: u32,
    /// How many redirects it has followed from there, and whether the last one keeps method and body.
    redirects: u32,
    keeps_method: bool,
    rows: Vec<usize>,
    values: Vec<Vec<u8>>,
    /// Whether each captured value was found in the head of the last response.
    found: bool,
    /// Where the last response leads to; empty if nowhere.
    location: Vec<u8>,
    jar: Jar,
}

impl Walkers {
    /// None yet. The plan has a scenario.
    pub(super) fn new(
        plan: &Arc<Plan>,
        scenario: &Scenario,
        templates: Arc<Templates>,
        worker: usize,
    ) -> Self {
        let weights: Vec<f64> = scenario.users.iter().map(|user| user.weight).collect();
        let weight_of = |step: &u32| plan.requests[*step as usize].weight;
        let steps = scenario.users.iter().map(|user| {
            user.by_weight.then(|| Choice::new(&user.steps.iter().map(weight_of).collect::<Vec<f64>>()))
        });
        let mut patterns = vec![None; scenario.values];
        for Capture { value, from, .. } in scenario.steps.iter().flat_map(|step| &step.captures) {
            if let CaptureFrom::Regex(pattern) = from {
                patterns[usize::from(*value)] = Regex::new(pattern).ok();
            }
        }
        Self {
            workers: plan.threads,
            random: Rng::with_seed(random::seed_of(plan.seed ^ 2, worker)),
            kinds: Choice::new(&weights),
            steps: steps.collect(),
            sequences: scenario
                .generators
                .iter()
                .map(|generator| match generator {
                    Generator::Sequence(first) => first + worker as u64,
                    _ => 0,
                })
                .collect(),
            rows: vec![worker; scenario.tables.len()],
            patterns,
            users: Vec::new(),
            buffer: Vec::new(),
            plan: Arc::clone(plan),
            templates,
        }
    }

    /// How many walks may begin on a worker: as many as it has rows of the shortest table whose rows are unique.
    pub(super) fn walks_max(scenario: &Scenario, worker: usize, workers: usize) -> u64 {
        let unique = scenario.tables.iter().filter(|table| table.order == RowOrder::Unique);
        let own = |table: &Table| (table.rows.len() + workers - 1 - worker) / workers;
        unique.map(|table| own(table) as u64).min().unwrap_or(u64::MAX)
    }

    /// The request of the plan that a user is at.
    #[inline]
    pub(super) fn request_of(&mut self, user: u32) -> u32 {
        let walker = self.walker(user);
        let (step, redirects) = (walker.step, walker.redirects);
        if redirects == 0 {
            return step;
        }
        self.step(step).and_then(|step| step.redirect).unwrap_or(step)
    }

    /// The next request of a user: what it is like, its bytes, and the size of its head.
    #[inline]
    pub(super) fn render(&mut self, user: u32) -> (&PreparedRequest, &[u8], usize) {
        let request = self.request_of(user);
        let walker = &self.users[user as usize];
        let template = self.templates.of(request, walker.keeps_method);
        let tables = self.plan.scenario.as_ref().map_or(&[][..], |scenario| &scenario.tables);
        let head_size = template.render(&Carried { walker, tables }, &mut self.buffer);
        (&template.like, &self.buffer, head_size)
    }

    /// The head of the response to a user's request has arrived.
    pub(super) fn see_head(&mut self, user: u32, head: &ResponseHead<'_>) {
        self.walker(user);
        let plan = &*self.plan;
        let Some(scenario) = &plan.scenario else { return };
        let authority = &plan.url.authority;
        let walker = &mut self.users[user as usize];
        walker.location.clear();
        walker.found = true;
        if scenario.cookies {
            for line in head.fields().get_all("set-cookie") {
                walker.jar.take(line);
            }
        }
        let Some(step) = scenario.steps.get(walker.step as usize) else { return };
        for Capture { value, from, .. } in &step.captures {
            if let CaptureFrom::Header(name) = from {
                let value = &mut walker.values[usize::from(*value)];
                value.clear();
                match head.fields().get(name) {
                    Some(text) => value.extend_from_slice(text),
                    None => walker.found = false,
                }
            }
        }
        let status = head.status().as_u16();
        let leads_on = matches!(status, 301 | 302 | 303 | 307 | 308);
        if leads_on
            && walker.redirects < step.redirects
            && let Some(location) = head.fields().get("location")
            && let Some(target) = target_of(location, plan.url.is_https, authority)
        {
            walker.location.extend_from_slice(target);
            // After a request that became a GET, there is no body to keep.
            walker.keeps_method =
                matches!(status, 307 | 308) && (walker.redirects == 0 || walker.keeps_method);
        }
    }

    /// The step whose rules the response to a user's request must follow; `None` if it leads on to another.
    pub(super) fn judged_by(&mut self, user: u32) -> Option<u32> {
        let walker = self.walker(user);
        walker.location.is_empty().then_some(walker.step)
    }

    /// Takes what is to be captured from a response that is complete.
    ///
    /// # Errors
    /// In a sentence, what was not there. It does not repeat what was.
    pub(super) fn capture(&mut self, user: u32, body: &[u8]) -> Result<(), String> {
        let walker = &mut self.users[user as usize];
        let step = self.plan.scenario.as_ref().and_then(|scenario| scenario.steps.get(walker.step as usize));
        let Some(step) = step.filter(|step| !step.captures.is_empty()) else { return Ok(()) };
        // The response that counts is the one at the end of the redirects.
        if !walker.location.is_empty() {
            return Ok(());
        }
        let mut json = None;
        for Capture { value, name, from } in &step.captures {
            let place = usize::from(*value);
            let value = &mut walker.values[place];
            match from {
                CaptureFrom::Header(field) if !walker.found && value.is_empty() => {
                    return Err(format!("nothing to capture for `{name}`: there was no field `{field}`"));
                }
                CaptureFrom::Header(_) => {}
                CaptureFrom::Json(pointer) => {
                    let parsed =
                        json.get_or_insert_with(|| serde_json::from_slice::<serde_json::Value>(body));
                    let found = parsed.as_ref().ok().and_then(|json| json.pointer(pointer));
                    value.clear();
                    match found {
                        Some(serde_json::Value::String(text)) => value.extend_from_slice(text.as_bytes()),
                        Some(other) => value.extend_from_slice(other.to_string().as_bytes()),
                        None => {
                            let what = if parsed.is_ok() {
                                "nothing was at that place"
                            } else {
                                "the body was not JSON"
                            };
                            return Err(format!("nothing to capture for `{name}` at {pointer}: {what}"));
                        }
                    }
                }
                CaptureFrom::Regex(pattern) => {
                    let captures = self.patterns[place].as_ref().and_then(|regex| regex.captures(body));
                    let found = captures.as_ref().and_then(|found| found.get(1).or_else(|| found.get(0)));
                    value.clear();
                    match found {
                        Some(found) => value.extend_from_slice(found.as_bytes()),
                        None => {
                            return Err(format!(
                                "nothing to capture for `{name}`: the body does not match {pattern}"
                            ));
                        }
                    }
                }
            }
            if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                return Err(format!(
                    "what was captured for `{name}` has a line break or a zero, which no request can have"
                ));
            }
        }
        Ok(())
    }

    /// A user has its response, at `now_ns`.
    #[inline]
    pub(super) fn advance(&mut self, user: u32, now_ns: u64) -> Next {
        let Some(scenario) = &self.plan.scenario else { return Next::default() };
        let walker = &mut self.users[user as usize];
        let step = &scenario.steps[walker.step as usize];
        if !walker.location.is_empty() {
            walker.redirects += 1;
            return Next::default();
        }
        let (least, most) = step.think_ns;
        let think_ns = if least == most { least } else { self.random.u64(least..=most) };
        let until_ns = if think_ns > 0 { now_ns.saturating_add(think_ns) } else { 0 };
        walker.redirects = 0;
        let kind = &scenario.users[walker.kind];
        walker.place += 1;
        let anew = kind.by_weight || walker.place >= kind.steps.len();
        if anew {
            walker.is_new = true;
        } else {
            walker.step = kind.steps[walker.place];
        }
        Next { anew, until_ns }
    }

    /// A user's request has failed: the user gives up, and another takes its place.
    #[cold]
    pub(super) fn fail(&mut self, user: u32) -> Next {
        self.walker(user).is_new = true;
        Next { anew: true, until_ns: 0 }
    }

    /// A user, on its walk.
    #[inline]
    fn walker(&mut self, user: u32) -> &mut Walker {
        let place = user as usize;
        if place >= self.users.len() {
            self.users.resize_with(place + 1, || Walker { is_new: true, ..Walker::default() });
        }
        if self.users[place].is_new {
            self.begin(place);
        }
        &mut self.users[place]
    }

    /// Begins a walk. What it needs is in the memory of the last one.
    fn begin(&mut self, place: usize) {
        let Some(scenario) = &self.plan.scenario else { return };
        let walker = &mut self.users[place];
        walker.is_new = false;
        walker.kind = self.kinds.next(&mut self.random) as usize;
        walker.place = 0;
        (walker.redirects, walker.keeps_method) = (0, false);
        walker.location.clear();
        walker.jar.clear();
        let kind = &scenario.users[walker.kind];
        let first = self.steps[walker.kind].as_ref().map_or(0, |steps| steps.next(&mut self.random));
        walker.step = kind.steps[first as usize];
        walker.values.resize_with(scenario.values, Vec::new);
        for ((generator, sequence), value) in
            scenario.generators.iter().zip(&mut self.sequences).zip(&mut walker.values)
        {
            match generator {
                Generator::Sequence(_) => {
                    set_number(value, *sequence);
                    *sequence += self.workers as u64;
                }
                Generator::Random(from, to) => set_number(value, self.random.u64(*from..=*to)),
                Generator::OneOf(values) => {
                    value.clear();
                    value.extend_from_slice(values[self.random.usize(..values.len())].as_bytes());
                }
            }
        }
        walker.rows.resize(scenario.tables.len(), 0);
        for ((table, next), row) in scenario.tables.iter().zip(&mut self.rows).zip(&mut walker.rows) {
            let count = table.rows.len();
            *row = match table.order {
                RowOrder::Random => self.random.usize(..count),
                RowOrder::InOrder | RowOrder::Unique => {
                    let row = *next % count;
                    *next += self.workers;
                    row
                }
            };
        }
    }

    fn step(&self, step: u32) -> Option<&Step> {
        self.plan.scenario.as_ref()?.steps.get(step as usize)
    }
}

/// What a user's request is rendered from.
struct Carried<'w> {
    walker: &'w Walker,
    tables: &'w [Table],
}

impl Values for Carried<'_> {
    #[inline]
    fn value(&self, value: u16) -> &[u8] {
        &self.walker.values[usize::from(value)]
    }

    #[inline]
    fn column(&self, table: u16, column: u16) -> &[u8] {
        let table = usize::from(table);
        self.tables[table].rows[self.walker.rows[table]][usize::from(column)].as_bytes()
    }

    fn location(&self) -> &[u8] {
        &self.walker.location
    }

    fn cookies(&self, path: Range<usize>, out: &mut Vec<u8>) {
        self.walker.jar.write(path, out);
    }
}

/// Path and query of a `Location` at the same origin; `None` if it leads elsewhere.
fn target_of<'l>(location: &'l [u8], is_https: bool, authority: &str) -> Option<&'l [u8]> {
    let location = location.split(|byte| *byte == b'#').next()?;
    if location.starts_with(b"/") && !location.starts_with(b"//") {
        return Some(location);
    }
    let scheme: &[u8] = if is_https { b"https://" } else { b"http://" };
    let rest = location.strip_prefix(scheme)?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (host, target) = rest.split_at(end);
    host.eq_ignore_ascii_case(authority.as_bytes()).then_some(if target.is_empty() { b"/" } else { target })
}
