//! Names, sentences, ids, and times from a seeded generator. No clock and no global randomness is
//! used.

use super::words;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};
use fastrand::Rng;
use std::fmt::Write as _;

/// Represents a lone UTF-16 surrogate in a generated title.
///
/// A Rust string cannot contain one, but the real API can send one: the server writes the six
/// characters `\ud83d` in its place. Records read from [`Workspace`](super::Workspace) still have
/// this character.
pub const LONE_SURROGATE: char = '\u{F8FE}';

/// A separate generator for each purpose, so that generating more values for one field never
/// changes another field.
pub(super) fn generator(seed: u64, purpose: u64) -> Rng {
    let mut mixed = seed ^ purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    Rng::with_seed(mixed ^ (mixed >> 31))
}

/// FNV-1a: a stable hash, since the standard library's makes no such promise.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// A random element of a list; empty text for an empty list.
pub(super) fn one(rng: &mut Rng, list: &[&'static str]) -> &'static str {
    rng.choice(list).copied().unwrap_or_default()
}

pub(super) fn chance(rng: &mut Rng, probability: f64) -> bool {
    rng.f64() < probability
}

pub(super) fn uuid(rng: &mut Rng) -> String {
    let (high, low) = (rng.u64(..), rng.u64(..));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xFFFF,
        high & 0xFFF,
        (low >> 48) & 0x3FFF | 0x8000,
        low & 0xFFFF_FFFF_FFFF
    )
}

pub(super) fn hex24(rng: &mut Rng) -> String {
    format!("{:08x}{:016x}", rng.u32(..), rng.u64(..))
}

/// An id in the style of a CRM system: a prefix and letters.
pub(super) fn crm_id(rng: &mut Rng, prefix: &str) -> String {
    let mut id = String::from(prefix);
    id.extend((0..15).map(|_| rng.alphanumeric()));
    id
}

pub(super) fn phone(rng: &mut Rng) -> String {
    format!("+1{}{:07}", rng.u32(201..990), rng.u32(..10_000_000))
}

/// Two decimals, as the API rounds.
pub(super) fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The API's usual format, or the one with an offset that sometimes occurs.
pub(super) fn instant(milliseconds: i64, with_offset: bool) -> String {
    let time: DateTime<Utc> = DateTime::from_timestamp_millis(milliseconds).unwrap_or_default();
    if with_offset {
        time.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
    } else {
        time.to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

/// One sentence, without a trailing blank.
pub(super) fn sentence(rng: &mut Rng, into: &mut String) {
    if rng.u8(..10) == 0 {
        into.push_str(one(rng, words::SHORT));
        return;
    }
    let (opener, subject) = (one(rng, words::OPENER), one(rng, words::SUBJECT));
    let (verb, object) = (one(rng, words::VERB), one(rng, words::OBJECT));
    // Writing into a String cannot fail.
    let _ = write!(into, "{opener} {subject} {verb} {object}");
    if rng.bool() {
        into.push(' ');
        into.push_str(one(rng, words::TAIL));
    }
    into.push(if rng.u8(..5) == 0 { '?' } else { '.' });
}

/// Several sentences.
pub(super) fn paragraph(rng: &mut Rng, sentences: usize) -> String {
    let mut text = String::with_capacity(sentences * 90);
    for index in 0..sentences {
        if index > 0 {
            text.push(' ');
        }
        sentence(rng, &mut text);
    }
    text
}

/// The ASCII letters and digits of a name in lower case, for addresses.
pub(super) fn slug(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The milliseconds of a time in any format that the API was seen to accept.
pub(super) fn milliseconds(text: &str) -> Option<i64> {
    let fixed = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"));
    if let Ok(time) = fixed {
        return Some(time.timestamp_millis());
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f") {
        return Some(time.and_utc().timestamp_millis());
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_time(NaiveTime::MIN).and_utc().timestamp_millis())
}
