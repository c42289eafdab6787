//! Athena: external tables with projected partitions. Definitions are in Hive's words, queries in
//! Trino's.

use chrono::NaiveDate;

use super::dialect::{
    Dialect, Each, backticked, definitions, double_quoted, escaped, hive_type, names, view,
};
use super::table::{LakeTable, SqlColumn, SqlType, dt, file_columns};
use crate::manifest::Granularity;
use crate::partition::Partition;
use crate::schema::{Column, ColumnType, Schema};

/// No call is older, unless the lake knows better.
const FIRST_DAY: Option<NaiveDate> = NaiveDate::from_ymd_opt(2015, 1, 1);

pub(super) struct Athena;

impl Dialect for Athena {
    fn preamble(&self) -> &'static str {
        "Tables and views of a clari-lake, for Amazon Athena.\n\
         Run the statements one by one, in order. Dropping an external table leaves its objects\n\
         alone. Make them again when the tables have got new columns. Partitions are projected,\n\
         so there is nothing to repair or to crawl."
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

    fn table(&self, table: &LakeTable, location: &str) -> String {
        let folder = format!("{location}/{}", table.name);
        if !table.has_undated {
            return external(table, &table.name, &folder, true);
        }
        // Projected partitions are dates, and rows without one would be seen by nobody.
        let (dated, undated) = (format!("{}_dated", table.name), format!("{}_undated", table.name));
        let no_date = format!("{folder}/dt={}", Partition::of(None, table.granularity));
        let columns = names(self, &file_columns(&table.schema));
        let all = format!(
            "select\n{columns},\n  \"dt\"\nfrom {}\nunion all\n\
             select\n{columns},\n  cast(null as date) as \"dt\"\nfrom {}",
            self.name(&dated),
            self.name(&undated),
        );
        format!(
            "{}{}{}",
            external(table, &dated, &folder, true),
            external(table, &undated, &no_date, false),
            view(self, &self.name(&table.name), &all)
        )
    }

    fn ddl(&self, name: &str, schema: &Schema) -> String {
        let folder = escaped(&format!("s3://bucket/{name}/"));
        format!(
            "create external table {} (\n{}\n)\npartitioned by (\n{}\n)\n\
             stored as parquet\nlocation {folder};\n",
            hive_name(name),
            hive_columns(&file_columns(schema)),
            hive_columns(&[dt()]),
        )
    }

    fn each(&self, list: &str, fields: &[Column], alias: &str) -> Each {
        // A row that is unnested falls apart into its fields, all of which have to be named.
        let mut columns: Vec<_> = fields.iter().map(|field| self.name(&field.name)).collect();
        columns.push(format!("{alias}_place"));
        let columns = columns.join(", ");
        Each {
            join: format!("cross join unnest({list}) with ordinality as {alias} ({columns})"),
            index: format!("{alias}.{alias}_place - 1"),
            item: alias.to_owned(),
        }
    }

    fn length(&self, list: &str) -> String {
        format!("cardinality({list})")
    }

    fn day_of(&self, instant: &str) -> String {
        format!("cast({instant} as date)")
    }

    fn is_like(&self, text: &str, pattern: &str) -> String {
        format!("regexp_like({text}, '^{pattern}$')")
    }
}

impl Athena {
    fn column_type(&self, column_type: &ColumnType) -> String {
        match column_type {
            ColumnType::Boolean => "boolean".to_owned(),
            ColumnType::Int64 => "bigint".to_owned(),
            ColumnType::Double => "double".to_owned(),
            ColumnType::String => "varchar".to_owned(),
            ColumnType::Timestamp => "timestamp".to_owned(),
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

/// The statements that define a table over the objects in one folder, or in one for each date.
fn external(table: &LakeTable, name: &str, folder: &str, by_date: bool) -> String {
    let (partitions, properties) = if by_date {
        (format!("partitioned by (\n{}\n)\n", hive_columns(&[dt()])), projection(table))
    } else {
        Default::default()
    };
    format!(
        "drop table if exists {name};\ncreate external table {name} (\n{}\n)\n{partitions}\
         stored as parquet\nlocation {}{properties};\n",
        hive_columns(&file_columns(&table.schema)),
        escaped(&format!("{folder}/")),
        name = hive_name(name),
    )
}

fn projection(table: &LakeTable) -> String {
    // A snapshot is never of a day before the first; anything else may be backfilled.
    let backfilled = FIRST_DAY.filter(|_| !table.is_snapshot || table.first_day.is_none());
    let first = table.first_day.into_iter().chain(backfilled).min().unwrap_or_default();
    let unit = match table.granularity {
        Granularity::Day => "DAYS",
        Granularity::Month => "MONTHS",
    };
    format!(
        "\ntblproperties (\n  'projection.enabled' = 'true',\n  'projection.dt.type' = 'date',\n  \
         'projection.dt.format' = 'yyyy-MM-dd',\n  \
         'projection.dt.range' = '{first},NOW+{}DAYS',\n  'projection.dt.interval' = '1',\n  \
         'projection.dt.interval.unit' = '{unit}'\n)",
        table.days_ahead.max(1),
    )
}

fn hive_columns(columns: &[SqlColumn]) -> String {
    definitions(columns, &hive_name, &|it| hive_type(it, &hive_name))
}

fn hive_name(name: &str) -> String {
    backticked(&name.to_lowercase())
}
