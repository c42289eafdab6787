//! A bucket: an object store in memory or at a server, which can be made to misbehave as real ones
//! do, and which counts what it is asked.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clari_lake::internals::lake::Store;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

use super::Lake;

/// How a bucket misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quirk {
    /// It does not.
    None,
    /// It overwrites what was to be created only if absent.
    IgnoresIfNoneMatch,
    /// It refuses every conditional replacement.
    NeverMatches,
    /// It replaces whatever is there.
    IgnoresIfMatch,
    /// Every third write happens, and its reply is lost.
    LosesReplies,
    /// The reply to every third write is lost, and the client's own repetition meets the write that
    /// had happened.
    MeetsItself,
    /// Every third object comes without its end, and with the length that it comes with.
    CutsShort,
    /// The first write of each object is refused though its condition holds, as a 409 in a busy
    /// moment.
    RefusesOnce,
    /// It lets nothing be read whose name holds this.
    Forbids(&'static str),
    /// A list takes a moment.
    ListsSlowly,
}

/// One writer's view of a bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    inner: Arc<dyn ObjectStore>,
    quirk: Quirk,
    /// What was asked of it, one line a request.
    requests: Arc<Mutex<Vec<String>>>,
    writes: AtomicU64,
    /// How many lists are under way, and how many there have been at most.
    lists: Mutex<(usize, usize)>,
    /// The objects of which a write was refused.
    refused: Mutex<HashSet<Path>>,
    /// The write before which this writer is paused, as by SIGSTOP.
    pauses_at: u64,
    paused: AtomicBool,
    awake: AtomicBool,
}

impl Bucket {
    pub(crate) fn in_memory() -> Arc<Self> {
        Self::on(Arc::new(InMemory::new()), Quirk::None)
    }

    pub(crate) fn on(inner: Arc<dyn ObjectStore>, quirk: Quirk) -> Arc<Self> {
        Self::paused_at(inner, quirk, u64::MAX)
    }

    fn paused_at(inner: Arc<dyn ObjectStore>, quirk: Quirk, pauses_at: u64) -> Arc<Self> {
        Arc::new(Self {
            inner,
            quirk,
            requests: Arc::default(),
            writes: AtomicU64::new(0),
            lists: Mutex::default(),
            refused: Mutex::default(),
            pauses_at,
            paused: AtomicBool::new(false),
            awake: AtomicBool::new(false),
        })
    }

    /// The same objects, for another writer.
    pub(crate) fn again(&self) -> Arc<Self> {
        Self::on(Arc::clone(&self.inner), self.quirk)
    }

    /// The same objects, in a bucket that misbehaves.
    pub(crate) fn with(&self, quirk: Quirk) -> Arc<Self> {
        Self::on(Arc::clone(&self.inner), quirk)
    }

    /// The same objects, for a writer that is stopped before this write until it is woken.
    pub(crate) fn stopping_at(&self, write: u64) -> Arc<Self> {
        Self::paused_at(Arc::clone(&self.inner), self.quirk, write)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    pub(crate) fn wake(&self) {
        self.awake.store(true, Ordering::SeqCst);
    }

    /// A store on it, whose lease outlives a dead writer by a moment only.
    pub(crate) fn store(self: &Arc<Self>) -> Store {
        let store = Store::on(Arc::clone(self) as Arc<dyn ObjectStore>, "memory").unwrap();
        store.with_lease(Duration::from_millis(200))
    }

    /// All objects' names and versions.
    pub(crate) fn versions(&self) -> Vec<(String, String)> {
        let list = async {
            let mut listed: Vec<_> = self.inner.list(None).try_collect().await?;
            listed.sort_by(|a: &ObjectMeta, b| a.location.cmp(&b.location));
            let version = |meta: ObjectMeta| (meta.location.to_string(), meta.e_tag.unwrap());
            Ok::<_, Error>(listed.into_iter().map(version).collect())
        };
        block_on(list).unwrap()
    }

    /// An object's bytes, if it is there.
    pub(crate) fn read(&self, name: &str) -> Option<Bytes> {
        block_on(async { self.inner.get(&Path::parse(name).unwrap()).await?.bytes().await }).ok()
    }

    /// Takes an object away, or puts these bytes in its place, as another program would.
    pub(crate) fn damage(&self, name: &str, bytes: Option<Bytes>) {
        let path = Path::parse(name).unwrap();
        block_on(async {
            match bytes {
                Some(bytes) => self.inner.put(&path, bytes.into()).await.map(|_| ()),
                None => self.inner.delete(&path).await,
            }
        })
        .unwrap();
    }

    /// The lake as a reader would copy it into a folder.
    pub(crate) fn mirror(&self) -> Lake {
        let lake = Lake::in_memory();
        for (name, _) in self.versions() {
            let path = lake.path().join(&name);
            let read = async { self.inner.get(&Path::parse(&name).unwrap()).await?.bytes().await };
            let bytes = match block_on(read) {
                // The thread of a run that was dropped may still remove what it wrote for a moment.
                Err(Error::NotFound { .. }) if name.starts_with('_') => continue,
                read => read.unwrap(),
            };
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        lake
    }

    fn count(&self, action: &str, path: &str) {
        self.requests.lock().unwrap().push(format!("{action} {path}"));
    }

    /// What was asked of it through this view, one line a request.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// How many lists were under way at once, at most.
    pub(crate) fn lists_at_once(&self) -> usize {
        self.lists.lock().unwrap().1
    }

    /// Waits as long as a list takes.
    async fn be_slow(&self) {
        if self.quirk == Quirk::ListsSlowly {
            let begun = |lists: &mut (usize, usize)| {
                lists.0 += 1;
                lists.1 = lists.1.max(lists.0);
            };
            begun(&mut self.lists.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.lists.lock().unwrap().0 -= 1;
        }
    }

    /// A stopped process does nothing at all, renewing its lease included.
    async fn pause(&self) -> u64 {
        let write = self.writes.fetch_add(1, Ordering::SeqCst);
        while write >= self.pauses_at && !self.awake.load(Ordering::SeqCst) {
            self.paused.store(true, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        write
    }
}

/// Waits on a thread of its own, since the caller's may be one that drives a runtime.
fn block_on<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| scope.spawn(move || runtime.block_on(work)).join().unwrap())
}

fn severed(path: &Path) -> Error {
    let text = format!("Error performing PUT https://bucket/{path}?sig=canary - HTTP error: reset");
    Error::Generic { store: "S3", source: text.into() }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        self.count("PUT", path.as_ref());
        let write = self.pause().await;
        let is_third = write % 3 == 2;
        match (self.quirk, &options.mode) {
            (Quirk::IgnoresIfNoneMatch, PutMode::Create)
            | (Quirk::IgnoresIfMatch, PutMode::Update(_)) => options.mode = PutMode::Overwrite,
            (Quirk::NeverMatches, PutMode::Update(_)) => {
                let (path, source) = (path.to_string(), "412".into());
                return Err(Error::Precondition { path, source });
            }
            (Quirk::RefusesOnce, _) if self.refused.lock().unwrap().insert(path.clone()) => {
                let (path, source) = (path.to_string(), "409".into());
                return Err(Error::AlreadyExists { path, source });
            }
            _ => {}
        }
        let is_new = options.mode == PutMode::Create;
        let is_conditional = options.mode != PutMode::Overwrite;
        let put = self.inner.put_opts(path, payload, options).await?;
        if self.quirk == Quirk::MeetsItself && is_third && is_conditional {
            let (path, source) = (path.to_string(), "412".into());
            return Err(if is_new {
                Error::AlreadyExists { path, source }
            } else {
                Error::Precondition { path, source }
            });
        }
        if self.quirk == Quirk::LosesReplies && is_third { Err(severed(path)) } else { Ok(put) }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.count("GET", path.as_ref());
        if let Quirk::Forbids(part) = self.quirk
            && path.as_ref().contains(part)
        {
            let source = "status code: 403 Forbidden: <Code>AccessDenied</Code>".into();
            return Err(Error::PermissionDenied { path: path.to_string(), source });
        }
        let is_object = path.as_ref().ends_with("/part-0.parquet");
        let found = self.inner.get_opts(path, options).await?;
        if self.quirk != Quirk::CutsShort || !is_object || self.pause().await % 3 != 2 {
            return Ok(found);
        }
        let (mut meta, attributes) = (found.meta.clone(), found.attributes.clone());
        let extensions = found.extensions.clone();
        let bytes = found.bytes().await?;
        let bytes = bytes.slice(..bytes.len() / 2);
        meta.size = bytes.len() as u64;
        let range = 0..meta.size;
        let payload = GetResultPayload::Stream(futures::stream::once(async { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.count("GET", path.as_ref());
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let requests = Arc::clone(&self.requests);
        let counted = paths.inspect(move |path| {
            let path = path.as_ref().map(Path::to_string).unwrap_or_default();
            requests.lock().unwrap().push(format!("DELETE {path}"));
        });
        self.inner.delete_stream(counted.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let folder = prefix.map(Path::to_string).unwrap_or_default();
        self.count("LIST", &folder);
        let requests = Arc::clone(&self.requests);
        let listed = self.inner.list(prefix).enumerate().map(move |(number, listed)| {
            // A page holds a thousand.
            if number > 0 && number % 1000 == 0 {
                requests.lock().unwrap().push(format!("LIST {folder}"));
            }
            listed
        });
        listed.boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.be_slow().await;
        let listed = self.inner.list_with_delimiter(prefix).await?;
        let folder = prefix.map(Path::to_string).unwrap_or_default();
        let pages = (listed.objects.len() + listed.common_prefixes.len()).div_ceil(1000).max(1);
        (0..pages).for_each(|_| self.count("LIST", &folder));
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({:?})", self.quirk)
    }
}
