//! Tables of values from CSV (RFC 4180) and JSON lines.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::error::UsageError;

/// A table as it was read.
pub(super) struct Data {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    /// The line of each row.
    pub(super) lines: Vec<usize>,
}

/// How a table is written.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Csv,
    JsonLines,
}

type Fault = (usize, String);

/// Reads a table.
pub(super) fn read(path: &Path, form: Form) -> Result<Data, UsageError> {
    let text = fs::read_to_string(path).map_err(|source| UsageError::File {
        flag: "--scenario",
        path: path.to_owned(),
        source,
    })?;
    let data = match form {
        Form::Csv => csv(&text),
        Form::JsonLines => json_lines(&text),
    };
    data.map_err(|(line, problem)| UsageError::Line { path: path.to_owned(), line, problem })
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn csv(text: &str) -> Result<Data, Fault> {
    let mut records = records(text)?.into_iter();
    let Some((head_line, columns)) = records.next() else {
        return Err((1, "it is empty; the first line names the columns".to_owned()));
    };
    if let Some(column) = columns.iter().find(|column| column.trim().is_empty()) {
        return Err((head_line, format!("`{column}` is no name of a column")));
    }
    let columns: Vec<String> = columns.iter().map(|column| column.trim().to_owned()).collect();
    let mut data = Data { columns, rows: Vec::new(), lines: Vec::new() };
    for (line, record) in records {
        if record.len() != data.columns.len() {
            let problem = format!(
                "it has {}, but line {head_line} names {}: {}",
                counted(record.len(), "value"),
                counted(data.columns.len(), "column"),
                data.columns.join(", ")
            );
            return Err((line, problem));
        }
        data.rows.push(record);
        data.lines.push(line);
    }
    not_empty(data)
}

/// The records of a CSV, with their lines. Empty lines are left out.
fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>, Fault> {
    let mut records = Vec::new();
    let (mut record, mut field) = (Vec::new(), String::new());
    let (mut line, mut begun) = (1, 1);
    let mut characters = text.chars().peekable();
    let mut quoted_from = None;
    while let Some(character) = characters.next() {
        if quoted_from.is_some() {
            match character {
                '"' if characters.next_if_eq(&'"').is_some() => field.push('"'),
                '"' => quoted_from = None,
                _ => {
                    line += usize::from(character == '\n');
                    field.push(character);
                }
            }
            continue;
        }
        match character {
            '"' if field.is_empty() => quoted_from = Some(line),
            ',' => record.push(std::mem::take(&mut field)),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' => {
                if !(record.is_empty() && field.is_empty()) {
                    record.push(std::mem::take(&mut field));
                    records.push((begun, std::mem::take(&mut record)));
                }
                line += 1;
                begun = line;
            }
            _ => field.push(character),
        }
    }
    if let Some(from) = quoted_from {
        return Err((from, "a quoted value lacks its closing `\"`".to_owned()));
    }
    if !(record.is_empty() && field.is_empty()) {
        record.push(field);
        records.push((begun, record));
    }
    Ok(records)
}

fn json_lines(text: &str) -> Result<Data, Fault> {
    let mut data = Data { columns: Vec::new(), rows: Vec::new(), lines: Vec::new() };
    for (index, content) in text.lines().enumerate().filter(|(_, content)| !content.trim().is_empty()) {
        let line = index + 1;
        let object = match serde_json::from_str(content) {
            Ok(Value::Object(object)) => object,
            Ok(_) => {
                return Err((
                    line,
                    "it is no JSON object; write one on each line, such as {\"id\": 1}".to_owned(),
                ));
            }
            Err(error) => return Err((line, format!("it is not JSON: {error}"))),
        };
        if data.rows.is_empty() {
            data.columns = object.keys().cloned().collect();
        }
        if !object.keys().eq(&data.columns) {
            let (own, first): (Vec<_>, _) = (object.keys().cloned().collect(), data.columns.join(", "));
            return Err((line, format!("it has {}, and the first line has {first}", own.join(", "))));
        }
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        data.rows.push(object.into_iter().map(|(_, value)| text(value)).collect());
        data.lines.push(line);
    }
    not_empty(data)
}

fn not_empty(data: Data) -> Result<Data, Fault> {
    if data.rows.is_empty() { Err((1, "it has no row of values".to_owned())) } else { Ok(data) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_has_quotes_and_lines() {
        let data =
            csv("id, name\r\n1,a\n\n2,\"b, \"\"c\"\"\nd\"\n3,\n").unwrap_or_else(|fault| panic!("{fault:?}"));
        assert_eq!(data.columns, ["id", "name"]);
        assert_eq!(data.rows, [["1", "a"], ["2", "b, \"c\"\nd"], ["3", ""]]);
        assert_eq!(data.lines, [2, 4, 6]);
        for (text, line, says) in [
            ("", 1, "empty"),
            ("id\n", 1, "no row"),
            ("id,,x\n1,2,3\n", 1, "no name of a column"),
            ("id,name\n1,a\n2\n", 3, "it has 1 value, but line 1 names 2 columns: id, name"),
            ("id\n1,2\n", 2, "it has 2 values, but line 1 names 1 column: id"),
            ("id\n\"1\n", 2, "closing"),
        ] {
            let (at, problem) = csv(text).err().unwrap_or_else(|| panic!("{text} is taken"));
            assert!(at == line && problem.contains(says), "{text}: {at} {problem}");
        }
    }

    #[test]
    fn json_lines_have_the_same_names() {
        let data = json_lines("{\"id\": 1, \"name\": \"a\"}\n\n{\"name\": \"b\", \"id\": true}\n");
        let data = data.unwrap_or_else(|fault| panic!("{fault:?}"));
        assert_eq!(data.rows, [["1", "a"], ["true", "b"]]);
        for (text, line, says) in [
            ("", 1, "no row"),
            ("[1]\n", 1, "no JSON object"),
            ("{\"a\":1}\n{\"a\":\n", 2, "not JSON"),
            ("{\"a\":1}\n{\"b\":1}\n", 2, "it has b, and the first line has a"),
        ] {
            let (at, problem) = json_lines(text).err().unwrap_or_else(|| panic!("{text} is taken"));
            assert!(at == line && problem.contains(says), "{text}: {at} {problem}");
        }
    }
}
