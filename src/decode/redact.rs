//! Redaction: removes or replaces values of a record before anything else sees it.
//!
//! Applies an endpoint's rules to records on the tape. The resulting JSON text is decoded instead
//! of the reply, so that no column, `extra_json`, quarantine or message can hold what was removed.
//! Without rules a reply stays untouched.

use std::collections::HashMap;

use arrow::json::reader::{Tape, TapeElement};

use super::columns::{ADDRESSES, is_address};
use super::json::{self, Change};
use crate::endpoint::{ColumnRules, Rule, RuleNode};

/// The replacement for a masked value.
pub(super) const MASK: &str = "***";

/// The changes to values, by their position on the tape.
#[derive(Debug, Default)]
pub(super) struct Changes(HashMap<u32, Option<String>>);

impl Changes {
    /// Leaves out the value at `at`.
    pub(super) fn leave_out(&mut self, at: u32) {
        self.0.insert(at, None);
    }

    /// Replaces the value at `at` with a text, unless it is left out.
    pub(super) fn replace(&mut self, at: u32, text: String) {
        let known = self.0.entry(at).or_insert_with(|| Some(String::new()));
        if let Some(known) = known {
            *known = text;
        }
    }

    /// How many values change.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Applies the rules below `node` to the value at `at`.
    pub(super) fn apply(&mut self, tape: &Tape<'_>, at: u32, rules: &ColumnRules, node: &RuleNode) {
        let mut open = vec![(at, Some(node), node.rule)];
        while let Some((at, node, rule)) = open.pop() {
            match tape.get(at) {
                TapeElement::StartObject(end) => {
                    for (name, member) in json::members(tape, at, end) {
                        let below = node.and_then(|node| node.below.get(name));
                        match below.and_then(|below| below.rule).or(rule) {
                            Some(Rule::Drop) => self.leave_out(member),
                            rule if rule.is_some() || below.is_some() => {
                                open.push((member, below, rule));
                            }
                            _ => {}
                        }
                    }
                }
                TapeElement::StartList(_) => {
                    open.extend(json::items(tape, at).map(|item| (item, node, rule)));
                }
                element => {
                    // A bare address instead of a person is the person's address.
                    let below = node.filter(|_| is_address(tape, at)).map(|node| &node.below);
                    let of_address = below
                        .and_then(|below| ADDRESSES.iter().find_map(|name| below.get(*name)?.rule));
                    self.apply_to_scalar(tape, at, element, rules, of_address.or(rule));
                }
            }
        }
    }

    fn apply_to_scalar(
        &mut self,
        tape: &Tape<'_>,
        at: u32,
        element: TapeElement,
        rules: &ColumnRules,
        rule: Option<Rule>,
    ) {
        let text = match element {
            TapeElement::String(index) | TapeElement::Number(index) => tape.get_string(index),
            TapeElement::True => "true",
            TapeElement::False => "false",
            _ => return,
        };
        match rule {
            // Nothing is hashed without a salt; its presence is checked before any request.
            Some(Rule::Hash) => match rules.salt() {
                Some(salt) => self.replace(at, salt.hash(text)),
                None => self.leave_out(at),
            },
            Some(Rule::Mask) => self.replace(at, MASK.to_owned()),
            Some(Rule::Drop) => self.leave_out(at),
            Some(Rule::Keep) | None => {}
        }
    }

    /// Writes the value at `at` as JSON text, with the changes applied.
    pub(super) fn write(&self, tape: &Tape<'_>, at: u32, out: &mut String) {
        let change = |at| {
            let change = self.0.get(&at)?;
            Some(change.as_deref().map_or(Change::LeftOut, Change::Text))
        };
        json::write_changed(tape, at, change, out);
    }
}
