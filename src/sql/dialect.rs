//! Differences between engines.

use chrono::NaiveDate;

use super::table::{DT, LakeTable, SqlColumn, SqlType, all_columns};
use crate::schema::{Column, ColumnType, Schema};

/// The lake for which tables are defined.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lake<'a> {
    /// An absolute path or a URL, without a trailing slash.
    pub(super) location: &'a str,
    /// The first date that any of its tables has, or will have.
    pub(super) first_day: Option<NaiveDate>,
}

impl Lake<'_> {
    /// Whether the objects are files on this machine, which takes microseconds to list a folder.
    pub(super) fn is_folder(&self) -> bool {
        !self.location.contains("://") || self.location.starts_with("file://")
    }
}

/// An engine's dialect. Everything that is not here is the same in all engines.
pub(super) trait Dialect {
    /// What the user should know first; no semicolons.
    fn preamble(&self) -> &'static str;

    /// Statements that come before all definitions.
    fn settings(&self, _: &Lake<'_>) -> &'static str {
        ""
    }

    /// A name, quoted.
    fn name(&self, name: &str) -> String;

    /// A type, as written in `cast`.
    fn type_name(&self, sql_type: &SqlType) -> String;

    /// The statements that define a table over its objects.
    fn table(&self, table: &LakeTable, lake: &Lake<'_>) -> String;

    /// The statement that creates an empty table.
    fn ddl(&self, name: &str, schema: &Schema) -> String;

    /// The beginning of a view's definition.
    fn create_view(&self) -> &'static str {
        "create or replace view"
    }

    /// The date of the newest partition, as a query.
    fn newest_partition(&self, table: &LakeTable, _: &Lake<'_>) -> String {
        format!("select max({DT}) from {}", self.name(&table.name))
    }

    /// Whether its tables include the rows without a date.
    fn shows_undated(&self) -> bool {
        true
    }

    /// Whether a condition on a column of both sides of a full join is pushed to both.
    fn prunes_full_joins(&self) -> bool {
        false
    }

    /// `relation`, aliased as `c`, with a row for each item of `list`. An item's `fields` are
    /// columns below `item`.
    fn each(&self, relation: &str, list: &str, item: &str, fields: &[&str]) -> String;

    /// An item's position in its list, from 0.
    fn place(&self, item: &str) -> String {
        format!("{item}_index - 1")
    }

    /// A list with a struct of `fields` for each item of `list`; null for an empty list.
    fn structs(&self, list: &str, item: &str, fields: &[(&str, ColumnType, String)]) -> String;

    /// A list with `expression` for each item of `list`.
    fn map(&self, list: &str, item: &str, expression: &str) -> String {
        format!("transform({list}, {item} -> {expression})")
    }

    /// A group's values by their keys, which are unique.
    fn map_agg(&self, key: &str, value: &str) -> String {
        format!("map_agg({key}, {value})")
    }

    /// The value of a key in a map; null if the key is missing.
    fn element_at(&self, map: &str, key: &str) -> String {
        format!("element_at({map}, {key})")
    }

    /// The items of several lists as one list; null lists are skipped.
    fn concat(&self, lists: &[&str]) -> String;

    /// How many items a list has; null for a null list.
    fn length(&self, list: &str) -> String;

    /// The values of a group where `condition` holds, sorted by `order`; null if there are none.
    fn sorted_list(&self, value: &str, order: &str, condition: &str) -> String {
        format!("array_agg({value} order by {order}) filter (where {condition})")
    }

    /// A list of texts as the lines of one text.
    fn lines_of(&self, list: &str) -> String;

    /// How many times `pattern` matches in a text.
    fn count_matches(&self, text: &str, pattern: &str) -> String;

    /// Whether the whole text matches `pattern`.
    fn is_like(&self, text: &str, pattern: &str) -> String;

    /// The instant this many seconds after another.
    fn seconds_after(&self, instant: &str, seconds: &str) -> String;

    /// The UTC day of an instant.
    fn day_of(&self, instant: &str) -> String;

    /// The UTC day on which the query runs.
    fn today(&self) -> String;
}

/// A query with columns and no rows.
pub(super) fn nothing(dialect: &dyn Dialect, columns: &[SqlColumn]) -> String {
    let null = |column: &SqlColumn| {
        let name = dialect.name(&column.name);
        format!("  cast(null as {}) as {name}", dialect.type_name(&column.sql_type))
    };
    let columns: Vec<_> = columns.iter().map(null).collect();
    format!("select\n{}\nwhere 1 = 0", columns.join(",\n"))
}

/// A table without objects, as a view with its columns.
pub(super) fn empty_table(dialect: &dyn Dialect, table: &LakeTable) -> String {
    let query = nothing(dialect, &all_columns(&table.schema));
    format!("{} {} as\n{query};\n", dialect.create_view(), dialect.name(&table.name))
}

/// `name type`, one per line.
pub(super) fn definitions(
    columns: &[SqlColumn],
    name: &dyn Fn(&str) -> String,
    type_name: &dyn Fn(&SqlType) -> String,
) -> String {
    let define = |it: &SqlColumn| format!("  {} {}", name(&it.name), type_name(&it.sql_type));
    columns.iter().map(define).collect::<Vec<_>>().join(",\n")
}

/// Hive's type names, which Spark and Athena's definitions share.
pub(super) fn hive_type(sql_type: &SqlType, name: &dyn Fn(&str) -> String) -> String {
    match sql_type {
        SqlType::Date => "date".to_owned(),
        SqlType::Of(column_type) => hive_column_type(column_type, name),
    }
}

fn hive_column_type(column_type: &ColumnType, name: &dyn Fn(&str) -> String) -> String {
    match column_type {
        ColumnType::Boolean => "boolean".to_owned(),
        ColumnType::Int64 => "bigint".to_owned(),
        ColumnType::Double => "double".to_owned(),
        ColumnType::String => "string".to_owned(),
        ColumnType::Timestamp(_) => "timestamp".to_owned(),
        ColumnType::List(element) => format!("array<{}>", hive_column_type(element, name)),
        ColumnType::Struct(fields) => {
            let field = |it: &Column| {
                format!("{}:{}", name(&it.name), hive_column_type(&it.column_type, name))
            };
            format!("struct<{}>", fields.iter().map(field).collect::<Vec<_>>().join(","))
        }
    }
}

/// A name in backticks.
pub(super) fn backticked(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A name in double quotes.
pub(super) fn double_quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text literal in which a backslash escapes. A semicolon would end the statement for tools that
/// split the text, and `${` begins a variable in Spark.
pub(super) fn escaped(text: &str) -> String {
    let mut literal = String::from("'");
    for character in text.chars() {
        match character {
            '\\' | '\'' => literal.extend(['\\', character]),
            ';' | '$' => literal.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => literal.push(character),
        }
    }
    literal.push('\'');
    literal
}
