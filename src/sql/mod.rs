//! SQL: a lake's tables and views, in each engine's dialect.
//!
//! Generates statements, ready to paste, from the tables' schemas and the locations of their
//! objects. It does not open the lake, and no statement changes it.
//!
//! Every engine gets the same tables and the same views, with the same columns in the same order
//! and the same rows. Views answer common questions: who spoke when, who took part, what was found.
//! A call that is known to be gone is in the tables and in no view.
//!
//! A statement ends with `;` at the end of a line, and no comment contains one, so that a user
//! without a SQL shell can split the text.

mod athena;
mod coverage;
mod dialect;
mod duckdb;
mod spark;
mod table;
mod views;

use self::athena::Athena;
use self::dialect::{Dialect, Lake};
use self::duckdb::DuckDb;
use self::spark::Spark;
pub use self::table::{LakeTable, Objects};
use crate::schema::Schema;

/// The engine that reads the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// DuckDB 1.3 or later.
    DuckDb,
    /// Spark 3.4 or later.
    Spark,
    /// Amazon Athena, engine version 3.
    Athena,
}

impl Engine {
    fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::DuckDb => &DuckDb,
            Self::Spark => &Spark,
            Self::Athena => &Athena,
        }
    }
}

/// The statements that define `tables` and their views, whose objects are below `location`: an
/// absolute path or a URL.
///
/// A table without objects is defined too, as an empty one, so that every statement runs.
#[must_use]
pub fn statements(engine: Engine, tables: &[LakeTable], location: &str) -> String {
    let dialect = engine.dialect();
    let mut text = format!("-- {}\n", dialect.preamble().replace('\n', "\n-- "));
    let first_day = tables.iter().filter_map(|table| table.first_day).min();
    let lake = Lake { location: location.trim_end_matches('/'), first_day };
    text.push_str(dialect.settings(&lake));
    for table in tables {
        let note = if table.objects == Objects::None { ", nothing yet" } else { "" };
        text.push_str(&format!("\n-- table {}{note}\n", table.name));
        text.push_str(&dialect.table(table, &lake));
    }
    text.push_str(&views::statements(dialect, tables, &lake));
    text
}

/// The statement that creates an empty table with `schema`, named after its endpoint.
#[must_use]
pub fn ddl(engine: Engine, name: &str, schema: &Schema) -> String {
    engine.dialect().ddl(name, schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Catalogue, Endpoint};

    fn tables(names: &[&str]) -> Vec<LakeTable> {
        let catalogue = Catalogue::built_in().unwrap();
        names.iter().map(|name| LakeTable::declared(catalogue.find(name).unwrap())).collect()
    }

    fn all_engines() -> [Engine; 3] {
        [Engine::DuckDb, Engine::Spark, Engine::Athena]
    }

    /// An endpoint whose column names must be quoted in every engine.
    fn odd() -> LakeTable {
        let text = r#"
            description = "d"
            path = "/x"
            records = "$.xs[*]"
            key = ["id"]
            dated = { by = "run" }
            [[column]]
            name = "id"
            type = "string"
            [[column]]
            name = "a\"b`c'd.e;f"
            type = "list<struct>"
            fields = [{ name = "end of`it", type = "list<double>" }, { name = "order", type = "int64" }]
        "#;
        let table = LakeTable::declared(&Endpoint::from_toml("odd", text).unwrap());
        LakeTable { objects: Objects::OneSchema, ..table }
    }

    #[test]
    fn every_engine_gets_the_same_views_in_the_same_order() {
        let tables = tables(&["calls", "call_details", "users", "scorecards", "topics"]);
        let views = |engine: Engine| {
            let text = statements(engine, &tables, "/lake");
            let comments = text.lines().filter_map(|line| line.strip_prefix("-- view "));
            comments.map(str::to_owned).collect::<Vec<_>>()
        };
        let expected = views(Engine::DuckDb);
        assert!(expected.iter().any(|it| it.starts_with("turns:")), "{expected:?}");
        assert!(all_engines().iter().all(|engine| views(*engine) == expected));
    }

    /// The text splits at `;` into statements and nothing else.
    #[test]
    fn a_statement_ends_where_a_semicolon_is() {
        for engine in all_engines() {
            let text = statements(
                engine,
                &tables(&["calls", "call_details", "users", "scorecards"]),
                "/lake",
            );
            let pieces: Vec<&str> = text.split(';').collect();
            let (rest, pieces) = pieces.split_last().unwrap();
            assert_eq!(rest.trim(), "", "{engine:?}");
            for piece in pieces {
                let code = piece.lines().find(|line| !line.is_empty() && !line.starts_with("--"));
                let word = code.unwrap().split(' ').next().unwrap();
                assert!(["create", "drop", "set"].contains(&word), "{engine:?}: {piece}");
            }
        }
    }

    /// If a table lacks a column that a view reads, the view still has its columns, with the same
    /// types.
    #[test]
    fn a_view_over_a_table_without_its_columns_is_there_and_empty() {
        let mut few = tables(&["calls", "call_details", "users", "scorecards"]);
        few[1].schema.columns.retain(|column| column.name == "id");
        let text = statements(Engine::DuckDb, &few, "/lake");
        assert!(text.contains("cast(null as varchar) as text"), "{text}");
    }

    fn date(text: &str) -> chrono::NaiveDate {
        text.parse().unwrap()
    }

    /// Athena lists every projected date, so the projection covers only the lake's own: for a
    /// snapshot table from its first snapshot on, for all others from the first date of any table.
    #[test]
    fn athena_projects_the_dates_of_the_lake() {
        let mut tables = tables(&["calls", "call_details", "users"]);
        tables[0].first_day = Some(date("2026-03-05"));
        tables[0].days_ahead = 3;
        tables[2].first_day = Some(date("2026-11-20"));
        let range = |table: &LakeTable| {
            let text = statements(Engine::Athena, &tables, "s3://b");
            let (_, text) = text.split_once(&format!("table `{}` (", table.name)).unwrap();
            let (_, range) = text.split_once("'projection.dt.range' = '").unwrap();
            range.split('\'').next().unwrap().to_owned()
        };
        let ranges: Vec<_> = tables.iter().map(range).collect();
        assert_eq!(ranges, ["2026-03-05,NOW+31DAYS", "2026-03-05,NOW", "2026-11-20,NOW"]);
    }

    #[test]
    fn athena_projects_months_from_the_first_of_one() {
        let mut tables = tables(&["calls"]);
        tables[0].first_day = Some(date("2026-03-05"));
        tables[0].granularity = crate::manifest::Granularity::Month;
        let text = statements(Engine::Athena, &tables, "s3://b");
        assert!(text.contains("'projection.dt.range' = '2026-03-01,NOW'"), "{text}");
        assert!(text.contains("'projection.dt.interval.unit' = 'MONTHS'"), "{text}");
    }

    /// P6: files are matched by name, which opens each of them, only if they differ.
    #[test]
    fn duckdb_unites_by_name_while_an_evolution_is_unfinished() {
        let mut tables = tables(&["calls", "users"]);
        tables[0].objects = Objects::Mixed;
        tables[1].objects = Objects::OneSchema;
        let text = statements(Engine::DuckDb, &tables, "/lake");
        let reads: Vec<_> = text.lines().filter(|line| line.contains("read_parquet(")).collect();
        let unites = reads.iter().map(|line| line.contains("union_by_name")).collect::<Vec<_>>();
        assert_eq!(unites, [true, false]);
    }

    /// Rows without a date occur in old lakes; engines that can show them do.
    #[test]
    fn rows_without_a_date_meet_in_old_lakes() {
        let mut tables = tables(&["calls", "call_details", "users", "scorecards"]);
        tables[1].has_undated = true;
        let joins = |engine| statements(engine, &tables, "s3://b").contains("s.dt = t.dt and");
        assert_eq!(all_engines().map(joins), [false, false, true]);
    }

    #[test]
    fn names_and_places_are_quoted_as_each_engine_does_it() {
        let quoted = all_engines().map(|it| statements(it, &[odd()], "/o'dd/[l]a\\k;e$*"));
        insta::assert_snapshot!(quoted.join("\n==\n"));
    }

    #[test]
    fn the_statements_are_these() {
        let mut tables = tables(&["calls", "call_details", "users", "scorecards"]);
        for table in &mut tables {
            table.objects = Objects::OneSchema;
        }

        for (engine, name) in all_engines().into_iter().zip(["duckdb", "spark", "athena"]) {
            insta::assert_snapshot!(name, statements(engine, &tables, "s3://bucket/lake"));
        }
    }
}
