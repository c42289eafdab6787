//! DuckDB: views over `read_parquet`.

use super::dialect::{Dialect, Lake, definitions, double_quoted, empty_table};
use super::table::{DT, LakeTable, Objects, SqlType, all_columns};
use crate::schema::{Column, ColumnType, Schema};

pub(super) struct DuckDb;

impl Dialect for DuckDb {
    fn preamble(&self) -> &'static str {
        "Tables and views of a clari-lake, for DuckDB.\n\
         Create them again when the tables get new columns."
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

    fn table(&self, table: &LakeTable, lake: &Lake<'_>) -> String {
        if table.objects == Objects::None {
            return empty_table(self, table);
        }
        let names: Vec<_> =
            all_columns(&table.schema).iter().map(|it| self.name(&it.name)).collect();
        // Files with two schemas must be matched by name, which opens every one of them.
        let is_mixed = table.objects == Objects::Mixed;
        let by_name = if is_mixed { ", union_by_name = true" } else { "" };
        format!(
            "{} {} as\nselect\n  {}\nfrom read_parquet({}, hive_partitioning = true, \
             hive_types = {{'dt': date}}{by_name});\n",
            self.create_view(),
            self.name(&table.name),
            names.join(",\n  "),
            objects(table, lake),
        )
    }

    fn ddl(&self, name: &str, schema: &Schema) -> String {
        let columns = definitions(&all_columns(schema), &double_quoted, &|it| self.type_name(it));
        format!("create table {} (\n{columns}\n);\n", self.name(name))
    }

    fn newest_partition(&self, table: &LakeTable, lake: &Lake<'_>) -> String {
        if table.objects == Objects::None {
            return format!("select max({DT}) from {}", self.name(&table.name));
        }
        // File names suffice; no file needs to be opened.
        format!(
            "\n  select max(try_cast(regexp_extract(file, 'dt=([0-9-]+)/[^/]*$', 1) as date))\n  \
             from glob({})\n",
            objects(table, lake)
        )
    }

    fn prunes_full_joins(&self) -> bool {
        true
    }

    fn each(&self, relation: &str, list: &str, item: &str, _: &[&str]) -> String {
        format!(
            "(\n    select c.*, unnest({list}) as {item}, \
             generate_subscripts({list}, 1) as {item}_index\n    from {}\n  ) as c",
            relation.replace('\n', "\n  ")
        )
    }

    fn structs(&self, list: &str, item: &str, fields: &[(&str, ColumnType, String)]) -> String {
        let field = |it: &(&str, ColumnType, String)| format!("{}: {}", it.0, it.2);
        let fields = fields.iter().map(field).collect::<Vec<_>>().join(", ");
        format!("nullif(list_transform({list}, lambda {item}, {item}_index: {{{fields}}}), [])")
    }

    fn map(&self, list: &str, item: &str, expression: &str) -> String {
        format!("list_transform({list}, lambda {item}: {expression})")
    }

    fn map_agg(&self, key: &str, value: &str) -> String {
        format!("map_from_entries(list({{k: {key}, v: {value}}}))")
    }

    fn element_at(&self, map: &str, key: &str) -> String {
        format!("map_extract_value({map}, {key})")
    }

    fn concat(&self, lists: &[&str]) -> String {
        format!("list_concat(\n      {}\n    )", lists.join(",\n      "))
    }

    fn length(&self, list: &str) -> String {
        format!("len({list})")
    }

    fn lines_of(&self, list: &str) -> String {
        format!("array_to_string({list}, chr(10))")
    }

    fn count_matches(&self, text: &str, pattern: &str) -> String {
        format!("len(regexp_extract_all({text}, '{pattern}'))")
    }

    fn is_like(&self, text: &str, pattern: &str) -> String {
        format!("regexp_full_match({text}, '{pattern}')")
    }

    fn seconds_after(&self, instant: &str, seconds: &str) -> String {
        format!("{instant} + to_seconds({seconds})")
    }

    fn day_of(&self, instant: &str) -> String {
        format!("cast({instant} at time zone 'UTC' as date)")
    }

    fn today(&self) -> String {
        "cast(now() at time zone 'UTC' as date)".to_owned()
    }
}

impl DuckDb {
    fn column_type(&self, column_type: &ColumnType) -> String {
        match column_type {
            ColumnType::Boolean => "boolean".to_owned(),
            ColumnType::Int64 => "bigint".to_owned(),
            ColumnType::Double => "double".to_owned(),
            ColumnType::String => "varchar".to_owned(),
            ColumnType::Timestamp(_) => "timestamptz".to_owned(),
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

/// The glob of a table's objects, as a literal.
fn objects(table: &LakeTable, lake: &Lake<'_>) -> String {
    let glob = format!("{}/{}/dt=*/part-*.parquet", plain(lake.location), table.name);
    format!("'{}'", glob.replace('\'', "''"))
}

/// A path with its own wildcard characters escaped. DuckDB treats a backslash as a separator, so a
/// wildcard is the only way to write one.
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
