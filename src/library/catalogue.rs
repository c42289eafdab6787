//! The endpoints, as a program sees them: by name, from validated files.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::endpoint;
use crate::error::Result;

/// Endpoints by name: the built-in ones, and yours. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Catalogue(Arc<endpoint::Catalogue>);

impl Catalogue {
    /// The built-in endpoints.
    ///
    /// # Errors
    /// `Config` when one of the embedded files is wrong, which a test rules out.
    pub fn built_in() -> Result<Self> {
        endpoint::Catalogue::built_in().map(Self::new)
    }

    pub(super) fn new(catalogue: impl Into<Arc<endpoint::Catalogue>>) -> Self {
        Self(catalogue.into())
    }

    /// The same endpoints with one added or changed, according to the text of an endpoint file. A
    /// file with a `description` is a whole endpoint; any other changes the built-in one of its
    /// name.
    ///
    /// # Errors
    /// `Config`, with the line and column of what is wrong.
    pub fn with_file(self, name: &str, text: &str) -> Result<Self> {
        Arc::unwrap_or_clone(self.0).with_file(name, text).map(Self::new)
    }

    /// All of them, parents before their children.
    pub fn endpoints(&self) -> impl Iterator<Item = Endpoint<'_>> {
        self.0.endpoints().iter().map(Endpoint)
    }

    /// The endpoint of this name.
    ///
    /// # Errors
    /// `Config` when there is none.
    pub fn find(&self, name: &str) -> Result<Endpoint<'_>> {
        self.0.find(name).map(Endpoint)
    }

    /// Checks what only all files together can show: every parent exists, and no endpoint is its
    /// own ancestor.
    ///
    /// # Errors
    /// `Config`, naming the endpoint. [`Lake::open_with`](super::Lake::open_with) checks it too.
    pub fn check(&self) -> Result<()> {
        self.0.check()
    }

    pub(super) fn shared(self) -> Arc<endpoint::Catalogue> {
        self.0
    }
}

/// One kind of record, and how to request it.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint<'c>(&'c endpoint::Endpoint);

impl<'c> Endpoint<'c> {
    /// Its name, which is its table's.
    #[must_use]
    pub fn name(&self) -> &'c str {
        &self.0.name
    }

    /// What its records are.
    #[must_use]
    pub fn description(&self) -> &'c str {
        &self.0.description
    }

    /// The fields that together identify a record.
    #[must_use]
    pub fn key(&self) -> &'c [String] {
        &self.0.key
    }

    /// Whether it is exported when no endpoint is named.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.on
    }

    /// Whether it is built into this library rather than from a file of yours.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.0.built_in
    }

    /// The declared columns. A table also has the columns that its first export inferred; its
    /// snapshot has them.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.0.schema().arrow()
    }
}
