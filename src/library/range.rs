//! Ranges: checks the instants that a run counts from against the present.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::error::{Error, ErrorKind, Result};

/// The end of a run's range, in whole seconds, the API's resolution: the present by default.
pub(crate) fn end(to: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    let end = to.unwrap_or(now);
    if end > now {
        let message = format!("the end, {}, is in the future", instant(end));
        return Err(Error::new(ErrorKind::Config, message)
            .with_hint("omit the end (--to) to export up to now"));
    }
    Ok(DateTime::from_timestamp(end.timestamp(), 0).unwrap_or(end))
}

/// Makes sure that a range begins before it ends.
pub(crate) fn check(from: Option<DateTime<Utc>>, to: DateTime<Utc>) -> Result<()> {
    let Some(from) = from.filter(|from| *from >= to) else { return Ok(()) };
    let message = format!("the start, {}, is not before the end, {}", instant(from), instant(to));
    Err(Error::new(ErrorKind::Config, message)
        .with_hint("the start (--from) must be before the end (--to), or before now"))
}

fn instant(it: DateTime<Utc>) -> String {
    it.to_rfc3339_opts(SecondsFormat::Secs, true)
}
