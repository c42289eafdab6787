//! One contract for every store: always tested in a folder and in memory, and in the stores that
//! `CLARI_LAKE_STORES` lists, such as `s3://bucket az://container`.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use parquet::file::reader::{ChunkReader, Length};

use super::*;

/// Opens the store under test again, as another process would.
type Open<'o> = &'o (dyn Fn() -> Store + Sync);

fn staged(store: &Store, bytes: &[u8]) -> Staged {
    let mut staged = store.stage().unwrap();
    staged.write_all(bytes).unwrap();
    staged
}

fn bytes(store: &Store, path: &str) -> Option<Vec<u8>> {
    store.read(path).unwrap()
}

fn store_contract(open: Open) {
    what_is_not_there_is_not_there(&open());
    an_object_is_created_once(&open());
    an_object_is_replaced_only_if_it_is_the_one_that_was_read(&open());
    listings_show_what_was_written(&open());
    objects_are_read_in_parts(&open());
    of_many_creators_one_wins(open);
    of_many_replacements_none_is_lost(open);
    turns_are_taken(open);
}

fn what_is_not_there_is_not_there(store: &Store) {
    assert!(store.is_empty().unwrap());
    assert_eq!(bytes(store, "a/none"), None);
    assert!(store.object("a/none").unwrap().is_none());
    assert_eq!(store.existing("a/none").unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(store.list("a").unwrap(), []);
}

fn an_object_is_created_once(store: &Store) {
    let _lock = store.lock().unwrap();
    assert!(store.create("_manifest/x/1.json", b"one").unwrap());
    assert!(!store.create("_manifest/x/1.json", b"two").unwrap());
    assert_eq!(bytes(store, "_manifest/x/1.json").unwrap(), b"one");
    store.overwrite("_manifest/x/1.json", b"three").unwrap();
    assert_eq!(bytes(store, "_manifest/x/1.json").unwrap(), b"three");
    assert!(!store.is_empty().unwrap());
}

fn an_object_is_replaced_only_if_it_is_the_one_that_was_read(store: &Store) {
    let _lock = store.lock().unwrap();
    let path = "t/dt=2026-01-01/part-0.parquet";
    let first = store.replace(staged(store, b"abc"), path, None).unwrap().unwrap();
    assert_eq!((first.bytes, &first.sha256[..8]), (3, "ba7816bf"));
    assert_eq!(store.replace(staged(store, b"other"), path, None).unwrap(), None, "it is there");
    let read = store.object(path).unwrap().unwrap();
    assert_eq!(read.version().etag(), first.etag);
    let second = store.replace(staged(store, b"defg"), path, Some(read.version())).unwrap();
    assert_ne!(second.unwrap().etag, first.etag);
    let stale = store.replace(staged(store, b"late"), path, Some(read.version())).unwrap();
    assert_eq!(stale, None, "another version is there");
    assert_eq!(bytes(store, path).unwrap(), b"defg");
    let gone = store.replace(staged(store, b"x"), "t/none", Some(read.version())).unwrap();
    assert_eq!(gone, None, "there is none");
    assert_eq!(bytes(store, "t/none"), None);
    assert_eq!(store.leftovers().unwrap(), Vec::<String>::new());
}

fn listings_show_what_was_written(store: &Store) {
    let _lock = store.lock().unwrap();
    let names = ["l/dt=__HIVE_DEFAULT_PARTITION__/a b+c.json", "l/dt=2026-01-02/ü&%41.json"];
    for name in names {
        store.overwrite(name, name.as_bytes()).unwrap();
    }
    store.overwrite("l2/x", b"not below l").unwrap();
    let mut listed = store.list("l").unwrap();
    listed.reverse();
    assert_eq!(listed.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(), names);
    for listed in &listed {
        let object = store.object(&listed.path).unwrap().unwrap();
        assert_eq!(object.version().etag(), listed.etag, "{}", listed.path);
        assert_eq!(bytes(store, &listed.path).unwrap(), listed.path.as_bytes());
    }
}

fn objects_are_read_in_parts(store: &Store) {
    let _lock = store.lock().unwrap();
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    store.replace(staged(store, &content), "big", None).unwrap().unwrap();
    let object = store.existing("big").unwrap();
    assert_eq!(object.len(), content.len() as u64);
    assert_eq!(object.get_bytes(1_000_000, 999).unwrap(), content[1_000_000..1_000_999]);
    let mut rest = Vec::new();
    object.get_read(2_999_000).unwrap().read_to_end(&mut rest).unwrap();
    assert_eq!(rest, content[2_999_000..]);
    store.overwrite("big", b"small").unwrap();
    assert_eq!(object.digest().0, content.len() as u64, "it is still the version that was opened");
}

fn of_many_creators_one_wins(open: Open) {
    for round in 0..3 {
        let path = format!("race/{round}");
        let winners: usize = std::thread::scope(|scope| {
            let racers = [(); 6].map(|()| {
                let path = &path;
                scope.spawn(move || {
                    let store = open();
                    let _lock = store.lock().unwrap();
                    let own = format!("{:?}", std::thread::current().id());
                    usize::from(store.create(path, own.as_bytes()).unwrap())
                })
            });
            racers.map(|racer| racer.join().unwrap()).iter().sum()
        });
        assert_eq!(winners, 1);
    }
}

fn of_many_replacements_none_is_lost(open: Open) {
    // Each write names its writer, as objects and manifests do.
    let add_one = |store: &Store, writer: u32| loop {
        let _lock = store.lock().unwrap();
        let object = store.object("count").unwrap();
        let known = object.as_ref().map_or(0, count);
        let next = staged(store, format!("{} by {writer}", known + 1).as_bytes());
        let version = object.as_ref().map(Object::version);
        if store.replace(next, "count", version).unwrap().is_some() {
            break;
        }
    };
    std::thread::scope(|scope| {
        for writer in 0..3 {
            scope.spawn(move || {
                let store = open();
                (0..4).for_each(|_| add_one(&store, writer));
            });
        }
    });
    assert_eq!(count(&open().existing("count").unwrap()), 12);
}

fn count(object: &Object) -> u32 {
    let mut text = String::new();
    object.get_read(0).unwrap().read_to_string(&mut text).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// While one writer holds the right to write, another waits for it.
fn turns_are_taken(open: Open) {
    let (store, other) = (open(), open());
    let lock = store.lock().unwrap();
    store.hold().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let _lock = other.lock().unwrap();
            other.hold()
        });
        std::thread::sleep(Duration::from_millis(100));
        assert!(!waiting.is_finished());
        drop(lock);
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn a_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().join("lake");
    store_contract(&|| Store::open(location.to_str().unwrap()).unwrap());
}

#[test]
fn an_object_store_keeps_the_contract() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    store_contract(&|| Store::on(Arc::clone(&memory), "memory").unwrap());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the environment names the servers")]
fn the_servers_that_the_environment_names_keep_the_contract() {
    for server in std::env::var("CLARI_LAKE_STORES").unwrap_or_default().split_whitespace() {
        let location = format!("{server}/contract-{:016x}", fastrand::u64(..));
        store_contract(&|| Store::open(&location).unwrap());
    }
}

/// A killed writer blocks others for as long as its lease lasts, and a writer that lost its lease
/// gets an error when it continues.
#[test]
fn a_lease_runs_out_and_its_holder_learns_of_it() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lasting = Duration::from_millis(300);
    let open = || Store::on(Arc::clone(&memory), "memory").unwrap().with_lease(lasting);
    let (dead, alive) = (open(), open());
    let _lock = dead.lock().unwrap();
    dead.hold().unwrap();
    // Its thread stops renewing, as in a process that was stopped.
    let Kind::Remote(remote) = &dead.kind else { unreachable!() };
    remote.stop_renewing();
    let other = alive.lock().unwrap();
    let begun = std::time::Instant::now();
    alive.hold().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "it waited {:?}", begun.elapsed());
    let written = alive.replace(staged(&alive, b"alive"), "x", None).unwrap();
    assert!(written.is_some());
    drop(other);
    let written = dead.replace(staged(&dead, b"dead"), "y", None).unwrap();
    assert_eq!(written, None, "it has lost its lease, and begins again");
    assert!(dead.replace(staged(&dead, b"dead"), "y", None).unwrap().is_some());
}

/// A process that was suspended for longer than its lease lasts acquires a new one, and does not
/// wait for itself to stop renewing the old one.
#[test]
fn a_holder_whose_lease_expired_does_not_wait_for_itself() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lasting = Duration::from_millis(300);
    let store = Store::on(memory, "memory").unwrap().with_lease(lasting);
    let _lock = store.lock().unwrap();
    store.hold().unwrap();
    let Kind::Remote(remote) = &store.kind else { unreachable!() };
    remote.oversleep();
    let begun = std::time::Instant::now();
    assert_eq!(store.replace(staged(&store, b"late"), "y", None).unwrap(), None);
    assert!(begun.elapsed() < Duration::from_secs(5), "it waited {:?}", begun.elapsed());
    assert!(store.replace(staged(&store, b"again"), "y", None).unwrap().is_some());
}

/// A process that was killed while probing leaves an object, which is removed eventually; the
/// objects of a running process stay.
#[test]
fn objects_left_by_killed_probes_are_removed() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = Store::on(Arc::clone(&memory), "memory").unwrap();
    let left = probe::own_path();
    for path in [left.as_str(), "_manifest/lease", "_manifest/calls/probe-1"] {
        store.overwrite(path, b"x").unwrap();
    }
    let at = |text: &str| text.parse().unwrap();
    store.clear_probes(at("2020-01-01T00:00:00Z")).unwrap();
    assert!(bytes(&store, &left).is_some(), "it may be under way");
    store.clear_probes(at("2999-01-01T00:00:00Z")).unwrap();
    let names: Vec<_> = store.list("").unwrap().into_iter().map(|listed| listed.path).collect();
    assert_eq!(names, ["_manifest/calls/probe-1", "_manifest/lease"]);
}

/// P8: the clients of Azure and Google show their signatures and tokens when they are printed.
#[test]
fn p8_a_store_that_is_shown_shows_no_secret() {
    let client = object_store::azure::MicrosoftAzureBuilder::new()
        .with_account("account")
        .with_container_name("container")
        .with_config(object_store::azure::AzureConfigKey::SasKey, "sv=1&sig=canary")
        .build()
        .unwrap();
    assert!(format!("{client:?}").contains("canary"), "nothing would have to be kept back");
    let client: Arc<dyn ObjectStore> = Arc::new(client);
    let store = Store::on(Arc::clone(&client), "az://container/lake").unwrap();
    assert!(!format!("{store:?}").contains("canary"));
    let (manner, lasting, holder) = Default::default();
    let terms = lease::Terms { store: client, manner, lasting, holder };
    assert!(!format!("{terms:?}").contains("canary"));
}
