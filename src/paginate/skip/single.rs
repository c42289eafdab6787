//! Single records: those that cannot be read are passed over, and before one that was read alone, the
//! record before it must still be a known one.

use super::state::{Begin, Skipping, Then};
use crate::page::Page;
use crate::paginate::step::{Slice, Step};
use crate::paginate::unread::Place;

impl Skipping {
    /// Takes in the requested page, and returns the next step. `largest` is the number of records
    /// in the largest page of the run.
    pub(in crate::paginate) fn next(&mut self, page: &Page, largest: usize) -> Step {
        if let Some(then) = self.then.take() {
            return self.go_on_if_known(page, then);
        }
        let asked = self.asked;
        let begin = self.begin;
        if begin == Begin::AfterGap {
            self.begin = Begin::Overlapping;
        }
        let is_alone = asked.limit == 1 && begin.steps_back() == 0 && !self.tail.is_empty();
        let is_apart =
            begin == Begin::Apart && page.entries.iter().any(|it| !self.has_come(&it.key));
        // A second pass of single records is compared with the first.
        let is_compared = self.most == 1 && self.pass.before > 0;
        let is_unlinked =
            (is_alone || is_apart) && asked.skip > 0 && begin != Begin::AfterGap && !is_compared;
        let unread = is_unlinked.then(|| self.unread.clone());
        let pass = self.pass.before;
        let step = self.step_after(page, largest);
        let goes_on = self.pass.before == pass
            && self.below.is_none()
            && matches!(step, Step::Get(_) | Step::Done);
        let Some(unread) = unread.filter(|_| goes_on) else { return step };
        self.then = Some(Then { step, asked: self.asked, unread });
        self.asked = Slice { skip: asked.skip - 1, limit: 1, counts: false, ..asked };
        Step::Get(self.asked())
    }

    /// The step that waited, if the record before a single one is still a known one.
    fn go_on_if_known(&mut self, page: &Page, then: Then) -> Step {
        let is_known = page.entries.first().is_none_or(|it| self.has_come(&it.key));
        if !is_known {
            self.unread = then.unread;
            return self.step_back(true);
        }
        self.asked = then.asked;
        then.step
    }

    /// The page after a single record that cannot be read; `None` when too many in a row cannot be
    /// read.
    pub(in crate::paginate) fn pass_over(&mut self) -> Option<Step> {
        if let Some(then) = self.then.take() {
            // The known record could be read, so this is another one.
            self.unread = then.unread;
            return Some(self.step_back(true));
        }
        if self.begin.steps_back() > 0 && self.asked.skip > 0 {
            // It is not a known record, so those before it are checked.
            return Some(self.step_back(true));
        }
        self.pass.has_passed_over = true;
        let goes_on = self.unread.miss(Place::record(self.asked.skip, self.asked.order));
        goes_on.then(|| {
            let step = self.go_on(self.asked.skip + 1);
            self.begin = Begin::AfterGap;
            step
        })
    }

    /// Records that nothing more can be read.
    pub(in crate::paginate) fn give_up(&mut self) {
        if let Some(then) = self.then.take() {
            self.asked = then.asked;
        }
        self.unread.miss_the_rest(Place::record(self.asked.skip, self.asked.order));
    }
}
