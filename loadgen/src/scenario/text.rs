//! Text with `${NAME}` in it.

use crate::plan::TextPart;

/// Splits `text` into parts; `find` knows what a name stands for. `$${` is a `${` that stands for nothing.
///
/// # Errors
/// The problem in words: a name that is not closed, or the error of `find`.
pub(super) fn parse(
    text: &str,
    mut find: impl FnMut(&str) -> Result<Vec<TextPart>, String>,
) -> Result<Vec<TextPart>, String> {
    let mut parts: Vec<TextPart> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            push(&mut parts, TextPart::Text(format!("{}${{", &rest[..at - 1])));
            rest = &rest[at + 2..];
            continue;
        }
        push(&mut parts, TextPart::Text(rest[..at].to_owned()));
        let after = &rest[at + 2..];
        let Some(end) = after.find('}') else {
            return Err(format!(
                "`{}` lacks its closing `}}`; a `${{` that is meant so is written `$${{`",
                &rest[at..]
            ));
        };
        for part in find(after[..end].trim())? {
            push(&mut parts, part);
        }
        rest = &after[end + 1..];
    }
    push(&mut parts, TextPart::Text(rest.to_owned()));
    Ok(parts)
}

/// Appends a part; texts become one.
fn push(parts: &mut Vec<TextPart>, part: TextPart) {
    match (parts.last_mut(), part) {
        (_, TextPart::Text(text)) if text.is_empty() => {}
        (Some(TextPart::Text(last)), TextPart::Text(text)) => last.push_str(&text),
        (_, part) => parts.push(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_parts() {
        let find = |name: &str| match name {
            "id" => Ok(vec![TextPart::Value(3)]),
            "text" => Ok(vec![TextPart::Text("T".to_owned())]),
            _ => Err(format!("no {name}")),
        };
        let text = |text: &str| TextPart::Text(text.to_owned());
        for (typed, parts) in [
            ("", vec![]),
            ("a$b{c}", vec![text("a$b{c}")]),
            ("/${id}", vec![text("/"), TextPart::Value(3)]),
            ("${ id }${id}x", vec![TextPart::Value(3), TextPart::Value(3), text("x")]),
            ("a${text}b", vec![text("aTb")]),
            ("$${id}${id}", vec![text("${id}"), TextPart::Value(3)]),
        ] {
            assert_eq!(parse(typed, find), Ok(parts), "{typed}");
        }
        assert!(parse("/${id", find).expect_err("open").contains("`${id` lacks its closing `}`"));
        assert_eq!(parse("${x}", find), Err("no x".to_owned()));
    }
}
