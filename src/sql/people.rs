//! Who took part in a call, and who is behind the numbers of its speakers.
//!
//! A `personId` is a speaker's number within one call, 0 included. It is looked for in the call's
//! `users`, `externalParticipants` and `joinedParticipants`: in those of the details, and where
//! they are empty there, in those of the list. A call does not tell its users' names; they come
//! from the snapshots of `users`, the newest that has the user.

use super::query::{Query, within};
use super::source::Source;
use super::views::Conversations;
use crate::schema::{ColumnType, DAY};

/// A call's lists of people, and what their members are called here, the surest first.
const PEOPLE: [(&str, &str); 3] =
    [("users", "user"), ("externalParticipants", "external"), ("joinedParticipants", "joined")];

const COLUMNS: [&str; 11] = [
    "call_id",
    "participant_kind",
    "participant_index",
    "person_id",
    "user_id",
    "name",
    "email",
    "phone",
    "is_organizer",
    "call_time",
    "dt",
];

/// One row for each user that had a name in some snapshot.
pub(super) fn user_names(of: &Conversations<'_>) -> String {
    let user = of.users("u");
    let (id, name) = (user.text(&["id"]), user.text(&["name"]));
    let newest = format!("max_by({name}, u.{})", of.dialect.name(DAY));
    Query::from(format!("{} as u", of.dialect.name("users")))
        .column("user_id", &id)
        .column("name", newest)
        .condition(format!("{name} is not null"))
        .group_by(id)
        .text()
}

/// One row for each member of each of a call's lists.
pub(super) fn participants(of: &Conversations<'_>) -> String {
    let mut branches = Vec::new();
    for (list, kind) in PEOPLE {
        branches.push(people(of.details("c"), list, kind, "call_details_current as c").text());
        let listed = "calls_current as c\nleft join call_details_current as d on d.id = c.id";
        let is_alone = format!("{} = 0", of.details("d").length(&[list]));
        branches.push(people(of.calls("c"), list, kind, listed).condition(is_alone).text());
    }
    let mut query = Query::from(within(&branches.join("\nunion all\n"), "p"))
        .join("left join user_names as n on n.user_id = p.user_id");
    for name in COLUMNS {
        let is_name = name == "name";
        let known =
            if is_name { "coalesce(p.name, n.name)".to_owned() } else { format!("p.{name}") };
        query = query.column(name, known);
    }
    query.text()
}

fn people(call: Source<'_>, list: &str, kind: &str, from: &str) -> Query {
    let people = call.items(&[list], "p");
    let person = people.item();
    let email = if kind == "user" { "userEmail" } else { "email" };
    let query = Query::from(from)
        .join(people.join())
        .column("call_id", call.text(&["id"]))
        .column("participant_kind", format!("'{kind}'"))
        .column("participant_index", people.place())
        .column("person_id", person.scalar(&["personId"], &ColumnType::Int64))
        .column("user_id", person.text(&["userId"]))
        .column("name", person.text(&["name"]))
        .column("email", person.text(&[email]))
        .column("phone", person.text(&["phone"]))
        .column("is_organizer", person.scalar(&["isOrganizer"], &ColumnType::Boolean))
        .column("call_time", call.scalar(&["time"], &ColumnType::Timestamp))
        .column("dt", call.dt());
    if people.exist() { query } else { query.condition("1 = 0") }
}

/// One row for each person of a call that has a number: the surest of what the lists say.
pub(super) fn speakers(_: &Conversations<'_>) -> String {
    let surest = |column: &str| {
        let of_kind = |(_, kind): (&str, &str)| {
            format!("max(case when participant_kind = '{kind}' then {column} end)")
        };
        format!("coalesce(\n    {}\n  )", PEOPLE.map(of_kind).join(",\n    "))
    };
    Query::from("participants")
        .column("call_id", "call_id")
        .column("person_id", "person_id")
        .column("speaker_kind", surest("participant_kind"))
        .column("speaker_name", surest("name"))
        .column("speaker_email", surest("email"))
        .column("speaker_user_id", "max(user_id)")
        .condition("person_id is not null")
        .group_by("call_id")
        .group_by("person_id")
        .text()
}
