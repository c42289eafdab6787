//! Freezing: until a table's first export completes, its schema grows. Each object records whether
//! the schema was frozen when it was written, so that this is known even if a lake loses its
//! manifests.
//!
//! The manifest alone cannot tell: a first export that is killed before its first manifest looks
//! like a complete table that has lost all of its manifests. In the first case, columns must appear
//! as records bring them; in the second case, they must not (P6).

use arrow::datatypes::SchemaRef;
use parquet::file::metadata::KeyValue;

use crate::manifest::{Granularity, Manifest};
use crate::schema::Schema;

/// The metadata key in an object's footer.
pub(in crate::lake) const FROZEN: &str = "clari-lake.frozen";

/// The metadata key of the table's partition length: a month that begins with its only row looks
/// like a day.
pub(in crate::lake) const PARTITION_BY: &str = "clari-lake.partition_by";

/// What an object records about the table's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lake) enum Growth {
    /// The schema was still growing when the object was written.
    Growing,
    /// It was frozen.
    Frozen,
    /// Nothing, as in objects of older versions.
    Unsaid,
}

impl Growth {
    /// What the metadata of an object's footer records.
    pub(in crate::lake) fn said(metadata: Option<&Vec<KeyValue>>) -> Self {
        let said = metadata.into_iter().flatten().find(|it| it.key == FROZEN);
        match said.and_then(|it| it.value.as_deref()) {
            Some("true") => Self::Frozen,
            Some("false") => Self::Growing,
            _ => Self::Unsaid,
        }
    }
}

/// The partition length that the metadata of an object's footer records; objects of older versions
/// record none.
pub(in crate::lake) fn granularity_said(metadata: Option<&Vec<KeyValue>>) -> Option<Granularity> {
    let said = metadata.into_iter().flatten().find(|it| it.key == PARTITION_BY)?;
    said.value.as_deref().and_then(Granularity::named)
}

/// The schema of a table whose first export may be incomplete, and whether it is frozen, according
/// to the objects that its manifest does not list; `None` when they add nothing.
pub(in crate::lake) fn recovered(
    manifest: &Manifest,
    objects: &[(SchemaRef, Growth)],
) -> Option<(Schema, bool)> {
    // A manifest that says "not frozen" is believed, unless an object says otherwise: then the
    // commit that froze the schema wrote that object.
    let is_frozen = |growth: Growth| match growth {
        Growth::Frozen => true,
        Growth::Growing => false,
        Growth::Unsaid => manifest.version == 0,
    };
    let any_frozen = objects.iter().any(|(_, growth)| is_frozen(*growth));
    let counts = objects.iter().filter(|(_, growth)| !any_frozen || is_frozen(*growth));
    // Files with a type that this tool never writes are ignored.
    let mut schemas = counts.filter_map(|(file, _)| manifest.schema.of_file(file));
    let first = schemas.next()?;
    // A frozen schema is what its files have, whatever is declared now.
    let begin = if any_frozen { first } else { manifest.schema.union(&first) };
    Some((schemas.fold(begin, |union, schema| union.union(&schema)), any_frozen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{AddedColumns, Column, ColumnType};

    fn schema(names: &[&str]) -> Schema {
        let columns = names.iter().map(|name| Column::new(*name, ColumnType::String)).collect();
        Schema { columns, added: AddedColumns::default() }
    }

    fn names(version: u64, objects: &[(&[&str], Growth)]) -> Option<(Vec<String>, bool)> {
        let mut manifest = Manifest::new("t", schema(&["id", "declared"]), Granularity::Day);
        manifest.version = version;
        let of = |(names, growth): &(&[&str], Growth)| (schema(names).arrow(), *growth);
        let objects: Vec<_> = objects.iter().map(of).collect();
        let (schema, frozen) = recovered(&manifest, &objects)?;
        Some((schema.columns.into_iter().map(|column| column.name).collect(), frozen))
    }

    /// P6: columns keep growing if the first export was killed, and in no other case.
    #[test]
    fn p6_objects_record_whether_their_tables_schema_is_frozen() {
        use Growth::{Frozen, Growing, Unsaid};
        let narrow: &[&str] = &["id", "declared"];
        let (mood, score): (&[&str], &[&str]) = (&["id", "mood"], &["id", "score"]);
        let shown = |names: &[&str], frozen| {
            Some((names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>(), frozen))
        };
        let all = shown(&["id", "declared", "mood", "score"], false);
        // Killed before any manifest, or after the one with its goal.
        for version in [0, 1] {
            let objects = [(narrow, Growing), (mood, Growing), (score, Growing)];
            assert_eq!(names(version, &objects), all);
        }
        // Complete, and all manifests lost: the schema is that of the files, without later declared
        // columns.
        assert_eq!(names(0, &[(mood, Frozen)]), shown(&["id", "mood"], true));
        assert_eq!(names(0, &[(mood, Unsaid)]), shown(&["id", "mood"], true));
        // A file that has not been rewritten since the first export describes the state at that
        // time.
        assert_eq!(names(0, &[(narrow, Growing), (mood, Frozen)]), shown(&["id", "mood"], true));
        // Killed between objects, during the commit that freezes the schema.
        assert_eq!(names(1, &[(mood, Frozen), (narrow, Growing)]), shown(&["id", "mood"], true));
        // Started by a version whose objects record nothing.
        assert_eq!(names(1, &[(mood, Unsaid)]), shown(&["id", "declared", "mood"], false));
        assert_eq!(names(1, &[]), None);
    }
}
