//! Values of flags: a word becomes what it means, or a message that says what was expected.

use chrono::{DateTime, NaiveDate, NaiveTime, SubsecRound, Utc};

use crate::calendar::TimeUnit;
use crate::changes::Point;
use crate::clock;
use crate::config::Deletes;
use crate::manifest::Granularity;
use crate::span::Span;
use crate::sql::Engine;

/// A date, an instant, or a time ago, in whole seconds.
pub(super) fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(ago) = text.parse::<Span>() {
        return Ok((clock::now() - ago.delta()).trunc_subsecs(0));
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(date.and_time(NaiveTime::MIN).and_utc());
    }
    DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc()).map_err(|_| {
        "expected a date such as 2026-11-01, an instant such as 2026-11-01T06:00:00Z, or a time ago \
         such as 30d"
            .to_owned()
    })
}

/// A header, in curl's format.
pub(super) fn header(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once(':').filter(|(name, _)| !name.trim().is_empty());
    let (name, value) = parts.ok_or("expected a name and a value, such as X-Team: sales")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// A unit of time.
pub(super) fn unit(text: &str) -> Result<TimeUnit, String> {
    let unit = toml::Value::String(text.to_owned()).try_into();
    unit.map_err(|_| "expected second, minute, hour, day, week, month or year".to_owned())
}

/// A point since which changes are requested.
pub(super) fn point(text: &str) -> Result<Point, String> {
    let time = || instant(text).map(Point::Time);
    let next = || text.contains('=').then(|| text.parse().map(Point::Next));
    Point::run(text).map(Ok).or_else(next).unwrap_or_else(time)
}

pub(super) fn deletes(text: &str) -> Result<Deletes, String> {
    match text {
        "mark" => Ok(Deletes::Mark),
        "drop" => Ok(Deletes::Drop),
        _ => Err("expected mark or drop".to_owned()),
    }
}

/// A whole number, such as a quota.
pub(super) fn whole_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected a whole number".to_owned())
}

pub(super) fn granularity(text: &str) -> Result<Granularity, String> {
    Granularity::named(text).ok_or_else(|| "expected day or month".to_owned())
}

pub(super) fn promotion(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=');
    let (path, name) = parts.ok_or("expected a column and a type, such as mood=string")?;
    Ok((path.to_owned(), name.to_owned()))
}

pub(super) fn widening(text: &str) -> Result<String, String> {
    let path = text.strip_suffix("=double").map(str::to_owned);
    path.ok_or_else(|| "expected a column and the type double, such as score=double".to_owned())
}

pub(super) fn versions(text: &str) -> Result<(u64, Option<u64>), String> {
    let number = |text: &str| {
        text.parse().map_err(|_| "expected a manifest's number, or two such as 3..7".to_owned())
    };
    match text.split_once("..") {
        Some((old, new)) => Ok((number(old)?, Some(number(new)?))),
        None => Ok((number(text)?, None)),
    }
}

pub(super) fn engine(text: &str) -> Result<Engine, String> {
    match text {
        "duckdb" => Ok(Engine::DuckDb),
        "spark" => Ok(Engine::Spark),
        "athena" => Ok(Engine::Athena),
        _ => Err("expected duckdb, spark or athena".to_owned()),
    }
}

/// A call id or an address, without surrounding whitespace from pasting.
pub(super) fn subject(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// The same, where only an e-mail address is allowed.
pub(super) fn address(text: &str) -> Result<String, String> {
    let text = subject(text)?;
    let is_address = text.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && host.contains(|it: char| it.is_alphanumeric()) && !host.contains('@')
    });
    let is_one = is_address && !text.contains(char::is_whitespace);
    is_one.then_some(text).ok_or_else(|| "expected an email address".to_owned())
}
