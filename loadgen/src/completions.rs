//! Completions of the command line for shells, from the definitions of its flags.

use clap::builder::{PossibleValuesParser, ValueRange};
use clap::{Arg, ArgAction, Command, CommandFactory as _};
use clap_complete::aot::{self, generate};

use crate::cli::{Cli, Shell};

/// The script that completes `ringtide` in this shell.
pub fn script(shell: Shell) -> String {
    let shell = match shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut command = Cli::command();
    command.build();
    let mut script = Vec::new();
    generate(shell, &mut offered(&command), "ringtide", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The command without the flags that its help hides: they would be offered and then refused. They cannot be removed
/// from a command, and others refer to them; so all are made anew from what is needed here.
fn offered(command: &Command) -> Command {
    let mut offered =
        Command::new(command.get_name().to_owned()).disable_help_subcommand(true).disable_help_flag(true);
    offered = offered.disable_version_flag(true);
    if let Some(about) = command.get_about() {
        offered = offered.about(about.clone());
    }
    let arguments = command.get_arguments().filter(|arg| !arg.is_hide_set());
    offered.args(arguments.map(offered_arg)).subcommands(command.get_subcommands().map(self::offered))
}

fn offered_arg(arg: &Arg) -> Arg {
    let count = arg.get_num_args().filter(ValueRange::takes_values);
    let action = match count {
        Some(_) => arg.get_action().clone(),
        // The actions of help and version end the program that generates a script.
        None => ArgAction::SetTrue,
    };
    let mut offered = Arg::new(arg.get_id().clone()).action(action).short(arg.get_short());
    offered = offered.visible_short_aliases(arg.get_visible_short_aliases().unwrap_or_default());
    if let Some(long) = arg.get_long() {
        offered = offered.long(long.to_owned());
    }
    if let Some(help) = arg.get_help() {
        offered = offered.help(help.clone());
    }
    if let Some(index) = arg.get_index() {
        offered = offered.index(index);
    }
    if let Some(count) = count {
        let names = arg.get_value_names().unwrap_or_default();
        offered = offered.value_hint(arg.get_value_hint()).value_names(names).num_args(count);
    }
    if let Some(values) = values(arg) {
        offered = offered.value_parser(PossibleValuesParser::new(values));
    }
    offered
}

/// The values that a flag can have, if its definition or the name of its value (`on|off`) lists them.
fn values(arg: &Arg) -> Option<Vec<String>> {
    let listed: Vec<String> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !listed.is_empty() {
        return Some(listed);
    }
    let name = arg.get_value_names()?.first()?;
    let is_listed = name.contains('|') && name.chars().all(|c| c.is_ascii_lowercase() || c == '|');
    is_listed.then(|| name.split('|').map(str::to_owned).collect())
}
