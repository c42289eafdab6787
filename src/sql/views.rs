//! The views over conversations: `templates/views.sql`, in an engine's dialect.
//!
//! The template has the queries; a dialect has the differences between engines; this module maps
//! the template's paths to columns. A lake's tables need not have every column that a view reads:
//! missing columns are null, and columns of another type are cast, so that a view has the same
//! columns over every lake.

use askama::Template;

use super::coverage::partial;
use super::dialect::{Dialect, Lake};
use super::table::{DT, LakeTable, SqlType, all_columns};
use crate::schema::{Column, ColumnType, DELETED_AT, Written};

/// The lists that views unnest, and the template's name for an item of each.
const ITEMS: [(&str, &str, &[&str]); 4] = [
    ("turn", "c", &["transcript"]),
    ("hit", "turn", &["annotations"]),
    ("topic", "c", &["summary", "topics_discussed"]),
    ("task", "c", &["summary", "key_action_items"]),
];

/// The fields of a person, whichever list names them.
const PERSON: [(&str, ColumnType); 8] = [
    ("kind", ColumnType::String),
    ("place", ColumnType::Int64),
    ("person_id", ColumnType::Int64),
    ("user_id", ColumnType::String),
    ("name", ColumnType::String),
    ("email", ColumnType::String),
    ("phone", ColumnType::String),
    ("is_organizer", ColumnType::Boolean),
];

/// A number as JSON writes it.
const NUMBER: &str = "-?[0-9]{1,15}([.][0-9]+)?([eE][+-]?[0-9]{1,2})?";
/// `12:34` or `1:12:34`, with or without a fraction.
const CLOCK: &str = "[0-9]{1,9}(:[0-9]{1,2}){1,2}([.][0-9]+)?";

/// The queries and their inputs.
#[derive(Template)]
#[template(path = "views.sql", escape = "none")]
struct Views<'a> {
    dialect: &'a dyn Dialect,
    calls: &'a LakeTable,
    details: &'a LakeTable,
    users: &'a LakeTable,
    scorecards: &'a LakeTable,
}

/// The statements of all views, ordered so that each view follows those it reads. Views of
/// conversations need the tables `calls`, `call_details`, `users` and `scorecards`.
pub(super) fn statements(dialect: &dyn Dialect, tables: &[LakeTable], lake: &Lake<'_>) -> String {
    let mut text = String::new();
    for table in tables {
        text.push_str(&current(dialect, table, lake).unwrap_or_default());
    }
    let find = |name: &str| tables.iter().find(|table| table.name == name);
    if let (Some(calls), Some(details), Some(users), Some(scorecards)) =
        (find("calls"), find("call_details"), find("users"), find("scorecards"))
    {
        let views = Views { dialect, calls, details, users, scorecards };
        // Writing to a String does not fail, and the template raises no errors.
        text.push_str(&views.render().unwrap_or_default());
    }
    text
}

/// The current rows: records that are not known to be gone, and the newest snapshot.
fn current(dialect: &dyn Dialect, table: &LakeTable, lake: &Lake<'_>) -> Option<String> {
    let (about, condition) = if table.schema.added.deleted_at {
        let condition = format!("{} is null", dialect.name(DELETED_AT));
        ("without deleted records", condition)
    } else if table.is_snapshot {
        let newest = dialect.newest_partition(table, lake);
        ("the newest snapshot", format!("{DT} = ({newest})"))
    } else {
        return None;
    };
    let mut columns = all_columns(&table.schema);
    columns.retain(|column| column.name != DELETED_AT);
    let names: Vec<_> = columns.iter().map(|column| dialect.name(&column.name)).collect();
    let name = format!("{}_current", table.name);
    Some(format!(
        "\n-- view {name}: {about}\n{} {} as\nselect\n  {}\nfrom {}\nwhere {condition};\n",
        dialect.create_view(),
        dialect.name(&name),
        names.join(",\n  "),
        dialect.name(&table.name),
    ))
}

/// The template's functions.
impl Views<'_> {
    fn create(&self, name: &str) -> String {
        format!("{} {} as", self.dialect.create_view(), self.dialect.name(name))
    }

    fn text(&self, path: &str) -> String {
        self.scalar(path, ColumnType::String)
    }

    fn double(&self, path: &str) -> String {
        self.scalar(path, ColumnType::Double)
    }

    fn integer(&self, path: &str) -> String {
        self.scalar(path, ColumnType::Int64)
    }

    fn instant(&self, path: &str) -> String {
        self.scalar(path, ColumnType::Timestamp(Written::Iso))
    }

    /// The column at `path`, whose first part is an alias: `c` and `d` are a call in `calls` and
    /// `call_details`, `u` a user, `s` a scorecard; for the others see [`ITEMS`].
    fn scalar(&self, path: &str, wanted: ColumnType) -> String {
        let path: Vec<&str> = path.split('.').collect();
        let (alias, rest) = path.split_first().map_or(("", &[][..]), |(it, rest)| (*it, rest));
        let found = find(self.dialect, alias, self.columns(alias), rest);
        typed(self.dialect, found, wanted)
    }

    fn columns(&self, alias: &str) -> &[Column] {
        match alias {
            "c" => &self.calls.schema.columns,
            "d" => &self.details.schema.columns,
            "u" => &self.users.schema.columns,
            "s" => &self.scorecards.schema.columns,
            item => self.list(item).map_or(&[], |(_, fields)| fields),
        }
    }

    /// The list of the items named `item`, if the lake has it.
    fn list(&self, item: &str) -> Option<(String, &[Column])> {
        let (_, owner, path) = ITEMS.iter().find(|(name, _, _)| *name == item)?;
        let columns =
            if *owner == "c" { &self.details.schema.columns } else { self.columns(owner) };
        find_list(self.dialect, owner, columns, path)
    }

    fn list_or_null(&self, item: &str) -> String {
        self.list(item).map_or_else(|| self.null_texts(), |(list, _)| list)
    }

    fn null_texts(&self) -> String {
        null(self.dialect, ColumnType::List(Box::new(ColumnType::String)))
    }

    /// The relation `c`: one row for each of the details' items named `item`, with `call_id`,
    /// `call_time` and `dt` of the call. Its fields are columns below `item`.
    fn each(&self, item: &str) -> String {
        let owner = ITEMS.iter().find(|(name, _, _)| *name == item).map_or("c", |it| it.1);
        if owner != "c" {
            return self.each_of(&self.each(owner), &self.list_or_null(item), item);
        }
        let column = |path: &[&str], wanted| {
            let found = find(self.dialect, "c", &self.details.schema.columns, path);
            typed(self.dialect, found, wanted)
        };
        let calls = format!(
            "(\n    select {} as call_id, {} as call_time, c.dt, {} as {item}_list\n    \
             from call_details_current as c\n  ) as c",
            column(&["id"], ColumnType::String),
            column(&["time"], ColumnType::Timestamp(Written::Iso)),
            self.list_or_null(item)
        );
        self.each_of(&calls, &format!("c.{item}_list"), item)
    }

    fn each_of(&self, relation: &str, list: &str, item: &str) -> String {
        let fields: Vec<_> = self.columns(item).iter().map(|field| field.name.as_str()).collect();
        self.dialect.each(relation, list, item, &fields)
    }

    /// The relation `c`: one row for each person in `c.people` of a relation `c`.
    fn each_person(&self, relation: &str) -> String {
        let fields = PERSON.map(|(name, _)| name);
        self.dialect.each(&format!("{relation} as c"), "c.people", "person", &fields)
    }

    /// The people in a list of the call `alias`, all of one type; null for an empty list.
    fn people(&self, alias: &str, list: &str, kind: &str) -> String {
        let fields: Vec<_> =
            PERSON.iter().map(|(name, wanted)| Column::new(*name, wanted.clone())).collect();
        let list_type = ColumnType::List(Box::new(ColumnType::Struct(fields)));
        let Some((list, columns)) = find_list(self.dialect, alias, self.columns(alias), &[list])
        else {
            return null(self.dialect, list_type);
        };
        let value = |(name, wanted): &(&str, ColumnType)| {
            let api_name = match (*name, kind) {
                ("kind", _) => return format!("'{kind}'"),
                ("place", _) => return self.dialect.place("p"),
                ("person_id", _) => "personId",
                ("user_id", _) => "userId",
                ("email", "user") => "userEmail",
                ("is_organizer", _) => "isOrganizer",
                (name, _) => name,
            };
            typed(self.dialect, find(self.dialect, "p", columns, &[api_name]), wanted.clone())
        };
        let fields: Vec<_> = PERSON.iter().map(|it| (it.0, it.1.clone(), value(it))).collect();
        self.dialect.structs(&list, "p", &fields)
    }

    /// The people in a list of the details `d`, or of the call `c` if that is empty.
    fn people_of_both(&self, list: &str, kind: &str) -> String {
        let (details, call) = (self.people("d", list, kind), self.people("c", list, kind));
        format!("coalesce(\n        {details},\n        {call}\n      )")
    }

    fn concat<T: AsRef<str>>(&self, lists: &[T; 3]) -> String {
        self.dialect.concat(&lists.each_ref().map(AsRef::as_ref))
    }

    /// The transcript of the details `d` as lines; `n.names` has the speakers' names by number.
    fn transcript(&self) -> String {
        let name = self.dialect.element_at("n.names", &self.integer("turn.personId"));
        let text = self.text("turn.text");
        let line = format!("coalesce({name}, 'Unknown') || ': ' || coalesce({text}, '')");
        self.dialect.lines_of(&self.map_items("turn", &line))
    }

    /// The names of the topics in the details `d`.
    fn topic_names(&self) -> String {
        self.map_items("topic", &self.text("topic.name"))
    }

    /// The action items in the details `d`, each with its owner.
    fn tasks(&self) -> String {
        self.map_items("task", &self.task())
    }

    /// The action items in the details `d`, with their timelines, as the lines of a text.
    fn next_steps(&self) -> String {
        let timeline = self.text("task.timeline");
        let with_timeline = format!("{} || coalesce(' (' || {timeline} || ')', '')", self.task());
        self.dialect.lines_of(&self.map_items("task", &with_timeline))
    }

    fn task(&self) -> String {
        let owner = format!(
            "coalesce({}, {})",
            self.text("task.owner_name"),
            self.text("task.speaker_name")
        );
        format!("coalesce({owner} || ': ', '') || {}", self.text("task.action_item"))
    }

    /// One text for each item of the list in the details `d`; null if there is no list.
    fn map_items(&self, item: &str, text: &str) -> String {
        let path = ITEMS.iter().find(|(name, _, _)| *name == item).map_or(&[][..], |it| it.2);
        let list = find_list(self.dialect, "d", &self.details.schema.columns, path);
        let null = || self.null_texts();
        list.map_or_else(null, |(list, _)| self.dialect.map(&list, item, text))
    }

    /// How many turns the details `d` have; null if there is no transcript.
    fn turn_count(&self) -> String {
        self.length("d", "transcript")
    }

    /// How many people are in a list of the details `d`, or of the call `c` if that is empty.
    fn person_count(&self, list: &str) -> String {
        let (details, call) = (self.length("d", list), self.length("c", list));
        format!("coalesce(nullif({details}, 0), {call})")
    }

    fn length(&self, alias: &str, list: &str) -> String {
        let list = find_list(self.dialect, alias, self.columns(alias), &[list]);
        list.map_or_else(|| "0".to_owned(), |(list, _)| self.dialect.length(&list))
    }

    /// The text at `path` as a number, if it is valid JSON: no `NaN`, no `12d`.
    fn number(&self, path: &str) -> String {
        let text = self.text(path);
        format!("case when {} then try_cast({text} as double) end", self.is_number(&text))
    }

    /// The text at `path` as seconds, if it is a number of them or a clock time.
    fn seconds(&self, path: &str) -> String {
        let text = self.text(path);
        let part = |place| format!("cast(split_part({text}, ':', {place}) as double)");
        let (first, second, third) = (part(1), part(2), part(3));
        format!(
            "case\n    when {} then cast({text} as double)\n    \
             when not {} then null\n    \
             when {text} like '%:%:%' then {first} * 3600 + {second} * 60 + {third}\n    \
             else {first} * 60 + {second}\n  end",
            self.is_number(&text),
            self.dialect.is_like(&text, CLOCK),
        )
    }

    fn is_number(&self, text: &str) -> String {
        self.dialect.is_like(text, NUMBER)
    }

    /// The sum of the doubles at `path`, the same in every engine, independent of their order.
    fn sum(&self, path: &str) -> String {
        format!("cast(sum(try_cast({} as decimal(18, 6))) as double)", self.double(path))
    }

    fn seconds_after(&self, path: &str, seconds: &str) -> String {
        self.dialect.seconds_after(&self.instant(path), &self.integer(seconds))
    }

    /// The UTC day of the instant at `path`.
    fn day_of(&self, path: &str) -> String {
        self.dialect.day_of(&self.instant(path))
    }

    /// Whether a day may lack calls: it was not listed completely, or it is not over.
    fn is_partial(&self, path: &str) -> String {
        partial(&self.calls.coverage, &self.day_of(path), &self.dialect.today())
    }

    /// Whether two rows are in the same date's partition.
    fn same_dt(&self, one: &str, other: &str) -> String {
        // Engines prune only on equality, which holds for all dates but null. Only old lakes have
        // rows without a date.
        let has_undated = self.calls.has_undated || self.details.has_undated;
        let is_nullable = has_undated && self.dialect.shows_undated();
        let equals = if is_nullable { "is not distinct from" } else { "=" };
        format!("{one}.dt {equals} {other}.dt")
    }
}

fn find<'a>(
    dialect: &dyn Dialect,
    alias: &str,
    mut columns: &'a [Column],
    path: &[&str],
) -> Option<(String, &'a ColumnType)> {
    let mut expression = alias.to_owned();
    let mut found = None;
    for name in path {
        let column = columns.iter().find(|column| column.name == *name)?;
        expression.push_str(&format!(".{}", dialect.name(name)));
        columns = match &column.column_type {
            ColumnType::Struct(fields) => fields,
            _ => &[],
        };
        found = Some(&column.column_type);
    }
    Some((expression, found?))
}

fn find_list<'a>(
    dialect: &dyn Dialect,
    alias: &str,
    columns: &'a [Column],
    path: &[&str],
) -> Option<(String, &'a [Column])> {
    let (expression, found) = find(dialect, alias, columns, path)?;
    let ColumnType::List(element) = found else { return None };
    let ColumnType::Struct(fields) = element.as_ref() else { return None };
    Some((expression, fields))
}

/// A column as `wanted`: unchanged, cast if it was widened or declared with another type, or null.
fn typed(
    dialect: &dyn Dialect,
    found: Option<(String, &ColumnType)>,
    wanted: ColumnType,
) -> String {
    match found {
        Some((expression, found)) if *found == wanted => expression,
        Some((expression, found))
            if !matches!(found, ColumnType::List(_) | ColumnType::Struct(_)) =>
        {
            format!("try_cast({expression} as {})", dialect.type_name(&SqlType::Of(wanted)))
        }
        _ => null(dialect, wanted),
    }
}

fn null(dialect: &dyn Dialect, wanted: ColumnType) -> String {
    format!("cast(null as {})", dialect.type_name(&SqlType::Of(wanted)))
}
