//! Endpoints, generated and built in: what their files say, and how their records are keyed.

use std::fmt::Write as _;

use proptest::prelude::*;

/// One endpoint of a catalogue.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    /// Which of the built-in endpoints it is, if it has no file of its own.
    pub(super) built_in: Option<BuiltIn>,
    /// With what its name begins, which decides its place among others.
    pub(super) letter: char,
    pub(super) dated: Dated,
    pub(super) window: Option<Windowing>,
    /// Whether changes can be asked for.
    pub(super) modified: bool,
    pub(super) paging: Paging,
    /// Whether `day` is part of the key, so that a window's reply is all there is of its day.
    pub(super) day_key: bool,
    pub(super) parent: Option<Lineage>,
    pub(super) experimental: bool,
    /// Whether the file declares more columns than it must.
    pub(super) declares: bool,
    /// Whether deletions are looked for.
    pub(super) deletes: bool,
    /// Whether some records are listed only with `--include-private`.
    pub(super) private: bool,
    /// Whether a field holds what people said, which `--no-transcripts` leaves out.
    pub(super) verbatim: bool,
}

/// The built-in endpoints that a catalogue can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BuiltIn {
    Calls,
    CallDetails,
    Users,
    Scorecards,
    Accounts,
    Playlists,
    PlaylistCalls,
}

/// What an endpoint calls the parts of its requests and records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    pub(super) list: &'static str,
    pub(super) single: &'static str,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) since: &'static str,
    pub(super) sort: &'static str,
    /// The query parameter that lists private records too.
    pub(super) private: &'static str,
    pub(super) at: &'static str,
    pub(super) changed_at: &'static str,
    /// A field by which paths name a parent.
    pub(super) owner: &'static str,
    /// The field of what people said.
    pub(super) said: &'static str,
}

/// The words of generated endpoints.
const OWN: Words = Words {
    list: "items",
    single: "item",
    from: "from",
    to: "to",
    since: "since",
    sort: "sort",
    private: "hidden",
    at: "at",
    changed_at: "changed_at",
    owner: "owner",
    said: "said",
};

/// The words of the vendor's API, but for the name of a list.
const VENDOR: Words = Words {
    list: "",
    single: "call",
    from: "filterTimeGt",
    to: "filterTimeLt",
    since: "filterModifiedGt",
    sort: "sortTime",
    private: "includePrivate",
    at: "time",
    changed_at: "last_modified_time",
    owner: "title",
    said: "transcript",
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dated {
    Field,
    Window,
    Run,
}

/// How a window is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windowing {
    pub(super) format: Format,
    pub(super) step: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Instant,
    EpochSeconds,
    Day,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paging {
    Whole,
    SkipLimit { size: u32, reach: u32 },
    Number { size: u32, first: u32 },
    Cursor { size: u32 },
    Link { size: u32 },
}

/// Whose ids lead to an endpoint's records.
#[derive(Debug, Clone)]
pub(super) struct Lineage {
    /// The parent's place in the catalogue.
    pub(super) parent: usize,
    pub(super) reading: Reading,
    /// The fields, and the values of them, by which parents are chosen.
    pub(super) when: Vec<(&'static str, Vec<&'static str>)>,
    /// How many days an answer is good.
    pub(super) refresh: Option<u32>,
    /// Whether a field of the parent's record is part of the path.
    pub(super) names_owner: bool,
    pub(super) owner: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// One record by the parent's key, again when the parent changes.
    LookUp,
    /// A list for each parent.
    List,
    /// One record by each id that the parent's record holds.
    ByReference,
}

/// The statuses of records; children choose by the first two.
const STATUSES: [&str; 3] = ["open", "done", "void"];
const CALL_STATUSES: [&str; 3] = ["PROCESSED", "POST_PROCESSING_DONE", "PROCESSING"];
pub(super) const TYPES: [&str; 2] = ["phone", "video"];

/// What a schedule may contain although it is known to go wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Space {
    /// Objects in whose place another partition's is put.
    pub(super) swapped_objects: bool,
    /// Older versions of snapshots, and of tables that snapshots are read by, that are put back.
    pub(super) replaced_snapshots: bool,
    /// Two runs at once of which one reads what is in the lake already, and the other less (P10).
    pub(super) unchanged_readings: bool,
    /// Nothing but what was drawn when the seeds in `known` were found.
    pub(super) is_plain: bool,
}

impl Space {
    /// What these names allow, separated by commas.
    pub(super) fn of(names: &str) -> Self {
        let mut space = Self::default();
        for name in names.split(',').filter(|name| !name.is_empty()) {
            match name {
                "swapped_objects" => space.swapped_objects = true,
                "replaced_snapshots" => space.replaced_snapshots = true,
                "unchanged_readings" => space.unchanged_readings = true,
                "plain" => space.is_plain = true,
                other => panic!("there is nothing called {other}"),
            }
        }
        space
    }
}

impl Kind {
    pub(super) fn is_snapshot(&self) -> bool {
        self.dated == Dated::Run
    }

    pub(super) fn is_look_up(&self) -> bool {
        self.parent.as_ref().is_some_and(|it| it.reading == Reading::LookUp)
    }

    /// The column that carries the parent's id.
    pub(super) fn parent_column(&self) -> Option<&'static str> {
        let parent = self.parent.as_ref().filter(|it| it.reading == Reading::List);
        let column = if self.built_in.is_some() { "playlist_id" } else { "parent_id" };
        parent.map(|_| column)
    }

    pub(super) fn words(&self) -> Words {
        self.built_in.map_or(OWN, |it| Words { list: it.list(), ..VENDOR })
    }

    pub(super) fn statuses(&self) -> [&'static str; 3] {
        if self.built_in == Some(BuiltIn::Calls) { CALL_STATUSES } else { STATUSES }
    }

    /// The name of the endpoint at this place of a catalogue.
    pub(super) fn name(&self, place: usize) -> String {
        match self.built_in {
            Some(it) => it.name().to_owned(),
            None => format!("{}{place}", self.letter),
        }
    }

    /// Lets requests reach no further than they must, so that windows have to be split.
    pub(super) fn crowd(&mut self) {
        if !self.is_split() {
            return;
        }
        if let Paging::SkipLimit { size, reach } = &mut self.paging {
            *reach = *size + 10;
        }
    }

    /// Whether its windows can be split where they hold more than requests reach.
    pub(super) fn is_split(&self) -> bool {
        let has_time = self.window.is_some_and(|it| it.format != Format::Day);
        has_time && self.built_in.is_none() && matches!(self.paging, Paging::SkipLimit { .. })
    }

    /// Where a reply holds the records.
    pub(super) fn is_single(&self) -> bool {
        self.parent.as_ref().is_some_and(|it| it.reading != Reading::List)
    }

    /// The endpoint's file.
    pub(super) fn file(&self, name: &str, names: &[String]) -> String {
        let mut text = String::from("description = \"generated\"\n");
        let path = match &self.parent {
            Some(parent) if parent.names_owner => {
                format!("/{name}/{{parent.{}}}/{{parent.id}}", parent.owner)
            }
            Some(_) => format!("/{name}/{{parent.id}}"),
            None => format!("/{name}"),
        };
        let records = if self.is_single() { "$.item" } else { "$.items[*]" };
        let key = if self.day_key { "[\"id\", \"day\"]" } else { "[\"id\"]" };
        let _ = writeln!(text, "path = \"{path}\"\nrecords = \"{records}\"\nkey = {key}");
        let flags = [
            (self.experimental, "experimental = true\n"),
            (self.deletes, "deletes = true\n"),
            (self.private, "private = { hidden = \"true\" }\n"),
            (self.verbatim, "verbatim = [\"said\"]\n"),
        ];
        text.extend(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, line)| *line));
        text.push_str(match self.dated {
            Dated::Field => "dated = { by = \"field\", field = \"at\" }\n",
            Dated::Window => "dated = { by = \"window\" }\n",
            Dated::Run => "dated = { by = \"run\" }\n",
        });
        if let Some(window) = self.window {
            let format = match window.format {
                Format::Instant => "instant",
                Format::EpochSeconds => "epoch_seconds",
                Format::Day => "day",
            };
            let step = window.step.map_or(String::new(), |step| format!(", step = \"{step}\""));
            let _ = writeln!(
                text,
                "window = {{ from = \"from\", to = \"to\", format = \"{format}\"{step} }}"
            );
        }
        if self.modified {
            text.push_str("modified = { from = \"since\", field = \"changed_at\" }\n");
        }
        text.push_str(&self.paging.text());
        text.push_str(&self.columns());
        if let Some(parent) = &self.parent {
            text.push_str(&parent.text(&names[parent.parent], self.parent_column()));
        }
        text
    }

    fn columns(&self) -> String {
        let mut columns = vec![("id", "string")];
        if self.dated == Dated::Field {
            columns.push(("at", "timestamp"));
        }
        if self.modified {
            columns.push(("changed_at", "timestamp"));
        }
        if self.declares {
            columns.extend([("status", "string"), ("n", "int64"), ("refs", "list<string>")]);
        }
        if self.verbatim {
            columns.push(("said", "string"));
        }
        let columns = columns
            .iter()
            .map(|(name, of)| format!("{{ name = \"{name}\", type = \"{of}\" }}"))
            .collect::<Vec<_>>();
        format!("column = [{}]\n", columns.join(", "))
    }
}

impl Paging {
    fn text(self) -> String {
        match self {
            Self::Whole => String::new(),
            Self::SkipLimit { size, reach } => format!(
                "paging = {{ style = \"skip_limit\", page_size = {size}, reach = {reach}, \
                 oldest_first = {{ sort = \"asc\" }}, newest_first = {{ sort = \"desc\" }} }}\n"
            ),
            Self::Number { size, first } => format!(
                "paging = {{ style = \"page_number\", size = \"size\", page_size = {size}, \
                 first = {first} }}\n"
            ),
            Self::Cursor { size } => format!(
                "paging = {{ style = \"cursor\", next = \"$.next\", limit = \"limit\", \
                 page_size = {size} }}\n"
            ),
            Self::Link { size } => format!(
                "paging = {{ style = \"next_link\", next = \"$.next\", limit = \"limit\", \
                 page_size = {size} }}\n"
            ),
        }
    }

    /// Whether a page is known by its place, so that rows that vanish meanwhile hide others.
    pub(super) fn is_positional(self) -> bool {
        matches!(self, Self::Number { .. } | Self::Cursor { .. } | Self::Link { .. })
    }
}

impl Lineage {
    fn text(&self, parent: &str, column: Option<&str>) -> String {
        let id = if self.reading == Reading::ByReference { "$.refs[*]" } else { "$.id" };
        let mut text = format!("[parent]\nendpoint = \"{parent}\"\nid = \"{id}\"\n");
        if let Some(column) = column {
            let _ = writeln!(text, "column = \"{column}\"");
        }
        if let Some(days) = self.refresh {
            let _ = writeln!(text, "refresh = \"{days}d\"");
        }
        if !self.when.is_empty() {
            let when = self.when.iter().map(|(field, values)| format!("{field} = {values:?}"));
            let _ = writeln!(text, "when = {{ {} }}", when.collect::<Vec<_>>().join(", "));
        }
        text
    }
}

fn paging() -> impl Strategy<Value = Paging> {
    prop_oneof![
        2 => Just(Paging::Whole),
        4 => (1u32..9, 10u32..30).prop_map(|(size, more)| {
            Paging::SkipLimit { size, reach: size + more }
        }),
        1 => (1u32..9, 0u32..2).prop_map(|(size, first)| Paging::Number { size, first }),
        1 => (1u32..9).prop_map(|size| Paging::Cursor { size }),
        1 => (1u32..9).prop_map(|size| Paging::Link { size }),
    ]
}

/// An endpoint without a parent.
fn root() -> impl Strategy<Value = Kind> {
    let format = prop_oneof![Just(Format::Instant), Just(Format::EpochSeconds), Just(Format::Day)];
    let step = prop::sample::select(vec![None, None, Some("hour"), Some("day"), Some("month")]);
    let dated = prop_oneof![
        3 => Just(Dated::Field),
        2 => Just(Dated::Window),
        2 => Just(Dated::Run),
    ];
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.8), any::<bool>());
    let name = (prop::char::range('a', 'z'), prop::bool::weighted(0.15));
    let options = (any::<bool>(), prop::bool::weighted(0.4), prop::bool::weighted(0.3));
    (dated, format, step, paging(), flags, name, options).prop_map(
        |(dated, format, step, paging, flags, (letter, experimental), options)| {
            let (modified, day_key, windowed, declares) = flags;
            let (deletes, private, verbatim) = options;
            let is_windowed = dated == Dated::Window || (dated == Dated::Field && windowed);
            let too_short = format == Format::Day || dated == Dated::Window;
            let step = step.filter(|step| *step != "hour" || !too_short);
            let has_time = is_windowed && dated == Dated::Field;
            Kind {
                built_in: None,
                letter,
                dated,
                window: is_windowed.then_some(Windowing { format, step }),
                modified: modified && dated == Dated::Field,
                paging,
                // A month's reply says nothing of its days.
                day_key: day_key && dated == Dated::Window && step != Some("month"),
                parent: None,
                experimental,
                declares,
                deletes: deletes && has_time,
                private: private && has_time,
                verbatim,
            }
        },
    )
}

/// What is drawn of a child before its parent is known.
#[derive(Debug, Clone)]
pub(super) struct ChildDraw {
    letter: char,
    parent: usize,
    reading: Reading,
    by_field: bool,
    paging: Paging,
    selects: u8,
    refresh: Option<u32>,
    names_owner: bool,
    declares: bool,
    deletes: bool,
    verbatim: bool,
}

fn child() -> impl Strategy<Value = ChildDraw> {
    let reading = prop_oneof![
        3 => Just(Reading::LookUp),
        2 => Just(Reading::List),
        1 => Just(Reading::ByReference),
    ];
    let refresh = prop_oneof![Just(None), (1u32..8).prop_map(Some)];
    let flags = (any::<bool>(), prop::bool::weighted(0.3), any::<bool>());
    let flags = (flags, (prop::bool::weighted(0.7), prop::bool::weighted(0.3)));
    let place = (prop::char::range('a', 'z'), 0usize..4);
    (place, reading, paging(), 0u8..4, refresh, flags).prop_map(
        |((letter, parent), reading, paging, selects, refresh, (flags, more))| ChildDraw {
            letter,
            parent,
            reading,
            paging,
            selects,
            refresh,
            by_field: flags.0,
            names_owner: flags.1,
            declares: flags.2,
            deletes: more.0,
            verbatim: more.1,
        },
    )
}

impl ChildDraw {
    /// The child that this is of these roots; `None` where none of them can have one.
    fn of(&self, roots: &[Kind]) -> Option<Kind> {
        let able: Vec<usize> = (0..roots.len()).filter(|at| !roots[*at].day_key).collect();
        let parent = *able.get(self.parent % able.len().max(1))?;
        let dated = match self.reading {
            Reading::LookUp => Dated::Field,
            Reading::List if self.by_field => Dated::Field,
            Reading::List | Reading::ByReference => Dated::Run,
        };
        let needs_refresh = self.reading == Reading::List && dated == Dated::Field;
        let refresh = self.refresh.filter(|_| self.reading != Reading::LookUp);
        let mut when = Vec::new();
        if self.selects & 1 > 0 {
            when.push(("status", roots[parent].statuses()[..2].to_vec()));
        }
        if self.selects & 2 > 0 {
            when.push(("type", vec!["video"]));
        }
        let lineage = Lineage {
            parent,
            reading: self.reading,
            when,
            refresh: if needs_refresh { refresh.or(Some(3)) } else { refresh },
            names_owner: self.names_owner && self.reading != Reading::ByReference,
            owner: roots[parent].words().owner,
        };
        let is_list = self.reading == Reading::List;
        let is_look_up = self.reading == Reading::LookUp;
        Some(Kind {
            built_in: None,
            letter: self.letter,
            dated,
            window: None,
            modified: false,
            paging: if is_list { self.paging } else { Paging::Whole },
            day_key: false,
            // What names its owner cannot be asked for once its parent's record is not listed.
            deletes: self.deletes && is_look_up && !lineage.names_owner && roots[parent].deletes,
            private: false,
            verbatim: self.verbatim,
            parent: Some(lineage),
            experimental: false,
            declares: self.declares,
        })
    }
}

impl BuiltIn {
    const ALL: [Self; 7] = [
        Self::Calls,
        Self::CallDetails,
        Self::Users,
        Self::Scorecards,
        Self::Accounts,
        Self::Playlists,
        Self::PlaylistCalls,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::CallDetails => "call_details",
            Self::Users => "users",
            Self::Scorecards => "scorecards",
            Self::Accounts => "accounts",
            Self::Playlists => "playlists",
            Self::PlaylistCalls => "playlist_calls",
        }
    }

    /// The path of its lists, below which those of a parent are.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::CallDetails => "call-details",
            Self::Users => "users",
            Self::Scorecards => "scorecard",
            Self::Accounts => "accounts",
            Self::Playlists | Self::PlaylistCalls => "playlists",
        }
    }

    fn list(self) -> &'static str {
        if self == Self::PlaylistCalls { "calls" } else { self.name() }
    }

    /// This endpoint in a catalogue where these come before it.
    fn kind(self, before: &[Kind]) -> Option<Kind> {
        let place = |of: Self| before.iter().position(|it| it.built_in == Some(of));
        let lineage = |of: Self, reading, when| {
            let parent = place(of)?;
            let owner = VENDOR.owner;
            Some(Lineage { parent, reading, when, refresh: None, names_owner: false, owner })
        };
        let when = vec![("status", CALL_STATUSES[..2].to_vec())];
        let parent = match self {
            Self::CallDetails => Some(lineage(Self::Calls, Reading::LookUp, when)?),
            Self::PlaylistCalls => Some(lineage(Self::Playlists, Reading::List, Vec::new())?),
            _ => None,
        };
        let dated = match self {
            Self::Calls | Self::CallDetails => Dated::Field,
            Self::Scorecards => Dated::Window,
            _ => Dated::Run,
        };
        let is_windowed = matches!(self, Self::Calls | Self::Scorecards);
        let size = if self == Self::Playlists { 50 } else { 100 };
        let is_whole = matches!(self, Self::CallDetails | Self::Users);
        Some(Kind {
            built_in: Some(self),
            letter: ' ',
            dated,
            window: is_windowed.then_some(Windowing { format: Format::Instant, step: None }),
            modified: self == Self::Calls,
            paging: if is_whole {
                Paging::Whole
            } else {
                Paging::SkipLimit { size, reach: 10_000 }
            },
            day_key: false,
            parent,
            experimental: matches!(self, Self::Accounts | Self::Playlists | Self::PlaylistCalls),
            declares: true,
            deletes: matches!(self, Self::Calls | Self::CallDetails),
            private: self == Self::Calls,
            verbatim: self == Self::CallDetails,
        })
    }
}

/// A list that cannot be split is not longer than what can be reached.
fn reach_all(kinds: &mut [Kind]) {
    for kind in kinds {
        let is_split = kind.window.is_some_and(|it| it.format != Format::Day);
        if let Paging::SkipLimit { reach, .. } = &mut kind.paging
            && !is_split
        {
            *reach = 10_000;
        }
    }
}

/// A catalogue: one to three endpoints, some that are built in, and up to three children of each.
pub(super) fn catalogue() -> impl Strategy<Value = Vec<Kind>> {
    let built_in = prop_oneof![2 => Just(0u8), 1 => Just(0b11u8), 1 => 1u8..128];
    let drawn = (prop::collection::vec(root(), 1..4), prop::collection::vec(child(), 0..4));
    (built_in, drawn).prop_map(|(built_in, (own, children))| {
        // Whatever else is built in comes last, so that what shrinks away changes no other's place.
        // Calls have details, which say what is gone.
        let is_chosen = |at: usize| built_in & (1 << if at == 1 { 0 } else { at }) > 0;
        let calls = BuiltIn::Calls.kind(&[]).filter(|_| is_chosen(0));
        let roots: Vec<Kind> = own.into_iter().chain(calls).collect();
        let mut kinds = roots.clone();
        for (_, it) in BuiltIn::ALL.iter().enumerate().skip(1).filter(|(at, _)| is_chosen(*at)) {
            kinds.extend(it.kind(&kinds));
        }
        kinds.extend(children.iter().filter_map(|child| child.of(&roots)));
        reach_all(&mut kinds);
        kinds
    })
}
