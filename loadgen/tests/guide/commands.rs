//! The commands that a page shows.
//!
//! In a block of `sh`, each line is a command; `# exit code 3` behind it states the exit code. In a block of `console`, the
//! lines behind `$` are commands, and the others are what they print; `$ echo $?` below a command states its exit code. A
//! line that ends with a backslash goes on in the next one. A block such as `toml name=a.toml` is a file that the commands
//! of the page read.

/// A command as a page shows it.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The line that it begins in, from 1.
    pub(crate) line: usize,
    /// The text for the shell, in one line.
    pub(crate) text: String,
    /// The exit code that the page states.
    pub(crate) code: i32,
}

impl Shown {
    /// Returns whether it calls `ringtide`, rather than another program.
    pub(crate) fn is_ours(&self) -> bool {
        let mut before = ' ';
        self.text.match_indices("ringtide ").any(|(at, _)| {
            before = self.text[..at].chars().next_back().unwrap_or(' ');
            before.is_whitespace() || before == '('
        })
    }
}

/// The commands of a page, and its files by name.
pub(crate) fn of_markdown(text: &str) -> (Vec<Shown>, Vec<(String, String)>) {
    let (mut commands, mut files) = (Vec::new(), Vec::new());
    let mut lines = text.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<(usize, &str)> =
            lines.by_ref().take_while(|(_, line)| !line.starts_with("```")).collect();
        if let Some((_, name)) = info.split_once(" name=") {
            let content: Vec<&str> = block.iter().map(|(_, line)| *line).chain([""]).collect();
            files.push((name.to_owned(), content.join("\n")));
        }
        match info.split(' ').next().unwrap_or_default() {
            "sh" => commands.extend(of_script(&block)),
            "console" => commands.extend(of_session(&block)),
            _ => {}
        }
    }
    (commands, files)
}

/// The examples of a help text: lines that begin with the name of the program.
pub(crate) fn of_help(text: &str) -> Vec<Shown> {
    let examples = text.find("\nExample").map_or("", |at| &text[at..]);
    let skipped = text.len() - examples.len();
    let first = text[..skipped].lines().count();
    let lines: Vec<(usize, &str)> =
        examples.lines().enumerate().map(|(index, line)| (first + index, line)).collect();
    let starts = |line: &str| line.starts_with(' ') && line.trim_start().starts_with("ringtide ");
    joined(&lines)
        .into_iter()
        .filter(|(_, line)| starts(line))
        .map(|(line, text)| shown(line, &text))
        .collect()
}

fn of_script(block: &[(usize, &str)]) -> Vec<Shown> {
    let lines = joined(block).into_iter();
    lines
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .map(|(line, text)| shown(line, &text))
        .collect()
}

fn of_session(block: &[(usize, &str)]) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    let mut states_code = false;
    for (line, text) in joined(block) {
        match text.strip_prefix("$ ") {
            Some("echo $?") => states_code = true,
            Some(command) => commands.push(shown(line, command)),
            None if states_code => {
                let command = commands.last_mut().expect("a command before its exit code");
                command.code = text.trim().parse().unwrap_or_else(|_| panic!("line {line}: an exit code"));
                states_code = false;
            }
            None => {}
        }
    }
    commands
}

fn shown(index: usize, text: &str) -> Shown {
    let code = text.split_once("# exit code ").map_or(0, |(_, rest)| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("an exit code is a number")
    });
    let text = text.split_once(" # ").map_or(text, |(command, _)| command);
    Shown { line: index + 1, text: text.trim().to_owned(), code }
}

/// Joins each line that ends with a backslash with the next one.
fn joined(lines: &[(usize, &str)]) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for &(index, line) in lines {
        let (text, more) = line.strip_suffix('\\').map_or((line, false), |text| (text, true));
        match all.last_mut().filter(|_| goes_on) {
            Some((_, last)) => last.push_str(text.trim_start()),
            None => all.push((index, text.to_owned())),
        }
        goes_on = more;
    }
    all
}

#[test]
fn commands_are_found_with_their_exit_codes() {
    let page = "\
text ringtide run nothing
```sh
# a comment
ringtide run http://a/ \\
    -c 1        # exit code 3
wrk http://a/
```
```console
$ ringtide ab \\
    x y
Verdict
$ echo $?
4
```
```toml name=a.toml
a = 1
```
";
    let (commands, files) = of_markdown(page);
    let seen: Vec<_> = commands.iter().map(|c| (c.line, c.text.as_str(), c.code, c.is_ours())).collect();
    assert_eq!(
        seen,
        [
            (4, "ringtide run http://a/ -c 1", 3, true),
            (6, "wrk http://a/", 0, false),
            (9, "ringtide ab x y", 4, true)
        ]
    );
    assert_eq!(files, [("a.toml".to_owned(), "a = 1\n".to_owned())]);
}

#[test]
fn examples_of_a_help_text_are_found() {
    let help = "Usage: ringtide run\n\n  ringtide is no example\n\nExamples:\n  One:\n    ringtide run a \\\n      -c 1\n";
    let seen: Vec<_> = of_help(help).into_iter().map(|c| (c.line, c.text)).collect();
    assert_eq!(seen, [(7, "ringtide run a -c 1".to_owned())]);
}
