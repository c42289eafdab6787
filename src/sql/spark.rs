//! Spark: temporary views over the objects, with the schema given.

use super::dialect::{Dialect, Each, backticked, definitions, empty_table, escaped, hive_type};
use super::table::{LakeTable, SqlColumn, SqlType, all_columns};
use crate::schema::{Column, Schema};

pub(super) struct Spark;

impl Dialect for Spark {
    fn preamble(&self) -> &'static str {
        "Tables and views of a clari-lake, for one Spark session.\n\
         Make them again when the tables have got new columns. A session remembers which objects\n\
         there were, so say `refresh table calls` and so on after an export."
    }

    fn name(&self, name: &str) -> String {
        backticked(name)
    }

    fn type_name(&self, sql_type: &SqlType) -> String {
        hive_type(sql_type, &backticked)
    }

    fn table(&self, table: &LakeTable, location: &str) -> String {
        if !table.has_objects {
            return empty_table(self, table);
        }
        format!(
            "create or replace temporary view {} (\n{}\n)\nusing parquet\noptions (path {});\n",
            self.name(&table.name),
            columns(&all_columns(&table.schema)),
            escaped(&format!("{}/{}", plain(location), table.name)),
        )
    }

    fn ddl(&self, name: &str, schema: &Schema) -> String {
        let (name, columns) = (self.name(name), columns(&all_columns(schema)));
        format!("create table {name} (\n{columns}\n)\nusing parquet\npartitioned by (dt);\n")
    }

    fn create_view(&self) -> &'static str {
        "create or replace temporary view"
    }

    fn each(&self, list: &str, _: &[Column], alias: &str) -> Each {
        let (place, item) = (format!("{alias}_place"), format!("{alias}_item"));
        Each {
            join: format!("lateral view posexplode({list}) {alias} as {place}, {item}"),
            index: format!("cast({alias}.{place} as bigint)"),
            item: format!("{alias}.{item}"),
        }
    }

    fn length(&self, list: &str) -> String {
        format!("array_size({list})")
    }

    fn day_of(&self, instant: &str) -> String {
        let days = format!("floor(unix_micros({instant}) / 86400000000)");
        format!("date_add(date '1970-01-01', cast({days} as int))")
    }

    fn is_like(&self, text: &str, pattern: &str) -> String {
        format!("{text} rlike '^{pattern}$'")
    }
}

fn columns(columns: &[SqlColumn]) -> String {
    definitions(columns, &backticked, &|it| hive_type(it, &backticked))
}

/// A path whose own characters are no wildcards.
fn plain(path: &str) -> String {
    let mut plain = String::new();
    for character in path.chars() {
        if "*?[]{}\\".contains(character) {
            plain.push('\\');
        }
        plain.push(character);
    }
    plain
}
