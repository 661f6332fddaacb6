//! The style sheet, and its hash. The page allows itself this one and nothing else, so a style that comes in from outside
//! does nothing.

/// The style sheet.
pub(super) const CSS: &str = include_str!("style.css");

/// The hash of [`CSS`] in the words of CSP (Content Security Policy Level 3, §6.7.4.1).
pub(super) const HASH: &str = "sha256-awxzJDevk+0K92Ufmujfnko/xglcZGdbZdAOOa/dSCY=";

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn the_hash_is_that_of_the_style_sheet() {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, CSS.as_bytes());
        assert_eq!(HASH, format!("sha256-{}", STANDARD.encode(digest)));
    }

    #[test]
    fn it_loads_nothing() {
        for word in ["url(", "@import", "@font-face", "<"] {
            assert!(!CSS.contains(word), "{word}");
        }
    }

    /// The relative luminance of a colour such as `#0b62b0` (WCAG 2.2).
    fn luminance(colour: &str) -> f64 {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).expect("hexadecimal")) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_and_lines_stand_out_light_dark_and_printed() {
        let palettes: Vec<&str> =
            CSS.split(":root {").skip(1).map(|rest| &rest[..rest.find('}').expect("closed")]).collect();
        assert_eq!(palettes.len(), 3);
        for palette in &palettes {
            let of = |name: &str| {
                let name = format!("--{name}: ");
                let at = palette.find(&name).unwrap_or_else(|| panic!("no {name} in {palette}")) + name.len();
                &palette[at..at + 7]
            };
            let texts = [
                ("text", "page"),
                ("text", "panel"),
                ("faint", "page"),
                ("faint", "panel"),
                ("text", "different"),
                ("good", "page"),
                ("good", "good-panel"),
                ("bad", "page"),
                ("bad", "panel"),
                ("bad", "bad-panel"),
                ("good", "bad-panel"),
                ("bad", "good-panel"),
                ("open", "open-panel"),
                ("bad", "open-panel"),
                ("good", "open-panel"),
                ("text", "good-panel"),
                ("text", "bad-panel"),
                ("text", "open-panel"),
            ];
            for (front, back) in texts {
                assert!(
                    contrast(of(front), of(back)) >= 4.5,
                    "{front} on {back}: {}",
                    contrast(of(front), of(back))
                );
            }
            for number in 1..=8 {
                let colour = of(&format!("c{number}"));
                assert!(contrast(colour, of("page")) >= 4.5, "the letter of line {number}");
                assert!(contrast(colour, of("chip-text")) >= 4.5, "the letter on {number}");
            }
            let levels: Vec<f64> =
                (1..=7).map(|level| contrast(of(&format!("h{level}")), of("page"))).collect();
            assert!(levels.is_sorted(), "more is deeper: {levels:?}");
        }
    }

    #[test]
    fn print_is_as_light() {
        let palettes: Vec<Vec<&str>> = CSS
            .split(":root {")
            .skip(1)
            .map(|rest| rest[..rest.find('}').expect("closed")].split_whitespace().collect())
            .collect();
        let without_scheme = |palette: &[&str]| -> Vec<String> {
            palette
                .iter()
                .skip_while(|word| !word.starts_with("--page"))
                .map(|word| (*word).to_owned())
                .collect()
        };
        assert_eq!(without_scheme(&palettes[0]), without_scheme(&palettes[2]));
    }
}
