//! A table of the lake, reduced to what SQL needs.

use chrono::NaiveDate;

use crate::endpoint::{Dated, Endpoint};
use crate::manifest::{Granularity, Manifest};
use crate::partition::Partition;
use crate::schema::{
    CONTENT_KEY, ColumnType, DAY, DELETED_AT, EXPORTED_AT, EXTRA_JSON, Schema, Written,
};
use crate::window::Window;

/// The partition column: a folder's name, not a column of the files.
pub(super) const DT: &str = "dt";

/// The objects of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objects {
    /// There are none yet.
    None,
    /// All have the table's schema.
    OneSchema,
    /// Some have an older schema: the first export, or an `evolve`, is unfinished.
    Mixed,
}

/// A table of the lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeTable {
    /// Its name, which is its folder.
    pub name: String,
    /// Its columns.
    pub schema: Schema,
    /// How much time one of its partitions holds.
    pub granularity: Granularity,
    /// Its objects.
    pub objects: Objects,
    /// Whether some rows have no date.
    pub has_undated: bool,
    /// Whether each of its partitions is a snapshot of all records.
    pub is_snapshot: bool,
    /// The times for which it is complete.
    pub coverage: Vec<Window>,
    /// The first date that it has, or will have.
    pub first_day: Option<NaiveDate>,
    /// How many days its last partition is ahead of the commit that recorded it.
    pub days_ahead: i64,
}

impl LakeTable {
    /// An endpoint's table before its first export.
    #[must_use]
    pub fn declared(endpoint: &Endpoint) -> Self {
        Self {
            name: endpoint.name.clone(),
            schema: endpoint.schema(),
            granularity: Granularity::default(),
            objects: Objects::None,
            has_undated: false,
            is_snapshot: endpoint.dated == Dated::Run,
            coverage: Vec::new(),
            first_day: None,
            days_ahead: 0,
        }
    }

    /// A table according to its manifest; `endpoint` if it is still in the catalogue.
    #[must_use]
    pub fn of(manifest: &Manifest, endpoint: Option<&Endpoint>) -> Self {
        let dates = || manifest.partitions.keys().filter_map(|name| name.parse::<Partition>().ok());
        let days = || dates().filter_map(|partition| partition.date());
        let schema = manifest.schema.fingerprint();
        let goal = manifest.goal.windows().first().map(|window| window.from.date_naive());
        let ahead = |last: NaiveDate| (last - manifest.committed_at.date_naive()).num_days();
        Self {
            name: manifest.endpoint.clone(),
            schema: manifest.schema.clone(),
            granularity: manifest.granularity,
            objects: if manifest.partitions.is_empty() {
                Objects::None
            } else if manifest.partitions.values().all(|entry| entry.schema == schema) {
                Objects::OneSchema
            } else {
                Objects::Mixed
            },
            has_undated: dates().any(|partition| partition.date().is_none()),
            is_snapshot: endpoint.is_some_and(|endpoint| endpoint.dated == Dated::Run),
            coverage: manifest.coverage.windows().to_vec(),
            first_day: days().chain(goal).min(),
            days_ahead: days().max().map_or(0, ahead),
        }
    }
}

/// The type of a table's column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SqlType {
    /// A day.
    Date,
    /// One of the lake's types.
    Of(ColumnType),
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SqlColumn {
    pub(super) name: String,
    pub(super) sql_type: SqlType,
}

impl SqlColumn {
    fn new(name: &str, sql_type: SqlType) -> Self {
        Self { name: name.to_owned(), sql_type }
    }
}

/// The columns of the files, in their order; `dt` follows them.
pub(super) fn file_columns(schema: &Schema) -> Vec<SqlColumn> {
    let text = |name: &str| SqlColumn::new(name, SqlType::Of(ColumnType::String));
    let instant =
        |name: &str| SqlColumn::new(name, SqlType::Of(ColumnType::Timestamp(Written::Iso)));
    let mut columns: Vec<SqlColumn> = schema.added.parent.iter().map(|name| text(name)).collect();
    columns.extend(schema.added.content_key.then(|| text(CONTENT_KEY)));
    columns.extend(
        schema
            .columns
            .iter()
            .map(|it| SqlColumn::new(&it.name, SqlType::Of(it.column_type.clone()))),
    );
    columns.extend(schema.added.day.then(|| SqlColumn::new(DAY, SqlType::Date)));
    columns.extend([text(EXTRA_JSON), instant(EXPORTED_AT)]);
    columns.extend(schema.added.deleted_at.then(|| instant(DELETED_AT)));
    columns
}

/// The column made from the partitions' folders.
pub(super) fn dt() -> SqlColumn {
    SqlColumn::new(DT, SqlType::Date)
}

/// All columns visible to a reader of the table.
pub(super) fn all_columns(schema: &Schema) -> Vec<SqlColumn> {
    let mut columns = file_columns(schema);
    columns.push(dt());
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Catalogue;

    #[test]
    fn the_columns_are_those_of_the_files_in_their_order() {
        for endpoint in Catalogue::built_in().unwrap().endpoints() {
            let schema = endpoint.schema();
            let columns = file_columns(&schema);
            let arrow = schema.arrow();
            let names: Vec<_> = arrow.fields().iter().map(|field| field.name()).collect();
            assert_eq!(columns.iter().map(|it| &it.name).collect::<Vec<_>>(), names);
        }
    }
}
