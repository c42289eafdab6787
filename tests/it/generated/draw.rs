//! What is drawn: a catalogue, a lake, and nights in which all that can happen happens.

use std::collections::BTreeSet;

use fastrand::Rng;
use proptest::prelude::*;

use super::kind::{Kind, Space, catalogue};
use super::source::Change;

/// Everything that one schedule consists of.
#[derive(Debug, Clone)]
pub(super) struct Life {
    /// What it may hold.
    pub(super) space: Space,
    /// Decides latencies, contents, and which request fails.
    pub(super) luck: u64,
    /// When it begins.
    pub(super) begins: &'static str,
    pub(super) is_monthly: bool,
    /// Whether the lake is in an object store.
    pub(super) in_bucket: bool,
    /// Requests a second; none for as fast as they go.
    pub(super) rate: Option<u32>,
    pub(super) kinds: Vec<Kind>,
    /// How many records each endpoint has at first.
    pub(super) counts: Vec<u16>,
    pub(super) nights: Vec<Night>,
}

/// One night: what changes before, what attacks the lake, and how the clean run at its end looks.
#[derive(Debug, Clone)]
pub(super) struct Night {
    pub(super) minutes: u32,
    /// How many seconds before the end of a week the first run begins, if it does.
    pub(super) before_sunday: Option<u32>,
    pub(super) changes: Vec<(usize, Change)>,
    /// The object that is lost, by its place among all that can be brought back.
    pub(super) loses: Option<usize>,
    /// The object in whose place something else is put.
    pub(super) replaces: Option<(usize, Instead)>,
    pub(super) attacks: Vec<Attack>,
    /// Whether everything is listed again at the end, and if not, how many days.
    pub(super) full: bool,
    pub(super) lookback: u32,
    pub(super) flags: Flags,
}

/// What is put in an object's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instead {
    /// What it was before.
    Older,
    /// What another partition of its table is.
    Other,
}

/// What a run may be told without regard to the lake that it finds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    /// `--deletes drop`, and not `mark`.
    pub(super) drop_deletes: bool,
    pub(super) include_private: bool,
    pub(super) no_transcripts: bool,
}

/// A run in bad conditions, or two at once.
#[derive(Debug, Clone)]
pub(super) struct Attack {
    pub(super) run: Bad,
    pub(super) beside: Option<Bad>,
    /// Whether both begin at the same instant, as two containers do that one clock starts.
    pub(super) together: bool,
    /// Seconds until the next one.
    pub(super) pause: u32,
}

/// A run, and what befalls it.
#[derive(Debug, Clone)]
pub(super) struct Bad {
    /// Milliseconds until it begins.
    pub(super) after: u32,
    pub(super) share: f64,
    pub(super) slow: bool,
    /// Seconds until nothing answers, and for how long.
    pub(super) outage: Option<(u32, u32)>,
    /// The endpoint that refuses later pages.
    pub(super) refused: Option<usize>,
    pub(super) absent: bool,
    /// The endpoint and the record that no reply can hold.
    pub(super) unreadable: Option<(usize, usize)>,
    pub(super) blow: Blow,
    /// The write at which its store fails, and whether that write happens.
    pub(super) breakdown: Option<(u64, bool)>,
    /// Seconds by which its clock is ahead of the server's.
    pub(super) skew: i64,
    pub(super) options: Options,
}

impl Bad {
    /// A run that nothing befalls.
    fn calm() -> Self {
        let options = Options {
            full: false,
            lookback: None,
            to: None,
            evolve: false,
            subset: 0,
            concurrency: 4,
            quota: None,
            max_time: None,
            flags: Flags::default(),
        };
        Self {
            after: 0,
            share: 0.0,
            slow: false,
            outage: None,
            refused: None,
            absent: false,
            unreadable: None,
            blow: Blow::None,
            breakdown: None,
            skew: 0,
            options,
        }
    }
}

/// What befalls a run.
#[derive(Debug, Clone, Copy)]
pub(super) enum Blow {
    None,
    /// It is dropped after so many polls.
    Killed(u64),
    /// It is asked to stop after so many milliseconds.
    Stopped(u64),
    /// After so many polls it sleeps for so many seconds.
    Asleep(u64, u64),
}

/// What the user asks of a run.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) full: bool,
    pub(super) lookback: Option<u32>,
    /// Minutes that it ends before now.
    pub(super) to: Option<u32>,
    pub(super) evolve: bool,
    /// The endpoints that it exports, by bits; all of them if none.
    pub(super) subset: u16,
    pub(super) concurrency: usize,
    pub(super) quota: Option<u64>,
    /// Seconds after which it ends.
    pub(super) max_time: Option<u32>,
    pub(super) flags: Flags,
}

/// What some schedules consist of, because it goes wrong only where it meets itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lean {
    Nothing,
    /// Two runs at once, the slower one first.
    Races,
    /// Snapshots of which later pages are refused.
    PartialSnapshots,
    /// An object that is lost each night.
    Losses,
    /// An object that is replaced by an older version each night.
    Replacements,
}

impl Lean {
    /// Most schedules lean to nothing.
    fn of(luck: u64) -> Self {
        match luck / 5 % 12 {
            0 => Self::Races,
            1 => Self::PartialSnapshots,
            2 => Self::Losses,
            3 => Self::Replacements,
            _ => Self::Nothing,
        }
    }
}

fn change() -> impl Strategy<Value = (usize, Change)> {
    let what = prop_oneof![
        4 => Just(Change::Create),
        1 => Just(Change::Schedule),
        3 => Just(Change::Edit),
        2 => Just(Change::EditSilently),
        2 => Just(Change::Move),
        2 => Just(Change::Delete),
        1 => Just(Change::Return),
        1 => Just(Change::Hide),
        1 => Just(Change::Show),
    ];
    (0usize..16, what).no_shrink()
}

fn flags() -> impl Strategy<Value = Flags> {
    let rare = || prop::bool::weighted(0.3);
    (rare(), rare(), rare()).prop_map(|(drop_deletes, include_private, no_transcripts)| Flags {
        drop_deletes,
        include_private,
        no_transcripts,
    })
}

fn options() -> impl Strategy<Value = Options> {
    let lookback = prop::option::of((1u32..20_000).no_shrink());
    let to = prop::option::weighted(0.15, (1u32..10_000).no_shrink());
    let subset = prop_oneof![3 => Just(0u16), 1 => (1u16..).no_shrink()];
    let quota = prop::option::weighted(0.1, (0u64..200).no_shrink());
    let whole = (prop::bool::weighted(0.15), prop::bool::weighted(0.15));
    (whole, lookback, to, subset, (1usize..9).no_shrink(), quota, flags()).prop_map(
        |((full, evolve), lookback, to, subset, concurrency, quota, flags)| Options {
            full,
            lookback,
            to,
            evolve,
            subset,
            concurrency,
            quota,
            max_time: None,
            flags,
        },
    )
}

fn blow() -> impl Strategy<Value = Blow> {
    // Each order of magnitude as likely as the next.
    let polls = || {
        (0u32..12, any::<u64>())
            .prop_map(|(bits, more)| (1 << bits) + more % (1 << bits))
            .no_shrink()
    };
    prop_oneof![
        4 => Just(Blow::None),
        3 => polls().prop_map(Blow::Killed),
        1 => (0u64..3_000).no_shrink().prop_map(Blow::Stopped),
        1 => (polls(), (1u64..7_200).no_shrink()).prop_map(|(polls, seconds)| Blow::Asleep(polls, seconds)),
    ]
}

fn skew() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => Just(0i64),
        1 => (-300i64..300).no_shrink(),
        1 => prop::sample::select(vec![3_600i64, 86_400, 259_200, -3_600, -259_200]),
    ]
}

fn bad() -> impl Strategy<Value = Bad> {
    let share = prop_oneof![2 => Just(0.0), 1 => (0.0..0.5).no_shrink()];
    let outage = prop::option::weighted(0.15, (0u32..5, 1u32..400).no_shrink());
    let refused = prop::option::weighted(0.1, (0usize..16).no_shrink());
    let unreadable = prop::option::weighted(0.1, (0usize..16, 0usize..300).no_shrink());
    let breakdown = prop::option::weighted(0.25, (0u64..60, any::<bool>()).no_shrink());
    let server = (share, prop::bool::weighted(0.2), outage, refused, unreadable);
    let run = (
        (0u32..4_000).no_shrink(),
        blow(),
        breakdown,
        skew(),
        prop::bool::weighted(0.08),
        options(),
    );
    (server, run).prop_map(
        |(
            (share, slow, outage, refused, unreadable),
            (after, blow, breakdown, skew, absent, options),
        )| Bad {
            after,
            share,
            slow,
            outage,
            refused,
            absent,
            unreadable,
            blow,
            breakdown,
            skew,
            options,
        },
    )
}

fn attack() -> impl Strategy<Value = Attack> {
    let beside = prop::option::weighted(0.3, bad());
    (bad(), beside, any::<bool>(), (1u32..3_600).no_shrink())
        .prop_map(|(run, beside, together, pause)| Attack { run, beside, together, pause })
}

fn night() -> impl Strategy<Value = Night> {
    let changes = prop::collection::vec(change(), 0..8);
    let loses = prop::option::weighted(0.15, (0usize..40).no_shrink());
    let attacks = prop::collection::vec(attack(), 0..3);
    let instead = prop_oneof![3 => Just(Instead::Older), 1 => Just(Instead::Other)];
    let replaces = prop::option::weighted(0.15, (0usize..1_000, instead).no_shrink());
    let before_sunday = prop::option::weighted(0.15, (1u32..10).no_shrink());
    let begins = ((1u32..2_000).no_shrink(), before_sunday, changes, loses, replaces);
    (begins, attacks, prop::bool::weighted(0.3), (2u32..9).no_shrink(), flags()).prop_map(
        |(begins, attacks, full, lookback, flags)| {
            let (minutes, before_sunday, changes, loses, replaces) = begins;
            Night {
                minutes,
                before_sunday,
                changes,
                loses,
                replaces,
                attacks,
                full,
                lookback,
                flags,
            }
        },
    )
}

/// Instants at which weeks, months, years and leap days end, and some others.
const BEGINS: [&str; 6] = [
    "2026-11-25T11:00:00Z",
    "2026-11-28T23:59:40Z",
    "2026-11-30T22:30:00Z",
    "2026-12-31T23:30:00Z",
    "2028-02-28T21:00:00Z",
    "2028-02-29T23:50:00Z",
];

/// A schedule within this space.
pub(super) fn life(space: Space) -> impl Strategy<Value = Life> {
    // What only says when or how much does not shrink: each try is a life of its own.
    let luck = any::<u64>().no_shrink();
    let lake = (luck, prop::sample::select(&BEGINS[..]), any::<bool>(), any::<bool>());
    let rate = prop_oneof![4 => Just(None), 1 => Just(Some(10)), 1 => Just(Some(1))];
    let count = prop_oneof![6 => (0u16..40).no_shrink(), 1 => (120u16..220).no_shrink()];
    let counts = prop::collection::vec(count, 14);
    let nights = prop::collection::vec(night(), 1..4);
    (nights, catalogue(), rate, counts, lake).prop_map(
        move |(nights, kinds, rate, counts, (luck, begins, is_monthly, in_bucket))| {
            let counts = counts[..kinds.len()].to_vec();
            let mut life = Life {
                space,
                luck: luck >> 1,
                begins,
                is_monthly,
                in_bucket,
                rate,
                kinds,
                counts,
                nights,
            };
            life.lean();
            life.lean_towards(Lean::of(life.luck));
            life.lean_towards_known(space);
            if !space.is_plain {
                life.add();
            }
            life.keep_within(space);
            life
        },
    )
}

impl Life {
    /// Lets things meet that go wrong only together, and hardly ever meet by chance.
    fn lean(&mut self) {
        let count = self.kinds.len();
        let mut crowded = BTreeSet::new();
        let mut crowd = 200;
        // Few of the first writes come before a first manifest.
        if let Some(first) = self.nights[0].attacks.first_mut()
            && let Some((write, _)) = &mut first.run.breakdown
        {
            *write %= 12;
        }
        self.meet_once();
        for night in &mut self.nights {
            for attack in &mut night.attacks {
                // Two runs at the end of a week, at a rate that lasts over it.
                if night.before_sunday.is_some() {
                    self.rate = self.rate.or(Some(10));
                    let beside = attack.run.clone();
                    attack.beside.get_or_insert(beside);
                }
                let run = &mut attack.run;
                // Look-ups that find nothing for minutes, while some other request fails.
                if run.absent && attack.beside.is_none() {
                    (self.rate, run.share) = (Some(1), run.share.max(0.05));
                    (run.blow, run.breakdown, run.outage) = (Blow::None, None, None);
                    crowded.extend(0..count);
                    crowd = 400;
                }
                // A record that cannot be read, in a list of which no request reaches the end.
                if let Some((kind, _)) = run.unreadable {
                    (run.blow, run.breakdown) = (Blow::None, None);
                    crowded.insert(kind % count);
                }
            }
        }
        let sums_up = |at: &usize| self.kinds[*at].day_key && self.luck.is_multiple_of(2);
        crowded.extend((0..count).filter(sums_up));
        for kind in crowded {
            self.counts[kind] = self.counts[kind].max(crowd);
            self.kinds[kind].crowd();
        }
    }

    /// Some of what a first export alone can meet, as later ones have little left to read: look-ups
    /// that find nothing for minutes, and a record that cannot be read among more than requests
    /// reach.
    fn meet_once(&mut self) {
        let look_up = self.kinds.iter().position(Kind::is_look_up);
        let split = self.kinds.iter().position(Kind::is_split);
        let night = &mut self.nights[0];
        let Some(first) = night.attacks.first_mut() else { return };
        let run = &mut first.run;
        match self.luck % 5 {
            0 if look_up.is_some() => run.absent = true,
            1 if split.is_some() => {
                run.unreadable = split.map(|kind| (kind, night.minutes as usize));
                night.full = false;
            }
            _ => return,
        }
        first.beside = None;
        (run.outage, run.refused, run.skew) = (None, None, 0);
        (run.options.subset, run.options.to, run.options.quota) = (0, None, None);
    }

    /// Makes one combination the whole of a schedule.
    fn lean_towards(&mut self, lean: Lean) {
        let snapshot = self.kinds.iter().position(Kind::is_snapshot);
        for night in &mut self.nights {
            let which = night.minutes as usize;
            match lean {
                Lean::Losses => night.loses = night.loses.or(Some(which)),
                Lean::Replacements => {
                    night.replaces = night.replaces.or(Some((which, Instead::Older)));
                    night.full = false;
                }
                Lean::Nothing | Lean::PartialSnapshots | Lean::Races => {}
            }
            for attack in &mut night.attacks {
                let run = &mut attack.run;
                match lean {
                    Lean::PartialSnapshots if snapshot.is_some() => {
                        (run.refused, run.blow, run.breakdown) = (snapshot, Blow::None, None);
                    }
                    Lean::Races => {
                        (run.slow, run.blow, run.breakdown) = (true, Blow::None, None);
                        (run.share, run.options.subset, run.options.to) = (0.0, 0, None);
                        (run.absent, run.skew, run.options.quota) = (false, 0, None);
                        let quick = Bad { after: run.after + 500, slow: false, ..run.clone() };
                        (attack.beside, attack.together) = (Some(quick), false);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Adds what was not drawn yet when the seeds in `known` were found, by luck of its own, so
    /// that they find the same as then.
    fn add(&mut self) {
        let mut rng = Rng::with_seed(self.luck ^ 0x5eed);
        for attack in self.nights.iter_mut().flat_map(|night| &mut night.attacks) {
            for bad in std::iter::once(&mut attack.run).chain(&mut attack.beside) {
                if rng.u8(..8) == 0 {
                    bad.options.max_time = Some(1 << rng.u32(..8));
                }
            }
        }
        let killed = match rng.u8(..8) {
            // While it writes its first files, in a folder where the next one has the same number.
            0 => Bad { breakdown: Some((rng.u64(..3), false)), ..Bad::calm() },
            // Before it knows that its clock is wrong.
            1 => {
                let skew = [3_600, 86_400, 259_200][rng.usize(..3)];
                Bad { skew, blow: Blow::Killed(1 << rng.u32(..7)), ..Bad::calm() }
            }
            // With slots that it has not used.
            2 => Bad { blow: Blow::Killed(rng.u64(200..1_200)), ..Bad::calm() },
            3 => return self.split_around_a_record(&mut rng),
            _ => return,
        };
        self.in_bucket = false;
        self.rate = Some(1);
        let night = &mut self.nights[0];
        night.before_sunday = None;
        // The next one begins at once.
        let attack = |run| Attack { run, beside: None, together: false, pause: 1 };
        night.attacks = vec![attack(killed), attack(Bad::calm())];
    }

    /// A record that no reply can hold, in the middle of a list of which no request reaches the end.
    fn split_around_a_record(&mut self, rng: &mut Rng) {
        let Some(kind) = self.kinds.iter().position(Kind::is_split) else { return };
        self.counts[kind] = self.counts[kind].max(200);
        self.kinds[kind].crowd();
        let night = &mut self.nights[0];
        (night.full, night.lookback) = (false, 2);
        let run = Bad { unreadable: Some((kind, rng.usize(..200))), ..Bad::calm() };
        night.attacks = vec![Attack { run, beside: None, together: false, pause: 1 }];
    }

    /// Draws what is known to go wrong more often where it is asked for.
    fn lean_towards_known(&mut self, space: Space) {
        if space.unchanged_readings {
            let own = self.kinds.iter_mut().filter(|kind| kind.built_in.is_none());
            own.for_each(|kind| kind.verbatim = true);
        }
        let replaces = space.replaced_snapshots || space.swapped_objects;
        self.is_monthly |= replaces;
        for night in &mut self.nights {
            let which = night.minutes as usize;
            night.full &= !replaces;
            if space.replaced_snapshots {
                night.replaces = night.replaces.or(Some((which, Instead::Older)));
            }
            if space.swapped_objects {
                night.replaces = night.replaces.or(Some((which, Instead::Other)));
            }
            for attack in night.attacks.iter_mut().filter(|_| space.unchanged_readings) {
                let run = &mut attack.run;
                (run.slow, run.blow, run.breakdown) = (true, Blow::None, None);
                (run.options.subset, run.options.flags.no_transcripts) = (0, true);
                (run.options.full, run.options.to, run.share) = (true, None, 0.0);
                let mut quick = Bad { after: run.after + 500, slow: false, ..run.clone() };
                quick.options.flags.no_transcripts = false;
                (attack.beside, attack.together) = (Some(quick), false);
            }
        }
    }

    /// Leaves out what is known to go wrong.
    fn keep_within(&mut self, space: Space) {
        for night in &mut self.nights {
            let is_allowed = |(_, instead): &(usize, Instead)| {
                *instead == Instead::Older || space.swapped_objects
            };
            night.replaces = night.replaces.filter(is_allowed);
        }
        for attack in self.nights.iter_mut().flat_map(|night| &mut night.attacks) {
            // What is in the lake already is not noted as said again, so an older reply that says
            // something else and is committed later wins.
            if let Some(beside) = attack.beside.as_mut().filter(|_| !space.unchanged_readings) {
                beside.options.flags.no_transcripts = attack.run.options.flags.no_transcripts;
            }
        }
    }
}
