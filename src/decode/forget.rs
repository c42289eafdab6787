//! Forgetting: which records are those of a forgotten call or person, and what of others is.
//!
//! Enters: records on the tape and the list of the forgotten. Leaves: whether a record goes as a
//! whole, and which values of it do. Never here: a reply or row touched that mentions nobody on
//! the list.
//!
//! A person is found by the address. The object that holds it is a person's entry, as in `users`
//! or `externalParticipants`: its texts go. So do those of entries with the same `personId`, and
//! every other value of the record that is just the person's name, number or id; in longer texts
//! the address itself is replaced. What somebody said is not searched for names.

use std::collections::{BTreeSet, HashSet};

use arrow::json::reader::{Tape, TapeElement};

use super::json;
use super::redact::{Changes, MASK};
use crate::endpoint::Endpoint;
use crate::forgotten::Forgotten;

/// What numbers a speaker within a call.
const SPEAKER: &str = "personId";
/// What an entry of a person says of who it is.
const IDENTITY: [&str; 9] = [
    "name",
    "email",
    "phone",
    "userEmail",
    "userId",
    "user_id",
    "first_name",
    "last_name",
    "full_name",
];
/// The members that hold what somebody said or wrote: who is named in one need not be its speaker.
const SPEECH: [&str; 10] = [
    "text",
    "phrase",
    "title",
    "summary",
    "full_summary",
    "action_item",
    "reasoning",
    "remark",
    "description",
    "value",
];
/// The members that hold a user's id.
const USER_IDS: [&str; 2] = ["userId", "user_id"];

/// The list of the forgotten, as one endpoint's records meet it.
pub(super) struct Forgetting<'a> {
    pub(super) forgotten: &'a Forgotten,
    pub(super) endpoint: &'a Endpoint,
}

impl Forgetting<'_> {
    /// Whether the value at `at` mentions anybody on the list, as far as a look along the tape can
    /// tell; it may, wherever this is true, and cannot, wherever it is false.
    pub(super) fn may_mention(&self, tape: &Tape<'_>, at: u32, parent: Option<&str>) -> bool {
        if self.forgotten.is_empty() {
            return false;
        }
        let text = |at| match tape.get(at) {
            TapeElement::String(index) | TapeElement::Number(index) => Some(tape.get_string(index)),
            _ => None,
        };
        let about = &self.endpoint.about;
        let mentions = |at: u32| {
            let TapeElement::String(index) = tape.get(at) else { return false };
            let found = tape.get_string(index);
            if self.forgotten.is_address(found) || !self.forgotten.addresses(found).is_empty() {
                return true;
            }
            let is_call = about.call.as_deref() == Some(found);
            let is_person =
                about.person.iter().any(|name| name == found) || USER_IDS.contains(&found);
            (is_call && text(at + 1).is_some_and(|it| self.forgotten.is_call(it)))
                || (is_person && text(at + 1).is_some_and(|it| self.forgotten.is_person(it)))
        };
        self.is_of_call(parent) || (at..json::next(tape, at)).any(mentions)
    }

    /// Whether a parent's id is that of a forgotten call.
    fn is_of_call(&self, parent: Option<&str>) -> bool {
        let rule = self.endpoint.parent.as_ref().filter(|rule| rule.of_call);
        let mut ids = rule.zip(parent).into_iter().flat_map(|(rule, key)| rule.ids_in(key));
        ids.any(|id| self.forgotten.is_call(id))
    }

    /// Whether the record at `at` is all of somebody on the list.
    pub(super) fn is_gone(&self, tape: &Tape<'_>, at: u32, parent: Option<&str>) -> bool {
        let about = &self.endpoint.about;
        let member = |name: &str| match tape.get(at) {
            TapeElement::StartObject(_) => json::member(tape, at, name),
            // A bare value is its own key.
            _ => (self.endpoint.key == [name]).then_some(at),
        };
        let call = about.call.as_deref().and_then(&member);
        let is_call = |text: &str| self.forgotten.is_call(text);
        let is_person = |text: &str| self.forgotten.is_person(text);
        let is_address = |text: &str| self.forgotten.is_address(text);
        self.is_of_call(parent)
            || call.is_some_and(|at| any_text(tape, at, &is_call))
            || about
                .person
                .iter()
                .filter_map(|it| member(it))
                .any(|at| any_text(tape, at, &is_person))
            || self
                .endpoint
                .key
                .iter()
                .filter_map(|it| member(it))
                .any(|at| any_text(tape, at, &is_address))
    }

    /// Whether a forgotten call's id stands anywhere in the value at `at`, or an id of a person
    /// where such ids stand: for records that have no key.
    pub(super) fn is_anywhere(&self, tape: &Tape<'_>, at: u32) -> bool {
        any_text(tape, at, &|text| self.forgotten.is_call(text))
    }

    /// What goes of the record at `at`.
    pub(super) fn blank(&self, tape: &Tape<'_>, at: u32, changes: &mut Changes) {
        let mut person = Person::default();
        let objects = objects(tape, at);
        for (object, end) in &objects {
            self.find(tape, (*object, *end), *object == at, &mut person, changes);
        }
        for (object, end) in &objects {
            person.follow(tape, (*object, *end), changes);
        }
        self.leave_out_aliases(tape, at, &person, changes);
        self.replace(tape, at, changes);
    }

    /// Takes the texts out of an object that holds an address; of the record itself only that.
    fn find(
        &self,
        tape: &Tape<'_>,
        (object, end): (u32, u32),
        is_record: bool,
        person: &mut Person,
        changes: &mut Changes,
    ) {
        let names_person = |name: &str, member: u32| match tape.get(member) {
            TapeElement::String(index) if !SPEECH.contains(&name) => {
                let text = tape.get_string(index);
                let is_id = USER_IDS.contains(&name) && self.forgotten.is_person(text);
                let is_within = || !self.forgotten.addresses(text).is_empty();
                is_id
                    || self.forgotten.is_address(text)
                    || (IDENTITY.contains(&name) && is_within())
            }
            _ => false,
        };
        let mut members = json::members(tape, object, end);
        let is_person = !is_record && members.any(|(name, member)| names_person(name, member));
        for (name, member) in json::members(tape, object, end) {
            if is_person {
                person.take(tape, name, member, changes);
            } else if names_person(name, member) || !self.forgotten.addresses(name).is_empty() {
                changes.leave_out(member);
            }
        }
    }

    /// Takes out what is nothing but a name, number or id of the person.
    fn leave_out_aliases(&self, tape: &Tape<'_>, at: u32, person: &Person, changes: &mut Changes) {
        let time = self.endpoint.time_field();
        let is_fixed =
            |name: &str| self.endpoint.key.iter().any(|key| key == name) || time == Some(name);
        for (at, name, depth) in values(tape, at) {
            if let TapeElement::String(index) = tape.get(at) {
                let is_alias = person.aliases.contains(&alias(tape.get_string(index)));
                if is_alias && !(depth == 1 && name.is_some_and(is_fixed)) {
                    changes.leave_out(at);
                }
            }
        }
    }

    /// Replaces addresses: items that are one go, in longer texts something else stands there.
    fn replace(&self, tape: &Tape<'_>, at: u32, changes: &mut Changes) {
        for (at, _, _) in values(tape, at) {
            let TapeElement::String(index) = tape.get(at) else { continue };
            let text = tape.get_string(index);
            if self.forgotten.is_address(text) {
                changes.leave_out(at);
            } else if let Some(text) = self.forgotten.without_addresses(text, MASK) {
                changes.replace(at, text);
            }
        }
    }
}

/// What is known of the forgotten people of one record.
#[derive(Default)]
struct Person {
    speakers: BTreeSet<String>,
    aliases: HashSet<String>,
}

impl Person {
    /// Takes one member out of a person's entry, and remembers what it said.
    fn take(&mut self, tape: &Tape<'_>, name: &str, member: u32, changes: &mut Changes) {
        match tape.get(member) {
            TapeElement::String(index) | TapeElement::Number(index) if name == SPEAKER => {
                self.speakers.insert(tape.get_string(index).to_owned());
            }
            TapeElement::String(index) => {
                if IDENTITY.contains(&name) {
                    self.aliases.insert(alias(tape.get_string(index)));
                    self.aliases.remove("");
                }
                changes.leave_out(member);
            }
            TapeElement::StartObject(_) | TapeElement::StartList(_) => changes.leave_out(member),
            _ => {}
        }
    }

    /// Takes the identity out of other entries of the same speaker.
    fn follow(&mut self, tape: &Tape<'_>, (object, end): (u32, u32), changes: &mut Changes) {
        let speaker = json::member(tape, object, SPEAKER).map(|at| tape.get(at));
        let is_same = match speaker {
            Some(TapeElement::String(index) | TapeElement::Number(index)) => {
                self.speakers.contains(tape.get_string(index))
            }
            _ => false,
        };
        if !is_same {
            return;
        }
        for (name, member) in json::members(tape, object, end) {
            if IDENTITY.contains(&name) {
                self.take(tape, name, member, changes);
            }
        }
    }
}

fn alias(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Whether a text or number that stands anywhere in the value at `at` is one of these.
fn any_text(tape: &Tape<'_>, at: u32, is_one: &dyn Fn(&str) -> bool) -> bool {
    values(tape, at).into_iter().any(|(at, _, _)| match tape.get(at) {
        TapeElement::String(index) | TapeElement::Number(index) => is_one(tape.get_string(index)),
        _ => false,
    })
}

/// The objects in the value at `at`, itself included.
fn objects(tape: &Tape<'_>, at: u32) -> Vec<(u32, u32)> {
    let object = |at: u32| match tape.get(at) {
        TapeElement::StartObject(end) => Some((at, end)),
        _ => None,
    };
    (at..json::next(tape, at)).filter_map(object).collect()
}

/// The scalars in the value at `at`, each with its name, where it has one, and its depth.
fn values<'t>(tape: &'t Tape<'_>, at: u32) -> Vec<(u32, Option<&'t str>, usize)> {
    let mut found = Vec::new();
    let mut open = vec![(at, None, 0)];
    while let Some((at, name, depth)) = open.pop() {
        match tape.get(at) {
            TapeElement::StartObject(end) => open.extend(
                json::members(tape, at, end).map(|(name, member)| (member, Some(name), depth + 1)),
            ),
            TapeElement::StartList(_) => {
                open.extend(json::items(tape, at).map(|item| (item, None, depth + 1)));
            }
            _ => found.push((at, name, depth)),
        }
    }
    found
}
