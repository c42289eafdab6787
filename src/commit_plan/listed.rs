//! When complete lists were requested: an older reply that is committed later brings nothing back.

use super::rules::Rules;
use crate::manifest::{Granularity, Manifest};
use crate::partition::Partition;

/// How long the time of a complete list is remembered, in microseconds. Only a process that was
/// suspended for a week could commit an older reply.
const REMEMBERED: i64 = 7 * 86_400_000_000;

/// When a complete list of a day, or of the month of a snapshot, was last requested, in
/// microseconds since 1970.
pub(super) fn listed_at(manifest: &Manifest, scope: &str) -> Option<i64> {
    manifest.listed.get(scope).copied()
}

/// Records when a complete list was requested; `false` if a later one is already recorded.
pub(super) fn note_listing(
    next: &mut Manifest,
    rules: &Rules,
    scope: &str,
    requested_at: i64,
) -> bool {
    if listed_at(next, scope).is_some_and(|known| rules.is_later(known, requested_at)) {
        return false;
    }
    next.listed.insert(scope.to_owned(), requested_at);
    next.listed.retain(|_, at| rules.now - *at <= REMEMBERED);
    true
}

/// The scope under which a list of one day is recorded, also in lakes with monthly partitions.
pub(super) fn day_scope(day: i32) -> String {
    Partition::of(Some(day), Granularity::Day).to_string()
}
