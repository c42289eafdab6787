//! DuckDB: views over `read_parquet`.

use super::dialect::{Dialect, Each, definitions, double_quoted, empty_table, names, view};
use super::table::{LakeTable, SqlType, all_columns};
use crate::schema::{Column, ColumnType, Schema};

pub(super) struct DuckDb;

impl Dialect for DuckDb {
    fn preamble(&self) -> &'static str {
        "Tables and views of a clari-lake, for DuckDB.\n\
         Make them again when the tables have got new columns."
    }

    fn name(&self, name: &str) -> String {
        double_quoted(name)
    }

    fn type_name(&self, sql_type: &SqlType) -> String {
        match sql_type {
            SqlType::Date => "date".to_owned(),
            SqlType::Of(column_type) => self.column_type(column_type),
        }
    }

    fn table(&self, table: &LakeTable, location: &str) -> String {
        if !table.has_objects {
            return empty_table(self, table);
        }
        let objects = format!("{}/{}/dt=*/part-*.parquet", plain(location), table.name);
        let query = format!(
            "select\n{}\nfrom read_parquet('{}', hive_partitioning = true, \
             hive_types = {{'dt': date}}, union_by_name = true)",
            names(self, &all_columns(&table.schema)),
            objects.replace('\'', "''"),
        );
        view(self, &self.name(&table.name), &query)
    }

    fn ddl(&self, name: &str, schema: &Schema) -> String {
        let columns = definitions(&all_columns(schema), &double_quoted, &|it| self.type_name(it));
        format!("create table {} (\n{columns}\n);\n", self.name(name))
    }

    fn each(&self, list: &str, _: &[Column], alias: &str) -> Each {
        Each {
            join: format!("cross join unnest({list}) with ordinality as {alias}(item, place)"),
            index: format!("{alias}.place - 1"),
            item: format!("{alias}.item"),
        }
    }

    fn length(&self, list: &str) -> String {
        format!("len({list})")
    }

    fn day_of(&self, instant: &str) -> String {
        let days = format!("floor(epoch_us({instant}) / 86400000000)");
        format!("date '1970-01-01' + cast({days} as integer)")
    }

    fn is_like(&self, text: &str, pattern: &str) -> String {
        format!("regexp_full_match({text}, '{pattern}')")
    }
}

impl DuckDb {
    fn column_type(&self, column_type: &ColumnType) -> String {
        match column_type {
            ColumnType::Boolean => "boolean".to_owned(),
            ColumnType::Int64 => "bigint".to_owned(),
            ColumnType::Double => "double".to_owned(),
            ColumnType::String => "varchar".to_owned(),
            ColumnType::Timestamp => "timestamptz".to_owned(),
            ColumnType::List(element) => format!("{}[]", self.column_type(element)),
            ColumnType::Struct(fields) => {
                let field = |it: &Column| {
                    format!("{} {}", self.name(&it.name), self.column_type(&it.column_type))
                };
                format!("struct({})", fields.iter().map(field).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// A path whose own characters are no wildcards. A backslash counts as a separator to DuckDB,
/// which leaves no way to write one but a wildcard.
fn plain(path: &str) -> String {
    let mut plain = String::new();
    for character in path.chars() {
        match character {
            '*' | '?' | '[' => plain.extend(['[', character, ']']),
            '\\' => plain.push('?'),
            _ => plain.push(character),
        }
    }
    plain
}
