//! JSON Schema, as far as the schemas of this repository use it. A validator from a registry brings
//! some twenty crates, and has every other dependency compiled a second time with more features.

use regex::Regex;
use serde_json::{Map, Value};

/// A schema that values are validated by.
pub(crate) struct JsonSchema(Value);

impl JsonSchema {
    pub(crate) fn new(schema: Value) -> Self {
        Self(schema)
    }

    pub(crate) fn is_valid(&self, value: &Value) -> bool {
        self.mistakes(value).is_empty()
    }

    /// What is wrong with a value, each with its place.
    pub(crate) fn mistakes(&self, value: &Value) -> Vec<String> {
        let mut mistakes = Vec::new();
        self.check(&self.0, value, "$", &mut mistakes);
        mistakes
    }

    fn accepts(&self, schema: &Value, value: &Value) -> bool {
        let mut mistakes = Vec::new();
        self.check(schema, value, "$", &mut mistakes);
        mistakes.is_empty()
    }

    fn check(&self, schema: &Value, value: &Value, place: &str, mistakes: &mut Vec<String>) {
        let rules = match schema {
            Value::Bool(true) => return,
            Value::Object(rules) => rules,
            _ => return mistakes.push(format!("{place} must not be there")),
        };
        for (keyword, rule) in rules {
            if !self.holds(rules, keyword, rule, value) {
                mistakes.push(format!("{place}: {value} breaks `{keyword}`: {rule}"));
            }
        }
        if let Some(Value::Object(properties)) = rules.get("properties") {
            for (name, property) in properties {
                if let Some(member) = value.get(name) {
                    self.check(property, member, &format!("{place}.{name}"), mistakes);
                }
            }
        }
        if let Some(more) = rules.get("additionalProperties") {
            for (name, member) in value.as_object().into_iter().flatten() {
                if rules.get("properties").is_none_or(|known| known.get(name).is_none()) {
                    self.check(more, member, &format!("{place}.{name}"), mistakes);
                }
            }
        }
        for item in value.as_array().into_iter().flatten() {
            self.check(
                &rules.get("items").cloned().unwrap_or(Value::Bool(true)),
                item,
                place,
                mistakes,
            );
        }
    }

    /// Whether a value keeps one keyword; those about members and items are kept by theirs.
    fn holds(
        &self,
        rules: &Map<String, Value>,
        keyword: &str,
        rule: &Value,
        value: &Value,
    ) -> bool {
        let (number, text, list) = (value.as_f64(), value.as_str(), value.as_array());
        let bound = rule.as_f64();
        let least = rule.as_u64().map_or(0, |least| usize::try_from(least).unwrap());
        match keyword {
            "type" => rule.as_array().map_or_else(
                || is_of(rule, value),
                |types| types.iter().any(|it| is_of(it, value)),
            ),
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "minimum" => number.is_none_or(|number| number >= bound.unwrap()),
            "maximum" => number.is_none_or(|number| number <= bound.unwrap()),
            "minLength" => text.is_none_or(|text| text.chars().count() >= least),
            "minItems" => list.is_none_or(|list| list.len() >= least),
            "uniqueItems" => list.is_none_or(|list| {
                list.iter().enumerate().all(|(at, item)| !list[..at].contains(item))
            }),
            "pattern" => {
                let pattern = Regex::new(rule.as_str().unwrap()).unwrap();
                text.is_none_or(|text| pattern.is_match(text))
            }
            "required" => value.as_object().is_none_or(|members| {
                rule.as_array().unwrap().iter().all(|it| members.contains_key(it.as_str().unwrap()))
            }),
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                self.accepts(self.0.pointer(pointer).unwrap(), value)
            }
            "not" => !self.accepts(rule, value),
            "oneOf" => {
                let schemas = rule.as_array().unwrap().iter();
                schemas.filter(|schema| self.accepts(schema, value)).count() == 1
            }
            "if" => {
                let next = if self.accepts(rule, value) { "then" } else { "else" };
                rules.get(next).is_none_or(|schema| self.accepts(schema, value))
            }
            "properties"
            | "additionalProperties"
            | "items"
            | "then"
            | "else"
            | "$defs"
            | "$schema"
            | "description"
            | "examples"
            | "format"
            | "title" => true,
            _ => panic!("the keyword `{keyword}` is not known here"),
        }
    }
}

fn is_of(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("the type `{other}` is not known here"),
    }
}
