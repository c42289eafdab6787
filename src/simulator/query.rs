//! Parses and checks the query string, and reports each broken rule to the ledger. Unknown
//! parameters are silently ignored, as in the API: a misspelled filter matches everything.

use super::ledger::Ledger;
use super::reply::Reply;
use super::settings::BeyondCap;
use super::text::milliseconds;
use chrono::{NaiveDate, TimeDelta};

/// The highest documented `skip`.
const SKIP_CAP: usize = 10_000;
/// The highest `limit`.
const LIMIT_CAP: usize = 100;
/// More days than any real request for `/stats`.
const DAYS_CAP: usize = 400;

/// The parameters of one request.
pub(super) struct Query<'a> {
    pairs: Vec<(String, String)>,
    ledger: &'a Ledger,
}

/// The requested rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) skip: usize,
    pub(super) limit: usize,
}

impl<'a> Query<'a> {
    pub(super) fn parse(text: &str, ledger: &'a Ledger) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self { pairs: pairs.collect(), ledger }
    }

    /// The last value of a key, as on platforms that accept only one.
    pub(super) fn one(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// All values of a key.
    pub(super) fn many(&self, key: &str) -> Vec<String> {
        let named = self.pairs.iter().filter(|(name, _)| name == key);
        named.map(|(_, value)| value.clone()).collect()
    }

    pub(super) fn required(&self, key: &str) -> Result<&str, Reply> {
        match self.one(key) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(self.refuse(key, "is required")),
        }
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, Reply> {
        let Some(value) = self.one(key) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| self.refuse(key, "should be integer"))
    }

    /// A time in milliseconds.
    pub(super) fn instant(&self, key: &str) -> Result<Option<i64>, Reply> {
        let Some(value) = self.one(key) else { return Ok(None) };
        milliseconds(value).map(Some).ok_or_else(|| self.refuse(key, "should be a date-time"))
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, Reply> {
        match self.one(key) {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(_) => Err(self.refuse(key, "should be true or false")),
        }
    }

    /// One of a few words.
    pub(super) fn word(
        &self,
        key: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, Reply> {
        let Some(value) = self.one(key) else { return Ok(None) };
        let found = words.iter().find(|word| **word == value).copied();
        found.map(Some).ok_or_else(|| self.refuse(key, "is not a known value"))
    }

    /// Whether signed URLs are requested, for audio and for video.
    pub(super) fn media(&self) -> Result<(bool, bool), Reply> {
        let asked = (self.flag("includeAudio", false)?, self.flag("includeVideo", false)?);
        if asked.0 || asked.1 {
            self.ledger.violate(|violations| violations.media_asked += 1);
        }
        Ok(asked)
    }

    /// `skip` and `limit`; an empty span if the cap allows no rows.
    pub(super) fn span(&self, default: usize, beyond: BeyondCap) -> Result<Span, Reply> {
        let limit = self.integer("limit")?.map_or(Ok(default), usize::try_from);
        let skip = self.integer("skip")?.map_or(Ok(0), usize::try_from);
        let (Ok(limit), Ok(skip)) = (limit, skip) else {
            return Err(self.refuse("skip or limit", "should not be negative"));
        };
        if limit == 0 {
            return Err(self.refuse("limit", "should be at least 1"));
        }
        if limit > LIMIT_CAP {
            self.ledger.violate(|violations| violations.limit_over += 1);
            return Err(Reply::message(400, "limit should not exceed 100"));
        }
        if skip <= SKIP_CAP {
            return Ok(Span { skip, limit });
        }
        self.ledger.violate(|violations| violations.skip_over += 1);
        match beyond {
            BeyondCap::Refuse => Err(Reply::message(400, "skip should not exceed 10000")),
            BeyondCap::Clamp => Ok(Span { skip: SKIP_CAP, limit }),
            BeyondCap::Empty => Ok(Span { skip, limit: 0 }),
        }
    }

    /// The days from `from` to `to`, as text.
    pub(super) fn days(&self, to_inclusive: bool) -> Result<Vec<String>, Reply> {
        let (from, to) = (self.day("from")?, self.day("to")?);
        if to < from {
            return Err(self.refuse("to", "should not be before from"));
        }
        let last = if to_inclusive || to == from { to } else { to - TimeDelta::days(1) };
        let days = from.iter_days().take_while(|day| *day <= last).take(DAYS_CAP);
        Ok(days.map(|day| day.to_string()).collect())
    }

    fn day(&self, key: &str) -> Result<NaiveDate, Reply> {
        let value = self.required(key)?;
        // The length is checked too: chrono would accept 2025-6-1, but the API would not.
        let date = NaiveDate::parse_from_str(value, "%Y-%m-%d").ok().filter(|_| value.len() == 10);
        date.ok_or_else(|| self.refuse(key, "should be yyyy-MM-dd"))
    }

    fn refuse(&self, key: &str, why: &str) -> Reply {
        self.ledger.violate(|violations| violations.bad_value += 1);
        Reply::message(400, &format!("{key} {why}"))
    }
}

/// Decodes percent-encoding; a bare `+` is a space, as in every query string.
pub(super) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let escaped = hex.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        rest = match (first, escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                tail.get(2..).unwrap_or_default()
            }
            (b'+', _) => {
                bytes.push(b' ');
                tail
            }
            _ => {
                bytes.push(*first);
                tail
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An unencoded `+0000` does not silently become a space.
    #[test]
    fn an_unencoded_offset_is_refused_and_an_encoded_one_is_not() {
        let ledger = Ledger::default();
        let bare = Query::parse("filterTimeGt=2025-01-01T00:00:00+0000", &ledger);
        assert!(bare.instant("filterTimeGt").is_err());
        let encoded = Query::parse("filterTimeGt=2025-01-01T00%3A00%3A00%2B0000", &ledger);
        assert_eq!(encoded.instant("filterTimeGt").ok(), Some(Some(1_735_689_600_000)));
        assert_eq!(ledger.violations().bad_value, 1);
    }

    /// The cap on skip is not off by one.
    #[test]
    fn the_cap_itself_may_be_asked_for() {
        let ledger = Ledger::default();
        let span = |text: &str, beyond| Query::parse(text, &ledger).span(25, beyond).ok();
        let refuse = BeyondCap::Refuse;
        assert_eq!(span("skip=10000", refuse), Some(Span { skip: 10_000, limit: 25 }));
        assert_eq!(span("skip=10001", refuse), None);
        assert_eq!(span("skip=10001", BeyondCap::Clamp), Some(Span { skip: 10_000, limit: 25 }));
        assert_eq!(span("skip=10001", BeyondCap::Empty), Some(Span { skip: 10_001, limit: 0 }));
        assert_eq!(span("limit=101", refuse).or(span("limit=0", refuse)), None);
        assert_eq!(span("skip=-1", refuse).or(span("limit=ten", refuse)), None);
        assert_eq!(ledger.violations().skip_over, 3);
    }

    /// A misspelled filter has no effect.
    #[test]
    fn unknown_parameters_are_ignored() {
        let ledger = Ledger::default();
        let query = Query::parse("filtertimegt=nonsense&sort=up", &ledger);
        assert_eq!(query.instant("filterTimeGt").ok(), Some(None));
        assert_eq!(ledger.violations().total(), 0);
    }
}
