//! Column rules: which fields of a record never reach the lake unchanged.
//!
//! Builds a tree from rules by path, which is walked in parallel with a record, and determines the
//! remaining columns. A rule that matches no field is an error, unless the user marks it as
//! intended.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Endpoint;
use crate::place::Mistake;
use crate::schema::{Column, ColumnType};
use crate::secret::Salt;

/// What happens to a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The field is left out.
    Drop,
    /// A salted hash replaces each value.
    Hash,
    /// `***` replaces the values.
    Mask,
    /// They stay as they are, even if a more general rule says otherwise.
    Keep,
}

/// The rules for one endpoint, or for all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnRules {
    written: Vec<WrittenRule>,
    tree: RuleNode,
    salt: Option<Salt>,
}

/// The rules for one place in a record, and for the places below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleNode {
    /// The rule for everything here that has no rule of its own below.
    pub rule: Option<Rule>,
    /// By name; lists do not count as places.
    pub below: BTreeMap<String, RuleNode>,
}

/// One rule, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WrittenRule {
    path: Vec<String>,
    /// The keys of the file that lead to it; one may name several fields.
    written: Vec<String>,
    rule: Rule,
    /// Whether the field may be missing.
    if_there: bool,
}

impl ColumnRules {
    /// Rules that leave out the values at these paths.
    #[must_use]
    pub fn dropping(paths: &[String]) -> Self {
        let dropped = |path: &String| {
            let path: Vec<String> = path.split('.').map(str::to_owned).collect();
            WrittenRule { written: path.clone(), path, rule: Rule::Drop, if_there: false }
        };
        Self::of(paths.iter().map(dropped).collect())
    }

    fn of(rule_list: Vec<WrittenRule>) -> Self {
        let mut tree = RuleNode::default();
        for WrittenRule { path, rule, .. } in &rule_list {
            let node = path
                .iter()
                .fold(&mut tree, |node, name| node.below.entry(name.clone()).or_default());
            node.rule = Some(*rule);
        }
        Self { written: rule_list, tree, salt: None }
    }

    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// The rules from a record's root on.
    #[must_use]
    pub fn tree(&self) -> &RuleNode {
        &self.tree
    }

    /// The salt of hashes, once it has been looked up.
    #[must_use]
    pub fn salt(&self) -> Option<&Salt> {
        self.salt.as_ref()
    }

    /// Whether hashes are required.
    #[must_use]
    pub fn needs_salt(&self) -> bool {
        self.written.iter().any(|it| it.rule == Rule::Hash)
    }

    /// The same rules with the salt of their hashes.
    #[must_use]
    pub fn with_salt(self, salt: Option<Salt>) -> Self {
        Self { salt, ..self }
    }

    /// Whether the field of this name is left out of every record.
    #[must_use]
    pub fn drops(&self, name: &str) -> bool {
        self.tree.below.get(name).is_some_and(|node| node.rule == Some(Rule::Drop))
    }

    /// These and others, which take precedence where both have a rule for one path.
    pub fn extend(&mut self, others: &Self) {
        let mut rule_list = std::mem::take(&mut self.written);
        rule_list.retain(|it| others.written.iter().all(|other| other.path != it.path));
        rule_list.extend(others.written.iter().cloned());
        *self = Self::of(rule_list).with_salt(self.salt.take());
    }

    /// The rules that concern an endpoint with these columns.
    #[must_use]
    pub fn about(&self, columns: &[Column]) -> Self {
        let concerns = |it: &&WrittenRule| it.if_there || is_declared(columns, &it.path);
        Self::of(self.written.iter().filter(concerns).cloned().collect())
    }

    /// The first rule whose path, or a part of it, leads to or through the place with these names.
    #[must_use]
    pub fn touching(&self, place: &[&str]) -> Option<String> {
        let touches = |it: &&WrittenRule| {
            it.rule != Rule::Keep && it.path.iter().zip(place).all(|(one, other)| one == other)
        };
        self.written.iter().find(touches).map(|it| it.path.join("."))
    }

    /// The first rule that matches no column, or one in `fixed`, which identify and date rows.
    pub(super) fn check(
        &self,
        columns: &[Column],
        metadata: Option<&str>,
        fixed: &[(&str, &str)],
    ) -> Result<(), Mistake> {
        for one in &self.written {
            let path = one.path.join(".");
            let wrong = |message| Err(one.mistake(message));
            let of = fixed.iter().find(|(name, _)| one.path.len() == 1 && one.path[0] == *name);
            if let Some((_, what)) = of.filter(|_| one.rule != Rule::Keep) {
                return wrong(format!("`{path}` {what}, so rules cannot change it"));
            }
            let is_metadata = metadata.is_some_and(|name| one.path[0] == name);
            if !one.if_there && !is_metadata && !is_declared(columns, &one.path) {
                return wrong(undeclared(&path, "it does not declare it"));
            }
        }
        Ok(())
    }

    /// The first rule that matches no column of any endpoint.
    pub(super) fn check_any(&self, endpoints: &[Endpoint]) -> Result<(), Mistake> {
        for one in self.written.iter().filter(|one| !one.if_there) {
            if !endpoints.iter().any(|endpoint| is_declared(&endpoint.columns, &one.path)) {
                let why = undeclared(&one.path.join("."), "no endpoint declares it");
                return Err(one.mistake(why));
            }
        }
        Ok(())
    }

    /// The columns that remain of these, with their resulting types.
    #[must_use]
    pub fn applied(&self, columns: &[Column]) -> Vec<Column> {
        applied(columns, Some(&self.tree), None)
    }
}

fn undeclared(path: &str, why: &str) -> String {
    format!("`{path}` is not a column: {why} (write \"drop?\" if the API may send it anyway)")
}

impl WrittenRule {
    fn mistake(&self, message: String) -> Mistake {
        let path = std::iter::once("columns".to_owned()).chain(self.written.iter().cloned());
        Mistake { path: path.collect(), message }
    }
}

fn is_declared(columns: &[Column], path: &[String]) -> bool {
    let Some((name, rest)) = path.split_first() else { return true };
    let column = columns.iter().find(|column| column.name == *name);
    column.is_some_and(|column| match inner(&column.column_type) {
        ColumnType::Struct(fields) => is_declared(fields, rest),
        _ => rest.is_empty(),
    })
}

fn inner(mut column_type: &ColumnType) -> &ColumnType {
    while let ColumnType::List(element) = column_type {
        column_type = element;
    }
    column_type
}

fn applied(columns: &[Column], node: Option<&RuleNode>, rule: Option<Rule>) -> Vec<Column> {
    let applied = columns.iter().filter_map(|column| {
        let node = node.and_then(|node| node.below.get(&column.name));
        let rule = node.and_then(|node| node.rule).or(rule);
        let column_type = applied_type(&column.column_type, node, rule)?;
        Some(Column { column_type, ..column.clone() })
    });
    applied.collect()
}

fn applied_type(
    column_type: &ColumnType,
    node: Option<&RuleNode>,
    rule: Option<Rule>,
) -> Option<ColumnType> {
    Some(match (rule, column_type) {
        (Some(Rule::Drop), _) => return None,
        (_, ColumnType::List(element)) => {
            ColumnType::List(Box::new(applied_type(element, node, rule)?))
        }
        (_, ColumnType::Struct(fields)) => {
            let fields = applied(fields, node, rule);
            if fields.is_empty() {
                return None;
            }
            ColumnType::Struct(fields)
        }
        (Some(Rule::Hash | Rule::Mask), _) => ColumnType::String,
        (Some(Rule::Keep) | None, scalar) => scalar.clone(),
    })
}

/// The value of one key of a file.
enum Entry {
    Rule { rule: Rule, if_there: bool },
    Below(BTreeMap<String, Entry>),
}

impl Entry {
    fn collect(self, path: &[String], written: &[String], all: &mut Vec<WrittenRule>) {
        match self {
            Self::Rule { rule, if_there } => {
                all.push(WrittenRule {
                    path: path.to_vec(),
                    written: written.to_vec(),
                    rule,
                    if_there,
                });
            }
            Self::Below(entries) => {
                for (name, entry) in entries {
                    let names = name.split('.').map(|part| part.trim_end_matches("[]").to_owned());
                    let path: Vec<String> = path.iter().cloned().chain(names).collect();
                    let written: Vec<String> = written.iter().cloned().chain([name]).collect();
                    entry.collect(&path, &written, all);
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for ColumnRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = BTreeMap::<String, Entry>::deserialize(deserializer)?;
        let mut rule_list = Vec::new();
        Entry::Below(entries).collect(&[], &[], &mut rule_list);
        Ok(Self::of(rule_list))
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("drop, hash, mask or keep, or a table of fields")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Entry, E> {
        let (name, if_there) = match text.strip_suffix('?') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let rule = match name {
            "drop" => Rule::Drop,
            "hash" => Rule::Hash,
            "mask" => Rule::Mask,
            "keep" => Rule::Keep,
            _ => {
                let message = format!(
                    "`{text}` is not a rule: expected drop, hash, mask or keep (or drop? and so \
                     on, for a field that is not declared)"
                );
                return Err(E::custom(message));
            }
        };
        Ok(Entry::Rule { rule, if_there })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((name, entry)) = map.next_entry()? {
            entries.insert(name, entry);
        }
        Ok(Entry::Below(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Written;

    fn rules(text: &str) -> ColumnRules {
        toml::from_str(text).unwrap()
    }

    fn columns() -> Vec<Column> {
        let field = |name: &str, of| Column::new(name, of);
        let person = vec![field("email", ColumnType::String), field("age", ColumnType::Int64)];
        vec![
            field("id", ColumnType::String),
            field("people", ColumnType::List(Box::new(ColumnType::Struct(person)))),
            field("at", ColumnType::Timestamp(Written::Iso)),
        ]
    }

    #[test]
    fn paths_are_tables_or_quoted_and_lead_through_lists() {
        let one = rules("people.email = \"hash\"\nat = \"drop?\"");
        let other = rules("\"people[].email\" = \"hash\"\nat = \"drop?\"");
        assert_eq!(one.tree(), other.tree());
        assert!(one.drops("at") && !one.drops("people") && one.needs_salt());
    }

    #[test]
    fn columns_follow_the_rules() {
        let shown = |text: &str| {
            let columns = rules(text).applied(&columns());
            let shown = columns.iter().map(|it| format!("{}: {}", it.name, it.column_type));
            shown.collect::<Vec<_>>().join(", ")
        };
        let people = "people: list<struct<email: string, age: int64>>";
        assert_eq!(shown(""), format!("id: string, {people}, at: timestamp"));
        assert_eq!(shown("at = \"hash\""), format!("id: string, {people}, at: string"));
        assert_eq!(
            shown("people.age = \"drop\"\nat = \"drop\""),
            "id: string, people: list<struct<email: string>>"
        );
        assert_eq!(
            shown("people.age = \"drop\"\npeople.email = \"drop\""),
            "id: string, at: timestamp"
        );
        assert_eq!(
            shown("people = \"mask\""),
            "id: string, people: list<struct<email: string, age: string>>, at: timestamp"
        );
    }

    #[test]
    fn a_rule_for_an_unknown_column_or_a_key_is_a_mistake() {
        let check = |text: &str| {
            let fixed = [("id", "is the key")];
            rules(text).check(&columns(), None, &fixed).map_err(|it| (it.path, it.message))
        };
        assert_eq!(check("people.email = \"hash\"\nmood = \"drop?\"\nid = \"keep\""), Ok(()));
        for (text, path, why) in [
            ("people.emial = \"drop\"", "columns/people/emial", "is not a column"),
            ("\"people.emial\" = \"drop\"", "columns/people.emial", "is not a column"),
            ("id = \"hash\"", "columns/id", "is the key"),
            ("at.x = \"hash\"", "columns/at/x", "is not a column"),
        ] {
            let (found, message) = check(text).unwrap_err();
            assert_eq!(found.join("/"), path);
            assert!(message.contains(why), "{message}");
        }
        let wrong = toml::from_str::<ColumnRules>("a = \"hide\"").unwrap_err().to_string();
        assert!(wrong.contains("is not a rule") && wrong.contains("column 5"), "{wrong}");
    }
}
