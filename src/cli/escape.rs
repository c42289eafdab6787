//! Escapes what is printed: text without characters that control a terminal.
//!
//! Everything for stdout, stderr and the log passes here, whatever its source. Control and
//! direction characters are written as `\u001b`, which JSON reads as the original character.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with control and direction characters escaped, except line breaks and tabs.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    escape(text, |_| false)
}

/// The same for a line that contains our own colors.
pub(super) fn shown_with_colours(text: &str) -> Cow<'_, str> {
    escape(text, |rest| {
        let code = rest.strip_prefix("\u{1b}[");
        let end = code.and_then(|code| code.find(|it: char| !it.is_ascii_digit() && it != ';'));
        code.zip(end).is_some_and(|(code, end)| code[end..].starts_with('m'))
    })
}

fn escape(text: &str, is_kept: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let is_obeyed = |(at, letter): &(usize, char)| obeys(*letter) && !is_kept(&text[*at..]);
    if !text.char_indices().any(|it| is_obeyed(&it)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for (at, letter) in text.char_indices() {
        if is_obeyed(&(at, letter)) {
            // Writing to a string does not fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(letter));
        } else {
            escaped.push(letter);
        }
    }
    Cow::Owned(escaped)
}

/// Whether a terminal or text renderer treats a character as a command: control characters, and
/// those that change the direction or line of the following text.
fn obeys(letter: char) -> bool {
    match letter {
        '\n' | '\t' => false,
        '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{feff}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{206f}' => true,
        letter => letter.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let text = "a\u{1b}]0;x\u{7}b\rc\u{9b}2Jd\u{202e}e\u{2066}f\u{7f}g\n\th";
        let expected = "a\\u001b]0;x\\u0007b\\u000dc\\u009b2Jd\\u202ee\\u2066f\\u007fg\n\th";
        assert_eq!(shown(text), expected);
        assert!(matches!(shown("plain: é 😀 שלום"), Cow::Borrowed(_)));
    }

    /// JSON stays the same JSON.
    #[test]
    fn escapes_have_jsons_form() {
        let text = serde_json::to_string("\u{202e}\u{9b}\u{7f}").unwrap();
        let read: String = serde_json::from_str(&shown(&text)).unwrap();
        assert_eq!(read, "\u{202e}\u{9b}\u{7f}");
    }

    #[test]
    fn our_own_colors_are_kept() {
        let line = "\u{1b}[2m12:00\u{1b}[0m \u{1b}[1;31mred\u{1b}[0m";
        assert_eq!(shown_with_colours(line), line);
        assert_eq!(shown_with_colours("\u{1b}[2Jx\u{1b}"), "\\u001b[2Jx\\u001b");
    }
}
