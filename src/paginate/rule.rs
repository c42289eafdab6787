//! The rule: when is a list complete? It gives a [`Verdict`] on what was requested, what came, and
//! what the replies say, independent of the style of paging.
//!
//! Servers cap pages below the requested size, filter after paging, and forget to say that there is
//! more. So a short page alone proves nothing. The evidence, strongest first:
//!
//! 1. **More.** `hasMore`, or a pointer to the next page, says that the list continues. It is
//!    followed, and if it cannot be followed, the list is not complete. Only if the two disagree
//!    (`hasMore` false beside a cursor, which some servers send with the last page), one more
//!    request decides, which must bring nothing new.
//! 2. **The end.** `hasMore` false is believed, whatever a total says: the API ends its lists so,
//!    and its totals may count records that it does not return (private calls). That is a remark.
//!    Only where it would remove every row that the lake has of a list is it not believed
//!    ([`super::Scope::empties`]).
//! 3. **A total.** The list continues up to the total, and is complete there. If a total exactly
//!    equals a full first page, it may be the count of that page, so it is confirmed. If the total
//!    is larger, and a request from the last record on brings nothing, the list is not complete. A
//!    `count` may be the requested number, that of the page, or the total. Where it is neither of
//!    the first two, it is a total, too: read as anything else, records could be missing.
//! 4. **Silence.** After a full page, the list continues. A short one is confirmed by one more
//!    request from the last record on if the list has more than one page, if the page has at least
//!    half as many records as the largest page of this run (a cap would look like that), if the
//!    lake has records of this window that did not come, or if something else hints at more.
//!
//! What the lake has is no more than a reason to confirm: records are deleted, and move to other
//! windows. An empty page instead of known records is requested once more ([`super::Scope`]).
//!
//! The limit of the rule: a server that says nothing, caps its page, and ignores the requested
//! position cannot be told from one whose list is complete. Nor, without a total, can a server that
//! hides a whole page of records in the middle of its list be told from one whose list ends there.
//! Nor can such a server's single record be told from the whole of a list that is said to be whole,
//! or from the end of a list whose earlier pages had more, or whose rows move.
//!
//! Pages of one record show nothing about whether the list moves between them. A list that has only
//! such pages is read twice, and is complete when both passes find the same records.

use crate::page::Page;

/// What is known after a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a piece of evidence by itself")]
pub(super) struct Evidence {
    /// How many records came.
    pub(super) came: usize,
    /// How many of them had not come earlier.
    pub(super) new: usize,
    /// Whether as many came as requested.
    pub(super) is_full: bool,
    /// The position up to which the list was read.
    pub(super) end: u64,
    /// How many pages came earlier.
    pub(super) pages_before: u32,
    /// How many records the largest page of this run has.
    pub(super) largest: usize,
    /// Whether the page was requested only to confirm that nothing follows.
    pub(super) is_confirming: bool,
    /// Whether the list was found to be shifted, as by a server that filters after paging.
    pub(super) is_shifted: bool,
    /// What the replies say.
    pub(super) has_more: Option<bool>,
    pub(super) total: Option<u64>,
    /// A number that is a total if nothing better is known, from [`Said`].
    pub(super) count: Option<u64>,
    pub(super) hints_more: bool,
    pub(super) points_on: bool,
    /// Whether the lake has records of the window that did not come.
    pub(super) lacks_known: bool,
}

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The list was read to its end.
    Complete,
    /// It was, but this many records counted in its total are not shown.
    Hidden(u64),
    /// Nothing more comes, but the replies count this many records, which is more than came.
    Fewer(u64),
    /// It seems complete. One more request must bring nothing new.
    Confirm,
    /// There is more.
    More,
}

/// Judges a list by its last page.
pub(super) fn judge(evidence: Evidence) -> Verdict {
    let Evidence { came, new, end, is_confirming, .. } = evidence;
    let brought_nothing = is_confirming && new == 0;
    match (evidence.has_more, evidence.points_on) {
        (Some(false), true) if brought_nothing => return Verdict::Complete,
        (Some(false), true) => return Verdict::Confirm,
        (Some(false), false) => return hidden(evidence),
        (Some(true), _) | (None, true) => return Verdict::More,
        (None, false) => {}
    }
    if let Some(total) = evidence.total {
        let may_count_page = evidence.is_full && evidence.pages_before == 0 && total == came as u64;
        return match end.cmp(&total) {
            std::cmp::Ordering::Less if brought_nothing && !evidence.is_shifted => {
                Verdict::Fewer(total)
            }
            std::cmp::Ordering::Less => Verdict::More,
            _ if may_count_page && came > 0 => Verdict::Confirm,
            _ => Verdict::Complete,
        };
    }
    if evidence.is_full && came > 0 {
        return Verdict::More;
    }
    if brought_nothing {
        let larger = evidence.count.filter(|count| *count > end);
        return larger.map_or(Verdict::Complete, Verdict::Fewer);
    }
    let looks_capped = came > 0 && came * 2 >= evidence.largest;
    let is_later = evidence.pages_before > 0;
    let lacks_known = came > 0 && evidence.lacks_known;
    if (is_later && new > 0) || looks_capped || lacks_known || evidence.hints_more {
        return Verdict::Confirm;
    }
    Verdict::Complete
}

/// What the replies have said about a list as a whole so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said {
    /// Not every reply counts, so this is what the last one that did has said.
    pub(super) total: Option<u64>,
    /// The last `count` that can only be a total.
    pub(super) count: Option<u64>,
    /// Whether the last reply said that the list ends.
    pub(super) ends: bool,
    /// Whether any reply said whether there is more.
    pub(super) speaks: bool,
}

impl Said {
    /// Adds the reply to a request for this many records; 0 if the server decided.
    pub(super) fn note(&mut self, page: &Page, requested: u32) {
        self.total = page.total.or(self.total);
        self.count = count_of(page, requested).or(self.count);
        self.ends = page.has_more == Some(false);
        let points_on = page.pointer.is_some();
        self.speaks |= page.has_more.is_some() || points_on || self.any().is_some();
    }

    /// How many there should be, if the replies say so.
    pub(super) fn any(self) -> Option<u64> {
        self.total.or(self.count)
    }
}

/// The page's count, if it is a total: neither the requested number nor that of the page.
pub(super) fn count_of(page: &Page, requested: u32) -> Option<u64> {
    let harmless = [u64::from(requested), page.entries.len() as u64];
    page.count.filter(|count| !harmless.contains(count))
}

/// The list was read to its end; records counted in its total beyond that are hidden.
fn hidden(evidence: Evidence) -> Verdict {
    match evidence.total.map_or(0, |total| total.saturating_sub(evidence.end)) {
        0 => Verdict::Complete,
        count => Verdict::Hidden(count),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_evidence() -> impl Strategy<Value = Evidence> {
        let says = (
            any::<Option<bool>>(),
            prop::option::of(0u64..300),
            prop::option::of(0u64..300),
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
        );
        let page = (0usize..120, 0usize..120, any::<bool>(), 0u64..300, 0u32..4, 0usize..120);
        (page, says, any::<bool>(), any::<bool>()).prop_map(
            |(
                (came, new, is_full, end, pages_before, largest),
                says,
                is_confirming,
                is_shifted,
            )| {
                let (has_more, total, count, hints_more, points_on, lacks_known) = says;
                Evidence {
                    came,
                    new: new.min(came),
                    is_full,
                    end,
                    pages_before,
                    largest: largest.max(came),
                    is_confirming,
                    is_shifted,
                    has_more,
                    total,
                    count,
                    hints_more,
                    points_on,
                    lacks_known,
                }
            },
        )
    }

    fn is_end(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Complete | Verdict::Hidden(_))
    }

    proptest! {
        /// P1: a list whose reply says that there is more never counts as complete.
        #[test]
        fn more_is_never_the_end(evidence in any_evidence()) {
            if evidence.has_more == Some(true) || (evidence.points_on && evidence.has_more.is_none()) {
                prop_assert_eq!(judge(evidence), Verdict::More);
            }
            if evidence.points_on && !(evidence.is_confirming && evidence.new == 0) {
                prop_assert!(!is_end(judge(evidence)));
            }
        }

        /// P1: below a total, the list is not complete unless the reply says that it ends.
        #[test]
        fn a_list_shorter_than_its_total_is_not_complete(evidence in any_evidence()) {
            let total = evidence.total.or(evidence.count.filter(|_| evidence.is_confirming));
            let is_below = total.is_some_and(|total| evidence.end < total);
            let is_last = evidence.total.is_some() || evidence.new == 0;
            if is_below && evidence.has_more != Some(false) && is_last {
                prop_assert!(!is_end(judge(evidence)));
            }
        }

        /// P1: without other evidence, a page that may be capped is not the end until that is
        /// confirmed.
        #[test]
        fn without_a_sign_a_page_that_may_be_capped_is_confirmed(evidence in any_evidence()) {
            let silent = Evidence { has_more: None, total: None, points_on: false, ..evidence };
            let may_be_capped = silent.came > 0 && silent.came * 2 >= silent.largest;
            if may_be_capped && !(silent.is_confirming && silent.new == 0) {
                prop_assert!(!is_end(judge(silent)));
            }
        }

        /// P1: in silence, a page that lacks what the lake has is not the end until that is
        /// confirmed; where the reply speaks, what the lake has changes nothing.
        #[test]
        fn in_silence_what_the_lake_has_is_a_reason_to_confirm(evidence in any_evidence()) {
            let silent = Evidence { has_more: None, total: None, points_on: false, ..evidence };
            let lacks = Evidence { lacks_known: true, ..silent };
            if lacks.came > 0 && !(lacks.is_confirming && lacks.new == 0) {
                prop_assert!(!is_end(judge(lacks)));
            }
            let speaks = evidence.has_more.is_some() || evidence.total.is_some();
            let other = Evidence { lacks_known: !evidence.lacks_known, ..evidence };
            prop_assert!(!speaks || judge(evidence) == judge(other));
        }

        /// P7: no verdict requires a second confirmation of what the first one confirmed.
        #[test]
        fn a_confirmed_page_size_is_not_confirmed_again(evidence in any_evidence()) {
            let confirmed = Evidence { is_confirming: true, new: 0, pages_before: 1, ..evidence };
            prop_assert_ne!(judge(confirmed), Verdict::Confirm);
        }
    }

    #[test]
    fn the_plain_cases_are_as_they_read() {
        let page = |came: usize| Evidence {
            came,
            new: came,
            end: came as u64,
            largest: 100,
            ..Evidence::default()
        };
        for (case, evidence, verdict) in [
            ("empty", page(0), Verdict::Complete),
            ("short beside others", page(30), Verdict::Complete),
            ("capped, perhaps", page(50), Verdict::Confirm),
            ("full", Evidence { is_full: true, ..page(100) }, Verdict::More),
            ("the end", Evidence { has_more: Some(false), ..page(99) }, Verdict::Complete),
            ("at the total", Evidence { total: Some(99), ..page(99) }, Verdict::Complete),
            ("below it", Evidence { total: Some(120), ..page(99) }, Verdict::More),
            (
                "nothing follows below it",
                Evidence { total: Some(120), is_confirming: true, end: 99, ..page(0) },
                Verdict::Fewer(120),
            ),
            (
                "nothing follows below a count",
                Evidence { count: Some(2), is_confirming: true, ..page(0) },
                Verdict::Fewer(2),
            ),
            (
                "hidden",
                Evidence { has_more: Some(false), total: Some(120), ..page(99) },
                Verdict::Hidden(21),
            ),
            (
                "of this page",
                Evidence { is_full: true, total: Some(100), ..page(100) },
                Verdict::Confirm,
            ),
            ("known ones are missing", Evidence { lacks_known: true, ..page(3) }, Verdict::Confirm),
            ("a hint", Evidence { hints_more: true, ..page(3) }, Verdict::Confirm),
            (
                "a last cursor",
                Evidence { has_more: Some(false), points_on: true, ..page(3) },
                Verdict::Confirm,
            ),
        ] {
            assert_eq!(judge(evidence), verdict, "{case}");
        }
    }
}
