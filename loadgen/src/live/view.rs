//! What all parts of the screen are made of.

use ratatui::style::{Modifier, Style};

use super::figures::Figures;
use crate::progress::{Joined, Phase, Timetable};

/// What there is to show.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct View<'a> {
    /// What is run: lines, the second of which gives details.
    pub(super) title: &'a [String; 2],
    pub(super) timetable: Timetable,
    pub(super) phase: Phase,
    pub(super) joined: Joined,
    pub(super) figures: &'a Figures,
    pub(super) notices: &'a [String],
    pub(super) is_paused: bool,
    pub(super) has_keys: bool,
    pub(super) shows_help: bool,
    pub(super) has_colour: bool,
}

pub(super) fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}
