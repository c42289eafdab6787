//! Turns errors of an object store into messages that tell the reader what to do.
//!
//! An [`Error`] names the place, the action, and the missing right. It never includes a URL, a
//! header, or a reply's body, which may contain signatures and tokens. Only the reply's code is
//! shown, and its message if access was denied.

use std::error::Error as _;

use object_store::Error as StoreError;

use super::location::{Bucket, Provider};
use crate::error::{Error, ErrorKind};

/// The attempted action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    List,
    Write,
    Delete,
}

/// What a server answered, or why it did not answer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    status: Option<u16>,
    code: Option<String>,
    words: Option<String>,
}

impl Action {
    fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }

    /// An ambiguous write is resolved by reading back, so the read may be what was refused.
    fn or_reading_back(self, error: &StoreError) -> Self {
        let is_read = |text: &String| {
            text.contains("Error performing GET ") || text.contains("Error performing HEAD ")
        };
        if self == Self::Write && chain(error).iter().any(is_read) { Self::Read } else { self }
    }

    /// The right that the action requires.
    fn right(self, bucket: &Bucket) -> String {
        let name = &bucket.name;
        match (bucket.provider, self) {
            (Provider::S3, Self::Read) => format!("s3:GetObject on arn:aws:s3:::{name}/*"),
            (Provider::S3, Self::List) => format!("s3:ListBucket on arn:aws:s3:::{name}"),
            (Provider::S3, Self::Write) => format!(
                "s3:PutObject on arn:aws:s3:::{name}/* (with SSE-KMS also kms:GenerateDataKey and \
                 kms:Decrypt on the key)"
            ),
            (Provider::S3, Self::Delete) => format!("s3:DeleteObject on arn:aws:s3:::{name}/*"),
            (Provider::Gcs, Self::Read) => format!("storage.objects.get on {name}"),
            (Provider::Gcs, Self::List) => format!("storage.objects.list on {name}"),
            (Provider::Gcs, Self::Write) => {
                format!("storage.objects.create and storage.objects.delete on {name}")
            }
            (Provider::Gcs, Self::Delete) => format!("storage.objects.delete on {name}"),
            (Provider::Azure, _) => format!(
                "Storage Blob Data Contributor on the container {name} (of a SAS: the permissions \
                 racwdl)"
            ),
            (Provider::Other, _) => format!("the right to {} in {name}", self.verb()),
        }
    }
}

/// Whether a write may have happened although it failed, or failed because it had already happened.
pub(super) fn is_ambiguous(error: &StoreError) -> bool {
    match error {
        StoreError::AlreadyExists { .. }
        | StoreError::Precondition { .. }
        | StoreError::NotModified { .. } => true,
        StoreError::Generic { .. } => match Answer::of(error) {
            Answer { status: Some(status), .. } => status >= 500 || matches!(status, 408 | 429),
            Answer { status: None, .. } => is_transport(error),
        },
        _ => false,
    }
}

/// Whether the store answered that it is temporarily unable to serve the request.
pub(super) fn is_busy(error: &StoreError) -> bool {
    matches!(Answer::of(error).status, Some(429 | 500 | 502..=504)) && !is_about_credentials(error)
}

/// Whether a reply was cut short, or the reply to a POST (used for deleting here) was lost. The
/// client retries neither.
pub(super) fn is_cut_short(error: &StoreError) -> bool {
    let is_tried_again = |text: &String| {
        text.contains("Error performing ") && !text.contains("Error performing POST ")
    };
    matches!(error, StoreError::Generic { .. })
        && Answer::of(error).status.is_none()
        && !is_about_credentials(error)
        && !chain(error).iter().any(is_tried_again)
}

/// Whether the request itself failed, not something that precedes it.
fn is_transport(error: &StoreError) -> bool {
    chain(error).iter().any(|text| text.contains("Error performing "))
        && !is_about_credentials(error)
}

/// Whether the credential provider failed, before the store was contacted.
fn is_about_credentials(error: &StoreError) -> bool {
    let signs = [
        "token request",
        "token response",
        "federated token",
        "get-access-token",
        "CreateSession",
        "AssumeRole",
        "//169.254.",
        "metadata.google",
    ];
    chain(error).iter().any(|text| signs.iter().any(|sign| text.contains(sign)))
}

/// The error with its place, action, and advice.
pub(super) fn failed(bucket: &Bucket, action: Action, path: &str, error: &StoreError) -> Error {
    let answer = Answer::of(error);
    let action = action.or_reading_back(error);
    let (kind, hint) = advice(bucket, action, error, &answer);
    let (verb, what) = (action.verb(), if path.is_empty() { "the lake" } else { path });
    let failed = Error::new(kind, format!("cannot {verb} {what} in {}", bucket.location));
    let failed = failed.with_source(answer.to_string(error));
    match hint {
        Some(hint) => failed.with_hint(hint),
        None => failed,
    }
}

fn advice(
    bucket: &Bucket,
    action: Action,
    error: &StoreError,
    answer: &Answer,
) -> (ErrorKind, Option<String>) {
    let wrong_key = ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"];
    let code = answer.code.as_deref().unwrap_or_default();
    match (error, answer.status) {
        _ if is_about_credentials(error) => (ErrorKind::Denied, Some(credentials_hint(bucket))),
        (_, Some(_)) if code == "RequestTimeTooSkewed" => {
            let hint = "this machine's clock is wrong; set it, for instance with an NTP client";
            (ErrorKind::Config, Some(hint.to_owned()))
        }
        (_, Some(401)) => (ErrorKind::Denied, Some(credentials_hint(bucket))),
        (_, Some(400 | 403)) if wrong_key.contains(&code) || code == "AuthenticationFailed" => {
            (ErrorKind::Denied, Some(credentials_hint(bucket)))
        }
        // Some servers report a wrong key the way others report a missing right.
        (_, Some(403)) if code == "AuthorizationFailure" => {
            let right = action.right(bucket);
            let hint = format!("the credentials are wrong, or lack {right}");
            (ErrorKind::Denied, Some(hint))
        }
        (_, Some(403)) => {
            let hint = format!("the credentials lack {}", action.right(bucket));
            (ErrorKind::Denied, Some(hint))
        }
        (StoreError::NotFound { .. }, _) | (_, Some(404)) => {
            let hint = format!("the bucket or container {} does not exist; create it", bucket.name);
            (ErrorKind::Config, Some(hint))
        }
        (StoreError::Precondition { .. } | StoreError::AlreadyExists { .. }, _) => {
            let hint = "the store refuses a condition that is met; `clari-lake doctor` shows what \
                        it supports, and store.conditional = \"create-only\" works without it";
            (ErrorKind::Config, Some(hint.to_owned()))
        }
        (StoreError::NotImplemented { .. } | StoreError::NotSupported { .. }, _)
        | (_, Some(501)) => {
            let hint = "the store does not support conditional writes; `clari-lake doctor` shows what it \
                 supports";
            (ErrorKind::Config, Some(hint.to_owned()))
        }
        (_, Some(301 | 307 | 308)) => (ErrorKind::Config, Some(region_hint())),
        (_, Some(400 | 405)) => (ErrorKind::Config, None),
        (_, None) if chain(error).iter().any(|text| text.contains("peer certificate")) => {
            let hint = "if a proxy terminates TLS, set SSL_CERT_FILE to its CA";
            (ErrorKind::Config, Some(hint.to_owned()))
        }
        (_, None) if chain(error).iter().any(|text| text.contains("scheme is not allowed")) => {
            let hint = "an endpoint without TLS needs AWS_ALLOW_HTTP=true";
            (ErrorKind::Config, Some(hint.to_owned()))
        }
        (_, None) if chain(error).iter().any(|text| text.contains("redirect without LOCATION")) => {
            (ErrorKind::Config, Some(region_hint()))
        }
        _ => (ErrorKind::Unavailable, None),
    }
}

fn region_hint() -> String {
    "the bucket is in another region: set AWS_REGION to it".to_owned()
}

fn credentials_hint(bucket: &Bucket) -> String {
    let names = match bucket.provider {
        Provider::S3 => {
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN for temporary ones), \
             AWS_PROFILE, a web identity, or the role of the instance or container"
        }
        Provider::Gcs => {
            "GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS, or the instance's account"
        }
        Provider::Azure => {
            "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN \
             or AZURE_CLIENT_ID, or a managed identity"
        }
        Provider::Other => "the store's own settings",
    };
    format!("check the store's credentials; they come from {names}")
}

impl Answer {
    /// The server's answer, as far as it may be shown.
    fn of(error: &StoreError) -> Self {
        let marks = ["status code: ", "error response: "];
        let said = chain(error);
        let said = said
            .iter()
            .find_map(|text| marks.iter().find_map(|mark| text.split_once(mark)).map(|it| it.1));
        let Some(said) = said else { return Self::default() };
        let status = said.get(..3).and_then(|digits| digits.parse().ok());
        let code = element(said, "Code").filter(|code| is_word(code)).map(str::to_owned);
        let denied = code.as_deref().is_some_and(|code| code.starts_with("AccessDenied"));
        let words = element(said, "Details").or_else(|| element(said, "Message"));
        let words = words.filter(|words| denied && words.len() < 500 && !words.contains("://"));
        Self { status, code, words: words.map(str::to_owned) }
    }

    /// One line: the status and code, or the innermost cause if there are none.
    fn to_string(&self, error: &StoreError) -> String {
        let Some(status) = self.status else { return innermost(error) };
        if is_about_credentials(error) {
            return format!("no credentials are available ({status})");
        }
        let code = self.code.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
        let words = self.words.as_deref().map(|words| format!(": {words}")).unwrap_or_default();
        format!("the store answered {status}{code}{words}")
    }
}

/// The cause of a failure without an answer. If it contains URLs, only the last words.
fn innermost(error: &StoreError) -> String {
    if let StoreError::NotImplemented { operation, .. } = error {
        return format!("{operation} is not implemented");
    }
    let texts = chain(error);
    let safe = texts.iter().rev().find(|text| !text.contains("://") && !text.contains('<'));
    safe.cloned().unwrap_or_else(|| "no connection".to_owned())
}

fn chain(error: &StoreError) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    texts
}

/// The text of an XML element.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

fn is_word(text: &str) -> bool {
    text.len() < 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    fn bucket(provider: Provider) -> Bucket {
        Bucket {
            provider,
            name: "b".to_owned(),
            ..Bucket::of(Arc::new(InMemory::new()), "s3://b/lake")
        }
    }

    fn answered(status: &str, body: &str) -> StoreError {
        let text = format!(
            "Error performing PUT https://b/x?sig=canary in 1ms - Server returned non-2xx status \
             code: {status}: {body}"
        );
        StoreError::Generic { store: "S3", source: text.into() }
    }

    fn shown(error: &Error) -> String {
        let source = std::error::Error::source(error).unwrap();
        format!("{error}: {source}\n{}", error.hint().unwrap_or_default())
    }

    #[test]
    fn a_refusal_names_the_place_the_action_and_the_missing_right() {
        let body = "<Error><Code>AccessDenied</Code><Message>User: me is not authorized to \
                    perform: s3:PutObject</Message></Error>";
        let error = failed(&bucket(Provider::S3), Action::Write, "x", &answered("403", body));
        assert_eq!(error.kind(), ErrorKind::Denied);
        let shown = shown(&error);
        assert!(shown.contains("cannot write x in s3://b/lake"), "{shown}");
        assert!(shown.contains("403 AccessDenied: User: me is not authorized"), "{shown}");
        assert!(shown.contains("s3:PutObject on arn:aws:s3:::b/*"), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn a_write_that_cannot_be_read_back_lacks_the_right_to_read() {
        let text = "Error performing GET https://b/x in 1ms - Server returned non-2xx status \
                    code: 403: <Error><Code>AccessDenied</Code></Error>";
        let error = StoreError::Generic { store: "S3", source: text.into() };
        let shown = shown(&failed(&bucket(Provider::S3), Action::Write, "x", &error));
        assert!(shown.contains("cannot read x"), "{shown}");
        assert!(shown.contains("s3:GetObject"), "{shown}");
    }

    #[test]
    fn an_endpoint_without_tls_must_be_allowed() {
        let text = "Error performing GET http://b/x in 1ms - HTTP error: URL scheme is not allowed";
        let error = StoreError::Generic { store: "S3", source: text.into() };
        let error = failed(&bucket(Provider::S3), Action::List, "x", &error);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.hint().unwrap().contains("AWS_ALLOW_HTTP"));
    }

    #[test]
    fn only_requests_that_the_client_gave_up_are_sent_again() {
        let of = |text: &str| StoreError::Generic { store: "S3", source: text.into() };
        let reset = "HTTP error: request or response body error: connection reset";
        assert!(is_cut_short(&of(&format!("Error getting list response body: {reset}"))));
        assert!(is_cut_short(&of(&format!("Error performing POST https://b/?delete: {reset}"))));
        assert!(!is_cut_short(&of("Error performing GET https://b/x in 9s, after 6 retries")));
        assert!(!is_cut_short(&answered("403 Forbidden", "no response body")));
    }

    #[test]
    fn signatures_and_tokens_in_server_messages_are_not_shown() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>canary</Message>\
                    <StringToSign>canary</StringToSign></Error>";
        let error = failed(&bucket(Provider::S3), Action::Read, "x", &answered("403", body));
        let shown = shown(&error);
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("AWS_SECRET_ACCESS_KEY"), "{shown}");
    }

    #[test]
    fn a_missing_bucket_differs_from_an_empty_one() {
        let body = "<Error><Code>NoSuchBucket</Code></Error>";
        let error = failed(&bucket(Provider::S3), Action::List, "x", &answered("404", body));
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(shown(&error).contains("the bucket or container b does not exist"));
    }

    #[test]
    fn only_writes_that_may_have_happened_are_ambiguous() {
        assert!(is_ambiguous(&answered("500 Internal Server Error", "")));
        assert!(is_ambiguous(&answered("503", "")));
        assert!(!is_ambiguous(&answered("403 Forbidden", "")));
        assert!(!is_ambiguous(&answered("400", "")));
        let broken = "Error performing PUT https://b/x?sig=canary in 1ms - HTTP error: reset";
        let broken = StoreError::Generic { store: "S3", source: broken.into() };
        assert!(is_ambiguous(&broken));
        let error = failed(&bucket(Provider::Azure), Action::Write, "x", &broken);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(!shown(&error).contains("canary"));
    }
}
