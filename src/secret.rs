//! The workspace's one key pair.
//!
//! Enters: text from the environment or a file. Leaves: header values, marked sensitive. Never
//! here: a way to print it; `Debug` shows nothing.

use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, ErrorKind, Result};

/// The two headers that every request carries.
#[derive(Clone)]
pub struct Credentials {
    key: SecretString,
    password: SecretString,
}

impl Credentials {
    /// Takes the pair as the user gave it. One trailing newline, as editors and `kubectl` leave
    /// it in a file, is cut off; anything else that a header cannot carry is refused.
    ///
    /// # Errors
    /// `Config` when either is empty or holds a character that no header can carry.
    pub fn new(key: &str, password: &str) -> Result<Self> {
        Ok(Self {
            key: checked("API key", key)?.into(),
            password: checked("API password", password)?.into(),
        })
    }

    /// The value of `X-Api-Key`.
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.expose_secret()
    }

    /// The value of `X-Api-Password`.
    #[must_use]
    pub fn password(&self) -> &str {
        self.password.expose_secret()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// One more value that only a request may carry: that of a header of the user's.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a value as the user gave it; `name` is what errors call it.
    ///
    /// # Errors
    /// `Config` when it is empty or holds a character that no header can carry.
    pub fn new(name: &str, text: &str) -> Result<Self> {
        Ok(Self(checked(&format!("value of {name}"), text)?.into()))
    }

    /// The value of the header.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn checked(what: &str, text: &str) -> Result<String> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(Error::new(ErrorKind::Config, format!("the {what} is empty")));
    }
    if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(Error::new(
            ErrorKind::Config,
            format!("the {what} holds a character that no HTTP header can carry"),
        )
        .with_hint("copy it again from where it is shown, without line breaks"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        let credentials = Credentials::new("canary-key\n", "canary-password").unwrap();
        assert_eq!(credentials.key(), "canary-key");
        assert!(!format!("{credentials:?}").contains("canary"));
    }

    #[test]
    fn a_value_that_no_header_carries_is_refused_without_being_shown() {
        let error = Credentials::new("canary\u{7f}", "x").unwrap_err();
        assert!(!format!("{error:?}").contains("canary\u{7f}"));
    }
}
