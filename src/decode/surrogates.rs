//! Lone surrogates: escapes such as `\ud83d` without their other half, which no UTF-8 text holds.
//!
//! Replaces each lone surrogate in a reply's bytes by `\ufffd`, and counts them. Nothing else is
//! changed.

use std::borrow::Cow;

use memchr::memmem;

/// Replaces lone surrogate escapes by the replacement character's, and counts them.
pub(super) fn replace_lone(text: &[u8]) -> (Cow<'_, [u8]>, u64) {
    let Some(first) = memmem::find(text, br"\u") else { return (Cow::Borrowed(text), 0) };
    let rest = &text[first..];
    if memmem::find(rest, br"\ud").or_else(|| memmem::find(rest, br"\uD")).is_none() {
        return (Cow::Borrowed(text), 0);
    }
    let mut fixed = Vec::new();
    let (mut at, mut kept, mut count) = (0, 0, 0);
    while let Some(backslash) = memchr::memchr(b'\\', &text[at..]) {
        let escape = at + backslash;
        at = match code_unit(text, escape) {
            None => escape + 2,
            Some(0xd800..=0xdbff)
                if matches!(code_unit(text, escape + 6), Some(0xdc00..=0xdfff)) =>
            {
                escape + 12
            }
            Some(0xd800..=0xdfff) => {
                fixed.extend_from_slice(&text[kept..escape]);
                fixed.extend_from_slice(br"\ufffd");
                (kept, count) = (escape + 6, count + 1);
                kept
            }
            Some(_) => escape + 6,
        }
        .min(text.len());
    }
    if count == 0 {
        return (Cow::Borrowed(text), 0);
    }
    fixed.extend_from_slice(&text[kept..]);
    (Cow::Owned(fixed), count)
}

/// The UTF-16 code unit of the escape `\uXXXX` at `at`, if there is one.
fn code_unit(text: &[u8], at: usize) -> Option<u32> {
    let hexadecimal = text.get(at..at + 6)?.strip_prefix(br"\u")?;
    let digits = std::str::from_utf8(hexadecimal).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_halves_are_replaced_and_pairs_are_kept() {
        for (text, fixed, count) in [
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#, 0),
            (r#""\ud83d""#, r#""\ufffd""#, 1),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#, 1),
            (r#""\ude00\uD83D x\\""#, r#""\ufffd\ufffd x\\""#, 2),
            (r#""\\ud83d""#, r#""\\ud83d""#, 0),
            (r#""\ud83"#, r#""\ud83"#, 0),
        ] {
            let (replaced, counted) = replace_lone(text.as_bytes());
            assert_eq!((std::str::from_utf8(&replaced).unwrap(), counted), (fixed, count));
        }
    }
}
