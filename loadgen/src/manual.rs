//! Man pages from the definitions of the flags: ringtide(1), and one for each command.
//!
//! The text after the flags of a help becomes sections here. What only the manual says (environment, files) is below.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::Cli;
use crate::error::{Error, UsageError};

/// Sections that only ringtide(1) has, as the help of a command has those of its own.
const EXIT_STATUS: &str = "  0    done, and every threshold held
  1    could not run
  2    usage error
  3    a threshold or objective was missed, --max-errors was reached, or B is
       slower
  4    the measurement is not valid, and --require-valid was given
  130  interrupted; the report of what ran is still written

The page of a command tells which of them it has.";

const ENVIRONMENT: [(&str, &str); 4] = [
    ("RINGTIDE_DRIVER", "The I/O driver (io_uring or fallback) where --driver is not given."),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "Authorities to trust instead of the system's: a PEM file, or a folder of them.",
    ),
    ("NO_COLOR", "If it is not empty, reports have no colours."),
    ("NAME", "A scenario takes ${NAME} from the environment when it is read."),
];

const FILES: [(&str, &str); 6] = [
    ("FILE.toml", "A scenario (--scenario): users who walk through requests."),
    ("FILE.json", "A result (--format json -o FILE), for compare and merge."),
    (
        "FILE.jsonl",
        "JSON lines: a timed log to send (--replay), or the points of a run, one per second (--timeseries).",
    ),
    ("/etc/hosts, /etc/resolv.conf", "How names are resolved, by getaddrinfo(3)."),
    ("/etc/ssl/certs", "The authorities of the system, where --cacert names no others."),
    (
        "/proc/sys/kernel/io_uring_disabled",
        "If it is not 0, io_uring may be forbidden. The epoll driver then takes over, and the report says so.",
    ),
];

/// The page of a command, or ringtide(1).
///
/// # Errors
/// When there is no such command.
pub fn page(name: Option<&str>) -> Result<String, Error> {
    let root = built();
    let Some(name) = name else { return Ok(main_page(&root)) };
    let Some(command) = root.find_subcommand(name) else {
        let names: Vec<_> = root.get_subcommands().map(Command::get_name).collect();
        let problem = format!("there is no command `{name}`; the commands are {}", names.join(", "));
        return Err(UsageError::Value { flag: "COMMAND", problem }.into());
    };
    Ok(command_page(command))
}

/// Writes all pages to a folder, which is made if it is missing.
///
/// # Errors
/// When the folder or a file cannot be written.
pub fn write_all(dir: &Path) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| Error::Output { path, source }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    let root = built();
    let commands = root
        .get_subcommands()
        .map(|command| (format!("ringtide-{}.1", command.get_name()), command_page(command)));
    for (name, page) in commands.chain([("ringtide.1".to_owned(), main_page(&root))]) {
        let path = dir.join(name);
        fs::write(&path, page).map_err(failed(&path))?;
    }
    Ok(())
}

/// With the names and the usage of all commands, and with what clap_mangen leaves out of the flags.
fn built() -> Command {
    let mut root = Cli::command();
    root.build();
    with_usage(root).mut_subcommands(|command| {
        with_usage(command).mut_args(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            match arg.get_visible_short_aliases().as_deref() {
                Some([alias, ..]) => arg.help(format!("{help} [alias: -{alias}]")),
                _ => arg,
            }
        })
    })
}

/// The usage of the help, as clap_mangen would list all flags.
fn with_usage(mut command: Command) -> Command {
    let usage = command.render_usage().to_string();
    command.override_usage(usage.trim_start_matches("Usage: ").to_owned())
}

fn main_page(root: &Command) -> String {
    let mut page = Page::of(root);
    page.section("COMMANDS");
    for command in root.get_subcommands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        page.item(&format!("ringtide-{}(1)", command.get_name()), &about);
    }
    page.help_text(root);
    page.section("EXIT STATUS");
    page.paragraphs(EXIT_STATUS);
    page.section("ENVIRONMENT");
    for (name, text) in ENVIRONMENT {
        page.item(name, text);
    }
    page.section("FILES");
    for (name, text) in FILES {
        page.item(name, text);
    }
    page.text()
}

fn command_page(command: &Command) -> String {
    let mut page = Page::of(command);
    page.clap(|man, out| man.render_options_section(out));
    page.help_text(command);
    page.section("SEE ALSO");
    page.roff.text([bold("ringtide"), roman("(1) has the environment and the files.")]);
    page.text()
}

/// A page that is being made.
struct Page {
    man: Man,
    done: String,
    /// Of the sections after those of clap_mangen.
    roff: Roff,
    /// Whether nothing stands in the section yet.
    is_after_heading: bool,
}

impl Page {
    /// Begins the page of a command, up to its description.
    fn of(command: &Command) -> Self {
        let name = command.get_display_name().unwrap_or("ringtide");
        // clap_mangen leaves out a date that is empty, so all that follows it would be taken for it.
        let title = format!(
            ".TH {} 1 \"\" \"ringtide {}\" \"Ringtide\"\n",
            name.to_uppercase(),
            env!("CARGO_PKG_VERSION")
        );
        let man = Man::new(command.clone());
        let mut page = Self { man, done: String::new(), roff: Roff::new(), is_after_heading: false };
        page.append(&Roff::new().render());
        page.done.push_str(&title);
        page.clap(|man, out| man.render_name_section(out));
        page.clap(|man, out| man.render_synopsis_section(out));
        page.clap(|man, out| man.render_description_section(out));
        page
    }

    /// A section by clap_mangen.
    fn clap(&mut self, render: impl FnOnce(&Man, &mut dyn io::Write) -> io::Result<()>) {
        let mut rendered = Vec::new();
        render(&self.man, &mut rendered).expect("memory takes everything");
        let rendered = String::from_utf8(rendered).expect("it is made of strings");
        self.append(&rendered);
    }

    /// Appends what roff has rendered. Each time it begins with its definition of the apostrophe, of which one is enough.
    fn append(&mut self, rendered: &str) {
        let is_definition = |line: &&str| line.starts_with(".ie ") || line.starts_with(".el ");
        let skipped =
            if self.done.is_empty() { 0 } else { rendered.lines().take_while(is_definition).count() };
        for line in rendered.lines().skip(skipped) {
            self.done.push_str(line);
            self.done.push('\n');
        }
    }

    fn section(&mut self, title: &str) {
        self.roff.control("SH", [title]);
        self.is_after_heading = true;
    }

    fn item(&mut self, name: &str, text: &str) {
        self.roff.control("TP", []).text([bold(name)]).text([roman(text)]);
    }

    /// The text after the flags of a help, with a section for each of its headings.
    fn help_text(&mut self, command: &Command) {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let mut has_section = false;
        for block in text.split("\n\n") {
            let (first, rest) = block.split_once('\n').unwrap_or((block, ""));
            let heading = match first {
                "Example:" | "Examples:" => Some("EXAMPLES"),
                "Exit codes:" => Some("EXIT STATUS"),
                "Paths:" => Some("PATHS"),
                _ if has_section => None,
                _ => Some("NOTES"),
            };
            has_section = true;
            if let Some(heading) = heading {
                self.section(heading);
            }
            self.paragraphs(if heading.is_some_and(|heading| heading != "NOTES") { rest } else { block });
        }
    }

    /// Paragraphs, with blank lines between them. What is indented keeps its lines.
    fn paragraphs(&mut self, text: &str) {
        for paragraph in text.split("\n\n") {
            if !self.is_after_heading {
                self.roff.control("PP", []);
            }
            self.is_after_heading = false;
            let mut is_indented = false;
            for line in paragraph.lines() {
                let indented = line.strip_prefix("  ");
                if indented.is_some() != is_indented {
                    self.keep_lines(!is_indented);
                    is_indented = !is_indented;
                }
                self.roff.text([roman(indented.unwrap_or(line))]);
            }
            if is_indented {
                self.keep_lines(false);
            }
        }
    }

    fn keep_lines(&mut self, keep: bool) {
        if keep {
            self.roff.control("RS", ["2"]).control("nf", []);
        } else {
            self.roff.control("fi", []).control("RE", []);
        }
    }

    fn text(mut self) -> String {
        let rest = self.roff.render();
        self.append(&rest);
        // groff shows other characters for these, which a shell does not take.
        self.done.replace('~', "\\(ti").replace('^', "\\(ha").replace('`', "\\(ga")
    }
}
