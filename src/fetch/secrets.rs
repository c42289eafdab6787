//! Secrets in what a server sends back: some servers repeat the credentials when they are debugged
//! (P8).
//!
//! The one place that finds and masks them: as they are, in percent-encoding, escaped as in JSON,
//! and within any base64, alone or behind others, as in `key:password`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::HeaderMap;

/// Replaces a secret.
const MASK: &str = "***";
/// A text with this much of a secret's beginning repeats the secret.
const MOST_SHOWN: usize = 12;
/// A shorter piece of base64 occurs by chance.
const SHORTEST_ENCODED: usize = 6;

/// The secrets of a request: the values of its sensitive headers.
#[derive(Default)]
pub(super) struct Secrets {
    /// As they were sent, the longest first: one may begin with another.
    plain: Vec<String>,
    /// The beginning of each, in lower case.
    beginnings: Vec<String>,
    /// What any base64 of a text that contains one has in it, in the standard alphabet.
    encoded: Vec<String>,
}

impl Secrets {
    pub(super) fn of(sent: &HeaderMap) -> Self {
        let values = sent.values().filter(|value| value.is_sensitive());
        let values = values.filter_map(|value| value.to_str().ok()).filter(|it| !it.is_empty());
        let mut plain: Vec<String> = values.map(str::to_owned).collect();
        plain.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        let beginning = |it: &String| it[..it.len().min(MOST_SHOWN)].to_ascii_lowercase();
        let beginnings = plain.iter().map(beginning).collect();
        let encoded = plain.iter().flat_map(|secret| (0..3).map(|at| within(secret, at)));
        let encoded = encoded.filter(|it| it.len() >= SHORTEST_ENCODED).collect();
        Self { plain, beginnings, encoded }
    }

    /// Whether a text repeats a secret, or most of one.
    pub(super) fn are_in(&self, text: &str) -> bool {
        let is_in = |text: &str| {
            let lower = text.to_ascii_lowercase();
            let standard = text.replace('-', "+").replace('_', "/");
            self.beginnings.iter().any(|it| lower.contains(it))
                || self.encoded.iter().any(|it| standard.contains(it))
        };
        let plain = unescaped(text);
        let decoded = [text, &plain].map(percent_decoded);
        is_in(text)
            || is_in(&plain)
            || decoded.iter().any(|it| is_in(it) || is_in(&it.replace('+', " ")))
    }

    /// A text without secrets: each is replaced, together with what it is encoded in.
    pub(super) fn masked(&self, text: &str) -> String {
        let plain = |text: String, secret: &String| text.replace(secret, MASK);
        let masked = self.plain.iter().fold(text.to_owned(), plain);
        if !self.are_in(&masked) {
            return masked;
        }
        let is_between = |it: char| !it.is_ascii_alphanumeric() && !"+/-_%.~\\".contains(it);
        let words = masked.split_inclusive(is_between).map(|word| {
            let end = word.strip_suffix(is_between).map_or(word.len(), str::len);
            if self.are_in(&word[..end]) { MASK.to_owned() + &word[end..] } else { word.to_owned() }
        });
        let masked: String = words.collect();
        if self.are_in(&masked) { MASK.to_owned() } else { masked }
    }
}

/// The characters of base64 that depend on the secret alone, if `before` bytes (modulo 3) are
/// encoded before it.
fn within(secret: &str, before: usize) -> String {
    let bytes = [&b"\0\0"[..before], secret.as_bytes()].concat();
    let encoded = STANDARD_NO_PAD.encode(&bytes);
    // A character holds 6 bits. The first may hold bits from before, the last from behind.
    encoded[(before * 8).div_ceil(6)..bytes.len() * 8 / 6].to_owned()
}

/// A text without JSON's escapes.
fn unescaped(text: &str) -> String {
    decoded(text, |byte, behind| match (byte, behind.first()) {
        (b'\\', Some(b'u')) if behind.starts_with(b"u00") => Some((code(&behind[3..])?, 5)),
        (b'\\', Some(&escaped @ (b'/' | b'"' | b'\\'))) => Some((escaped, 1)),
        _ => None,
    })
}

/// A text without percent-encoding.
fn percent_decoded(text: &str) -> String {
    decoded(text, |byte, behind| (byte == b'%').then(|| code(behind)).flatten().map(|it| (it, 2)))
}

/// A text of which each byte and what is behind it is decoded: `decode` says what it means, and how
/// many bytes behind it belong to it. Characters that no secret has are left out.
fn decoded(text: &str, decode: impl Fn(u8, &[u8]) -> Option<(u8, usize)>) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, taken) = decode(byte, behind).unwrap_or((byte, 0));
        if matches!(byte, 0x20..0x7f) {
            plain.push(char::from(byte));
        }
        rest = &behind[taken..];
    }
    plain
}

/// The byte of two hexadecimal digits.
fn code(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits.get(..2)?).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn secrets(values: &[&str]) -> Secrets {
        let mut headers = HeaderMap::new();
        for (value, name) in values.iter().zip(["x-api-key", "x-api-password"]) {
            let mut value = HeaderValue::from_str(value).unwrap();
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        headers.insert("accept", HeaderValue::from_static("application/json"));
        Secrets::of(&headers)
    }

    /// The forms in which a server may repeat a secret.
    fn forms(key: &str, password: &str) -> Vec<String> {
        let percent = |text: &str| {
            text.bytes().fold(String::new(), |all, it| {
                if it.is_ascii_alphanumeric() {
                    all + &char::from(it).to_string()
                } else {
                    format!("{all}%{it:02X}")
                }
            })
        };
        let json = |text: &str| {
            let quoted = serde_json::to_string(text).unwrap();
            quoted[1..quoted.len() - 1].to_owned()
        };
        let mut forms = Vec::new();
        let pair = format!("{key}:{password}");
        let nested = format!("{{\"k\":\"{key}\"}}");
        for text in [key, password, &pair, &nested] {
            let encoded = [
                STANDARD.encode(text),
                STANDARD_NO_PAD.encode(text),
                URL_SAFE.encode(text),
                URL_SAFE_NO_PAD.encode(text),
            ];
            forms.extend(encoded.iter().map(|it| percent(it)));
            forms.extend(encoded.iter().map(|it| it.replace('/', "\\/")));
            forms.extend(encoded);
            forms.extend([text.to_owned(), percent(text), percent(text).to_ascii_lowercase()]);
            forms.extend([json(text), json(text).replace('/', "\\/")]);
        }
        forms
    }

    proptest! {
        /// P8: whatever a server repeats, and in whatever form, is masked; nothing else is.
        #[test]
        fn p8_no_form_of_a_secret_is_shown(
            key in "[!-~]{8,40}",
            password in "[!-~][ -~]{6,38}[!-~]",
            before in "[a-z ]{0,9}",
            behind in "[ ,;'\"}][a-z ]{0,9}",
        ) {
            let secrets = secrets(&[&key, &password]);
            for form in forms(&key, &password) {
                let text = format!("{before} {form}{behind}");
                let masked = secrets.masked(&text);
                prop_assert!(secrets.are_in(&text), "{text}");
                prop_assert!(!secrets.are_in(&masked), "{text} is shown as {masked}");
                prop_assert!(!masked.contains(&form), "{text} is shown as {masked}");
            }
            let text = format!("{before} {behind}");
            prop_assert_eq!(secrets.masked(&text), text);
        }
    }

    #[test]
    fn only_the_secret_is_masked() {
        let secrets = secrets(&["canary-key", "canary-password"]);
        let pair = STANDARD.encode("canary-key:canary-password");
        for (text, masked) in [
            ("bad key canary-key, sorry", "bad key ***, sorry"),
            ("CANARY-KEY and canary-passw", "*** and ***"),
            (&*format!("Basic {pair} is wrong"), "Basic ***= is wrong"),
            ("no secret: Y2FuYXJ5, canary", "no secret: Y2FuYXJ5, canary"),
        ] {
            assert_eq!(secrets.masked(text), masked);
        }
    }
}
