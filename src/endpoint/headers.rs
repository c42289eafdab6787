//! User-defined headers: what a file may set, which is never a secret.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::secret::Secret;

/// Headers that an endpoint's requests carry besides the credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Headers(BTreeMap<String, HeaderText>);

/// The value of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderText {
    /// This text.
    Plain(String),
    /// The value of this environment variable, once it has been looked up.
    Environment(String, Option<Secret>),
}

/// Headers that the client sets itself, or that would change how a message is read.
const RESERVED: [&str; 15] = [
    "x-api-key",
    "x-api-password",
    "host",
    "connection",
    "content-length",
    "content-type",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "range",
    "accept-encoding",
    "user-agent",
    "proxy-authorization",
];

/// Parts of names that mark the value as a secret.
const SECRET: [&str; 8] =
    ["auth", "cookie", "token", "secret", "key", "password", "credential", "session"];

/// Whether a name marks its value as a secret.
#[must_use]
pub fn names_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    SECRET.iter().any(|part| lower.contains(part))
}

impl Headers {
    /// Their names, in lower case, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderText)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, and those of another set, which take precedence.
    pub fn extend(&mut self, others: &Self) {
        self.0.extend(others.0.clone());
    }

    /// Looks up the values that the environment holds.
    ///
    /// # Errors
    /// The first variable that is not set, or whose value no header can carry.
    pub fn resolve(&mut self, environment: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
        for (header, text) in &mut self.0 {
            if let HeaderText::Environment(variable, value) = text {
                let found = environment(variable)
                    .ok_or_else(|| format!("{variable}, for the header `{header}`, is not set"))?;
                let secret = Secret::new(variable, &found).map_err(|error| error.to_string())?;
                *value = Some(secret);
            }
        }
        Ok(())
    }
}

impl TryFrom<BTreeMap<String, String>> for Headers {
    type Error = String;

    fn try_from(texts: BTreeMap<String, String>) -> Result<Self, String> {
        let mut headers = BTreeMap::new();
        for (name, text) in texts {
            let lower = name.to_ascii_lowercase();
            let text = checked(&name, &lower, &text)?;
            if headers.insert(lower, text).is_some() {
                return Err(format!("header `{name}` appears twice"));
            }
        }
        Ok(Self(headers))
    }
}

fn checked(name: &str, lower: &str, text: &str) -> Result<HeaderText, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("`{name}` is no name of a header"));
    }
    if RESERVED.contains(&lower) {
        return Err(format!("header `{name}` is set by the client"));
    }
    if let Some(variable) = text.strip_prefix("env:") {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if variable.is_empty() || !variable.bytes().all(is_name) {
            return Err(format!("header `{name}` names no environment variable after env:"));
        }
        return Ok(HeaderText::Environment(variable.to_owned(), None));
    }
    if names_secret(lower) {
        return Err(format!(
            "header `{name}` looks like a secret, which must not be in a file: write \
             \"env:NAME\" for the value of an environment variable"
        ));
    }
    if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(format!("header `{name}` contains a character that is not allowed in headers"));
    }
    Ok(HeaderText::Plain(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &str, text: &str) -> Result<Headers, String> {
        Headers::try_from(BTreeMap::from([(name.to_owned(), text.to_owned())]))
    }

    #[test]
    fn no_file_holds_a_secret() {
        assert!(headers("X-Team", "sales").is_ok());
        for (name, text, why) in [
            ("Authorization", "Bearer abc", "looks like a secret"),
            ("X-Auth-Token", "abc", "looks like a secret"),
            ("Cookie", "a=b", "looks like a secret"),
            ("X-Api-Key", "env:OTHER", "set by the client"),
            ("Host", "example.com", "set by the client"),
            ("X Team", "sales", "no name of a header"),
            ("", "sales", "no name of a header"),
            ("X-Team", "a\nb", "not allowed in headers"),
            ("X-Team", "env:", "no environment variable"),
            ("X-Team", "env:A B", "no environment variable"),
        ] {
            let error = headers(name, text).unwrap_err();
            assert!(error.contains(why), "{name}: {error}");
        }
    }

    #[test]
    fn a_secret_is_looked_up_and_never_shown() {
        let mut headers = headers("Authorization", "env:TOKEN").unwrap();
        let nothing = |_: &str| None;
        assert!(headers.resolve(&nothing).unwrap_err().contains("TOKEN"));
        headers.resolve(&|name| (name == "TOKEN").then(|| "canary".to_owned())).unwrap();
        assert!(!format!("{headers:?}").contains("canary"));
        let (_, text) = headers.iter().next().unwrap();
        let HeaderText::Environment(_, Some(secret)) = text else { panic!("{text:?}") };
        assert_eq!(secret.expose(), "canary");
    }
}
