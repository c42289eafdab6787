//! Freezing: until a table's first export completes, its schema grows; each object says which it
//! was when it was written, so that a lake whose manifests are lost still knows.
//!
//! Enters: a manifest, and what objects say that it does not know. Leaves: the schema, and whether
//! it is frozen. Never here: an object read, or a schema frozen before an export has completed.
//!
//! The manifest alone cannot tell: a first export that is killed before its first manifest looks
//! like a complete table that has lost all of its manifests. In the first, columns are to appear
//! as records bring them; in the second, they must not (P6).

use arrow::datatypes::SchemaRef;
use parquet::file::metadata::KeyValue;

use crate::manifest::Manifest;
use crate::schema::Schema;

/// The name of what an object says.
pub(in crate::lake) const FROZEN: &str = "clari-lake.frozen";

/// What an object says of the table's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lake) enum Growth {
    /// It still grew when the object was written.
    Growing,
    /// It was frozen.
    Frozen,
    /// Nothing, as objects of versions before this one.
    Unsaid,
}

impl Growth {
    /// What is said by the metadata of an object's footer.
    pub(in crate::lake) fn said(metadata: Option<&Vec<KeyValue>>) -> Self {
        let said = metadata.into_iter().flatten().find(|it| it.key == FROZEN);
        match said.and_then(|it| it.value.as_deref()) {
            Some("true") => Self::Frozen,
            Some("false") => Self::Growing,
            _ => Self::Unsaid,
        }
    }
}

/// The schema of a table whose first export is not known to be complete, and whether it is frozen,
/// by the objects that its manifest does not know; `None` when they add nothing.
pub(in crate::lake) fn recovered(
    manifest: &Manifest,
    objects: &[(SchemaRef, Growth)],
) -> Option<(Schema, bool)> {
    // A manifest that says "not frozen" is believed, but for an object that knows better: it was
    // written by the commit that froze the schema.
    let is_frozen = |growth: Growth| match growth {
        Growth::Frozen => true,
        Growth::Growing => false,
        Growth::Unsaid => manifest.version == 0,
    };
    let any_frozen = objects.iter().any(|(_, growth)| is_frozen(*growth));
    let counts = objects.iter().filter(|(_, growth)| !any_frozen || is_frozen(*growth));
    // One with a type that this tool never writes is no model.
    let mut schemas = counts.filter_map(|(file, _)| manifest.schema.of_file(file));
    let first = schemas.next()?;
    // A frozen schema is what its files have, whatever is declared by now.
    let begin = if any_frozen { first } else { manifest.schema.union(&first) };
    Some((schemas.fold(begin, |union, schema| union.union(&schema)), any_frozen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Granularity;
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

    /// P6: columns go on growing where the first export was killed, and nowhere else.
    #[test]
    fn p6_objects_say_whether_their_tables_schema_is_frozen() {
        use Growth::{Frozen, Growing, Unsaid};
        let narrow: &[&str] = &["id", "declared"];
        let (mood, score): (&[&str], &[&str]) = (&["id", "mood"], &["id", "score"]);
        let told = |names: &[&str], frozen| {
            Some((names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>(), frozen))
        };
        let all = told(&["id", "declared", "mood", "score"], false);
        // Killed before any manifest, or after that of its goal.
        for version in [0, 1] {
            let objects = [(narrow, Growing), (mood, Growing), (score, Growing)];
            assert_eq!(names(version, &objects), all);
        }
        // Complete, and all manifests lost: as the files are, and no column that is declared since.
        assert_eq!(names(0, &[(mood, Frozen)]), told(&["id", "mood"], true));
        assert_eq!(names(0, &[(mood, Unsaid)]), told(&["id", "mood"], true));
        // One that was never written again since the first export says what was so then.
        assert_eq!(names(0, &[(narrow, Growing), (mood, Frozen)]), told(&["id", "mood"], true));
        // Killed by the commit that freezes, between objects.
        assert_eq!(names(1, &[(mood, Frozen), (narrow, Growing)]), told(&["id", "mood"], true));
        // Begun by a version whose objects say nothing.
        assert_eq!(names(1, &[(mood, Unsaid)]), told(&["id", "declared", "mood"], false));
        assert_eq!(names(1, &[]), None);
    }
}
