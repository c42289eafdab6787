//! Presence: determines what is at a location. Only a location with our own `_manifest` is a lake,
//! and no other place is read or written as one. Nothing is written here, not even the lock file.
//!
//! A manifest is named by its number, in its table's folder below `_manifest`. Folders alone prove
//! nothing, since any folder tree can look like tables. If all manifests are lost, the objects' own
//! footers tell our tables from those of other tools that also partition by `dt`.

use std::ops::Deref;
use std::sync::Arc;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::store::{Object, Store, is_of_the_system};
use crate::endpoint::Catalogue;
use crate::error::{Error, ErrorKind, Result};

/// What else a lake may contain: our own folders beside the tables, and the lake's configuration.
const OURS: [&str; 3] = ["_staging", "_quarantine", "clari-lake.toml"];
/// What `_manifest` contains before a first export has committed anything.
const BEGUN: [&str; 5] = ["lock", "lease", "quota", "runs", "forgotten"];
/// How many unexpected names are shown.
const MAX_LISTED: usize = 3;
/// How many objects of a folder are inspected to find one of ours.
const LOOKED_AT: usize = 10;
/// How many sibling folders are searched for a nearby lake.
const NEIGHBOURS: usize = 100;

/// Whether the lake's folder, or one above it, is named like a partition, so that readers that
/// parse whole paths would find two dates in each.
fn looks_partitioned(place: &str) -> bool {
    place.split(['/', '\\']).any(|name| name.to_ascii_lowercase().starts_with("dt="))
}

/// What is at a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// Nothing that prevents creating a lake here. An export that was killed before its first
    /// commit also leaves such a place.
    Vacant,
    /// A lake.
    Lake,
    /// Tables of a lake that lost its manifests.
    Objects,
    /// Something else, with some of its names.
    Foreign(Vec<String>),
}

/// The store of an existing lake. Only this type proves that a lake exists, so code that holds one
/// may read and write it.
#[derive(Debug, Clone)]
pub struct PresentLake(Arc<Store>);

impl PresentLake {
    /// A store, if it contains a lake.
    ///
    /// # Errors
    /// `Config` if there is none (naming a nearby lake if there is one); when the store fails.
    pub fn of(store: Store, catalogue: &Catalogue) -> Result<Self> {
        let presence = store.presence(catalogue)?;
        if presence == Presence::Lake {
            return Ok(Self(Arc::new(store)));
        }
        Err(store.no_lake(&presence))
    }

    /// A store, if it contains a lake, or tables of one that lost its manifests.
    ///
    /// # Errors
    /// As for [`Self::of`].
    pub fn or_objects(store: Store, catalogue: &Catalogue) -> Result<Self> {
        store.check_lake(catalogue)?;
        Ok(Self(Arc::new(store)))
    }
}

impl Deref for PresentLake {
    type Target = Arc<Store>;

    fn deref(&self) -> &Arc<Store> {
        &self.0
    }
}

impl Store {
    /// Determines what is here; nothing is written.
    ///
    /// # Errors
    /// When the store fails, or the location is a file.
    pub fn presence(&self, catalogue: &Catalogue) -> Result<Presence> {
        self.check_folder()?;
        if self.has_manifests("")? {
            return Ok(Presence::Lake);
        }
        let mut foreign = Vec::new();
        for name in self.entries("")?.into_iter().filter(|name| !is_harmless(name)) {
            if name == "_manifest" {
                let strange = self.entries("_manifest")?;
                let strange = strange.into_iter().filter(|it| !is_begun(it, catalogue));
                foreign.extend(strange.map(|it| format!("_manifest/{it}")));
            } else {
                match self.kind_of_folder(&name, catalogue)? {
                    Folder::Table => return Ok(Presence::Objects),
                    Folder::Empty => {}
                    Folder::Strange => foreign.push(name),
                }
            }
        }
        Ok(if foreign.is_empty() { Presence::Vacant } else { Presence::Foreign(foreign) })
    }

    /// Makes sure that a lake is here, or tables of one that lost its manifests.
    ///
    /// # Errors
    /// `Config` if there is none (naming a nearby lake if there is one); when the store fails.
    pub fn check_lake(&self, catalogue: &Catalogue) -> Result<()> {
        match self.presence(catalogue)? {
            Presence::Lake | Presence::Objects => Ok(()),
            other => Err(self.no_lake(&other)),
        }
    }

    /// Makes sure that an export may write here: into a lake, the remains of one, or an empty place
    /// outside of any other lake.
    ///
    /// # Errors
    /// `Config` when it may not, with what was found; when the store fails.
    pub fn check_place(&self, catalogue: &Catalogue) -> Result<()> {
        let place = self.location();
        let (message, near) = match self.presence(catalogue)? {
            Presence::Lake | Presence::Objects => return Ok(()),
            Presence::Vacant if looks_partitioned(&place) => {
                let message = format!(
                    "{place} is in a folder called dt=…, which readers treat as a partition"
                );
                (message, None)
            }
            Presence::Vacant => match self.lake_around() {
                None => return Ok(()),
                Some(lake) => (format!("{place} is inside the lake at {lake}"), Some(lake)),
            },
            Presence::Foreign(names) => {
                let message =
                    format!("{place} is not empty and not a lake: it contains {}", listed(&names));
                (message, self.lake_near())
            }
        };
        let hint = match near {
            Some(lake) => format!("the lake is {lake}; a new lake needs an empty or new folder"),
            None => "choose an empty or new folder, or the lake itself".to_owned(),
        };
        Err(Error::new(ErrorKind::Config, message).with_hint(hint))
    }

    /// The error that no lake is here, with what is here instead.
    fn no_lake(&self, presence: &Presence) -> Error {
        let place = self.location();
        let mut message = format!("there is no lake at {place}");
        if let Presence::Foreign(names) = presence {
            message
                .push_str(&format!(": it contains {}, but no manifest of a table", listed(names)));
        }
        let hint = match (presence, self.lake_near()) {
            (Presence::Objects, _) => {
                message.push_str(": it contains objects of tables, but their manifests are lost");
                "`clari-lake verify LAKE --rebuild` rebuilds the manifests".to_owned()
            }
            (_, Some(lake)) => format!("the lake is {lake}"),
            _ => "check the path; the first `clari-lake export` creates a lake".to_owned(),
        };
        Error::new(ErrorKind::Config, message).with_hint(hint)
    }

    /// Whether there is a table's manifest below this folder, which ends with a slash or is the
    /// root.
    fn has_manifests(&self, folder: &str) -> Result<bool> {
        for table in self.folders(&format!("{folder}_manifest"))? {
            if BEGUN.contains(&table.as_str()) {
                continue;
            }
            let names = self.names(&format!("{folder}_manifest/{table}"))?;
            if names.iter().any(|name| is_manifest(name)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a folder contains, if it may be a table's.
    fn kind_of_folder(&self, name: &str, catalogue: &Catalogue) -> Result<Folder> {
        let has_dates = || self.folders(name).map(|it| it.iter().any(|it| it.starts_with("dt=")));
        if catalogue.find(name).is_err() && !has_dates()? {
            return Ok(Folder::Strange);
        }
        let listed = self.list(name)?;
        let is_object = |path: &str| {
            let below = path.strip_prefix(name).and_then(|it| it.strip_prefix("/dt="));
            below.is_some_and(|it| it.matches('/').count() == 1 && it.ends_with(".parquet"))
        };
        for object in listed.iter().filter(|object| is_object(&object.path)).take(LOOKED_AT) {
            if self.object(&object.path)?.is_some_and(is_ours) {
                return Ok(Folder::Table);
            }
        }
        let is_strange = |path: &str| !path.rsplit('/').next().is_some_and(is_harmless);
        let is_strange = listed.iter().any(|object| is_strange(&object.path));
        Ok(if is_strange { Folder::Strange } else { Folder::Empty })
    }

    /// A lake in one of the folders here, or one that contains this place.
    fn lake_near(&self) -> Option<String> {
        // Naming it is only a courtesy, so folders that cannot be read are skipped.
        let folders = self.folders("").unwrap_or_default();
        let mut folders = folders.into_iter().take(NEIGHBOURS);
        let below = folders.find(|it| self.has_manifests(&format!("{it}/")).unwrap_or_default());
        let location = self.location();
        let below = below.map(|name| format!("{}/{name}", location.trim_end_matches('/')));
        below.or_else(|| self.lake_around())
    }

    /// The lake that contains this place.
    fn lake_around(&self) -> Option<String> {
        let is_lake = |place: &String| {
            let store = Self::open(place);
            store.and_then(|store| store.has_manifests("")).unwrap_or_default()
        };
        self.ancestors().into_iter().find(is_lake)
    }
}

/// What a folder contains, if it may be a table's.
enum Folder {
    /// Objects that this tool wrote.
    Table,
    /// No file: a first export was killed before it wrote one.
    Empty,
    /// Something else.
    Strange,
}

/// Whether an object was written by this tool, by its footer.
fn is_ours(object: Object) -> bool {
    let Ok(builder) = ParquetRecordBatchReaderBuilder::try_new(object) else { return false };
    let created_by = builder.metadata().file_metadata().created_by();
    created_by.is_some_and(|by| by.starts_with("clari-lake"))
}

/// Whether a name is a manifest's: its number in twenty digits.
fn is_manifest(name: &str) -> bool {
    let number = name.strip_suffix(".json").unwrap_or_default();
    number.len() == 20 && number.bytes().all(|it| it.is_ascii_digit())
}

/// Whether something may exist in a place where a lake is to be created.
fn is_harmless(name: &str) -> bool {
    is_of_the_system(name) || OURS.contains(&name)
}

/// Whether something in `_manifest` may exist before the first commit: index files are written
/// before the manifest that names them.
fn is_begun(name: &str, catalogue: &Catalogue) -> bool {
    let is_probe = name.starts_with("probe-");
    name.starts_with('.') || BEGUN.contains(&name) || is_probe || catalogue.find(name).is_ok()
}

/// Some names, and how many more there are.
fn listed(names: &[String]) -> String {
    let first: Vec<String> =
        names.iter().take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
    let more = names.len() - first.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn presence(paths: &[&str]) -> Presence {
        let store = Store::on(Arc::new(InMemory::new()), "memory").unwrap();
        for path in paths {
            store.overwrite(path, b"x").unwrap();
        }
        store.presence(&Catalogue::built_in().unwrap()).unwrap()
    }

    #[test]
    fn a_lake_is_what_has_a_manifest_of_a_table() {
        let manifest = "_manifest/calls/00000000000000000001.json";
        assert_eq!(presence(&[manifest]), Presence::Lake);
        assert_eq!(presence(&[manifest, "notes.txt"]), Presence::Lake);
        let own = "_manifest/my_own/00000000000000000042.json";
        assert_eq!(presence(&[own]), Presence::Lake, "whichever endpoints are described today");
        for vacant in [
            &[][..],
            &["_manifest/quota/2026-11-29/000000000001.json", "_manifest/lock"],
            &["_manifest/runs/latest.json", "_staging/loose-1.tmp", "_manifest/probe-1"],
            &["_manifest/calls/index/00000000000000000001-r-dt.parquet"],
            &[".gitkeep", ".DS_Store", "lost+found/x", "calls/.DS_Store"],
        ] {
            assert_eq!(presence(vacant), Presence::Vacant, "{vacant:?}");
        }
        for foreign in [
            &["notes.txt"][..],
            &["_manifest/calls/1.json", "_manifest/manifest.txt"],
            &["calls/dt=2026-01-01/part-0.parquet"],
            &["data/dt=2026-01-01/part-0.parquet"],
            &["lake/_manifest/calls/00000000000000000001.json"],
            &["calls/00000000000000000001.json", "quota/x"],
        ] {
            let found = presence(foreign);
            assert!(matches!(found, Presence::Foreign(_)), "{foreign:?}: {found:?}");
        }
    }
}
