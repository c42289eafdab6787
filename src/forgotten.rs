//! The forgotten: calls and people whose data a lake must no longer hold.
//!
//! A list of digests of ids and addresses, and whether a value is on it. No id or address is stored
//! in clear text; a reader of the list can only test guesses.

use std::collections::HashSet;
use std::ops::Range;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::secret::keyed_hash;

/// How many hexadecimal digits a hashed column's value has.
const HASH_DIGITS: usize = 64;

/// The calls and people of a lake that are forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Its number; 0 if nothing was ever forgotten.
    #[serde(skip)]
    pub version: u64,
    /// The salt of its digests. It is not secret: it is stored beside them, so that digests differ
    /// between lakes.
    salt: String,
    entries: Vec<Entry>,
    #[serde(skip)]
    digests: HashSet<String>,
}

/// What was forgotten at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    kind: Kind,
    at: DateTime<Utc>,
    digests: Vec<String>,
}

/// One subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A call, by its id.
    Call,
    /// A person, by an e-mail address, its hash, or the id of a user.
    Person,
}

impl Forgotten {
    /// An empty list, whose digests are made with this salt.
    #[must_use]
    pub fn new(salt: String) -> Self {
        Self { salt, ..Self::default() }
    }

    /// Parses the list as the lake stores it; `None` when the text is not one.
    #[must_use]
    pub fn from_json(version: u64, text: &[u8]) -> Option<Self> {
        let read: Self = serde_json::from_slice(text).ok()?;
        let digests = read.entries.iter().flat_map(|entry| entry.digests.clone()).collect();
        Some(Self { version, digests, ..read })
    }

    /// The list as the lake stores it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Whether nothing is forgotten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// The list with these added, and whether any of them is new.
    #[must_use]
    pub fn with(&self, kind: Kind, names: &[String], at: DateTime<Utc>) -> (Self, bool) {
        let digests: Vec<String> = names.iter().map(|name| self.digest(kind, name)).collect();
        let is_new = digests.iter().any(|digest| !self.digests.contains(digest));
        let mut longer = self.clone();
        if is_new {
            longer.digests.extend(digests.iter().cloned());
            longer.entries.push(Entry { kind, at, digests });
        }
        (longer, is_new)
    }

    /// Whether the call with this id is forgotten.
    #[must_use]
    pub fn is_call(&self, id: &str) -> bool {
        !self.is_empty() && self.digests.contains(&self.digest(Kind::Call, id))
    }

    /// Whether this is the address of a forgotten person, its hash, or the person's user id.
    #[must_use]
    pub fn is_person(&self, text: &str) -> bool {
        !self.is_empty() && self.digests.contains(&self.digest(Kind::Person, text))
    }

    /// Whether the whole text is the address of a forgotten person, or its hash.
    #[must_use]
    pub fn is_address(&self, text: &str) -> bool {
        let is_hash = text.len() == HASH_DIGITS && text.bytes().all(|it| it.is_ascii_hexdigit());
        (is_hash || text.contains('@')) && self.is_person(text)
    }

    /// The positions of forgotten people's addresses in a text.
    #[must_use]
    pub fn addresses(&self, text: &str) -> Vec<Range<usize>> {
        let found = text.match_indices('@').filter_map(|(at, _)| {
            let part = |it: char| it.is_alphanumeric() || "._%+-'!#$&*/=?^`{|}~".contains(it);
            let begin = text[..at].rfind(|it| !part(it));
            let begin =
                begin.map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
            let host = |it: char| it.is_alphanumeric() || it == '.' || it == '-';
            let end = text[at + 1..].find(|it| !host(it)).map_or(text.len(), |end| at + 1 + end);
            let end = begin + text[begin..end].trim_end_matches(['.', '-']).len();
            self.narrowed(text, begin, at, end)
        });
        found.collect()
    }

    /// The forgotten address within these bounds, which may include characters that are not part of
    /// it.
    fn narrowed(&self, text: &str, begin: usize, at: usize, end: usize) -> Option<Range<usize>> {
        let begins = text[begin..at].char_indices().map(|(offset, _)| begin + offset);
        // A character that occurs in other people's names, such as a dot, does not end an address.
        let is_edge = |from: &usize| match text[begin..*from].chars().next_back() {
            None => true,
            Some('\'') => *from == begin + 1,
            Some(before) => "=&?/|*{~`#".contains(before),
        };
        let mut begins = begins.filter(is_edge);
        begins.find(|from| self.is_person(&text[*from..end])).map(|from| from..end)
    }

    /// A message without the ids and addresses of the forgotten; `None` when it has none.
    #[must_use]
    pub fn without_names(&self, message: &str) -> Option<String> {
        const INSTEAD: &str = "***";
        let is_edge = |it: char| it.is_whitespace() || ",;:()\"'`=/".contains(it);
        let words = message.split_inclusive(is_edge).map(|word| {
            let name = word.trim_end_matches(is_edge);
            match self.name_in_path(name) {
                Some(found) => word.replacen(found, INSTEAD, 1),
                None => word.to_owned(),
            }
        });
        let mut left = words.collect::<String>();
        left = self.without_addresses(&left, INSTEAD).unwrap_or(left);
        (left != message).then_some(left)
    }

    /// The id or address that a path of names, joined by dots, names.
    fn name_in_path<'p>(&self, path: &'p str) -> Option<&'p str> {
        let edges = || path.match_indices('.').map(|(at, _)| at);
        let begins = std::iter::once(0).chain(edges().map(|at| at + 1));
        let mut names = begins.flat_map(|begin| {
            let ends = std::iter::once(path.len()).chain(edges().filter(move |at| *at > begin));
            ends.map(move |end| path[begin..end].trim_end_matches("[]"))
        });
        names.find(|name| !name.is_empty() && (self.is_call(name) || self.is_person(name)))
    }

    /// A text with the addresses of forgotten people replaced; `None` when it has none.
    #[must_use]
    pub fn without_addresses(&self, text: &str, instead: &str) -> Option<String> {
        let found = self.addresses(text);
        let mut rest = 0;
        let mut out = String::new();
        for Range { start, end } in found {
            if start >= rest {
                out.push_str(&text[rest..start]);
                out.push_str(instead);
                rest = end;
            }
        }
        (rest > 0).then(|| out + &text[rest..])
    }

    fn digest(&self, kind: Kind, name: &str) -> String {
        match kind {
            Kind::Call => keyed_hash(self.salt.as_bytes(), &format!("call {}", name.trim())),
            Kind::Person => {
                let name = name.trim().to_lowercase();
                keyed_hash(self.salt.as_bytes(), &format!("person {name}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Forgotten {
        let empty = Forgotten::new("salt".to_owned());
        let people = ["Anna.Smith@Example.com".to_owned()];
        empty.with(Kind::Person, &people, DateTime::UNIX_EPOCH).0
    }

    #[test]
    fn listed_ids_are_recognized_but_not_readable() {
        let (list, is_new) = list().with(Kind::Call, &["c-1".to_owned()], DateTime::UNIX_EPOCH);
        assert!(is_new && list.is_call("c-1") && !list.is_call("c-2") && !list.is_person("c-1"));
        assert!(list.is_address(" anna.smith@EXAMPLE.com "));
        let text = String::from_utf8(list.to_json()).unwrap();
        assert!(!text.contains("c-1") && !text.to_lowercase().contains("anna"), "{text}");
        let read = Forgotten::from_json(3, text.as_bytes()).unwrap();
        assert!(read.is_call("c-1") && read.version == 3);
        assert!(!read.with(Kind::Call, &["c-1".to_owned()], DateTime::UNIX_EPOCH).1);
    }

    #[test]
    fn names_are_found_in_messages_and_paths() {
        let list = list().with(Kind::Call, &["c-1".to_owned()], DateTime::UNIX_EPOCH).0;
        for (text, without) in [
            ("id = c-1", Some("id = ***")),
            ("calls.c-1.talk[].x, calls.c-12", Some("calls.***.talk[].x, calls.c-12")),
            ("c-1[].x", Some("***[].x")),
            ("talk.anna.smith@example.com.x", Some("talk.***.x")),
            ("talk.joanna.smith@example.com", None),
            ("calls.c-1x", None),
        ] {
            assert_eq!(list.without_names(text).as_deref(), without, "{text}");
        }
    }

    #[test]
    fn addresses_are_found_in_texts() {
        for (text, without) in [
            ("anna.smith@example.com", Some("***")),
            ("Mail to <Anna.Smith@example.com>.", Some("Mail to <***>.")),
            ("mailto:anna.smith@example.com, then", Some("mailto:***, then")),
            ("ask=anna.smith@example.com&x", Some("ask=***&x")),
            ("é anna.smith@example.com é", Some("é *** é")),
            ("anna.smith@example.com. anna.smith@example.com-", Some("***. ***-")),
            ("'anna.smith@example.com'", Some("'***'")),
            ("joanna.smith@example.com", None),
            ("jo.anna.smith@example.com", None),
            ("jo-anna.smith@example.com", None),
            ("anna.smith@example.com.au", None),
            ("@ @@ a@", None),
        ] {
            assert_eq!(list().without_addresses(text, "***").as_deref(), without, "{text}");
        }
    }
}
