//! Forgetting: which records belong to a forgotten call or person, and what to remove from others.
//!
//! Checks records on the tape against the list of the forgotten: whether a record is removed whole,
//! and which values of others are. Replies and rows that mention no forgotten subject stay
//! untouched.
//!
//! A person is found by address. The object that holds the address is the person's entry, as in
//! `users` or `externalParticipants`: its texts are removed. So are those of entries with the same
//! `personId`, and every other value of the record that is just the person's name, number or id; in
//! longer texts, the address itself is replaced. Spoken words are not searched for names.

use std::collections::{BTreeSet, HashSet};

use arrow::json::reader::{Tape, TapeElement};

use super::json;
use super::redact::{Changes, MASK};
use crate::endpoint::Endpoint;
use crate::forgotten::Forgotten;

/// The fields that number a speaker within a call.
const SPEAKER: &str = "personId";
/// The fields of a person's entry that identify the person.
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
/// The members that hold spoken or written words: a person named in one need not be its speaker.
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

/// The list of the forgotten, applied to one endpoint's records.
pub(super) struct Forgetting<'a> {
    pub(super) forgotten: &'a Forgotten,
    pub(super) endpoint: &'a Endpoint,
}

impl Forgetting<'_> {
    /// Whether the value at `at` may mention a forgotten subject, from a scan of the tape; if
    /// false, it certainly does not.
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
        ids.any(|id| self.forgotten.is_call(&id))
    }

    /// Whether the whole record at `at` belongs to a forgotten subject.
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

    /// Whether a forgotten call's id is anywhere in the value at `at`, or a person's id where such
    /// ids occur: for records that have no key.
    pub(super) fn is_anywhere(&self, tape: &Tape<'_>, at: u32) -> bool {
        any_text(tape, at, &|text| self.forgotten.is_call(text))
    }

    /// The changes to the record at `at`.
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

    /// Removes the texts of an object that holds an address; in the record itself, only the
    /// address.
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

    /// Removes values that are nothing but a name, number or id of the person.
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

    /// Replaces addresses: a list item that is one is removed, and in longer texts a placeholder is
    /// written.
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

/// What is known of the forgotten people in one record.
#[derive(Default)]
struct Person {
    speakers: BTreeSet<String>,
    aliases: HashSet<String>,
}

impl Person {
    /// Removes one member from a person's entry, and remembers its value.
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

    /// Removes the identity from other entries of the same speaker.
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

/// Whether a text or number anywhere in the value at `at` is one of these.
fn any_text(tape: &Tape<'_>, at: u32, is_one: &dyn Fn(&str) -> bool) -> bool {
    values(tape, at).into_iter().any(|(at, _, _)| match tape.get(at) {
        TapeElement::String(index) | TapeElement::Number(index) => is_one(tape.get_string(index)),
        _ => false,
    })
}

/// The objects in the value at `at`, including itself.
fn objects(tape: &Tape<'_>, at: u32) -> Vec<(u32, u32)> {
    let object = |at: u32| match tape.get(at) {
        TapeElement::StartObject(end) => Some((at, end)),
        _ => None,
    };
    (at..json::next(tape, at)).filter_map(object).collect()
}

/// The scalars in the value at `at`, each with its name, if it has one, and its depth.
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
