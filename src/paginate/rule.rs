//! The rule: when is a list complete?
//!
//! Enters: what was asked for, what came, and what the replies say. Leaves: a [`Verdict`]. Never
//! here: how the next page is asked for, or anything that depends on the style of paging.
//!
//! Servers cap pages below what was asked for, filter after paging, and forget to say that there is
//! more. So a short page alone proves nothing. In the order in which they are believed:
//!
//! 1. **More.** `hasMore`, or something that asks for the next page, says that the list goes on. It
//!    is followed, and where it cannot be, the list is not complete. Only both at odds (`hasMore`
//!    false beside a cursor, as some servers send with the last page) are settled by one more
//!    request, which must bring nothing new.
//! 2. **The end.** `hasMore` false is believed, whatever a total says: totals may count records
//!    that are not shown.
//! 3. **A total.** Up to it the list goes on, from it on it is complete. A total that just equals a
//!    full first page may be the count of that page: it is confirmed. Where the total is larger,
//!    and a request from the last record on brings nothing, the rest is hidden, which is a remark.
//! 4. **Silence.** A full page goes on. A short one is confirmed by one more request from the last
//!    record on if the list has more than one page, if it holds at least half of the largest page
//!    of this run (a cap would look like that), or if something else hints at more.
//!
//! The limit of the rule: a server that says nothing, caps its page and ignores where a page is to
//! begin cannot be told from one whose list is whole. Nor can, without a total, one that hides a
//! whole page of records in the middle of its list from one whose list ends there.

/// What is known once a page came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a piece of evidence by itself")]
pub(super) struct Evidence {
    /// How many records came.
    pub(super) came: usize,
    /// How many of them had not come before.
    pub(super) new: usize,
    /// Whether as many came as were asked for.
    pub(super) is_full: bool,
    /// Up to which position the list was read.
    pub(super) end: u64,
    /// How many pages came before.
    pub(super) pages_before: u32,
    /// How many records the largest page of this run has.
    pub(super) largest: usize,
    /// Whether the page was asked for only to see that nothing follows.
    pub(super) is_confirming: bool,
    /// Whether the list was found to be shifted: a server that filters after paging.
    pub(super) is_shifted: bool,
    /// What the replies say.
    pub(super) has_more: Option<bool>,
    pub(super) total: Option<u64>,
    pub(super) hints_more: bool,
    pub(super) points_on: bool,
}

/// What to make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The list was read to its end.
    Complete,
    /// It was, but records that its total counts are not shown: so many.
    Hidden(u64),
    /// It seems so. One more request must bring nothing new.
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
            std::cmp::Ordering::Less if brought_nothing && !evidence.is_shifted => hidden(evidence),
            std::cmp::Ordering::Less => Verdict::More,
            _ if may_count_page && came > 0 => Verdict::Confirm,
            _ => Verdict::Complete,
        };
    }
    if evidence.is_full && came > 0 {
        return Verdict::More;
    }
    if brought_nothing {
        return Verdict::Complete;
    }
    let looks_capped = came > 0 && came * 2 >= evidence.largest;
    let is_later = evidence.pages_before > 0;
    if (is_later && new > 0) || looks_capped || evidence.hints_more {
        return Verdict::Confirm;
    }
    Verdict::Complete
}

/// The list was read to its end; what its total counts beyond that is hidden.
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
        let says =
            (any::<Option<bool>>(), prop::option::of(0u64..300), any::<bool>(), any::<bool>());
        let page = (0usize..120, 0usize..120, any::<bool>(), 0u64..300, 0u32..4, 0usize..120);
        (page, says, any::<bool>(), any::<bool>()).prop_map(
            |(
                (came, new, is_full, end, pages_before, largest),
                says,
                is_confirming,
                is_shifted,
            )| {
                let (has_more, total, hints_more, points_on) = says;
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
                    hints_more,
                    points_on,
                }
            },
        )
    }

    fn is_end(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Complete | Verdict::Hidden(_))
    }

    proptest! {
        /// P1: what says that there is more never ends as complete.
        #[test]
        fn more_is_never_the_end(evidence in any_evidence()) {
            if evidence.has_more == Some(true) || (evidence.points_on && evidence.has_more.is_none()) {
                prop_assert_eq!(judge(evidence), Verdict::More);
            }
            if evidence.points_on && !(evidence.is_confirming && evidence.new == 0) {
                prop_assert!(!is_end(judge(evidence)));
            }
        }

        /// P1: below a total the list goes on until a request shows that nothing follows, unless
        /// the reply says that it ends.
        #[test]
        fn below_a_total_is_no_end(evidence in any_evidence()) {
            let is_below = evidence.total.is_some_and(|total| evidence.end < total);
            let is_confirmed = evidence.is_confirming && evidence.new == 0;
            if is_below && evidence.has_more != Some(false) && !is_confirmed {
                prop_assert!(!is_end(judge(evidence)));
            }
        }

        /// P1: in silence a page that may be capped is no end before it is confirmed.
        #[test]
        fn in_silence_a_page_that_may_be_capped_is_confirmed(evidence in any_evidence()) {
            let silent = Evidence { has_more: None, total: None, points_on: false, ..evidence };
            let may_be_capped = silent.came > 0 && silent.came * 2 >= silent.largest;
            if may_be_capped && !(silent.is_confirming && silent.new == 0) {
                prop_assert!(!is_end(judge(silent)));
            }
        }

        /// P7: no verdict asks for a second confirmation of what the first one confirmed.
        #[test]
        fn what_was_confirmed_is_not_confirmed_again(evidence in any_evidence()) {
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
                "hidden",
                Evidence { has_more: Some(false), total: Some(120), ..page(99) },
                Verdict::Hidden(21),
            ),
            (
                "of this page",
                Evidence { is_full: true, total: Some(100), ..page(100) },
                Verdict::Confirm,
            ),
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
