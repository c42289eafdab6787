//! Folders of a lake, and what a listing of them says.

/// The folder of files that are being written.
pub(super) const STAGING: &str = "_staging";

/// The folder of a table's manifests.
pub(in crate::lake) fn manifest_folder(table: &str) -> String {
    format!("_manifest/{table}")
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its path below the lake.
    pub(crate) path: String,
    /// Identifies this version of it.
    pub(crate) etag: String,
}

/// What is in the folders of one table.
#[derive(Debug, Default)]
pub(crate) struct TableListing {
    /// The names of its manifests, sorted.
    pub(crate) manifests: Vec<String>,
    /// Its objects, sorted by path.
    pub(crate) objects: Vec<Listed>,
}
