//! Spark: temporary views over the objects, with an explicit schema.

use super::dialect::{Dialect, Lake, backticked, definitions, empty_table, escaped, hive_type};
use super::table::{LakeTable, Objects, SqlColumn, SqlType, all_columns};
use crate::schema::{ColumnType, Schema};

pub(super) struct Spark;

impl Dialect for Spark {
    fn preamble(&self) -> &'static str {
        "Tables and views of a clari-lake, for one Spark session.\n\
         Create them again when the tables get new columns. A session remembers which objects\n\
         there were, so say `refresh table calls` and so on after an export."
    }

    // By default Spark starts a task for each date of a table with more than 32. A task takes
    // milliseconds, and to list a local folder takes microseconds: for 14 tables with 1,000 dates
    // each, the definitions take 32 s by default, 7.5 s with 32 tasks, and 4.4 s without tasks. A
    // LIST of a bucket takes longer than a task, so there the tasks stay.
    fn settings(&self, lake: &Lake<'_>) -> &'static str {
        if lake.is_folder() {
            "\n-- list the dates of a folder in this process, without a job\n\
             set spark.sql.sources.parallelPartitionDiscovery.threshold = 100000;\n"
        } else {
            "\n-- list the dates of a bucket in 32 tasks, instead of a task for each date\n\
             set spark.sql.sources.parallelPartitionDiscovery.parallelism = 32;\n"
        }
    }

    fn name(&self, name: &str) -> String {
        backticked(name)
    }

    fn type_name(&self, sql_type: &SqlType) -> String {
        hive_type(sql_type, &backticked)
    }

    fn table(&self, table: &LakeTable, lake: &Lake<'_>) -> String {
        if table.objects == Objects::None {
            return empty_table(self, table);
        }
        format!(
            "create or replace temporary view {} (\n{}\n)\nusing parquet\noptions (path {});\n",
            self.name(&table.name),
            columns(&all_columns(&table.schema)),
            escaped(&format!("{}/{}", plain(lake.location), table.name)),
        )
    }

    fn ddl(&self, name: &str, schema: &Schema) -> String {
        let (name, columns) = (self.name(name), columns(&all_columns(schema)));
        format!("create table {name} (\n{columns}\n)\nusing parquet\npartitioned by (dt);\n")
    }

    fn create_view(&self) -> &'static str {
        "create or replace temporary view"
    }

    fn each(&self, relation: &str, list: &str, item: &str, _: &[&str]) -> String {
        format!("{relation}\n  lateral view posexplode({list}) as {item}_index, {item}")
    }

    fn place(&self, item: &str) -> String {
        format!("cast({item}_index as bigint)")
    }

    fn structs(&self, list: &str, item: &str, fields: &[(&str, ColumnType, String)]) -> String {
        let field = |it: &(&str, ColumnType, String)| format!("'{}', {}", it.0, it.2);
        let fields = fields.iter().map(field).collect::<Vec<_>>().join(", ");
        format!(
            "nullif(transform({list}, ({item}, {item}_index) -> named_struct({fields})), array())"
        )
    }

    fn map_agg(&self, key: &str, value: &str) -> String {
        format!("map_from_entries(collect_list(struct({key}, {value})))")
    }

    fn concat(&self, lists: &[&str]) -> String {
        format!("flatten(array_compact(array(\n      {}\n    )))", lists.join(",\n      "))
    }

    fn length(&self, list: &str) -> String {
        format!("array_size({list})")
    }

    fn sorted_list(&self, value: &str, order: &str, condition: &str) -> String {
        let items = format!("collect_list(struct({order}, {value} as value))");
        let items = format!("{items} filter (where {condition})");
        format!("nullif(transform(array_sort({items}), x -> x.value), array())")
    }

    fn lines_of(&self, list: &str) -> String {
        format!("array_join({list}, char(10))")
    }

    fn count_matches(&self, text: &str, pattern: &str) -> String {
        format!("cast(regexp_count({text}, '{pattern}') as bigint)")
    }

    fn is_like(&self, text: &str, pattern: &str) -> String {
        format!("{text} rlike '^({pattern})$'")
    }

    fn seconds_after(&self, instant: &str, seconds: &str) -> String {
        format!("timestampadd(second, {seconds}, {instant})")
    }

    fn day_of(&self, instant: &str) -> String {
        let days = format!("floor(unix_micros({instant}) / 86400000000)");
        format!("date_add(date '1970-01-01', cast({days} as int))")
    }

    fn today(&self) -> String {
        self.day_of("current_timestamp()")
    }
}

fn columns(columns: &[SqlColumn]) -> String {
    definitions(columns, &backticked, &|it| hive_type(it, &backticked))
}

/// A path with its own wildcard characters escaped.
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
