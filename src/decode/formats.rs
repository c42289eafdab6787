//! Formats: identifies a body that is not one JSON value.
//!
//! Turns a body that does not parse into a JSON list of its lines if each is JSON (NDJSON), or
//! names its format. It never guesses at what is missing.

use std::fmt;

use serde::de::IgnoredAny;

/// How much of a body is examined to identify its format.
const LOOKED_AT: usize = 4096;

/// The format of a body that holds no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotJson {
    /// Nothing.
    Empty,
    /// An HTML page: from a proxy, a login, or a server under maintenance.
    Html,
    /// XML.
    Xml,
    /// Comma-separated values, or values with another separator.
    Csv,
    /// Other text.
    Text,
}

impl NotJson {
    /// The format of a body that does not look like JSON. One that begins like JSON may have been
    /// cut off.
    #[must_use]
    pub fn of(body: &[u8]) -> Option<Self> {
        let body = super::without_bom(body).trim_ascii();
        let head = String::from_utf8_lossy(&body[..body.len().min(LOOKED_AT)]);
        match head.chars().next() {
            None => Some(Self::Empty),
            Some('<') => Some(if is_html(&head) { Self::Html } else { Self::Xml }),
            Some('{' | '[') => None,
            _ if is_csv(&head) => Some(Self::Csv),
            Some('"' | '-' | '0'..='9') => None,
            _ if ["true", "false", "null"].iter().any(|it| head.starts_with(it)) => None,
            _ => Some(Self::Text),
        }
    }

    /// Whether a retry would return the same: no server sends this because of a temporary problem.
    #[must_use]
    pub fn is_lasting(self) -> bool {
        matches!(self, Self::Xml | Self::Csv)
    }
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty reply",
            Self::Html => "an HTML page",
            Self::Xml => "XML",
            Self::Csv => "CSV",
            Self::Text => "text that is not JSON",
        })
    }
}

fn is_html(head: &str) -> bool {
    let head = head.to_ascii_lowercase();
    ["<!doctype html", "<html", "<head", "<body"].iter().any(|it| head.contains(it))
}

/// Whether two lines have the same separator, equally often.
fn is_csv(head: &str) -> bool {
    let mut lines = head.lines().filter(|line| !line.trim().is_empty());
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return false };
    [',', ';', '\t', '|'].iter().any(|separator| {
        let count = first.matches(*separator).count();
        count > 0 && second.matches(*separator).count() == count
    })
}

/// The lines of a body as one JSON list, if each is strictly a JSON object or list: NDJSON, or JSON
/// Lines.
#[must_use]
pub fn lines_as_list(body: &[u8]) -> Option<Vec<u8>> {
    let lines = super::without_bom(body).split(|byte| *byte == b'\n');
    let lines = lines.map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let mut list = Vec::with_capacity(body.len() + 2);
    for line in lines {
        let is_record = matches!(line.first(), Some(b'{' | b'['));
        if !is_record || serde_json::from_slice::<IgnoredAny>(line).is_err() {
            return None;
        }
        list.push(if list.is_empty() { b'[' } else { b',' });
        list.extend_from_slice(line);
    }
    list.push(b']');
    (list.len() > 1).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_called_by_its_name() {
        for (body, name) in [
            ("", "an empty reply"),
            (" \r\n", "an empty reply"),
            ("<!DOCTYPE html><title>x</title>", "an HTML page"),
            ("<?xml version=\"1.0\"?><html xmlns=\"x\"/>", "an HTML page"),
            ("<?xml version=\"1.0\"?><calls><call/></calls>", "XML"),
            ("\u{feff}<calls/>", "XML"),
            ("id,name\n1,Ann\n", "CSV"),
            ("\"id\";\"name\"\n\"1\";\"Ann\"\n", "CSV"),
            ("1\t2\n3\t4", "CSV"),
            ("upstream connect error", "text that is not JSON"),
        ] {
            let found = NotJson::of(body.as_bytes()).map(|it| it.to_string());
            assert_eq!(found.as_deref(), Some(name), "{body:?}");
        }
        for body in ["{\"a\":", "[1,2\n,3,4", "12", "\"x\"", "true", "nul"] {
            let found = NotJson::of(body.as_bytes());
            assert!(found.is_none() || body == "nul", "{body:?}: {found:?}");
        }
    }

    #[test]
    fn lines_of_json_are_one_list() {
        let list = |body: &str| Some(String::from_utf8(lines_as_list(body.as_bytes())?).unwrap());
        assert_eq!(list("{\"a\":1}\n\n[2]\r\n").as_deref(), Some("[{\"a\":1},[2]]"));
        assert_eq!(list("{\"a\":1}").as_deref(), Some("[{\"a\":1}]"));
        for body in ["", "\n", "1\n2", "{\"a\":1}\n{\"b\":", "{\n\"a\":1}", "{} {}", "{}\nNaN"] {
            assert_eq!(list(body), None, "{body:?}");
        }
    }
}
