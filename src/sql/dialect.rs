//! What differs from engine to engine.

use super::table::{LakeTable, SqlColumn, SqlType, all_columns};
use crate::schema::{Column, ColumnType, Schema};

/// An engine's way of saying things. What is not here, all engines say alike.
pub(super) trait Dialect {
    /// What the reader should know first; no semicolons.
    fn preamble(&self) -> &'static str;

    /// A name, quoted.
    fn name(&self, name: &str) -> String;

    /// A type, as `cast` takes it.
    fn type_name(&self, sql_type: &SqlType) -> String;

    /// The statements that define a table over its objects below `location`.
    fn table(&self, table: &LakeTable, location: &str) -> String;

    /// The statement that makes an empty table of its own.
    fn ddl(&self, name: &str, schema: &Schema) -> String;

    /// How a view's definition begins.
    fn create_view(&self) -> &'static str {
        "create or replace view"
    }

    /// Joins the items of `list`, each with its place, to the relation before; `alias` names them.
    fn each(&self, list: &str, fields: &[Column], alias: &str) -> Each;

    /// How many items a list has; null for a null list.
    fn length(&self, list: &str) -> String;

    /// The UTC day of an instant.
    fn day_of(&self, instant: &str) -> String;

    /// Whether a text is `pattern` from begin to end.
    fn is_like(&self, text: &str, pattern: &str) -> String;
}

/// A join with a list's items.
#[derive(Debug, Clone)]
pub(super) struct Each {
    /// What follows the relation in `from`.
    pub(super) join: String,
    /// An item's place, from 0.
    pub(super) index: String,
    /// What stands before a field's name.
    pub(super) item: String,
}

/// `create or replace view … as` and a query.
pub(super) fn view(dialect: &dyn Dialect, name: &str, query: &str) -> String {
    format!("{} {name} as\n{query};\n", dialect.create_view())
}

/// A query that has columns and no rows.
pub(super) fn nothing(dialect: &dyn Dialect, columns: &[SqlColumn]) -> String {
    let null = |column: &SqlColumn| {
        let name = dialect.name(&column.name);
        format!("  cast(null as {}) as {name}", dialect.type_name(&column.sql_type))
    };
    let columns: Vec<_> = columns.iter().map(null).collect();
    format!("select\n{}\nwhere 1 = 0", columns.join(",\n"))
}

/// A table without objects, as a view that has its columns.
pub(super) fn empty_table(dialect: &dyn Dialect, table: &LakeTable) -> String {
    let query = nothing(dialect, &all_columns(&table.schema));
    view(dialect, &dialect.name(&table.name), &query)
}

/// `name type`, one to a line.
pub(super) fn definitions(
    columns: &[SqlColumn],
    name: &dyn Fn(&str) -> String,
    type_name: &dyn Fn(&SqlType) -> String,
) -> String {
    let define = |it: &SqlColumn| format!("  {} {}", name(&it.name), type_name(&it.sql_type));
    columns.iter().map(define).collect::<Vec<_>>().join(",\n")
}

/// Names, one to a line.
pub(super) fn names(dialect: &dyn Dialect, columns: &[SqlColumn]) -> String {
    let name = |column: &SqlColumn| format!("  {}", dialect.name(&column.name));
    columns.iter().map(name).collect::<Vec<_>>().join(",\n")
}

/// The type names that Hive made, which Spark and Athena's definitions share.
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
        ColumnType::Timestamp => "timestamp".to_owned(),
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

/// A text literal where a backslash escapes. A semicolon would end the statement for whoever
/// splits them, and `${` begins a variable in Spark.
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
