//! Erasure: removes what is on the list of the forgotten from rows, index, quarantine, and
//! manifests.

pub(in crate::lake) mod clear;
pub(in crate::lake) mod list;
mod reports;
