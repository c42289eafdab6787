//! Settings from the command line, the environment and the file, in this order.
//!
//! Determines one value for each setting, with its source, and builds the parts that commands need.
//! A secret is kept no longer than it takes to build a client.

use std::fmt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::args::{ApiArgs, FileArgs, QuotaArgs, TableArgs};
use crate::config::{Concurrency, Conditional, Config, Deletes, FullRelist, Rate, Share};
use crate::endpoint::Catalogue;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{BASE_URL, ClientSettings};
use crate::lake::{PresentLake, Store};
use crate::library::{Client, Lake};
use crate::manifest::Granularity;
use crate::pipeline::Export;
use crate::plan::RunSettings;
use crate::quota::Limits;
use crate::secret::{Credentials, Salt};
use crate::span::Span;

/// The default configuration file, read if it exists and `--config` is not given.
const FILE: &str = "clari-lake.toml";

/// A value and its source.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// The source of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Flag(&'static str),
    Environment(String),
    File(String),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => f.write_str(name),
            Self::Environment(name) => write!(f, "environment: {name}"),
            Self::File(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The flags of settings that the environment or the file can hold too.
#[derive(Debug, Clone, Default)]
pub(super) struct Flags {
    pub(super) lake: Option<String>,
    pub(super) api: ApiArgs,
    pub(super) table: TableArgs,
    pub(super) quota: QuotaArgs,
}

impl Flags {
    pub(super) fn new(
        lake: Option<&String>,
        table: &TableArgs,
        api: &ApiArgs,
        quota: &QuotaArgs,
    ) -> Self {
        let (table, api, quota) = (table.clone(), api.clone(), quota.clone());
        Self { lake: lake.cloned(), api, table, quota }
    }
}

/// One value for each setting. A flag beats the environment, which beats the file.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) lake: Setting<Option<String>>,
    pub(super) base_url: Setting<String>,
    pub(super) rate: Setting<Rate>,
    pub(super) concurrency: Setting<Concurrency>,
    pub(super) weekly_quota: Setting<u64>,
    pub(super) quota_share: Setting<Share>,
    pub(super) lookback: Setting<Span>,
    pub(super) max_time: Setting<Option<Span>>,
    pub(super) include_private: Setting<bool>,
    pub(super) partition_by: Setting<Granularity>,
    pub(super) deletes: Setting<Deletes>,
    pub(super) evolve: Setting<bool>,
    pub(super) full_relist: Setting<FullRelist>,
    pub(super) conditional: Setting<Conditional>,
    pub(super) no_transcripts: Setting<bool>,
    pub(super) endpoints_dir: Setting<Option<PathBuf>>,
    /// The page size for all exported endpoints; the file sets it per endpoint.
    pub(super) page_size: Option<u32>,
    /// The name of the file that was read, if any.
    pub(super) file: Option<String>,
    /// The file's content, above all its settings of single endpoints.
    pub(super) config: Config,
}

impl Settings {
    /// The settings of a command, from all three sources.
    ///
    /// # Errors
    /// `Config` when the file cannot be read, or is wrong.
    pub(super) fn load(files: &FileArgs, flags: &Flags) -> Result<Self> {
        let (file, config) = read_file(files.config.as_deref())?;
        let dir = files.endpoints_dir.clone();
        Ok(Self::resolve(flags, dir, &variable, file, config))
    }

    fn resolve(
        flags: &Flags,
        endpoints_dir: Option<PathBuf>,
        environment: &dyn Fn(&str) -> Option<String>,
        file: Option<String>,
        config: Config,
    ) -> Self {
        let Flags { lake, api, table, quota } = flags.clone();
        let from = Sources { environment, file: file.as_deref().unwrap_or(FILE) };
        let here = |path: &String| beside(from.file, path);
        let base_url =
            from.text("--base-url", api.base_url, "CLARI_BASE_URL", config.base_url.clone());
        let private = table.include_private.then_some(true);
        let no_transcripts = table.no_transcripts.then_some(true);
        let dir = config.endpoints_dir.as_ref().map(|dir| PathBuf::from(here(dir)));
        let granularity = from.of("--partition-by", table.partition_by, config.partition_by);
        Self {
            lake: from.text("LAKE", lake, "CLARI_LAKE", config.lake.as_ref().map(here)),
            base_url: base_url.or(BASE_URL.to_owned()),
            rate: from.of("--rate", api.rate, config.rate).or(Rate(10.0)),
            concurrency: from
                .of("--concurrency", api.concurrency, config.concurrency)
                .or(Concurrency(16)),
            weekly_quota: from
                .of("--weekly-quota", quota.weekly_quota, config.weekly_quota)
                .or(100_000),
            quota_share: from
                .of("--quota-share", quota.quota_share, config.quota_share)
                .or(Share(0.7)),
            lookback: from.of("--lookback", table.lookback, config.lookback).or(Span::days(7)),
            max_time: from.of("--max-time", quota.max_time, config.max_time),
            include_private: from
                .of("--include-private", private, config.include_private)
                .or(false),
            partition_by: granularity.or(Granularity::Day),
            deletes: from.of("--deletes", table.deletes, config.deletes).or_default(),
            evolve: from.of("--evolve", None, config.evolve).or(false),
            full_relist: from.of("--full", None, config.full_relist).or_default(),
            conditional: from.of("", None, config.store.conditional).or_default(),
            no_transcripts: from
                .of("--no-transcripts", no_transcripts, config.no_transcripts)
                .or(false),
            endpoints_dir: from.of("--endpoint-dir", endpoints_dir, dir),
            page_size: table.page_size,
            file,
            config,
        }
    }

    /// The lake's location.
    ///
    /// # Errors
    /// `Config` when no source gives it.
    pub(super) fn lake(&self) -> Result<&str> {
        self.lake.value.as_deref().ok_or_else(|| {
            Error::new(ErrorKind::Config, "no lake was given")
                .with_hint("pass it as an argument, in CLARI_LAKE, or as `lake` in clari-lake.toml")
        })
    }

    /// The store of an existing lake.
    ///
    /// # Errors
    /// `Config` when no source gives its location, or there is no lake.
    pub(super) fn present_lake(&self, catalogue: &Catalogue) -> Result<PresentLake> {
        PresentLake::of(self.store()?, catalogue)
    }

    /// The same, even if the manifests are lost.
    ///
    /// # Errors
    /// `Config` when no source gives its location, or there is no lake.
    pub(super) fn lake_to_verify(&self, catalogue: &Catalogue) -> Result<PresentLake> {
        PresentLake::or_objects(self.store()?, catalogue)
    }

    /// The store of an existing lake, or of one that an export may create.
    ///
    /// # Errors
    /// `Config` when no source gives its location, or something else is there.
    pub(super) fn place(&self, catalogue: &Catalogue) -> Result<Store> {
        let store = self.store()?;
        store.check_place(catalogue)?;
        Ok(store)
    }

    /// The store, without checking what it holds: commands use one of the above.
    fn store(&self) -> Result<Store> {
        Ok(Store::open(self.lake()?)?.with_conditional(self.conditional.value))
    }

    /// All endpoints, with the user's changes.
    ///
    /// # Errors
    /// `Config`, with the file, line and column of the mistake.
    pub(super) fn catalogue(&self) -> Result<Catalogue> {
        let mut files = Vec::new();
        for (name, path) in self.endpoint_files()? {
            let text = std::fs::read_to_string(&path).map_err(|error| {
                let message = format!("cannot read the endpoint file {}", path.display());
                Error::new(ErrorKind::Config, message).with_source(error)
            })?;
            files.push((name, text));
        }
        let mut catalogue = Catalogue::built_in()?.with_files(files)?;
        for (name, overrides) in &self.config.endpoint {
            let changed = catalogue.with_overrides(name, overrides);
            catalogue =
                changed.map_err(|mistake| self.config.error(&mistake.below(["endpoint"])))?;
        }
        catalogue = catalogue
            .with_rules(&self.config.rules)
            .map_err(|mistake| self.config.error(&mistake))?;
        if self.no_transcripts.value {
            catalogue = catalogue.without_verbatim();
        }
        if matches!(self.lookback.origin, Origin::Flag(_)) {
            catalogue = catalogue.without_lookbacks();
        }
        catalogue.check()?;
        Ok(catalogue)
    }

    /// All endpoints, the chosen ones with the page size from the flag.
    ///
    /// # Errors
    /// `Config` as for the catalogue, or when one of the chosen endpoints has no such pages.
    pub(super) fn sized_catalogue(&self, chosen: &[String]) -> Result<Catalogue> {
        let catalogue = self.catalogue()?;
        match self.page_size {
            Some(size) => catalogue.with_page_size(chosen, size),
            None => Ok(catalogue),
        }
    }

    /// All endpoints, the chosen ones ready for requests: headers have their values, and hashes
    /// their salt.
    ///
    /// # Errors
    /// `Config` as for the catalogue, or when a header's variable or the salt is not set.
    pub(super) fn catalogue_to_ask(&self, chosen: &[String]) -> Result<Catalogue> {
        self.sized_catalogue(chosen)?.ready(chosen, &variable, salt()?.as_ref())
    }

    /// The user's endpoint files by endpoint name.
    pub(super) fn endpoint_files(&self) -> Result<Vec<(String, PathBuf)>> {
        let Some(folder) = &self.endpoints_dir.value else { return Ok(Vec::new()) };
        let wrong = |error: std::io::Error| {
            let message = format!("cannot read the folder of endpoints {}", folder.display());
            Error::new(ErrorKind::Config, message).with_source(error)
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            let is_toml = path.extension().is_some_and(|extension| extension == "toml");
            let name = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
            files.extend(name.filter(|_| is_toml).map(|name| (name, path)));
        }
        files.sort();
        Ok(files)
    }

    /// How to reach the API.
    ///
    /// # Errors
    /// `Config` when the credentials are missing.
    pub(super) fn client(&self) -> Result<ClientSettings> {
        let credentials =
            Credentials::new(&secret("CLARI_API_KEY")?, &secret("CLARI_API_PASSWORD")?)?;
        Ok(ClientSettings {
            base_url: self.base_url.value.clone(),
            rate: self.rate.value.0,
            concurrency: usize::from(self.concurrency.value.0),
            proxy: proxy(&self.base_url.value),
            ..ClientSettings::new(credentials)
        })
    }

    /// What the week's quota allows.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            weekly: self.weekly_quota.value,
            share: self.quota_share.value.0,
            rate: self.rate.value.0,
            is_explicit: matches!(self.weekly_quota.origin, Origin::Flag(_)),
            ..Limits::default()
        }
    }

    /// An export with these settings, ready to run.
    ///
    /// # Errors
    /// `Config` when something is missing or wrong.
    pub(super) fn export(
        &self,
        settings: RunSettings,
        command: &str,
        chosen: &[String],
    ) -> Result<Export> {
        let catalogue = self.sized_catalogue(chosen)?;
        let lake = Lake::of(self.place(&catalogue)?, catalogue);
        let client = Client::with_settings(self.client()?);
        let mut export = lake.export(client).endpoints(chosen).settings(settings).command(command);
        export = export.limits(Some(self.limits())).partition_by(self.partition_by.value);
        if let Some(time) = self.max_time.value.and_then(|time| time.delta().to_std().ok()) {
            export = export.max_time(time);
        }
        if self.include_private.value {
            export = export.include_private();
        }
        if let Some(salt) = salt()? {
            export = export.salt(salt);
        }
        export.variables(variable).prepare()
    }

    /// What a run that counts from `now` requests.
    pub(super) fn run(&self, now: DateTime<Utc>) -> RunSettings {
        RunSettings {
            lookback: self.lookback.value.delta(),
            full_relist: self.full_relist.value,
            deletes: self.deletes.value,
            ..RunSettings::new(now)
        }
    }
}

impl<T> Setting<Option<T>> {
    /// The same setting with a default value.
    fn or(self, default: T) -> Setting<T> {
        Setting { value: self.value.unwrap_or(default), origin: self.origin }
    }

    fn or_default(self) -> Setting<T>
    where
        T: Default,
    {
        self.or(T::default())
    }
}

/// The two sources behind the flags.
struct Sources<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    file: &'a str,
}

impl Sources<'_> {
    fn of<T>(&self, flag: &'static str, typed: Option<T>, filed: Option<T>) -> Setting<Option<T>> {
        match (typed, filed) {
            (Some(value), _) => Setting { value: Some(value), origin: Origin::Flag(flag) },
            (None, Some(value)) => {
                Setting { value: Some(value), origin: Origin::File(self.file.to_owned()) }
            }
            (None, None) => Setting { value: None, origin: Origin::Default },
        }
    }

    /// A text setting that the environment can hold too; an empty variable counts as unset.
    fn text(
        &self,
        flag: &'static str,
        typed: Option<String>,
        variable: &str,
        filed: Option<String>,
    ) -> Setting<Option<String>> {
        let found = (self.environment)(variable).filter(|value| !value.is_empty());
        match (typed, found) {
            (None, Some(value)) => {
                Setting { value: Some(value), origin: Origin::Environment(variable.to_owned()) }
            }
            (typed, _) => self.of(flag, typed, filed),
        }
    }
}

/// The configuration file and its name, if there is one.
fn read_file(named: Option<&Path>) -> Result<(Option<String>, Config)> {
    let path = named.unwrap_or(Path::new(FILE));
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((Some(name.clone()), Config::from_toml(&name, &text)?)),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok((None, Config::default()))
        }
        Err(error) => {
            let message = format!("cannot read the configuration file {name}");
            Err(Error::new(ErrorKind::Config, message).with_source(error))
        }
    }
}

/// A path from the file, resolved relative to the file's folder.
fn beside(file: &str, path: &str) -> String {
    let folder = Path::new(file).parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !path.contains("://") => folder.join(path).display().to_string(),
        _ => path.to_owned(),
    }
}

/// The environment's proxy for such a URL, as the HTTP client determines it.
fn proxy(base_url: &str) -> Option<String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = reqwest::Url::parse(base_url).ok()?.host_str()?.to_owned();
    let direct = set("NO_PROXY").or_else(|| set("no_proxy")).unwrap_or_default();
    let is_direct = |part: &str| {
        let part = part.trim().trim_start_matches('.');
        part == "*" || (!part.is_empty() && (host == part || host.ends_with(&format!(".{part}"))))
    };
    if direct.split(',').any(is_direct) {
        return None;
    }
    let name = if base_url.starts_with("https:") { "https_proxy" } else { "http_proxy" };
    let names = [&name.to_ascii_uppercase(), name, "ALL_PROXY", "all_proxy"];
    names.into_iter().find_map(set)
}

/// An environment variable.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A secret from the environment, or from the file that `…_FILE` names; none if neither is set.
fn secret_if_set(name: &str) -> Result<Option<String>> {
    let file = format!("{name}_FILE");
    match (std::env::var(name), std::env::var(&file)) {
        (Ok(value), _) => Ok(Some(value)),
        (Err(_), Ok(path)) => std::fs::read_to_string(&path).map(Some).map_err(|error| {
            Error::new(ErrorKind::Config, format!("cannot read the file that {file} names"))
                .with_source(error)
        }),
        (Err(_), Err(_)) => Ok(None),
    }
}

/// One of the key pair that every request carries.
fn secret(name: &str) -> Result<String> {
    secret_if_set(name)?.ok_or_else(|| {
        Error::new(ErrorKind::Config, format!("{name} is not set")).with_hint(format!(
            "set {name}, or {name}_FILE to a file that holds it; create a key under workspace \
             settings > integrations > Clari Copilot API; `clari-lake demo` needs none"
        ))
    })
}

/// The salt of hashes, if set.
pub(super) fn salt() -> Result<Option<Salt>> {
    secret_if_set("CLARI_LAKE_SALT")?.map(|text| Salt::new(&text)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flags: &Flags, variables: &[(&str, &str)], file: &str) -> Settings {
        let name = "conf/clari-lake.toml";
        let config = Config::from_toml(name, file).unwrap();
        let environment = |wanted: &str| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::resolve(flags, None, &environment, Some(name.to_owned()), config)
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
        let file = "lake = \"data\"\nrate = 5.0\nbase_url = \"https://file\"";
        let variables = [("CLARI_LAKE", "from-environment"), ("CLARI_BASE_URL", "")];
        let typed = Flags { lake: Some("typed".to_owned()), ..Flags::default() };
        let settings = resolve(&typed, &variables, file);
        assert_eq!(settings.lake().unwrap(), "typed");
        assert_eq!(settings.lake.origin, Origin::Flag("LAKE"));
        let settings = resolve(&Flags::default(), &variables, file);
        assert_eq!(settings.lake().unwrap(), "from-environment");
        let settings = resolve(&Flags::default(), &[], file);
        assert_eq!(settings.lake().unwrap(), "conf/data");
        assert_eq!(
            (settings.rate.value, settings.rate.origin.to_string().as_str()),
            (Rate(5.0), "conf/clari-lake.toml")
        );
        assert_eq!(settings.base_url.value, "https://file");
        assert_eq!(
            (settings.concurrency.value, settings.concurrency.origin),
            (Concurrency(16), Origin::Default)
        );
        assert!(resolve(&Flags::default(), &[], "").lake().is_err());
    }

    #[test]
    fn a_store_is_not_beside_the_file() {
        let settings = resolve(&Flags::default(), &[], "lake = \"s3://bucket/lake\"");
        assert_eq!(settings.lake().unwrap(), "s3://bucket/lake");
    }

    #[test]
    fn endpoint_settings_change_the_catalogue_or_are_a_mistake_with_its_place() {
        let file = "[endpoint.calls]\npage_size = 25\nlookback = \"30d\"\npath = \"/v3/calls\"";
        let settings = resolve(&Flags::default(), &[], file);
        let calls = settings.catalogue().unwrap().find("calls").unwrap().clone();
        assert_eq!((calls.path.as_str(), calls.lookback), ("/v3/calls", Some(Span::days(30))));
        let lookback = Some(Span::days(1));
        let table = TableArgs { lookback, ..TableArgs::default() };
        let typed = resolve(&Flags { table, ..Flags::default() }, &[], file);
        assert_eq!(typed.catalogue().unwrap().find("calls").unwrap().lookback, None);
        for (file, place, what) in [
            ("\n[endpoint.cals]\non = true", "line 2, column 11", "no endpoint `cals`"),
            ("[endpoint.call_details]\npage_size = 5", "line 2, column 1", "has no pages"),
            ("[endpoint.calls]\npage_size = 0", "line 2, column 1", "from 1 to"),
        ] {
            let error = resolve(&Flags::default(), &[], file).catalogue().unwrap_err().to_string();
            assert!(error.contains(place) && error.contains(what), "{error}");
        }
    }
}
