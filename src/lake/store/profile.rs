//! The profiles of the AWS tools: keys and a region, from two files of the user.
//!
//! `AWS_PROFILE` names the profile, and `AWS_SHARED_CREDENTIALS_FILE` and `AWS_CONFIG_FILE` name
//! the files. Errors never contain secrets, and no other program is run to get one.

#![expect(clippy::disallowed_methods, reason = "profiles are files named by the environment")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use object_store::aws::AmazonS3ConfigKey;

use crate::error::{Error, ErrorKind, Result};

/// The contents of a profile.
#[derive(Debug, Default)]
pub(super) struct Profile {
    /// The key, its secret and its token; empty when the profile has none.
    pub(super) keys: Vec<(AmazonS3ConfigKey, String)>,
    pub(super) region: Option<String>,
}

/// Reads the profile that the environment names, or the default one.
///
/// # Errors
/// `Config` when keys are needed and the named profile has none.
pub(super) fn read(keys_needed: bool) -> Result<Profile> {
    let named = std::env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty());
    let name = named.as_deref().unwrap_or("default");
    let file = |variable: &str, below: &str| {
        let path = std::env::var_os(variable).map(PathBuf::from);
        let path = path.or_else(|| Some(std::env::home_dir()?.join(below)));
        path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
    };
    let credentials = file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
    let config = file("AWS_CONFIG_FILE", ".aws/config");
    let profile = parse(name, &credentials, &config);
    if keys_needed && named.is_some() && profile.keys.is_empty() {
        let message = format!("the AWS profile `{name}` contains no keys");
        return Err(Error::new(ErrorKind::Config, message).with_hint(format!(
            "for profiles with SSO, a role or a process: `eval \"$(aws configure \
             export-credentials --profile {name} --format env)\"`"
        )));
    }
    Ok(profile)
}

fn parse(name: &str, credentials: &str, config: &str) -> Profile {
    let mut values = section(config, &format!("profile {name}"));
    values.extend(section(config, name).into_iter().filter(|_| name == "default"));
    values.extend(section(credentials, name));
    let mut keys = Vec::new();
    if let (Some(id), Some(secret)) =
        (values.remove("aws_access_key_id"), values.remove("aws_secret_access_key"))
    {
        keys.push((AmazonS3ConfigKey::AccessKeyId, id));
        keys.push((AmazonS3ConfigKey::SecretAccessKey, secret));
        let token = values.remove("aws_session_token");
        keys.extend(token.map(|token| (AmazonS3ConfigKey::Token, token)));
    }
    Profile { keys, region: values.remove("region") }
}

/// The values of a section of an INI file.
fn section(text: &str, name: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut inside = false;
    for line in text.lines() {
        // An indented line belongs to the setting above it, such as `s3 =`.
        let is_setting = !line.starts_with([' ', '\t', '#', ';']);
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = header.split_whitespace().eq(name.split_whitespace());
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside && is_setting) {
            values.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "[default]\naws_access_key_id = AKIA1\naws_secret_access_key=s/1=\n\
        \n[work]\naws_access_key_id=AKIA2\naws_secret_access_key = s2\naws_session_token = t2\n";
    const CONFIG: &str = "[default]\nregion = eu-central-1\n[profile work]\nregion=us-west-2\n\
        s3 =\n  region = not-this\n[profile sso]\nsso_session = x\n";

    #[test]
    fn keys_come_from_one_file_and_the_region_from_the_other() {
        let work = parse("work", CREDENTIALS, CONFIG);
        let values: Vec<_> = work.keys.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["AKIA2", "s2", "t2"]);
        assert_eq!(work.region.as_deref(), Some("us-west-2"));
        let default = parse("default", CREDENTIALS, CONFIG);
        let values: Vec<_> = default.keys.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["AKIA1", "s/1="]);
        assert_eq!(default.region.as_deref(), Some("eu-central-1"));
        assert!(parse("sso", CREDENTIALS, CONFIG).keys.is_empty());
    }
}
