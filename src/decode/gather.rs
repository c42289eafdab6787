//! Gathering: which columns the `extra_json` of a table's rows would fill.
//!
//! Collects the contents of `extra_json` for a frozen schema, and yields a wider one. Declared
//! columns never change, and no field gets a type that most of its values do not have.

use arrow::json::reader::{Tape, TapeElement};

use super::extra::MisfitCounts;
use super::infer::{self, MAX_DEPTH, MAX_FIELDS, MAX_OBJECTS, admits};
use super::json;
use super::number::Number;
use super::tape::TapeReader;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{Column, ColumnType, Schema};

/// How many different names below one object are collected: beyond that, they are data.
const MAX_NAMES: usize = 2 * MAX_FIELDS;
/// How many are collected in total.
const MAX_NODES: usize = 20_000;

/// The contents of the `extra_json` of a table's rows.
#[derive(Debug, Default)]
pub struct Gathered {
    root: Node,
    /// How many names there are.
    nodes: usize,
    reader: TapeReader,
}

/// The values at one path: how many of each kind.
#[derive(Debug, Default)]
struct Node {
    booleans: u64,
    integers: u64,
    doubles: u64,
    texts: u64,
    lists: u64,
    objects: u64,
    /// Numbers that fit no column.
    others: u64,
    /// Members whose names are not collected.
    unnamed: u64,
    /// By name, in order of appearance.
    members: Vec<(String, Node)>,
    items: Option<Box<Node>>,
}

impl Gathered {
    /// Collects the `extra_json` of some rows.
    ///
    /// # Errors
    /// `Corrupt` when one of them is not JSON.
    pub fn add<'t>(&mut self, texts: impl Iterator<Item = &'t str>) -> Result<()> {
        let text = format!("[{}]", texts.collect::<Vec<_>>().join(","));
        let (mut root, mut nodes) = (std::mem::take(&mut self.root), self.nodes);
        let gathered = self.reader.read(text.as_bytes(), move |tape, list| {
            json::items(tape, list).for_each(|record| root.add(tape, record, 0, &mut nodes));
            (root, nodes)
        });
        let corrupt =
            |why| Error::new(ErrorKind::Corrupt, format!("an extra_json is no JSON: {why}"));
        (self.root, self.nodes) = gathered.map_err(corrupt)?;
        Ok(())
    }

    /// The schema with columns for what was collected. Columns in `declared` keep their types.
    #[must_use]
    pub fn widened(&self, schema: &Schema, declared: &[Column]) -> Schema {
        self.widen(schema, declared).0
    }

    /// The objects that get no columns: their names look like data, or the table would have too
    /// many columns.
    #[must_use]
    pub fn too_wide(&self, schema: &Schema) -> Vec<String> {
        self.widen(schema, &schema.columns).1
    }

    fn widen(&self, schema: &Schema, declared: &[Column]) -> (Schema, Vec<String>) {
        let mut wider = schema.clone();
        let refuse = |name: &str| schema.collides(name);
        let (room, too_wide) = (infer::room(&wider.columns), Vec::new());
        let mut widening = Widening { room, too_wide, path: Vec::new() };
        widening.columns(&mut wider.columns, &self.root, declared, &refuse, 0);
        (wider, widening.too_wide)
    }

    /// How many values are in `extra_json`, by path, for a table with these columns. A value
    /// without a column counts as one.
    #[must_use]
    pub fn counts(&self, columns: &[Column]) -> MisfitCounts {
        let mut counts = MisfitCounts::new();
        self.root.count_members(columns, &mut Vec::new(), &mut counts);
        counts
    }
}

impl Node {
    fn add(&mut self, tape: &Tape<'_>, at: u32, depth: usize, nodes: &mut usize) {
        match json::element(tape, at) {
            TapeElement::True | TapeElement::False => self.booleans += 1,
            TapeElement::String(_) => self.texts += 1,
            TapeElement::Number(index) => match Number::parse(tape.get_string(index)) {
                Some(Number::Int(_)) => self.integers += 1,
                Some(Number::Double(_)) => self.doubles += 1,
                _ => self.others += 1,
            },
            TapeElement::StartList(_) => {
                self.lists += 1;
                let items = self.items.get_or_insert_default();
                for item in json::items(tape, at).filter(|_| depth <= MAX_DEPTH) {
                    items.add(tape, item, depth + 1, nodes);
                }
            }
            TapeElement::StartObject(end) => {
                self.objects += 1;
                for (name, member) in json::members(tape, at, end).filter(|_| depth <= MAX_DEPTH) {
                    if matches!(tape.get(member), TapeElement::Null) {
                        continue;
                    }
                    match self.member(name, nodes) {
                        Some(node) => node.add(tape, member, depth + 1, nodes),
                        None => self.unnamed += 1,
                    }
                }
            }
            _ => {}
        }
    }

    fn member(&mut self, name: &str, nodes: &mut usize) -> Option<&mut Self> {
        let known = self.members.iter().position(|(known, _)| known == name);
        let at = known.or_else(|| {
            (self.members.len() < MAX_NAMES && *nodes < MAX_NODES).then(|| {
                *nodes += 1;
                self.members.push((name.to_owned(), Self::default()));
                self.members.len() - 1
            })
        })?;
        Some(&mut self.members[at].1)
    }

    /// Counts the members of objects for which only some columns exist.
    fn count_members(&self, columns: &[Column], path: &mut Vec<String>, counts: &mut MisfitCounts) {
        for (name, node) in &self.members {
            let column = columns.iter().find(|column| column.name == *name);
            path.push(name.clone());
            node.count(column.map(|column| &column.column_type), path, counts);
            path.pop();
        }
        if self.unnamed > 0 {
            path.push("*".to_owned());
            *counts.entry(path.join(".")).or_default() += self.unnamed;
            path.pop();
        }
    }

    fn count(
        &self,
        column: Option<&ColumnType>,
        path: &mut Vec<String>,
        counts: &mut MisfitCounts,
    ) {
        let scalars = self.booleans + self.integers + self.doubles + self.texts + self.others;
        let (mut lists, mut objects) = (self.lists, self.objects);
        match column {
            Some(ColumnType::Struct(fields)) => {
                objects = 0;
                self.count_members(fields, path, counts);
            }
            Some(ColumnType::List(element)) => {
                lists = 0;
                if let Some(items) = &self.items {
                    items.count(Some(element), path, counts);
                }
            }
            _ => {}
        }
        let count = scalars + lists + objects;
        if count > 0 {
            *counts.entry(path.join(".")).or_default() += count;
        }
    }

    /// The type of most of the values, if it is one that a column can have.
    fn column_type(&self, depth: usize) -> Option<ColumnType> {
        let numbers = self.integers + self.doubles;
        let kinds = [self.texts, numbers, self.booleans, self.lists, self.objects];
        let most = kinds.into_iter().max().filter(|most| *most > 0 && depth <= MAX_DEPTH)?;
        Some(match kinds.into_iter().position(|count| count == most)? {
            0 => ColumnType::String,
            1 if self.doubles == 0 => ColumnType::Int64,
            1 => ColumnType::Double,
            2 => ColumnType::Boolean,
            3 => ColumnType::List(Box::new(self.items.as_ref()?.column_type(depth + 1)?)),
            _ if self.has_data_for_names() => return None,
            _ => {
                let mut fields = Vec::new();
                for (name, node) in &self.members {
                    if admits(&fields, name)
                        && let Some(column_type) = node.column_type(depth + 1)
                    {
                        fields.push(Column::new(name, column_type));
                    }
                }
                let is_some = !fields.is_empty() && fields.len() < MAX_FIELDS;
                is_some.then_some(ColumnType::Struct(fields))?
            }
        })
    }

    /// Whether the names of its members look like data.
    fn has_data_for_names(&self) -> bool {
        let objects = self.members.iter().filter(|(_, node)| node.objects > 0).count();
        self.members.len() >= MAX_FIELDS || objects > MAX_OBJECTS
    }
}

struct Widening {
    /// How many more columns the table may have.
    room: usize,
    /// The objects that get no columns.
    too_wide: Vec<String>,
    path: Vec<String>,
}

impl Widening {
    /// Widens columns by the members of an object.
    fn columns(
        &mut self,
        columns: &mut Vec<Column>,
        object: &Node,
        declared: &[Column],
        refuse: &dyn Fn(&str) -> bool,
        depth: usize,
    ) {
        for (name, node) in &object.members {
            self.path.push(name.clone());
            if let Some(known) = columns.iter_mut().find(|column| column.name == *name) {
                let declared = declared.iter().find(|column| column.name == *name);
                let declared = declared.map(|it| &it.column_type);
                self.column_type(&mut known.column_type, node, declared, depth);
            } else if admits(columns, name) && !refuse(name) {
                let column_type = node.column_type(depth);
                let is_none = column_type.is_none();
                let is_in = column_type.is_some_and(|column_type| {
                    infer::push(columns, Column::new(name, column_type), &mut self.room)
                });
                if !is_in && (!is_none || node.has_data_for_names()) {
                    self.too_wide.push(self.path.join("."));
                }
            }
            self.path.pop();
        }
        if object.unnamed > 0 {
            let is_record = self.path.is_empty();
            self.too_wide.push(if is_record { "*".to_owned() } else { self.path.join(".") });
        }
    }

    fn column_type(
        &mut self,
        column: &mut ColumnType,
        node: &Node,
        declared: Option<&ColumnType>,
        depth: usize,
    ) {
        match column {
            ColumnType::Struct(fields) => {
                let declared = match declared {
                    Some(ColumnType::Struct(declared)) => declared.as_slice(),
                    _ => &[],
                };
                self.columns(fields, node, declared, &|_| false, depth + 1);
            }
            ColumnType::List(element) => {
                let declared = match declared {
                    Some(ColumnType::List(declared)) => Some(declared.as_ref()),
                    _ => None,
                };
                if let Some(items) = &node.items {
                    self.column_type(element, items, declared, depth + 1);
                }
            }
            ColumnType::Int64 if declared.is_none() && node.doubles > 0 => {
                *column = ColumnType::Double;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::AddedColumns;

    fn shown(schema: &Schema, texts: &[&str]) -> Vec<String> {
        let mut gathered = Gathered::default();
        gathered.add(texts.iter().copied()).unwrap();
        let wider = gathered.widened(schema, &schema.columns[..1]);
        schema.differences(&wider).iter().map(ToString::to_string).collect()
    }

    fn schema() -> Schema {
        let person = ColumnType::Struct(vec![Column::new("name", ColumnType::String)]);
        let people = ColumnType::List(Box::new(person));
        let columns = vec![
            Column::new("count", ColumnType::Int64),
            Column::new("score", ColumnType::Int64),
            Column::new("people", people),
        ];
        Schema { columns, added: AddedColumns::default() }
    }

    #[test]
    fn new_fields_get_columns_at_the_top_in_structs_and_in_lists() {
        let texts = [
            r#"{"mood":"good","people":[null,{"age":7}],"at":{"x":1.5,"y":[1]}}"#,
            r#"{"mood":3,"score":1.5,"count":1.5,"people":[{"name":5}],"at":{"x":1}}"#,
            r#"{"mood":"bad","empty":{},"none":[],"big":1e400}"#,
        ];
        let expected = [
            "~ score: int64 -> double",
            "+ people[].age: int64",
            "+ mood: string",
            "+ at: struct<x: double, y: list<int64>>",
        ];
        assert_eq!(shown(&schema(), &texts), expected);
    }

    #[test]
    fn names_that_an_engine_rejects_and_case_twins_get_no_column() {
        let texts = [r#"{"a.b":1,"":1,"Count":1,"dt":1,"DT":1,"Extra_JSON":1,"ok":1,"OK":1}"#];
        assert_eq!(shown(&schema(), &texts), ["+ ok: int64"]);
    }
}
