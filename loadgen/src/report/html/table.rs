//! Tables: a caption, a heading for each column and each row, and text in between. Wide ones scroll by themselves.

use super::decoded::Decoded;
use super::markup::Markup;

/// A table.
#[derive(Debug, Default)]
pub(super) struct Table<'a> {
    /// What it shows.
    pub(super) caption: &'a str,
    /// The heading of the column with the rows' headings.
    pub(super) corner: &'a str,
    /// The headings of the others; none if there is only one column, whose heading would say nothing.
    pub(super) heads: Vec<Head<'a>>,
    /// The rows.
    pub(super) rows: Vec<(String, Vec<Cell>)>,
    /// Whether it holds figures, which are aligned at the right.
    pub(super) is_numeric: bool,
}

/// The heading of a column.
#[derive(Debug)]
pub(super) struct Head<'a> {
    /// The letter of a result, and its colour.
    pub(super) letter: Option<(&'static str, &'static str)>,
    /// Its text.
    pub(super) text: &'a str,
}

/// A place in a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// What is in it.
    pub(super) text: String,
    /// A remark below.
    pub(super) detail: String,
    /// How it is meant.
    pub(super) tone: Tone,
}

/// How a text is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// Neither good nor bad.
    #[default]
    Neutral,
    /// As it should be.
    Good,
    /// Something is wrong.
    Bad,
    /// Not as in the other columns.
    Different,
}

impl Tone {
    fn class(self) -> Option<&'static str> {
        match self {
            Self::Neutral => None,
            Self::Good => Some("good"),
            Self::Bad => Some("bad"),
            Self::Different => Some("different"),
        }
    }
}

impl Cell {
    /// A place with text.
    pub(super) fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The same, meant otherwise if `is_so`.
    pub(super) fn toned(self, tone: Tone, is_so: bool) -> Self {
        if is_so { Self { tone, ..self } } else { self }
    }
}

impl<'a> Head<'a> {
    /// Headings of plain text.
    pub(super) fn texts(texts: &[&'a str]) -> Vec<Self> {
        texts.iter().map(|text| Self { letter: None, text }).collect()
    }

    /// A heading for each result; none for a single one.
    pub(super) fn results(all: &'a [Decoded<'a>]) -> Vec<Self> {
        let head = |one: &'a Decoded<'a>| Self { letter: Some((one.letter, one.colour)), text: one.name };
        if all.len() > 1 { all.iter().map(head).collect() } else { Vec::new() }
    }
}

impl Table<'_> {
    /// Writes it. A table without rows is left out.
    pub(super) fn write(&self, out: &mut Markup) {
        if self.rows.is_empty() {
            return;
        }
        let region =
            [("class", "scroll"), ("role", "region"), ("tabindex", "0"), ("aria-label", self.caption)];
        out.open("div", &region);
        out.open("table", &[("class", if self.is_numeric { "figures" } else { "facts" })]);
        out.plain("caption", self.caption);
        if !self.heads.is_empty() {
            out.raw("<thead><tr>");
            out.element("th", &[("scope", "col")], self.corner);
            for head in &self.heads {
                out.open("th", &[("scope", "col")]);
                if let Some((letter, colour)) = head.letter {
                    write_letter(out, letter, colour);
                }
                out.text(head.text);
                out.close("th");
            }
            out.raw("</tr></thead>\n");
        }
        out.raw("<tbody>\n");
        for (name, cells) in &self.rows {
            out.raw("<tr>");
            out.element("th", &[("scope", "row")], name);
            for cell in cells {
                match cell.tone.class() {
                    Some(class) => out.open("td", &[("class", class)]),
                    None => out.raw("<td>"),
                }
                out.text(&cell.text);
                if !cell.detail.is_empty() {
                    out.raw("<small>");
                    out.text(&cell.detail);
                    out.raw("</small>");
                }
                out.raw("</td>");
            }
            out.raw("</tr>\n");
        }
        out.raw("</tbody></table></div>\n");
    }
}

/// The letter of a result in its colour.
pub(super) fn write_letter(out: &mut Markup, letter: &str, colour: &str) {
    out.element("span", &[("class", &format!("chip {colour}"))], letter);
    out.raw(" ");
}
