//! Errors, worded so that the reader knows what to do next.
//!
//! Each failure is one [`Error`] with a coarse [`ErrorKind`], a message, the endpoint and window it
//! concerns, and its source. It never holds record values, credentials or URLs with a query.
//! Expected outcomes (a lost commit race, an absent record) are values, not errors.

use std::fmt;

/// The result of everything fallible in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the reader can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Arguments, settings or an endpoint file are wrong: fix them first.
    Config,
    /// Credentials or rights are missing or refused.
    Denied,
    /// The API or the store gave no useful answer within its retries: run again later.
    Unavailable,
    /// The week's quota is spent: run again when it renews.
    Exhausted,
    /// The API's answer cannot be read as its records.
    Data,
    /// Lost too many commit races to other writers: run again.
    Conflict,
    /// Something in the lake does not match its manifest.
    Corrupt,
    /// A newer version of this tool wrote the lake.
    Newer,
    /// The run was stopped on request.
    Interrupted,
    /// A bug.
    Internal,
}

impl ErrorKind {
    /// Whether running the same command again later can succeed without any change.
    #[must_use]
    pub fn retryable(self) -> bool {
        matches!(
            self,
            Self::Unavailable | Self::Exhausted | Self::Conflict | Self::Data | Self::Interrupted
        )
    }

    /// One line of advice, if any applies to the whole kind.
    #[must_use]
    pub fn hint(self) -> Option<&'static str> {
        match self {
            Self::Denied => Some(
                "check CLARI_API_KEY and CLARI_API_PASSWORD (workspace settings > integrations > \
                 Clari Copilot API); check for stray whitespace",
            ),
            Self::Unavailable => {
                Some("everything complete is in the lake; run the same command again")
            }
            Self::Exhausted => Some(
                "the weekly quota renews on Sunday 00:00 UTC; run the same command again after \
                 that",
            ),
            Self::Conflict => Some("another process is writing to this lake; run again"),
            Self::Corrupt => {
                Some("restore the object from a backup, or move it away and export its dates again")
            }
            Self::Newer => Some("upgrade clari-lake to the version that wrote the lake"),
            Self::Internal => {
                Some("this is a bug in clari-lake; please report it with the lines above")
            }
            _ => None,
        }
    }
}

/// An error with what it concerns and its cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    context: Option<String>,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` is in lower case, without a period.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), context: None, hint: None, source: None }
    }

    /// The same error, naming the endpoint, window or object it concerns.
    #[must_use]
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.context.get_or_insert(context.into());
        self
    }

    /// The same error, naming a part of what it concerns before what it names already.
    pub(crate) fn within(mut self, part: &str) -> Self {
        self.context = Some(match self.context {
            Some(context) => format!("{part}: {context}"),
            None => part.to_owned(),
        });
        self
    }

    /// The same error with more specific advice than its kind's.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the reader can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened, without what it concerns.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The error and its causes in one line.
    #[must_use]
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    }

    /// The advice: the error's own, or else its kind's.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref().or_else(|| self.kind.hint())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.context {
            Some(context) => write!(f, "{context}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::new(ErrorKind::Internal, "columns could not be built").with_source(error)
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Self {
        if is_out_of_room(&error) {
            let message = "the disk is full: an object could not be written";
            return Self::new(ErrorKind::Unavailable, message)
                .with_hint("everything complete is in the lake: free some space and run again")
                .with_source(error);
        }
        Self::new(ErrorKind::Corrupt, "a parquet object could not be read or written")
            .with_source(error)
    }
}

/// Whether writing failed because the disk is full, which says nothing about existing files.
fn is_out_of_room(error: &parquet::errors::ParquetError) -> bool {
    use std::io::{Error, ErrorKind};
    let parquet::errors::ParquetError::External(source) = error else { return false };
    source.downcast_ref::<Error>().is_some_and(|error| {
        matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
    })
}
