//! Progress: what a run has completed, and how that changes the manifest.

use chrono::{DateTime, Utc};

use super::rules::Rules;
use crate::manifest::{Checked, Manifest};
use crate::window::Window;

/// What a run has completed, or intends to complete.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Progress {
    /// Windows that are complete with these statements and the earlier ones.
    pub coverage: Vec<Window>,
    /// Windows that are not complete, although they may have counted as complete: they contain
    /// something that cannot be read.
    pub not_covered: Vec<Window>,
    /// What the run intends to complete.
    pub goal: Vec<Window>,
    /// What a backfill intends to complete.
    pub backfill: Vec<Window>,
    /// The time up to which changes are complete with these statements and the earlier ones.
    pub watermark: Option<DateTime<Utc>>,
    /// Whether the run's lists include private records.
    pub includes_private: bool,
    /// Whether the run has listed everything that is covered, including private records.
    pub lists_all_private: bool,
    /// When everything covered was last listed again.
    pub relisted_at: Option<DateTime<Utc>>,
    /// When the listing began; set in its first commit.
    pub begun_at: Option<DateTime<Utc>>,
    /// For a child table, the parents' partitions that were compared with it; `None` for those
    /// whose keys must be compared again.
    pub checked: Vec<(String, Option<Checked>)>,
    /// Whether the table's first export is complete, which freezes its schema.
    pub freeze: bool,
    /// Whether the run has requested again everything that the API has of lost partitions.
    pub requested_lost: bool,
}

impl Progress {
    /// Marks a window as incomplete, and as part of the goal.
    pub fn uncover(&mut self, window: Window) {
        self.not_covered.push(window);
        self.goal.push(window);
    }

    /// Withdraws comparisons with the parents that missed what another run has committed since
    /// `base`, the manifest that this change is based on. A comparison is complete only for the rows
    /// that it saw: of this change's rows (if there are any), the other run saw none, and of the
    /// other run's, this one saw none. Those partitions are compared again by the next run.
    pub fn withdraw_comparisons(&mut self, base: &Manifest, newest: &Manifest, has_records: bool) {
        if base.version == newest.version {
            return;
        }
        self.checked.iter_mut().for_each(|(_, checked)| *checked = None);
        if has_records {
            let of_another = newest.checked.iter();
            let of_another = of_another.filter(|(name, it)| base.checked.get(*name) != Some(it));
            self.checked.extend(of_another.map(|(name, _)| (name.clone(), None)));
        }
    }

    /// The manifest with this progress. Values recorded with a wrong clock are corrected as well.
    #[must_use]
    pub(super) fn applied(&self, manifest: &Manifest, rules: &Rules) -> Manifest {
        let now = DateTime::from_timestamp_micros(rules.now).unwrap_or_default();
        let mut next = manifest.as_of(now).into_owned();
        self.coverage.iter().for_each(|window| next.coverage.add(*window));
        self.not_covered.iter().for_each(|window| next.coverage.remove(*window));
        self.goal.iter().chain(&self.coverage).for_each(|window| next.goal.add(*window));
        self.backfill.iter().for_each(|window| next.backfill.add(*window));
        next.watermark = next.watermark.max(self.watermark);
        next.begun_at = next.begun_at.or(self.begun_at);
        next.has_private |= self.includes_private || next.private;
        // Whatever these lists cover, private records may have changed there unseen.
        let is_listed = !self.coverage.is_empty() || self.watermark.is_some();
        next.private &= self.includes_private || !is_listed;
        next.private |= self.lists_all_private;
        next.relisted_at = next.relisted_at.max(self.relisted_at);
        next.schema_frozen |= self.freeze;
        // A list without private records does not bring lost ones back: the next run that includes
        // them has to list everything.
        let has_all = self.includes_private || !next.has_private;
        if self.requested_lost && !has_all && !next.lost.is_empty() {
            next.private = false;
        }
        if self.requested_lost && has_all {
            next.lost.retain(|_, lost| !lost.replaced);
            next.lost.values_mut().for_each(|lost| lost.requested = true);
        }
        for (parents, checked) in &self.checked {
            match checked {
                Some(checked) => next.checked.insert(parents.clone(), checked.clone()),
                None => next.checked.remove(parents),
            };
        }
        next
    }
}
