//! Progress: what a run has completed, and what that makes of the manifest.

use chrono::{DateTime, Utc};

use super::Rules;
use crate::manifest::{Checked, Manifest};
use crate::window::Window;

/// What a run has completed, or is to complete.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Windows that are complete with these statements and those before.
    pub coverage: Vec<Window>,
    /// Windows that are not complete, though they may have counted as such: they hold something
    /// that cannot be read.
    pub not_covered: Vec<Window>,
    /// What the run is to complete.
    pub goal: Vec<Window>,
    /// What a backfill is to complete.
    pub backfill: Vec<Window>,
    /// Up to where changes are complete with these statements and those before.
    pub watermark: Option<DateTime<Utc>>,
    /// Whether all that is covered is listed with private records from now on.
    pub private: Option<bool>,
    /// When everything that is covered was listed anew.
    pub relisted_at: Option<DateTime<Utc>>,
    /// When the listing began of which this is the first commit.
    pub begun_at: Option<DateTime<Utc>>,
    /// Of a child table, the parents' partitions that were compared with it; `None` for those whose
    /// keys are to be looked at again.
    pub checked: Vec<(String, Option<Checked>)>,
    /// Whether the table's first export is complete, which freezes its schema.
    pub freeze: bool,
    /// Whether the run has requested again all that the API has of lost partitions.
    pub requested_lost: bool,
}

impl Progress {
    /// Says that a window is not complete, and is to be completed.
    pub fn uncover(&mut self, window: Window) {
        self.not_covered.push(window);
        self.goal.push(window);
    }

    /// The manifest with this progress. What a wrong clock has noted in it is corrected on the way.
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
        next.private = self.private.unwrap_or(next.private);
        next.relisted_at = next.relisted_at.max(self.relisted_at);
        next.settled |= self.freeze;
        if self.requested_lost {
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
