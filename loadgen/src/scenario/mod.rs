//! The file of `--scenario`: users who walk through requests. It is read and checked here, once; the workers get a plan.

mod data;
mod file;
mod text;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use http::Method;
use regex::bytes::Regex;
use toml::{Spanned, Value};

use self::data::{Data, Form};
use self::file::File;
use crate::error::UsageError;
use crate::plan::{
    Capture, CaptureFrom, Generator, Header, NAMES_MAX, Plan, Request, RowOrder, Scenario, Step, Table,
    TextPart, UserKind,
};
use crate::units::parse_time_ns;

/// Reads the plan of a scenario. `url` is that of the command line, before that of the file; `headers` come before those of each
/// step.
///
/// # Errors
/// When a file cannot be read, or something in it is not right. The message names file and line, and what would be right.
pub fn read(path: &Path, url: Option<&str>, headers: &[Header]) -> Result<Plan, UsageError> {
    let text = fs::read_to_string(path).map_err(|source| UsageError::File {
        flag: "--scenario",
        path: path.to_owned(),
        source,
    })?;
    let reader = Reader { path, text: &text };
    let file: File = toml::from_str(&text).map_err(|error| reader.fault(error.span(), error.message()))?;
    reader.plan(file, url, headers)
}

/// The file that is read, to say where something is wrong in it.
struct Reader<'f> {
    path: &'f Path,
    text: &'f str,
}

/// The names that text may contain, and what they stand for.
#[derive(Default)]
struct Names {
    known: BTreeMap<String, Vec<TextPart>>,
    /// Captured values, and the step that captures each.
    captured: BTreeMap<String, (u16, usize)>,
}

impl Reader<'_> {
    /// An error at a place of the file.
    fn fault(&self, span: Option<Range<usize>>, problem: impl Into<String>) -> UsageError {
        let at = span.map_or(0, |span| span.start).min(self.text.len());
        let line = self.text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        UsageError::Line { path: self.path.to_owned(), line, problem: problem.into() }
    }

    fn at<T>(&self, place: &Spanned<T>, problem: impl Into<String>) -> UsageError {
        self.fault(Some(place.span()), problem)
    }

    fn plan(&self, file: File, url: Option<&str>, headers: &[Header]) -> Result<Plan, UsageError> {
        let mut plan = match (url, &file.url) {
            (Some(url), _) => Plan::for_url(url)?,
            (None, Some(url)) => {
                Plan::for_url(url.get_ref()).map_err(|error| self.at(url, error.to_string()))?
            }
            (None, None) => {
                let problem = "there is no URL to send to; write url = \"http://HOST:PORT\" at the top, or type it behind `run`";
                return Err(self.fault(None, problem));
            }
        };
        if file.step.is_empty() {
            let problem = "there is no step; write [[step]] with a name and a path";
            return Err(self.fault(None, problem));
        }
        let mut names = Names::default();
        let generators = self.variables(file.variables, &mut names)?;
        let tables = self.tables(file.data, &mut names)?;
        let mut values = generators.len();
        let step_names: Vec<String> =
            file.step.iter().map(|step| step.get_ref().name.get_ref().clone()).collect();
        self.check_names(&file.step)?;
        for (index, step) in file.step.iter().enumerate() {
            for name in step.get_ref().capture.keys() {
                self.check_name(name, &names)?;
                names.captured.insert(name.get_ref().clone(), (values as u16, index));
                values += 1;
            }
        }
        let users = self.users(&file.user, file.order.as_ref(), &file.step, &step_names)?;
        plan.requests.clear();
        let mut steps = Vec::new();
        for (index, step) in file.step.iter().enumerate() {
            let (request, step) = self.step(index, step, headers, &names, &users, &step_names)?;
            plan.requests.push(request);
            steps.push(step);
        }
        for index in 0..steps.len() {
            if steps[index].redirects > 0 {
                steps[index].redirect = Some(plan.requests.len() as u32);
                let name = format!("{} redirect", step_names[index]);
                let like = plan.requests[index].clone();
                plan.requests.push(Request { name, expect: None, ..like });
            }
        }
        if plan.requests.len() > NAMES_MAX {
            let problem =
                format!("there are {} steps and redirects; {NAMES_MAX} are possible", plan.requests.len());
            return Err(self.fault(None, problem));
        }
        plan.scenario = Some(Scenario { users, generators, values, tables, steps, cookies: file.cookies });
        Ok(plan)
    }

    /// The names of steps must differ.
    fn check_names(&self, steps: &[Spanned<file::Step>]) -> Result<(), UsageError> {
        for (index, step) in steps.iter().enumerate() {
            let name = &step.get_ref().name;
            if name.get_ref().trim().is_empty() {
                return Err(self.at(name, "a step needs a name, under which its results are kept"));
            }
            if steps[..index].iter().any(|other| other.get_ref().name.get_ref() == name.get_ref()) {
                return Err(self.at(name, format!("another step is named `{}`, too", name.get_ref())));
            }
        }
        Ok(())
    }

    /// A name that text may contain: it has a lower-case letter, so that it is no name of the environment's.
    fn check_name(&self, name: &Spanned<String>, names: &Names) -> Result<(), UsageError> {
        let text = name.get_ref();
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if !is_plain || !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            let problem = format!(
                "`{text}` cannot be a name: write letters, digits, - and _, at least one of them a lower-case letter (names \
                 without any are those of the environment)"
            );
            return Err(self.at(name, problem));
        }
        if names.known.contains_key(text) || names.captured.contains_key(text) {
            return Err(self.at(name, format!("`{text}` has a meaning already; choose another name")));
        }
        Ok(())
    }

    fn variables(
        &self,
        variables: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
        names: &mut Names,
    ) -> Result<Vec<Generator>, UsageError> {
        let mut generators = Vec::new();
        for (name, variable) in variables {
            self.check_name(&name, names)?;
            let parts = match variable.get_ref() {
                Value::String(text) => {
                    let find = |name: &str| {
                        environment(name).unwrap_or_else(|| {
                            Err(format!(
                                "`{name}` cannot stand in a variable; only names of the environment can, such as ${{TOKEN}}"
                            ))
                        })
                    };
                    text::parse(text, find).map_err(|problem| self.at(&variable, problem))?
                }
                Value::Integer(number) => vec![TextPart::Text(number.to_string())],
                Value::Table(made) => {
                    generators.push(self.generator(&name, &variable, made)?);
                    vec![TextPart::Value(generators.len() as u16 - 1)]
                }
                _ => return Err(self.at(&variable, how_to_make(name.get_ref()))),
            };
            names.known.insert(name.into_inner(), parts);
        }
        Ok(generators)
    }

    fn generator(
        &self,
        name: &Spanned<String>,
        place: &Spanned<Value>,
        made: &toml::Table,
    ) -> Result<Generator, UsageError> {
        let mut fields = made.iter();
        match (fields.next().map(|(key, value)| (key.as_str(), value)), fields.next()) {
            (Some(("sequence", Value::Integer(first))), None) if *first >= 0 => {
                Ok(Generator::Sequence(*first as u64))
            }
            (Some(("random", Value::String(range))), None) => {
                let bounds = range.split_once("..").and_then(|(from, to)| {
                    Some((from.trim().parse::<u64>().ok()?, to.trim().parse::<u64>().ok()?))
                });
                match bounds {
                    Some((from, to)) if from <= to => Ok(Generator::Random(from, to)),
                    _ => {
                        let problem =
                            format!("`{range}` is no range of whole numbers; write for example \"1..100\"");
                        Err(self.at(place, problem))
                    }
                }
            }
            (Some(("one_of", Value::Array(values))), None) if !values.is_empty() => {
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let values: Option<Vec<String>> = values.iter().map(text).collect();
                values.map(Generator::OneOf).ok_or_else(|| self.at(place, how_to_make(name.get_ref())))
            }
            _ => Err(self.at(place, how_to_make(name.get_ref()))),
        }
    }

    fn tables(
        &self,
        files: BTreeMap<Spanned<String>, file::Data>,
        names: &mut Names,
    ) -> Result<Vec<Table>, UsageError> {
        let mut tables = Vec::new();
        for (name, data) in files {
            self.check_name(&name, names)?;
            let (file, form) = match (&data.csv, &data.jsonl) {
                (Some(file), None) => (file, Form::Csv),
                (None, Some(file)) => (file, Form::JsonLines),
                _ => {
                    let problem =
                        format!("`{}` needs either csv = \"FILE\" or jsonl = \"FILE\"", name.get_ref());
                    return Err(self.at(&name, problem));
                }
            };
            let path = self.beside(file.get_ref());
            if !path.is_file() {
                return Err(self.at(file, format!("there is no file `{}`", path.display())));
            }
            let order = match data.order.as_ref().map(|order| (order, order.get_ref().as_str())) {
                None | Some((_, "in order")) => RowOrder::InOrder,
                Some((_, "random")) => RowOrder::Random,
                Some((_, "unique")) => RowOrder::Unique,
                Some((order, other)) => {
                    let problem = format!(
                        "`{other}` is no order of rows; there are \"in order\", \"random\" and \"unique\""
                    );
                    return Err(self.at(order, problem));
                }
            };
            let Data { columns, rows, lines } = data::read(&path, form)?;
            // A value may stand in a header, which must not end in the middle of it.
            for (row, line) in rows.iter().zip(lines) {
                if let Some(value) = row.iter().find(|value| value.contains(['\r', '\n', '\0'])) {
                    let problem =
                        format!("the value {value:?} has a line break or a zero, which no header can have");
                    return Err(UsageError::Line { path, line, problem });
                }
            }
            for (column, column_name) in columns.iter().enumerate() {
                let part = TextPart::Column { table: tables.len() as u16, column: column as u16 };
                names.known.insert(format!("{}.{column_name}", name.get_ref()), vec![part]);
            }
            names.known.insert(name.get_ref().clone(), Vec::new());
            tables.push(Table { rows, order });
        }
        Ok(tables)
    }

    /// A file that the scenario names: relative to the scenario.
    fn beside(&self, name: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(name)
    }

    fn users(
        &self,
        users: &[Spanned<file::User>],
        order: Option<&Spanned<String>>,
        steps: &[Spanned<file::Step>],
        names: &[String],
    ) -> Result<Vec<UserKind>, UsageError> {
        if users.is_empty() {
            let by_weight = self.by_weight(order)?;
            return Ok(vec![UserKind { weight: 1.0, by_weight, steps: (0..steps.len() as u32).collect() }]);
        }
        if let Some(order) = order {
            return Err(self.at(order, "each [[user]] has an order of its own; write it there"));
        }
        let kind = |user: &Spanned<file::User>| {
            let file::User { weight, order, steps, .. } = user.get_ref();
            if steps.is_empty() {
                return Err(self.at(user, "the user has no steps; write for example steps = [\"login\"]"));
            }
            let step = |name: &Spanned<String>| {
                let place = names.iter().position(|other| other == name.get_ref());
                place.map(|place| place as u32).ok_or_else(|| {
                    let problem =
                        format!("no step is named `{}`; there are {}", name.get_ref(), names.join(", "));
                    self.at(name, problem)
                })
            };
            Ok(UserKind {
                weight: self.weight(weight.as_ref())?,
                by_weight: self.by_weight(order.as_ref())?,
                steps: steps.iter().map(step).collect::<Result<_, _>>()?,
            })
        };
        users.iter().map(kind).collect()
    }

    fn by_weight(&self, order: Option<&Spanned<String>>) -> Result<bool, UsageError> {
        match order.map(|order| (order, order.get_ref().as_str())) {
            None | Some((_, "sequence")) => Ok(false),
            Some((_, "weight")) => Ok(true),
            Some((order, other)) => Err(self
                .at(order, format!("`{other}` is no order of steps; there are \"sequence\" and \"weight\""))),
        }
    }

    fn weight(&self, weight: Option<&Spanned<f64>>) -> Result<f64, UsageError> {
        match weight.map(|weight| (weight, *weight.get_ref())) {
            None => Ok(1.0),
            Some((_, number)) if number.is_finite() && number > 0.0 => Ok(number),
            Some((weight, number)) => Err(self.at(weight, format!("the weight {number} is not above 0"))),
        }
    }

    fn step(
        &self,
        index: usize,
        step: &Spanned<file::Step>,
        headers: &[Header],
        names: &Names,
        users: &[UserKind],
        step_names: &[String],
    ) -> Result<(Request, Step), UsageError> {
        let spanned = step;
        let step = step.get_ref();
        let parse = |text: &Spanned<String>| {
            text::parse(text.get_ref(), |name| names.find(name, index, users, step_names))
                .map_err(|problem| self.at(text, problem))
        };
        let method = step.method.as_ref().map_or("GET", |method| method.get_ref());
        if Method::from_bytes(method.as_bytes()).is_err() {
            let problem = format!("`{method}` is not an HTTP method");
            return Err(self.at(step.method.as_ref().unwrap_or(&step.path), problem));
        }
        if !step.path.get_ref().starts_with(['/', '$']) {
            let problem = format!(
                "the path `{}` does not begin with `/`; scheme and host are those of the URL",
                step.path.get_ref()
            );
            return Err(self.at(&step.path, problem));
        }
        let is_own = |header: &&Header| {
            !step.headers.keys().any(|name| name.get_ref().eq_ignore_ascii_case(&header.name))
        };
        let mut fields: Vec<(String, Vec<TextPart>)> = headers
            .iter()
            .filter(is_own)
            .map(|header| (header.name.clone(), vec![TextPart::Text(header.value.clone())]))
            .collect();
        for (name, value) in &step.headers {
            if name.get_ref().eq_ignore_ascii_case("content-length") {
                return Err(self.at(name, "leave Content-Length out: it follows from the body"));
            }
            fields.push((name.get_ref().clone(), parse(value)?));
        }
        let expect = step.expect.as_ref().map(|expect| {
            expect.get_ref().parse().map_err(|error| self.at(expect, format!("expect: {error}")))
        });
        let request = Request {
            name: step.name.get_ref().clone(),
            weight: self.weight(step.weight.as_ref())?,
            method: method.to_owned(),
            expect: expect.transpose()?,
            headers: Vec::new(),
            ..Request::get(step.path.get_ref())
        };
        let captures = step.capture.iter().map(|(name, capture)| self.capture(name, capture, names));
        let step = Step {
            target: parse(&step.path)?,
            headers: fields,
            body: step.body.as_ref().map_or(Ok(Vec::new()), parse)?,
            captures: captures.collect::<Result<_, _>>()?,
            think_ns: step.think.as_ref().map_or(Ok((0, 0)), |think| self.think(think))?,
            redirects: step.redirects,
            redirect: None,
        };
        if let Err(problem) = crate::template::check(&request.method, &step) {
            return Err(self.at(spanned, format!("the request cannot be sent: {problem}")));
        }
        Ok((request, step))
    }

    fn capture(
        &self,
        name: &Spanned<String>,
        capture: &Spanned<file::Capture>,
        names: &Names,
    ) -> Result<Capture, UsageError> {
        let from = match capture.get_ref().clone_parts() {
            (Some(field), None, None) => CaptureFrom::Header(field),
            (None, Some(pointer), None) => {
                if !pointer.is_empty() && !pointer.starts_with('/') {
                    let problem =
                        format!("`{pointer}` is no JSON pointer; it begins with `/`, as in \"/items/0/id\"");
                    return Err(self.at(capture, problem));
                }
                CaptureFrom::Json(pointer)
            }
            (None, None, Some(pattern)) => {
                if let Err(error) = Regex::new(&pattern) {
                    let text = error.to_string();
                    let last = text.lines().last().unwrap_or_default().trim();
                    return Err(self.at(capture, format!("`{pattern}` is no regular expression: {last}")));
                }
                CaptureFrom::Regex(pattern)
            }
            _ => {
                let problem = format!(
                    "`{}` needs one of these: {{ header = \"NAME\" }}, {{ json = \"/id\" }}, {{ regex = 'id=(\\d+)' }}",
                    name.get_ref()
                );
                return Err(self.at(capture, problem));
            }
        };
        let value = names.captured.get(name.get_ref()).map_or(0, |(value, _)| *value);
        Ok(Capture { value, name: name.get_ref().clone(), from })
    }

    fn think(&self, think: &Spanned<String>) -> Result<(u64, u64), UsageError> {
        let text = think.get_ref();
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let time = |text: &str| parse_time_ns(text.trim()).map_err(|error| self.at(think, error.to_string()));
        let (from, to) = (time(from)?, time(to)?);
        if from > to {
            return Err(
                self.at(think, format!("`{text}` ends before it begins; write for example \"1s..3s\""))
            );
        }
        Ok((from, to))
    }
}

fn how_to_make(name: &str) -> String {
    format!(
        "`{name}` needs a text, a whole number, or one of these: {{ sequence = 1 }}, {{ random = \"1..100\" }}, \
         {{ one_of = [\"a\", \"b\"] }}"
    )
}

impl file::Capture {
    fn clone_parts(&self) -> (Option<String>, Option<String>, Option<String>) {
        (self.header.clone(), self.json.clone(), self.regex.clone())
    }
}

impl Names {
    /// What a name in step `index` stands for.
    fn find(
        &self,
        name: &str,
        index: usize,
        users: &[UserKind],
        steps: &[String],
    ) -> Result<Vec<TextPart>, String> {
        if let Some(found) = environment(name) {
            return found;
        }
        if let Some((value, by)) = self.captured.get(name) {
            // On each walk through this step, the one that captures comes before.
            let step_name = &steps[*by];
            for user in users.iter().filter(|user| user.steps.contains(&(index as u32))) {
                if user.by_weight {
                    return Err(format!(
                        "`{name}` is captured by step `{step_name}`, which may not have come before, as the order is by weight; \
                         use order = \"sequence\""
                    ));
                }
                let first = |step: usize| user.steps.iter().position(|own| *own as usize == step);
                if first(*by).is_none_or(|by| Some(by) >= first(index)) {
                    return Err(format!(
                        "`{name}` is captured by step `{step_name}`, which does not come before `{}`; change the order of the steps",
                        steps[index]
                    ));
                }
            }
            return Ok(vec![TextPart::Value(*value)]);
        }
        match self.known.get(name) {
            Some(parts) if !parts.is_empty() || !self.is_table(name) => Ok(parts.clone()),
            _ => {
                let known =
                    self.known.keys().filter(|known| !self.is_table(known)).chain(self.captured.keys());
                let known: Vec<&str> = known.map(String::as_str).collect();
                let there = match &known[..] {
                    [] => "none is defined".to_owned(),
                    known => format!("known: {}", known.join(", ")),
                };
                Err(format!(
                    "unknown variable `{name}`: it is not in [variables], no column of [data] and not captured; {there}"
                ))
            }
        }
    }

    fn is_table(&self, name: &str) -> bool {
        let prefix = format!("{name}.");
        self.known.keys().any(|known| known.starts_with(&prefix))
    }
}

/// The value of a name of the environment; `None` if it has a lower-case letter, so that it is none.
fn environment(name: &str) -> Option<Result<Vec<TextPart>, String>> {
    let is_one = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    is_one.then(|| match std::env::var(name) {
        Ok(value) if value.contains(['\r', '\n', '\0']) => {
            Err(format!("the environment's `{name}` has a line break or a zero"))
        }
        Ok(value) => Ok(vec![TextPart::Text(value)]),
        Err(_) => Err(format!(
            "`{name}` is not set in the environment; set it, or use a lower-case name for a variable"
        )),
    })
}
