//! Text with markup, in which nothing that comes from outside can become markup: only constants of this program are
//! written as they are, everything else is escaped.

/// A piece of HTML, or of SVG within it.
#[derive(Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Writes markup of our own.
    pub(super) fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Writes text, escaped for the inside of elements and of quoted attributes.
    pub(super) fn text(&mut self, text: &str) {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' => self.0.push('\n'),
                // Neither these nor those that turn the direction of what follows have a place in a report.
                letter if letter.is_control() || is_turning(letter) => self.0.push('\u{fffd}'),
                letter => self.0.push(letter),
            }
        }
    }

    /// Opens an element.
    pub(super) fn open(&mut self, tag: &'static str, attributes: &[(&'static str, &str)]) {
        self.0.push('<');
        self.0.push_str(tag);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.text(value);
            self.0.push('"');
        }
        self.0.push('>');
    }

    /// Closes an element.
    pub(super) fn close(&mut self, tag: &'static str) {
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push('>');
    }

    /// Writes an element that holds only text.
    pub(super) fn element(&mut self, tag: &'static str, attributes: &[(&'static str, &str)], text: &str) {
        self.open(tag, attributes);
        self.text(text);
        self.close(tag);
    }

    /// Writes a heading, or another element without attributes that holds only text.
    pub(super) fn plain(&mut self, tag: &'static str, text: &str) {
        self.element(tag, &[], text);
    }

    /// All that was written.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Whether a character changes the direction of the text around it (Unicode, UAX 9).
fn is_turning(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let mut out = Markup::default();
        out.element("p", &[("title", "\"><script>")], "</p><script>alert('&')</script>\u{1}\u{202e}\n");
        assert_eq!(
            out.into_string(),
            "<p title=\"&quot;&gt;&lt;script&gt;\">&lt;/p&gt;&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;\
             \u{fffd}\u{fffd}\n</p>"
        );
    }

    proptest! {
        #[test]
        fn a_parser_reads_back_what_was_written(text in ".{0,40}", value in "[ -~äλ<>&\"']{0,40}") {
            let mut out = Markup::default();
            out.element("p", &[("title", &value)], &text);
            let markup = out.into_string();
            let document = roxmltree::Document::parse(&markup).expect("well-formed");
            let element = document.root_element();
            prop_assert_eq!(element.attribute("title"), Some(value.as_str()));
            prop_assert!(!element.children().any(|child| child.is_element()));
            let read = element.text().unwrap_or_default();
            let is_odd = |letter: char| letter.is_control() || is_turning(letter);
            let expected: String = text
                .chars()
                .map(|letter| if is_odd(letter) && letter != '\n' { '\u{fffd}' } else { letter })
                .collect();
            prop_assert!(read == expected || text.contains(['\u{fffe}', '\u{ffff}']), "{}", markup);
        }
    }
}
