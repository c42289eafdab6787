//! Metadata: what a reply says besides its records, added to each of them.
//!
//! Writes a reply's records as JSON text, each with one more member and without what the rules
//! remove. A record that already has a member of that name is an error.

use arrow::json::reader::{Tape, TapeElement};

use super::forget::Forgetting;
use super::json;
use super::path::{self, Selections};
use super::redact::Changes;
use crate::endpoint::{Endpoint, RecordPath, Rule, RuleNode};
use crate::error::{Error, ErrorKind, Result};

/// The records at these places as a JSON list, each with the value at the metadata path.
pub(super) fn splice(
    tape: &Tape<'_>,
    root: u32,
    records: &[u32],
    forgetting: &Forgetting<'_>,
    selections: &Selections,
) -> Result<String> {
    let endpoint = forgetting.endpoint;
    let metadata = endpoint.metadata.as_ref();
    let addition = metadata.and_then(|it| addition(tape, root, it, forgetting, selections));
    let rules = &endpoint.rules;
    let mut out = String::from("[");
    for (number, at) in records.iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        match (tape.get(*at), endpoint.bare_column()) {
            (TapeElement::StartObject(_), _) => {
                if addition.is_some()
                    && json::member(tape, *at, &endpoint.metadata_column).is_some()
                {
                    return Err(taken(endpoint));
                }
                let mut changes = Changes::default();
                if forgetting.may_mention(tape, *at, None) {
                    forgetting.blank(tape, *at, &mut changes);
                }
                changes.apply(tape, *at, rules, rules.tree());
                let beside = beside(endpoint, tape, root, *at);
                let beside = beside.and_then(|(name, it)| member(tape, name, it, forgetting));
                changes.write(tape, *at, &mut out);
                for member in beside.iter().chain(&addition) {
                    out.pop();
                    out.push_str(if out.ends_with('{') { "" } else { "," });
                    out.push_str(member);
                    out.push('}');
                }
            }
            // A bare value is a record with one column, its key.
            (TapeElement::String(_) | TapeElement::Number(_), Some(name)) if addition.is_some() => {
                out.push('{');
                json::write_text(name, &mut out);
                out.push(':');
                json::write(tape, *at, &mut out);
                if let Some(addition) = &addition {
                    out.push(',');
                    out.push_str(addition);
                }
                out.push('}');
            }
            _ => json::write(tape, *at, &mut out),
        }
    }
    out.push(']');
    Ok(out)
}

/// The list that completes a record, if the reply has it beside the record rather than in it: its
/// name and position.
pub(super) fn beside<'e>(
    endpoint: &'e Endpoint,
    tape: &Tape<'_>,
    root: u32,
    record: u32,
) -> Option<(&'e str, u32)> {
    let name = endpoint.parent.as_ref()?.completed_by.as_deref().filter(|_| record != root)?;
    let is_list = |at: &u32| matches!(tape.get(*at), TapeElement::StartList(_));
    let list = json::member(tape, root, name).filter(is_list)?;
    let is_absent = json::member(tape, record, name).is_none_or(|at| !is_list(&at));
    is_absent.then_some((name, list))
}

/// A member of the reply as a member of the record, without forgotten values.
fn member(tape: &Tape<'_>, name: &str, at: u32, forgetting: &Forgetting<'_>) -> Option<String> {
    let rules = &forgetting.endpoint.rules;
    let node = rules.tree().below.get(name);
    if node.is_some_and(|node| node.rule == Some(Rule::Drop)) {
        return None;
    }
    let mut out = String::new();
    json::write_text(name, &mut out);
    out.push(':');
    let mut changes = Changes::default();
    if forgetting.may_mention(tape, at, None) {
        forgetting.blank(tape, at, &mut changes);
    }
    if let Some(node) = node {
        changes.apply(tape, at, rules, node);
    }
    changes.write(tape, at, &mut out);
    Some(out)
}

/// The member to add: an object as it is, anything else wrapped in an object under its name.
fn addition(
    tape: &Tape<'_>,
    root: u32,
    metadata: &RecordPath,
    forgetting: &Forgetting<'_>,
    selections: &Selections,
) -> Option<String> {
    let endpoint = forgetting.endpoint;
    let mut found = path::named(tape, root, metadata, selections);
    found.dedup_by(|later, earlier| later.0 == earlier.0);
    let is_object = |at: u32| matches!(tape.get(at), TapeElement::StartObject(_));
    let rules = endpoint.rules.tree().below.get(&endpoint.metadata_column);
    if rules.is_some_and(|node| node.rule == Some(Rule::Drop)) {
        return None;
    }
    let write = |at: u32, node: Option<&RuleNode>, out: &mut String| {
        let mut changes = Changes::default();
        if forgetting.may_mention(tape, at, None) {
            forgetting.blank(tape, at, &mut changes);
        }
        if let Some(node) = node {
            changes.apply(tape, at, &endpoint.rules, node);
        }
        changes.write(tape, at, out);
    };
    let mut out = String::new();
    json::write_text(&endpoint.metadata_column, &mut out);
    out.push(':');
    match found.as_slice() {
        [] => return None,
        [(_, at)] if is_object(*at) => write(*at, rules, &mut out),
        several => {
            out.push('{');
            for (name, at) in several {
                let below = rules.and_then(|node| node.below.get(name.as_str()));
                let rule = below.and_then(|it| it.rule).or(rules.and_then(|it| it.rule));
                if rule == Some(Rule::Drop) {
                    continue;
                }
                out.push_str(if out.ends_with('{') { "" } else { "," });
                json::write_text(name, &mut out);
                out.push(':');
                write(
                    *at,
                    Some(&RuleNode { rule, ..below.cloned().unwrap_or_default() }),
                    &mut out,
                );
            }
            out.push('}');
        }
    }
    Some(out)
}

fn taken(endpoint: &Endpoint) -> Error {
    let column = &endpoint.metadata_column;
    Error::new(ErrorKind::Config, format!("the records already have a field `{column}`"))
        .with_context(format!("endpoint {}", endpoint.name))
        .with_hint("choose another column for the metadata: metadata_column = \"reply_metadata\"")
}
