//! Plain `JSONPath`s, as endpoint files spell them.

use serde::{Deserialize, Serialize};

/// A plain `JSONPath`: `$`, then names, `[*]` after any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordPath {
    steps: Vec<Step>,
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
    /// Its steps from the reply's root.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

impl std::fmt::Display for RecordPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<RecordPath> for String {
    fn from(path: RecordPath) -> Self {
        path.text
    }
}

impl TryFrom<String> for RecordPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let rest =
            text.strip_prefix('$').ok_or_else(|| format!("path `{text}` must begin with $"))?;
        let mut steps = Vec::new();
        for part in rest.split('.').enumerate().filter(|(at, part)| *at > 0 || !part.is_empty()) {
            let mut name = part.1;
            let mut items = 0;
            while let Some(shorter) = name.strip_suffix("[*]") {
                (name, items) = (shorter, items + 1);
            }
            let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
            if !plain || name.is_empty() != (part.0 == 0) {
                return Err(format!("path `{text}` is not of the form $.name.name[*]"));
            }
            if !name.is_empty() {
                steps.push(Step::Member(name.to_owned()));
            }
            steps.extend(std::iter::repeat_n(Step::Items, items));
        }
        Ok(Self { steps, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_plain_or_refused() {
        let parse = |text: &str| RecordPath::try_from(text.to_owned());
        assert_eq!(parse("$").unwrap().steps(), []);
        assert_eq!(parse("$[*]").unwrap().steps(), [Step::Items]);
        let member = |name: &str| Step::Member(name.to_owned());
        assert_eq!(
            parse("$.data.items[*]").unwrap().steps(),
            [member("data"), member("items"), Step::Items]
        );
        for wrong in ["calls", "$calls", "$..calls", "$.calls[0]", "$.", "$.a b"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
