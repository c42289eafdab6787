//! Places in a TOML text: where a key is, for errors that serde cannot detect.
//!
//! Turns a key's path into a line and column, or a whole message in the TOML parser's own format.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A mistake at a key: the path to it, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The names from the root to the key; for a list, the item's number.
    pub path: Vec<String>,
    /// What is wrong, in lower case and without a period.
    pub message: String,
}

impl Mistake {
    /// A mistake at the key with these names.
    pub fn at<const N: usize>(path: [&str; N], message: impl Into<String>) -> Self {
        Self { path: path.map(str::to_owned).to_vec(), message: message.into() }
    }

    /// The same mistake, inside a table that is itself below these names.
    #[must_use]
    pub fn below<const N: usize>(mut self, path: [&str; N]) -> Self {
        self.path.splice(0..0, path.map(str::to_owned));
        self
    }

    /// The mistake in the TOML parser's format: line, column, and the line itself. A missing key is
    /// shown at the nearest table that exists.
    #[must_use]
    pub fn shown_in(&self, text: &str) -> String {
        let at = span(text, &self.path).map_or(0, |span| span.start);
        let before = &text[..at];
        let line = before.matches('\n').count() + 1;
        let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = text[begin..at].chars().count() + 1;
        let shown = text[begin..].lines().next().unwrap_or_default();
        let margin = " ".repeat(line.to_string().len());
        let caret = " ".repeat(column - 1);
        format!(
            "TOML parse error at line {line}, column {column}\n{margin} |\n{line} | {shown}\n\
             {margin} | {caret}^\n{}",
            self.message
        )
    }
}

/// The position of the key with this path, or of its last table that exists.
fn span(text: &str, path: &[String]) -> Option<Range<usize>> {
    let table = DeTable::parse(text).ok()?;
    let mut span = table.span();
    let mut value: Option<&Spanned<DeValue<'_>>> = None;
    for name in path {
        let members = match value.map(Spanned::get_ref) {
            None => table.get_ref(),
            Some(DeValue::Table(members)) => members,
            Some(DeValue::Array(items)) => {
                let item = name.parse::<usize>().ok().and_then(|number| items.get(number));
                let Some(item) = item else { break };
                (span, value) = (item.span(), Some(item));
                continue;
            }
            Some(_) => break,
        };
        let member = members.iter().find(|(key, _)| key.get_ref().as_ref() == name);
        let Some((key, member)) = member else { break };
        (span, value) = (key.span(), Some(member));
    }
    Some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_at_its_key_or_where_the_key_is_missing() {
        let text = "a = 1\n[b]\n  c = 2\n[[d]]\nname = \"x\"\n[[d]]\nname = \"y\"\n";
        let first = |path: &[&str]| {
            let path = path.iter().map(|name| (*name).to_owned()).collect();
            let shown = Mistake { path, message: "wrong".to_owned() }.shown_in(text);
            shown.lines().next().unwrap().to_owned()
        };
        assert_eq!(first(&["b", "c"]), "TOML parse error at line 3, column 3");
        assert_eq!(first(&["b", "missing"]), "TOML parse error at line 2, column 2");
        assert_eq!(first(&["d", "1", "name"]), "TOML parse error at line 7, column 1");
        assert_eq!(first(&["nothing"]), "TOML parse error at line 1, column 1");
        let shown = Mistake::at(["c"], "wrong").below(["b"]).shown_in(text);
        let expected = "TOML parse error at line 3, column 3\n  |\n3 |   c = 2\n  |   ^\nwrong";
        assert_eq!(shown, expected);
    }
}
