//! Athena: external tables with projected partitions. Definitions use Hive's syntax, queries use
//! Trino's.

use chrono::NaiveDate;

use super::dialect::{Dialect, Lake, backticked, definitions, double_quoted, escaped, hive_type};
use super::table::{LakeTable, SqlColumn, SqlType, file_columns};
use crate::manifest::Granularity;
use crate::partition::Partition;
use crate::schema::{Column, ColumnType, Schema};
use crate::window::day_of;

/// Where projection begins in a lake without dates.
const FIRST_DAY: Option<NaiveDate> = NaiveDate::from_ymd_opt(2015, 1, 1);
/// How far a table with rows in the future is projected.
const DAYS_AHEAD: i64 = 31;

/// The partition column, with the type used in Athena's examples of projection.
const PARTITIONED_BY: &str = "partitioned by (\n  `dt` string\n)\n";

pub(super) struct Athena;

impl Dialect for Athena {
    fn preamble(&self) -> &'static str {
        "Tables and views of a clari-lake, for Amazon Athena.\n\
         Run the statements one by one, in order. Dropping an external table does not delete its\n\
         objects. Partitions are projected, so you need no repair and no crawler. Run the statements\n\
         again for new columns, and after a backfill of dates before the first one below."
    }

    fn name(&self, name: &str) -> String {
        double_quoted(&name.to_lowercase())
    }

    fn type_name(&self, sql_type: &SqlType) -> String {
        match sql_type {
            SqlType::Date => "date".to_owned(),
            SqlType::Of(column_type) => self.column_type(column_type),
        }
    }

    fn table(&self, table: &LakeTable, lake: &Lake<'_>) -> String {
        let note = if table.has_undated {
            "-- rows without a date are not visible: no projected partition has them\n"
        } else {
            ""
        };
        let (name, folder) = (hive_name(&table.name), format!("{}/{}/", lake.location, table.name));
        format!(
            "{note}drop table if exists {name};\ncreate external table {name} (\n{}\n)\n\
             {PARTITIONED_BY}stored as parquet\nlocation {}{};\n",
            hive_columns(&file_columns(&table.schema)),
            escaped(&folder),
            projection(table, lake),
        )
    }

    fn ddl(&self, name: &str, schema: &Schema) -> String {
        let folder = escaped(&format!("s3://bucket/{name}/"));
        format!(
            "create external table {} (\n{}\n)\n{PARTITIONED_BY}\
             stored as parquet\nlocation {folder};\n",
            hive_name(name),
            hive_columns(&file_columns(schema)),
        )
    }

    fn shows_undated(&self) -> bool {
        // Projected partitions are dates.
        false
    }

    fn each(&self, relation: &str, list: &str, item: &str, fields: &[&str]) -> String {
        // An unnested row is split into its fields, which must all be named.
        let mut columns: Vec<_> = fields.iter().map(|field| self.name(field)).collect();
        columns.push(format!("{item}_index"));
        let columns = columns.join(", ");
        format!("{relation}\n  cross join unnest({list}) with ordinality as {item} ({columns})")
    }

    fn structs(&self, list: &str, item: &str, fields: &[(&str, ColumnType, String)]) -> String {
        let values: Vec<_> = fields.iter().map(|it| it.2.as_str()).collect();
        let define =
            |it: &(&str, ColumnType, String)| format!("{} {}", it.0, self.column_type(&it.1));
        let types: Vec<_> = fields.iter().map(define).collect();
        // Trino's `sequence` counts down from 1 to 0, so an empty list must be excluded.
        format!(
            "case when cardinality({list}) > 0 then zip_with({list}, \
             sequence(1, cardinality({list})), ({item}, {item}_index) -> \
             cast(row({}) as row({}))) end",
            values.join(", "),
            types.join(", ")
        )
    }

    fn concat(&self, lists: &[&str]) -> String {
        format!("flatten(array[\n      {}\n    ])", lists.join(",\n      "))
    }

    fn length(&self, list: &str) -> String {
        format!("cardinality({list})")
    }

    fn lines_of(&self, list: &str) -> String {
        format!("array_join({list}, chr(10))")
    }

    fn count_matches(&self, text: &str, pattern: &str) -> String {
        format!("regexp_count({text}, '{pattern}')")
    }

    fn is_like(&self, text: &str, pattern: &str) -> String {
        format!("regexp_like({text}, '^({pattern})$')")
    }

    fn seconds_after(&self, instant: &str, seconds: &str) -> String {
        format!("date_add('second', {seconds}, {instant})")
    }

    fn day_of(&self, instant: &str) -> String {
        format!("cast({instant} as date)")
    }

    fn today(&self) -> String {
        "cast(current_timestamp at time zone 'UTC' as date)".to_owned()
    }
}

impl Athena {
    fn column_type(&self, column_type: &ColumnType) -> String {
        match column_type {
            ColumnType::Boolean => "boolean".to_owned(),
            ColumnType::Int64 => "bigint".to_owned(),
            ColumnType::Double => "double".to_owned(),
            ColumnType::String => "varchar".to_owned(),
            ColumnType::Timestamp(_) => "timestamp".to_owned(),
            ColumnType::List(element) => format!("array({})", self.column_type(element)),
            ColumnType::Struct(fields) => {
                let field = |it: &Column| {
                    format!("{} {}", self.name(&it.name), self.column_type(&it.column_type))
                };
                format!("row({})", fields.iter().map(field).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Athena lists every projected date that a query does not rule out, so the range is the lake's
/// own.
fn projection(table: &LakeTable, lake: &Lake<'_>) -> String {
    // A snapshot is never older than its table; details may come for any call of the lake.
    let own = table.first_day.filter(|_| table.is_snapshot);
    let first = own.or(lake.first_day).or(FIRST_DAY).unwrap_or_default();
    let end = match table.days_ahead {
        ..=0 => "NOW".to_owned(),
        // Calls are scheduled further ahead every day.
        days => format!("NOW+{}DAYS", days.max(DAYS_AHEAD)),
    };
    let unit = match table.granularity {
        Granularity::Day => "DAYS",
        Granularity::Month => "MONTHS",
    };
    let first = Partition::of(Some(day_of(first)), table.granularity);
    format!(
        "\ntblproperties (\n  'projection.enabled' = 'true',\n  'projection.dt.type' = 'date',\n  \
         'projection.dt.format' = 'yyyy-MM-dd',\n  \
         'projection.dt.range' = '{first},{end}',\n  'projection.dt.interval' = '1',\n  \
         'projection.dt.interval.unit' = '{unit}'\n)"
    )
}

fn hive_columns(columns: &[SqlColumn]) -> String {
    definitions(columns, &hive_name, &|it| hive_type(it, &hive_name))
}

fn hive_name(name: &str) -> String {
    backticked(&name.to_lowercase())
}
