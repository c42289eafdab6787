//! What a view reads from a table: columns and fields by their path, null where the table lacks
//! them, so that a view has the same columns over every lake.

use super::dialect::{Dialect, Each};
use super::table::{DT, LakeTable, SqlType};
use crate::schema::{Column, ColumnType};

/// A relation in a query, and the columns it has.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    dialect: &'a dyn Dialect,
    /// What stands before a column's name.
    alias: &'a str,
    columns: &'a [Column],
}

impl<'a> Source<'a> {
    pub(super) fn new(dialect: &'a dyn Dialect, table: &'a LakeTable, alias: &'a str) -> Self {
        Self { dialect, alias, columns: &table.schema.columns }
    }

    /// The scalar at `path`, as `wanted`.
    pub(super) fn scalar(&self, path: &[&str], wanted: &ColumnType) -> String {
        match self.find(path) {
            None | Some((_, ColumnType::List(_) | ColumnType::Struct(_))) => {
                null(self.dialect, wanted)
            }
            Some((expression, found)) if found == wanted => expression,
            // A column that was widened, or that the user declares otherwise.
            Some((expression, _)) => {
                let type_name = self.dialect.type_name(&SqlType::Of(wanted.clone()));
                format!("try_cast({expression} as {type_name})")
            }
        }
    }

    /// The text at `path`.
    pub(super) fn text(&self, path: &[&str]) -> String {
        self.scalar(path, &ColumnType::String)
    }

    /// The double at `path`.
    pub(super) fn double(&self, path: &[&str]) -> String {
        self.scalar(path, &ColumnType::Double)
    }

    /// The partition's date.
    pub(super) fn dt(&self) -> String {
        format!("{}.{DT}", self.alias)
    }

    /// How long the list at `path` is, 0 where there is none.
    pub(super) fn length(&self, path: &[&str]) -> String {
        self.find_list(path).map_or_else(
            || "0".to_owned(),
            |(list, _)| format!("coalesce({}, 0)", self.dialect.length(&list)),
        )
    }

    /// The items of the list of structs at `path`, named `alias`.
    pub(super) fn items(&self, path: &[&str], alias: &str) -> Items<'a> {
        let found = self.find_list(path);
        let each = found.as_ref().map(|(list, fields)| self.dialect.each(list, fields, alias));
        let fields = found.map_or(&[][..], |(_, fields)| fields);
        Items { dialect: self.dialect, each, fields }
    }

    fn find_list(&self, path: &[&str]) -> Option<(String, &'a [Column])> {
        let (expression, found) = self.find(path)?;
        let ColumnType::List(element) = found else { return None };
        let ColumnType::Struct(fields) = element.as_ref() else { return None };
        Some((expression, fields))
    }

    fn find(&self, path: &[&str]) -> Option<(String, &'a ColumnType)> {
        let mut expression = self.alias.to_owned();
        let mut columns = self.columns;
        let mut found = None;
        for name in path {
            let column = columns.iter().find(|column| column.name == *name)?;
            expression.push_str(&format!(".{}", self.dialect.name(name)));
            columns = match &column.column_type {
                ColumnType::Struct(fields) => fields,
                _ => &[],
            };
            found = Some(&column.column_type);
        }
        Some((expression, found?))
    }
}

/// The items of a list; none where the table has no such list.
pub(super) struct Items<'a> {
    dialect: &'a dyn Dialect,
    each: Option<Each>,
    fields: &'a [Column],
}

impl Items<'_> {
    /// What joins them to the relation before.
    pub(super) fn join(&self) -> &str {
        self.each.as_ref().map_or("", |each| &each.join)
    }

    /// Whether the table has the list.
    pub(super) fn exist(&self) -> bool {
        self.each.is_some()
    }

    /// An item's place, from 0.
    pub(super) fn place(&self) -> String {
        let null = || null(self.dialect, &ColumnType::Int64);
        self.each.as_ref().map_or_else(null, |each| each.index.clone())
    }

    /// An item's fields.
    pub(super) fn item(&self) -> Source<'_> {
        let alias = self.each.as_ref().map_or("", |each| &each.item);
        Source { dialect: self.dialect, alias, columns: self.fields }
    }
}

fn null(dialect: &dyn Dialect, column_type: &ColumnType) -> String {
    format!("cast(null as {})", dialect.type_name(&SqlType::Of(column_type.clone())))
}
