//! `JSONPath`s, as endpoint files spell them.

use serde::Deserialize;
use serde_json_path::JsonPath;

/// A `JSONPath` (RFC 9535). The plain kind, `$` and names and `[*]`, is followed step by step; any
/// other is left to a library.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RecordPath {
    steps: Vec<Step>,
    query: Option<JsonPath>,
    text: String,
}

/// One step of a [`RecordPath`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into the named member of an object.
    Member(String),
    /// Into every item of a list.
    Items,
}

impl RecordPath {
    /// Its steps from the reply's root; if the path is not plain, only the plain steps that it
    /// begins with.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The whole path, if it is not plain.
    #[must_use]
    pub fn query(&self) -> Option<&JsonPath> {
        self.query.as_ref()
    }

    /// The single member of the root that the path leads into, if known.
    #[must_use]
    pub fn root(&self) -> Option<&str> {
        match self.steps.first() {
            Some(Step::Member(name)) => Some(name),
            Some(Step::Items) | None => None,
        }
    }

    /// The last name of the path, as the name of its target.
    #[must_use]
    pub fn last_name(&self) -> Option<&str> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Member(name) => Some(name.as_str()),
            Step::Items => None,
        })
    }

    /// The names along the path, as far as it is plain.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Step::Member(name) => Some(name.as_str()),
            Step::Items => None,
        })
    }

    /// The path as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for RecordPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for RecordPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !text.starts_with('$') {
            return Err(format!("path `{text}` must begin with $"));
        }
        let (steps, rest) = plain_steps(&text[1..]);
        if rest.is_empty() {
            return Ok(Self { steps, query: None, text });
        }
        let query = JsonPath::parse(&text).map_err(|error| {
            let (message, position) = (error.message().to_owned(), error.position() + 1);
            format!("path `{text}` is not a JSONPath: {message} (at character {position})")
        })?;
        Ok(Self { steps, query: Some(query), text })
    }
}

/// The plain steps that a path begins with, and what follows them.
fn plain_steps(mut rest: &str) -> (Vec<Step>, &str) {
    let mut steps = Vec::new();
    loop {
        if let Some(shorter) = rest.strip_prefix("[*]") {
            steps.push(Step::Items);
            rest = shorter;
            continue;
        }
        let Some(name) = rest.strip_prefix('.') else { return (steps, rest) };
        let is_plain = |it: char| it.is_alphanumeric() || it == '_' || it == '-';
        let end = name.find(|it| !is_plain(it)).unwrap_or(name.len());
        let follows_well = name[end..].is_empty() || name[end..].starts_with(['.', '[']);
        if end == 0 || !follows_well {
            return (steps, rest);
        }
        steps.push(Step::Member(name[..end].to_owned()));
        rest = &name[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RecordPath, String> {
        RecordPath::try_from(text.to_owned())
    }

    #[test]
    fn plain_paths_are_steps() {
        let member = |name: &str| Step::Member(name.to_owned());
        for (text, steps) in [
            ("$", vec![]),
            ("$[*]", vec![Step::Items]),
            ("$.data.items[*]", vec![member("data"), member("items"), Step::Items]),
            ("$.a-b[*][*].c_1", vec![member("a-b"), Step::Items, Step::Items, member("c_1")]),
        ] {
            let path = parse(text).unwrap();
            assert_eq!((path.steps(), path.query()), (steps.as_slice(), None), "{text}");
        }
    }

    #[test]
    fn other_paths_are_left_to_the_library_or_refused() {
        for text in ["$..calls", "$.calls[0]", "$['a b'][*]", "$.a[?@.b == 1].c", "$.*", "$.a[1:3]"]
        {
            assert!(parse(text).unwrap().query().is_some(), "{text}");
        }
        assert_eq!(parse("$.a.b[?@.c > 1]").unwrap().last_name(), Some("b"));
        for wrong in ["calls", "$calls", "$.", "$.a b", "$.a[", "$.a[?]", "", "$..", "@.a"] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains("path `"), "{wrong}: {error}");
        }
    }
}
