//! The offset between a clock and the server's, as far as the server's replies have shown.

/// How long a reply's bounds must be confirmed before they replace bounds that they contradict, in
/// microseconds. A `Date` that does not advance, or that belongs to a cached reply, is never
/// confirmed.
const CONFIRMED: i64 = 5_000_000;
/// A `Date` has a resolution of one second.
const SECOND: i64 = 1_000_000;

/// What a reply shows about the server's clock. Times are microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// When the request was sent, by this machine's clock.
    pub sent: i64,
    /// When the reply arrived, by the same clock.
    pub received: i64,
    /// The reply's `Date`.
    pub date: i64,
}

/// The bounds on how far the server's clock is ahead of this machine's, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    least: i64,
    most: i64,
}

impl Bounds {
    /// The server wrote its `Date` between the request and the reply.
    fn of(sighting: Sighting) -> Self {
        let Sighting { sent, received, date } = sighting;
        Self { least: date.saturating_sub(received), most: (date + SECOND).saturating_sub(sent) }
    }

    fn common(self, other: Self) -> Option<Self> {
        let (least, most) = (self.least.max(other.least), self.most.min(other.most));
        (least <= most).then_some(Self { least, most })
    }
}

/// The offset between a clock and the server's: each reply narrows it down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offset {
    bounds: Option<Bounds>,
    /// Bounds that contradict the current ones, and since when replies have confirmed them.
    rival: Option<(Bounds, i64)>,
}

impl Offset {
    /// Takes in a reply. If it contradicts the earlier ones, it counts only once others have
    /// confirmed it for a while: then this machine's clock was set in the meantime.
    pub fn observe(&mut self, sighting: Sighting) {
        let seen = Bounds::of(sighting);
        let Some(bounds) = self.bounds else {
            self.bounds = Some(seen);
            return;
        };
        if let Some(common) = bounds.common(seen) {
            (self.bounds, self.rival) = (Some(common), None);
            return;
        }
        let confirmed = self.rival.and_then(|(rival, since)| Some((rival.common(seen)?, since)));
        let (rival, since) = confirmed.unwrap_or((seen, sighting.date));
        if sighting.date - since >= CONFIRMED {
            (self.bounds, self.rival) = (Some(rival), None);
        } else {
            self.rival = Some((rival, since));
        }
    }

    /// Whether any reply was taken in.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.bounds.is_some()
    }

    /// What to add to this machine's clock so that it is certainly not ahead of the server's, in
    /// microseconds: a run's reference time must not be in the future.
    #[must_use]
    pub fn least(&self) -> i64 {
        self.bounds.map_or(0, |bounds| bounds.least)
    }

    /// What to add to this machine's clock, in microseconds: zero while it agrees with the replies,
    /// otherwise the smallest correction that makes it agree.
    #[must_use]
    pub fn correction(&self) -> i64 {
        self.bounds.map_or(0, |bounds| 0.clamp(bounds.least, bounds.most))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reply to a request that was sent at `sent` and took `took`, from a server that is ahead by
    /// `offset`.
    fn reply(sent: i64, took: i64, offset: i64) -> Sighting {
        let date = (sent + took / 2 + offset).div_euclid(SECOND) * SECOND;
        Sighting { sent, received: sent + took, date }
    }

    /// P10: a correct clock is left alone; a wrong one is corrected to within a second, and more
    /// precisely with each reply.
    #[test]
    fn a_clock_is_corrected_as_far_as_replies_contradict_it() {
        let mut right = Offset::default();
        (0..100).for_each(|at| right.observe(reply(at * 137_000, 40_000, 0)));
        assert_eq!(right.correction(), 0);
        for offset in [-3 * 86_400 * SECOND, -3_600 * SECOND, 600 * SECOND, 86_400 * SECOND] {
            let mut wrong = Offset::default();
            wrong.observe(reply(0, 40_000, offset));
            assert!((wrong.correction() - offset).abs() <= SECOND + 40_000, "{offset}");
            (1..100).for_each(|at| wrong.observe(reply(at * 137_000, 40_000, offset)));
            assert!((wrong.correction() - offset).abs() <= 250_000, "{offset}");
        }
    }

    /// A `Date` that never changes, or that belongs to an old reply, corrects nothing after the
    /// first time.
    #[test]
    fn a_date_that_does_not_move_is_not_followed() {
        let mut offset = Offset::default();
        offset.observe(reply(0, 40_000, 0));
        for at in 1..1_000 {
            let sent = at * 137_000;
            offset.observe(Sighting { sent, received: sent + 40_000, date: 0 });
        }
        assert_eq!(offset.correction(), 0);
    }

    /// If a clock is set during a run, the offset follows once several replies agree.
    #[test]
    fn a_clock_that_is_set_meanwhile_is_followed() {
        let mut offset = Offset::default();
        let day = 86_400 * SECOND;
        (0..20).for_each(|at| offset.observe(reply(at * SECOND, 40_000, day)));
        offset.observe(reply(day + 20 * SECOND, 40_000, 0));
        assert!(offset.correction() > day / 2, "one reply proves nothing");
        (21..40).for_each(|at| offset.observe(reply(day + at * SECOND, 40_000, 0)));
        assert_eq!(offset.correction(), 0);
    }

    proptest! {
        /// Whatever the round trips, the corrected time of a request is within what the reply's
        /// `Date` allows: from one round trip before it to one second after it.
        #[test]
        fn a_corrected_request_is_within_what_its_date_allows(
            offset in -1_000_000_000_000i64..1_000_000_000_000,
            took in 0i64..3_000_000,
            sent in 0i64..100_000_000,
        ) {
            let sighting = reply(sent, took, offset);
            let mut seen = Offset::default();
            seen.observe(sighting);
            let asked = sent + seen.correction();
            prop_assert!(asked >= sighting.date - took && asked <= sighting.date + SECOND);
        }
    }
}
