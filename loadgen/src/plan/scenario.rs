//! A scenario as plain data: users who walk through the requests of a plan, and where the values in these come from.

use serde::{Deserialize, Serialize};

/// Users who walk through the requests of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// The kinds of users; at least one.
    pub users: Vec<UserKind>,
    /// What is made anew for each walk. Generator `n` makes value `n`; captured values follow.
    pub generators: Vec<Generator>,
    /// How many values a user has: generated and captured ones.
    pub values: usize,
    /// Where further values come from.
    pub tables: Vec<Table>,
    /// One for each request of the plan that a user walks to, in the same order.
    pub steps: Vec<Step>,
    /// Whether each user keeps the cookies that it is given.
    pub cookies: bool,
}

/// Users who walk in the same way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserKind {
    /// How many there are, relative to the other kinds. Finite and above 0.
    pub weight: f64,
    /// Whether each step is chosen by its weight, instead of one after the other.
    pub by_weight: bool,
    /// The steps; at least one.
    pub steps: Vec<u32>,
}

/// A piece of text in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextPart {
    /// Always the same.
    Text(String),
    /// A value of the user.
    Value(u16),
    /// A column of the row that the user has of a table.
    Column {
        /// The table.
        table: u16,
        /// Its column.
        column: u16,
    },
}

/// What one request of a user is made of, and what follows from its response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Path and query.
    pub target: Vec<TextPart>,
    /// Fields, in order.
    pub headers: Vec<(String, Vec<TextPart>)>,
    /// The body; empty for none.
    pub body: Vec<TextPart>,
    /// What is taken from the response.
    pub captures: Vec<Capture>,
    /// How long the user waits afterwards, at least and at most.
    pub think_ns: (u64, u64),
    /// How many redirects in a row are followed.
    pub redirects: u32,
    /// The request of the plan under whose name they are counted, if they are followed.
    pub redirect: Option<u32>,
}

/// A value that is taken from a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// Which value of the user it becomes.
    pub value: u16,
    /// Its name, for messages.
    pub name: String,
    /// Where it is.
    pub from: CaptureFrom,
}

/// Where a value is in a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureFrom {
    /// The first field of this name.
    Header(String),
    /// At this place of a JSON body (RFC 6901).
    Json(String),
    /// What the first group of this expression matches in the body, or all of it if there is no group. Valid.
    Regex(String),
}

/// What makes a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generator {
    /// Whole numbers from this one on, each once.
    Sequence(u64),
    /// A random whole number, both ends included.
    Random(u64, u64),
    /// One of these at random; not empty.
    OneOf(Vec<String>),
}

/// Rows of values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Each has as many values as the others; there is at least one.
    pub rows: Vec<Vec<String>>,
    /// Which row a walk gets.
    pub order: RowOrder,
}

/// Which row of a table a walk gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowOrder {
    /// The next one, and after the last the first again.
    #[default]
    InOrder,
    /// Any.
    Random,
    /// The next one; after the last, no further walk begins.
    Unique,
}
