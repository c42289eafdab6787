//! The location of a lake: a folder, or a bucket and the client that accesses it.
//!
//! It is parsed from what the user typed and from the environment variables that the cloud
//! providers' own tools read. No request is made here, and errors never contain secrets.

#![expect(clippy::disallowed_methods, reason = "the clouds' settings are in the environment")]

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    BackoffConfig, Certificate, ClientConfigKey, ClientOptions, ObjectStore, ObjectStoreScheme,
    RetryConfig,
};
use reqwest::Url;

use super::profile;
use crate::error::{Error, ErrorKind, Result};

/// The maximum duration of one request, large enough for a large partition on a slow connection.
const REQUEST_TIME: &str = "180s";
const CONNECT_TIME: &str = "10s";

/// The location of a lake.
#[derive(Debug)]
pub(super) enum Place {
    Folder(PathBuf),
    Bucket(Bucket),
}

/// The provider of the store, which determines the names of its rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    S3,
    Gcs,
    Azure,
    Other,
}

/// A lake in an object store.
#[derive(Clone)]
pub(super) struct Bucket {
    /// The client, rooted at the lake.
    pub(super) store: Arc<dyn ObjectStore>,
    /// The lake's location as the user wrote it.
    pub(super) location: String,
    pub(super) provider: Provider,
    /// The bucket's or container's name.
    pub(super) name: String,
}

impl Bucket {
    pub(super) fn of(store: Arc<dyn ObjectStore>, location: &str) -> Self {
        let (location, name) = (location.to_owned(), location.to_owned());
        Self { store, location, provider: Provider::Other, name }
    }
}

/// Omits the client, which would show its keys and signatures.
impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("location", &self.location).finish_non_exhaustive()
    }
}

/// Parses a location.
pub(super) fn parse(location: &str) -> Result<Place> {
    check_spelling(location)?;
    let scheme = location.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        None => Ok(Place::Folder(PathBuf::from(location))),
        Some("file") => Ok(Place::Folder(PathBuf::from(&location["file://".len()..]))),
        Some(_) => bucket(location).map(Place::Bucket),
    }
}

/// The schemes of all stores, and of files.
const SCHEMES: [&str; 9] = ["s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", "file"];

/// Rejects what was meant as a URL but would be taken as a folder name, or as another bucket.
fn check_spelling(location: &str) -> Result<()> {
    if location.trim().is_empty() {
        return Err(Error::new(ErrorKind::Config, "the lake's name is empty")
            .with_hint("pass a folder, or a URL such as s3://bucket/prefix"));
    }
    let end = location.find(|it: char| !it.is_ascii_alphanumeric()).unwrap_or(location.len());
    let (scheme, rest) = (location[..end].to_ascii_lowercase(), &location[end..]);
    let begin = if scheme == "file" { ":///" } else { "://" };
    let is_url = rest.starts_with(begin) && (scheme == "file" || !rest.starts_with(":///"));
    let is_meant = rest.starts_with(':') || rest.starts_with("//");
    if !SCHEMES.contains(&scheme.as_str()) || !is_meant || (is_url && location[..end] == scheme) {
        return Ok(());
    }
    let right = format!("{scheme}{begin}{}", rest.trim_start_matches([':', '/']));
    let secret = rest.contains('?') || rest.contains('@');
    let hint = if secret { format!("it begins with {scheme}{begin}") } else { right };
    Err(Error::new(ErrorKind::Config, "the lake's URL is misspelled")
        .with_hint(format!("write it as {hint}; a folder of this name is ./NAME")))
}

/// The parents of a URL, nearest first; the last is the bucket.
pub(super) fn ancestors(location: &str) -> Vec<String> {
    let Some((scheme, path)) = location.split_once("://") else { return Vec::new() };
    let path = path.trim_end_matches('/');
    let ends = path.rmatch_indices('/').map(|(at, _)| at);
    ends.map(|end| format!("{scheme}://{}", &path[..end])).collect()
}

fn bucket(location: &str) -> Result<Bucket> {
    let url =
        Url::parse(location).map_err(|error| unusable("it is not a URL").with_source(error))?;
    if url.query().is_some() || url.password().is_some() {
        return Err(unusable("it contains a query or a password")
            .with_hint("pass credentials in the environment, where no log shows them"));
    }
    // A client would cut off one and decode the other, so that the lake would end up elsewhere.
    if location.contains(['#', '%']) {
        return Err(unusable("its URL contains a `#` or a `%`")
            .with_hint("paths in URLs are used as they are; choose one without these characters"));
    }
    let (scheme, path) = ObjectStoreScheme::parse(&url).map_err(|_| unknown_scheme(&url))?;
    // Fails only if a provider is already installed, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let location = location.trim_end_matches('/');
    let host = url.host_str().unwrap_or_default();
    let name = match (url.username(), url.scheme()) {
        ("", "https") => url.path_segments().and_then(|mut it| it.next()).unwrap_or(host),
        ("", _) => host,
        (container, _) => container,
    };
    let (store, provider) = match scheme {
        ObjectStoreScheme::AmazonS3 => (s3(location)?, Provider::S3),
        ObjectStoreScheme::GoogleCloudStorage => (gcs(location)?, Provider::Gcs),
        ObjectStoreScheme::MicrosoftAzure => (azure(location)?, Provider::Azure),
        _ => return Err(unknown_scheme(&url)),
    };
    let location = location.to_owned();
    Ok(Bucket { store: rooted(store, path), location, provider, name: name.to_owned() })
}

/// The store, rooted at the lake.
fn rooted(store: Arc<dyn ObjectStore>, path: Path) -> Arc<dyn ObjectStore> {
    if path.as_ref().is_empty() { store } else { Arc::new(PrefixStore::new(store, path)) }
}

fn s3(location: &str) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = AmazonS3Builder::from_env()
        .with_url(location)
        .with_client_options(client_options("aws_")?)
        .with_retry(retries())
        .with_conditional_put(S3ConditionalPut::ETagMatch);
    let is_set = |key: AmazonS3ConfigKey| builder.get_config_value(&key).is_some();
    let has_identity = is_set(AmazonS3ConfigKey::AccessKeyId)
        || is_set(AmazonS3ConfigKey::WebIdentityTokenFile)
        || is_set(AmazonS3ConfigKey::ContainerCredentialsRelativeUri)
        || is_set(AmazonS3ConfigKey::ContainerCredentialsFullUri);
    let has_region = is_set(AmazonS3ConfigKey::Region) || is_set(AmazonS3ConfigKey::DefaultRegion);
    if !has_identity || !has_region {
        let profile = profile::read(!has_identity)?;
        for (key, value) in profile.keys.into_iter().filter(|_| !has_identity) {
            builder = builder.with_config(key, value);
        }
        if let Some(region) = profile.region.filter(|_| !has_region) {
            builder = builder.with_region(region);
        }
    }
    let store = builder
        .build()
        .map_err(|error| unusable(error.to_string().trim_start_matches("Generic S3 error: ")))?;
    Ok(Arc::new(store))
}

fn gcs(location: &str) -> Result<Arc<dyn ObjectStore>> {
    let builder = GoogleCloudStorageBuilder::from_env()
        .with_url(location)
        .with_client_options(client_options("google_")?)
        .with_retry(retries());
    // The error may quote the key file.
    let store = builder.build().map_err(|_| {
        unusable("the Google credentials cannot be read").with_hint(
            "GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS name a key file, \
             GOOGLE_SERVICE_ACCOUNT_KEY holds one",
        )
    })?;
    Ok(Arc::new(store))
}

fn azure(location: &str) -> Result<Arc<dyn ObjectStore>> {
    let builder = MicrosoftAzureBuilder::from_env()
        .with_url(location)
        .with_client_options(client_options("azure_")?)
        .with_retry(retries());
    let store = builder.build().map_err(|_| {
        unusable("the Azure account is unknown, or its credentials cannot be read").with_hint(
            "set AZURE_STORAGE_ACCOUNT_NAME and one of AZURE_STORAGE_ACCOUNT_KEY, \
             AZURE_STORAGE_SAS_TOKEN or AZURE_CLIENT_ID with its secret or token file; an \
             AZURE_STORAGE_ENDPOINT without TLS needs AZURE_ALLOW_HTTP=true",
        )
    })?;
    Ok(Arc::new(store))
}

/// Connection settings from the environment, such as `AWS_ALLOW_HTTP` or `AZURE_PROXY_URL`.
fn client_options(prefix: &str) -> Result<ClientOptions> {
    let mut options = ClientOptions::new()
        .with_config(ClientConfigKey::Timeout, REQUEST_TIME)
        .with_config(ClientConfigKey::ConnectTimeout, CONNECT_TIME)
        .with_config(ClientConfigKey::UserAgent, concat!("clari-lake/", env!("CARGO_PKG_VERSION")))
        // A Google key file specifies its API's address.
        .with_allow_http(prefix == "google_");
    // Variables that are not Unicode are not ours.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    for (name, value) in variables {
        let name = name.to_ascii_lowercase();
        if name.starts_with(prefix) && is_setting(&name) {
            check_setting(&name, &value)?;
        }
        let key = name.strip_prefix(prefix).and_then(|name| name.parse().ok());
        if let Some(key) = key {
            options = options.with_config(key, value);
        }
    }
    if let Some(file) = std::env::var_os("AWS_CA_BUNDLE").filter(|_| prefix == "aws_") {
        let unreadable = || unusable("the certificates that AWS_CA_BUNDLE names cannot be read");
        let bundle = std::fs::read(file).map_err(|error| unreadable().with_source(error))?;
        for certificate in Certificate::from_pem_bundle(&bundle).map_err(|_| unreadable())? {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

/// Whether a variable is one that the client uses in addresses and headers.
fn is_setting(name: &str) -> bool {
    name.parse::<AmazonS3ConfigKey>().is_ok() || name.parse::<AzureConfigKey>().is_ok()
}

/// Rejects values that the client would fail on only in its first request. The value is not shown.
fn check_setting(name: &str, value: &str) -> Result<()> {
    let variable = name.to_ascii_uppercase();
    if value.chars().any(char::is_control) {
        let why = format!("{variable} contains a line break or another control character");
        return Err(unusable(&why)
            .with_hint("often this is the trailing newline of the file from which it was set"));
    }
    let is_address = || value.starts_with("http://") || value.starts_with("https://");
    let is_endpoint = ["aws_endpoint", "azure_endpoint", "azure_storage_endpoint"].contains(&name)
        || name.starts_with("aws_endpoint_url");
    if is_endpoint && !value.is_empty() && !(is_address() && Url::parse(value).is_ok()) {
        return Err(unusable(&format!("{variable} is not a URL"))
            .with_hint("it begins with https://, or with http:// if there is no TLS"));
    }
    Ok(())
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: 6,
        retry_timeout: Duration::from_secs(120),
    }
}

fn unusable(why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the lake cannot be reached: {why}"))
}

fn unknown_scheme(url: &Url) -> Error {
    let scheme = url.scheme();
    Error::new(ErrorKind::Config, format!("a lake cannot be at a {scheme}:// URL like this"))
        .with_hint("a lake is a folder, or s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, abfss://container@account.dfs.core.windows.net/prefix")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(location: &str) -> Error {
        parse(location).unwrap_err()
    }

    #[test]
    fn folders_are_folders() {
        for (location, folder) in [("./lake", "./lake"), ("/a/b", "/a/b"), ("file:///a/b", "/a/b")]
        {
            let Place::Folder(found) = parse(location).unwrap() else { panic!("{location}") };
            assert_eq!(found, PathBuf::from(folder));
        }
    }

    #[test]
    fn urls_that_are_misspelt_are_refused_with_their_right_spelling() {
        for (location, right) in [
            ("s3:/bucket/x", "s3://bucket/x"),
            ("s3:bucket", "s3://bucket"),
            ("s3//bucket/x", "s3://bucket/x"),
            ("s3:///bucket/x", "s3://bucket/x"),
            ("S3://bucket/x", "s3://bucket/x"),
            ("gs:/bucket", "gs://bucket"),
            ("az:/container/x", "az://container/x"),
            ("file:/a/b", "file:///a/b"),
            ("file://a/b", "file:///a/b"),
            ("FILE:///a/b", "file:///a/b"),
        ] {
            let error = refused(location);
            assert_eq!(error.kind(), ErrorKind::Config, "{location}");
            assert!(error.hint().unwrap().contains(&format!(" {right};")), "{location}: {error:?}");
        }
        assert!(refused(" ").to_string().contains("empty"));
        assert!(!format!("{:?}", refused("az:/c/lake?sig=canary")).contains("canary"));
        for folder in ["s3", "s3/x", "./s3:/x", "gs-data", "a:b", "lake/s3:"] {
            assert!(matches!(parse(folder).unwrap(), Place::Folder(_)), "{folder}");
        }
    }

    #[test]
    fn a_url_is_in_the_places_before_it() {
        assert_eq!(ancestors("s3://b/deep/lake"), ["s3://b/deep", "s3://b"]);
        assert_eq!(ancestors("s3://b"), [""; 0]);
        assert_eq!(ancestors("memory"), [""; 0]);
    }

    #[test]
    fn buckets_and_prefixes_are_parsed_from_every_form_of_url() {
        for (location, name, provider) in [
            ("s3://b/deep/lake", "b", Provider::S3),
            ("s3a://b/lake/", "b", Provider::S3),
            ("gs://b/lake", "b", Provider::Gcs),
            ("abfs://c@account.dfs.core.windows.net/lake", "c", Provider::Azure),
            ("abfss://c@account.dfs.core.windows.net/lake", "c", Provider::Azure),
            ("https://account.blob.core.windows.net/c/lake", "c", Provider::Azure),
        ] {
            let Place::Bucket(bucket) = parse(location).unwrap() else { panic!("{location}") };
            assert_eq!((bucket.name.as_str(), bucket.provider), (name, provider), "{location}");
            assert!(!bucket.location.ends_with('/'));
        }
    }

    /// The client panics on each of these in its first request.
    #[test]
    fn settings_that_no_request_can_carry_are_refused_by_name_alone() {
        for (name, value) in [
            ("aws_access_key_id", "canary\n"),
            ("aws_session_token", "can\tary"),
            ("azure_storage_account_name", "canary\n"),
            ("aws_endpoint", "127.0.0.1:9000/canary"),
            ("aws_endpoint_url_s3", "http://"),
        ] {
            let error = check_setting(name, value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(&name.to_ascii_uppercase()), "{error}");
            assert!(!format!("{error:?}").contains("canary"));
        }
        for endpoint in ["", "http://127.0.0.1:9000", "https://minio.example.com/"] {
            check_setting("aws_endpoint_url", endpoint).unwrap();
        }
        check_setting("aws_sts_regional_endpoints", "regional").unwrap();
    }

    #[test]
    fn an_invalid_lake_url_is_refused_without_showing_a_secret() {
        for location in ["ftp://x/y", "http://x/y", "https://example.com/y", "s3://"] {
            assert_eq!(refused(location).kind(), ErrorKind::Config, "{location}");
        }
        // C18: these would be written elsewhere.
        for location in ["s3://b/lake#2026", "s3://b/per%20cent", "az://c/a%2Fb"] {
            assert!(
                refused(location).to_string().contains("contains a `#` or a `%`"),
                "{location}"
            );
        }
        let error = refused("https://account.blob.core.windows.net/c/lake?sig=canary");
        assert!(!format!("{error:?}").contains("canary"));
    }
}
