//! Repair: turns a body that is almost JSON into JSON.
//!
//! For bytes that came twice and do not parse. Broken parts become text: a cut character is U+FFFD,
//! and a bare `NaN` or an invalid number is a string. It never guesses at what is missing, so a
//! body that was cut off stays broken.
//!
//! No hash of the original bytes is kept. The content hash is that of the repaired record, and the
//! same bytes are always repaired alike, so an unchanged record counts as unchanged. Originals that
//! differ only in what cannot be read have the same row.

use super::number::is_number;

/// The body with broken parts as text; `None` when nothing can be repaired.
#[must_use]
pub fn repair(body: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(body);
    let bytes = text.as_bytes();
    let mut repaired = String::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'"' => end_of_string(bytes, at),
            byte if is_separator(byte) => at + 1,
            _ => {
                let rest = bytes[at..].iter();
                at + rest.take_while(|byte| !is_separator(**byte) && **byte != b'"').count()
            }
        };
        let token = &text[at..end];
        if is_separator(bytes[at]) || bytes[at] == b'"' || is_value(token) {
            repaired.push_str(token);
        } else {
            // Serializing text cannot fail; the empty default is never used.
            repaired.push_str(&serde_json::to_string(token).unwrap_or_default());
        }
        at = end;
    }
    (repaired.as_bytes() != body).then(|| repaired.into_bytes())
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b',') || byte.is_ascii_whitespace()
}

/// Whether a bare word is a JSON value.
fn is_value(token: &str) -> bool {
    // Of any size: that no double can hold it is for its column to say.
    matches!(token, "true" | "false" | "null") || is_number(token)
}

/// The position after the string that begins at `at`.
fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repaired(body: &[u8]) -> Option<serde_json::Value> {
        serde_json::from_slice(&repair(body)?).ok()
    }

    /// C6: broken parts become text, and everything around them stays as it is.
    #[test]
    fn broken_values_become_text() {
        for (body, expected) in [
            (&br#"{"a": NaN, "b": "NaN"}"#[..], r#"{"a": "NaN", "b": "NaN"}"#),
            (b"[-Infinity, 1e3, -0.5]", r#"["-Infinity", 1e3, -0.5]"#),
            (b"{\"a\": \"x\xe2\x82\", \"b\": \"\\\"\"}", "{\"a\": \"x\u{fffd}\", \"b\": \"\\\"\"}"),
            (
                br#"{"odd": 007, "range": 5-3, "x": 1e}"#,
                r#"{"odd": "007", "range": "5-3", "x": "1e"}"#,
            ),
        ] {
            let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
            assert_eq!(repaired(body), Some(expected));
        }
        let huge = repair(br#"{"a": NaN, "b": [1e400, -0, 12345678901234567890123]}"#).unwrap();
        assert_eq!(huge, br#"{"a": "NaN", "b": [1e400, -0, 12345678901234567890123]}"#);
        assert_eq!(repair(br#"{"a": 1}"#), None, "nothing to repair");
        assert_eq!(repaired(br#"{"a": NaN, "b": "#), None, "what was cut off stays broken");
    }
}
