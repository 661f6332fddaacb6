//! The help of the live view, over the rest.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Block, Clear, Paragraph, Widget as _};

use super::view::bold;

/// The lines, of at most 56 columns, the keys first.
const TEXT: &str = "\
p, space   pause drawing, or go on; the run goes on
q          end the run now; its report is written
?, h       this help; Esc closes it
Ctrl-C     ends the run like q; twice: without a report

asked      what the schedule (-R) asks for
p50 … max  response times; in an open loop from when the
           request was due; ≥: it may have been longer
bars       the rate from 0, times logarithmic; a bar of
           several seconds is the highest time in them
waiting    due, but no connection is free: the server is
           behind
verdict    whether the figures are the server's; the
           report knows more and has the last word";

/// Draws it in the middle of `area`.
pub(super) fn draw(area: Rect, buffer: &mut Buffer) {
    let rows = TEXT.lines().count() as u16 + 2;
    let columns = TEXT.lines().map(|line| line.chars().count()).max().unwrap_or(0) as u16 + 4;
    let (width, height) = (columns.min(area.width), rows.min(area.height));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buffer);
    let block = Block::bordered().title(" Help ").title_style(bold());
    let inner = block.inner(place);
    block.render(place, buffer);
    let text = Rect { x: inner.x + 1, width: inner.width.saturating_sub(1), ..inner };
    Paragraph::new(TEXT).style(Style::new()).render(text.intersection(buffer.area), buffer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_a_small_terminal() {
        assert!(TEXT.lines().all(|line| line.chars().count() <= 56), "{TEXT}");
        assert!(TEXT.lines().count() <= 18);
    }
}
