//! The differences between two schemas.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Column, ColumnType, Schema};

/// A column or field in which two schemas differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Difference {
    /// The path: names joined by dots, with `[]` for the items of a list.
    pub path: String,
    /// Its type in the first schema; `None` if it is missing there.
    pub from: Option<String>,
    /// Its type in the second schema; `None` if it is missing there.
    pub to: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, .. } = self;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, "~ {path}: {from} -> {to}"),
            (None, Some(to)) => write!(f, "+ {path}: {to}"),
            (Some(from), None) => write!(f, "- {path}: {from}"),
            (None, None) => Ok(()),
        }
    }
}

impl Schema {
    /// The record columns and fields that differ in `newer`, in the order of both schemas.
    #[must_use]
    pub fn differences(&self, newer: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        columns("", &self.columns, &newer.columns, &mut differences);
        differences
    }

    /// The type at a path in the syntax of differences, if the schema has it.
    #[must_use]
    pub fn type_at(&self, path: &str) -> Option<&ColumnType> {
        among(&self.columns, path)
    }
}

/// The type at a path that begins with the name of one of these; a name may itself contain dots.
fn among<'c>(columns: &'c [Column], path: &str) -> Option<&'c ColumnType> {
    columns.iter().find_map(|column| {
        let rest = path.strip_prefix(column.name.as_str())?;
        inside(&column.column_type, rest)
    })
}

fn inside<'c>(column_type: &'c ColumnType, rest: &str) -> Option<&'c ColumnType> {
    match column_type {
        _ if rest.is_empty() => Some(column_type),
        ColumnType::Struct(fields) => among(fields, rest.strip_prefix('.')?),
        ColumnType::List(element) => inside(element, rest.strip_prefix("[]")?),
        _ => None,
    }
}

fn columns(path: &str, from: &[Column], to: &[Column], differences: &mut Vec<Difference>) {
    let of = |columns: &[Column], name: &str| columns.iter().position(|it| it.name == name);
    let added = to.iter().filter(|column| of(from, &column.name).is_none());
    for column in from.iter().chain(added) {
        let path = format!("{path}{}", column.name);
        let before = of(from, &column.name).map(|at| &from[at].column_type);
        let after = of(to, &column.name).map(|at| &to[at].column_type);
        types(path, before, after, differences);
    }
}

fn types(
    path: String,
    from: Option<&ColumnType>,
    to: Option<&ColumnType>,
    differences: &mut Vec<Difference>,
) {
    match (from, to) {
        (Some(ColumnType::Struct(before)), Some(ColumnType::Struct(after))) => {
            columns(&format!("{path}."), before, after, differences);
        }
        (Some(ColumnType::List(before)), Some(ColumnType::List(after))) => {
            types(format!("{path}[]"), Some(before), Some(after), differences);
        }
        (before, after) if before != after => {
            let spell = |it: &ColumnType| it.to_string();
            differences.push(Difference { path, from: before.map(spell), to: after.map(spell) });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::AddedColumns;
    use super::*;

    fn schema(columns: Vec<Column>) -> Schema {
        Schema { columns, added: AddedColumns::default() }
    }

    #[test]
    fn added_changed_and_removed_columns_are_listed_by_path() {
        let people = |fields| {
            let list = ColumnType::List(Box::new(ColumnType::Struct(fields)));
            Column::new("people", list)
        };
        let name = Column::new("name", ColumnType::String);
        let age = Column::new("age", ColumnType::Int64);
        let old = schema(vec![Column::new("count", ColumnType::Int64), people(vec![name.clone()])]);
        let new = schema(vec![people(vec![name, age]), Column::new("count", ColumnType::Double)]);
        let shown: Vec<_> = old.differences(&new).iter().map(Difference::to_string).collect();
        assert_eq!(shown, ["~ count: int64 -> double", "+ people[].age: int64"]);
        let shown: Vec<_> = new.differences(&old).iter().map(Difference::to_string).collect();
        assert_eq!(shown, ["- people[].age: int64", "~ count: double -> int64"]);
        assert_eq!(old.differences(&old), []);
    }

    #[test]
    fn a_type_is_found_by_the_path_that_differences_spell() {
        let fields =
            vec![Column::new("a.b", ColumnType::Int64), Column::new("a", ColumnType::Double)];
        let list = ColumnType::List(Box::new(ColumnType::Struct(fields)));
        let schema = schema(vec![Column::new("people", list)]);
        let found = |path: &str| schema.type_at(path).map(ToString::to_string);
        assert_eq!(found("people[].a.b"), Some("int64".to_owned()));
        assert_eq!(found("people[].a"), Some("double".to_owned()));
        assert_eq!(found("people[].a.c"), None);
        assert_eq!(found("peoples"), None);
    }
}
