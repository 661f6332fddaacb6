//! `ringtide completions` and `ringtide man`: their flags. What they print is made from the definitions of all commands
//! (`manual` and `completions`).

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

/// What `completions --help` says after the flags.
const COMPLETIONS_AFTER_HELP: &str =
    "It prints the completions for commands, flags and files. Where shells look for
them:
  bash  ~/.local/share/bash-completion/completions/ringtide
  zsh   a folder of $fpath, as _ringtide
  fish  ~/.config/fish/completions/ringtide.fish

Examples:
  For this bash only:
    source <(ringtide completions bash)
  For every new one (needs the package bash-completion):
    mkdir -p ~/.local/share/bash-completion/completions
    ringtide completions bash \\
      >~/.local/share/bash-completion/completions/ringtide";

/// What `man --help` says after the flags.
const MAN_AFTER_HELP: &str = "Without --dir, one page goes to standard output: that of COMMAND, or that of
ringtide itself.

Examples:
  Read the page of `ringtide run`:
    ringtide man run | man -l -
  Put all pages where man looks for them:
    ringtide man --dir ~/.local/share/man/man1";

/// A shell whose completions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// fish.
    Fish,
}

/// The flags of `completions`.
#[derive(Clone, Debug, Args)]
#[command(after_help = COMPLETIONS_AFTER_HELP)]
pub struct CompletionsArgs {
    /// bash, zsh or fish
    #[arg(value_enum, value_name = "SHELL", hide_possible_values = true)]
    pub shell: Shell,
}

/// The flags of `man`.
#[derive(Clone, Debug, Args)]
#[command(after_help = MAN_AFTER_HELP)]
pub struct ManArgs {
    /// The command whose page to print
    pub command: Option<String>,
    /// Write all pages to this folder, made if missing
    #[arg(long, value_hint = ValueHint::DirPath, conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}
