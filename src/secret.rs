//! Secrets: the workspace's one key pair, and the salt of hashes.
//!
//! Secrets come from the environment or a file, and leave as header values marked sensitive, or as
//! hashes. A secret cannot be printed; `Debug` shows nothing.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};

use sha2::Sha256;

use crate::error::{Error, ErrorKind, Result};

/// A shorter salt could be found by brute force.
const SHORTEST_SALT: usize = 16;

/// The two headers that every request carries.
#[derive(Clone)]
pub struct Credentials {
    key: SecretString,
    password: SecretString,
}

impl Credentials {
    /// Takes the pair as the user gave it. One trailing newline, as editors and `kubectl` leave it
    /// in a file, is cut off; anything else that a header cannot carry is refused.
    ///
    /// # Errors
    /// `Config` when either is empty or contains a character that is not allowed in headers.
    pub fn new(key: &str, password: &str) -> Result<Self> {
        Ok(Self {
            key: checked("API key", key)?.into(),
            password: checked("API password", password)?.into(),
        })
    }

    /// The value of `X-Api-Key`.
    #[doc(hidden)]
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.expose_secret()
    }

    /// The value of `X-Api-Password`.
    #[doc(hidden)]
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

/// The value of a user's header, which only a request may carry.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a value as the user gave it; `name` identifies it in errors.
    ///
    /// # Errors
    /// `Config` when it is empty or contains a character that is not allowed in headers.
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

/// The salt of hashes: without it, a hash cannot be matched to its value.
#[derive(Clone)]
pub struct Salt(SecretString);

impl Salt {
    /// Takes a salt as the user gave it, minus one trailing newline.
    ///
    /// # Errors
    /// `Config` when it is too short to hide anything.
    pub fn new(text: &str) -> Result<Self> {
        let text = without_newline(text);
        if text.len() < SHORTEST_SALT {
            let message = format!("the salt is shorter than {SHORTEST_SALT} characters");
            return Err(Error::new(ErrorKind::Config, message)
                .with_hint("make one and keep it: head -c 32 /dev/urandom | base64"));
        }
        Ok(Self(text.to_owned().into()))
    }

    /// The HMAC-SHA256 of a text, in hexadecimal digits. E-mail addresses are lowercased and
    /// trimmed first, so that they join however they were spelled.
    #[must_use]
    pub fn hash(&self, text: &str) -> String {
        let address = text.contains('@').then(|| text.trim().to_lowercase());
        keyed_hash(self.0.expose_secret().as_bytes(), address.as_deref().unwrap_or(text))
    }
}

impl PartialEq for Salt {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(..)")
    }
}

/// The HMAC-SHA256 of a text with a key, in hexadecimal digits.
#[must_use]
pub fn keyed_hash(key: &[u8], text: &str) -> String {
    // HMAC accepts keys of any length, so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(text.as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
}

fn without_newline(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

fn checked(what: &str, text: &str) -> Result<String> {
    let text = without_newline(text);
    if text.is_empty() {
        return Err(Error::new(ErrorKind::Config, format!("the {what} is empty"))
            .with_hint("check the variable, or the file that it names"));
    }
    if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(Error::new(
            ErrorKind::Config,
            format!("the {what} contains a character that is not allowed in HTTP headers"),
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

    /// RFC 4231, test case 2.
    #[test]
    fn a_hash_is_that_of_hmac_sha256() {
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(keyed_hash(b"Jefe", "what do ya want for nothing?"), expected);
        let salt = Salt::new("0123456789abcdef\n").unwrap();
        assert_eq!(salt.hash("Anna@Example.com "), salt.hash("anna@example.com"));
        assert_ne!(salt.hash("Anna"), salt.hash("anna"));
        assert_eq!(format!("{salt:?}"), "Salt(..)");
        assert!(Salt::new("short").is_err());
    }

    #[test]
    fn a_value_not_allowed_in_headers_is_refused_without_being_shown() {
        let error = Credentials::new("canary\u{7f}", "x").unwrap_err();
        assert!(!format!("{error:?}").contains("canary\u{7f}"));
    }
}
