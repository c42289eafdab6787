//! `sample`: one small request, shown before anything is saved.

use std::path::Path;

use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};
use reqwest::Url;
use serde_json::{Map, Value};

use super::Exit;
use super::args::SampleArgs;
use super::export::odd_records;
use super::output::{Printer, size};
use super::settings::{Flags, Settings};
use crate::clock;
use crate::endpoint::{Catalogue, Driver, Endpoint};
use crate::error::{Error, ErrorKind};
use crate::fetch::{Client, ClientSettings, Stop};
use crate::retry::RetryPolicy;
use crate::sample::{Sample, draft_columns, first_driver, sample, sample_url};
use crate::schema::Schema;

/// How many columns and characters of a record are shown.
const COLUMNS: usize = 8;
const WIDTH: usize = 40;

/// How many records are shown of a reply that holds more.
const ROWS: usize = 20;

pub(super) fn run(args: &SampleArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags { api: args.api.clone(), ..Flags::default() };
    let settings = Settings::load(&args.files, &flags)?;
    let mut client = settings.client()?;
    // Somebody is waiting: a few attempts, and then the reason.
    client.retry = RetryPolicy { attempts: 3, attempts_too_large: 1, ..client.retry };
    client.outage = std::time::Duration::from_secs(20);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sample, draft) = match (&args.endpoint, &args.url) {
        (None, None) => return Err(nothing_named().into()),
        (None, Some(url)) => {
            let target = Target::of(url, &client)?;
            client.base_url.clone_from(&target.base_url);
            warn_of_host(&target, &settings, printer);
            let client = Client::new(&client, Stop::default())?;
            let name = draft_name(args.init.as_deref());
            let asked = sample_url(&client, &name, &target.path, &target.query, clock::now());
            let (sample, draft) = runtime.block_on(asked)?;
            (sample, Some(draft))
        }
        (Some(name), url) => {
            let (catalogue, mut endpoint) = find(&settings, name)?;
            if let Some(url) = url {
                let target = Target::of(url, &client)?;
                client.base_url.clone_from(&target.base_url);
                warn_of_host(&target, &settings, printer);
                endpoint = endpoint.redirected(&target.path, &target.query)?;
            }
            let client = Client::new(&client, Stop::default())?;
            let id = args.id.as_deref();
            let sample = runtime.block_on(ask(&client, &catalogue, &endpoint, id))?;
            (sample, None)
        }
    };
    if let (Some(file), Some(draft)) = (&args.init, &draft) {
        write_new(file, draft)?;
    }
    show(&sample, draft.as_deref().filter(|_| args.init.is_none()), args.json, printer)?;
    if let Some(file) = args.init.as_deref().filter(|_| draft.is_some()) {
        printer.note(&next_steps(file, args));
    }
    Ok(Exit::Complete)
}

/// Asks an endpoint; a chained one by the first id of its parent's own sample, if none is given.
async fn ask(
    client: &Client,
    catalogue: &Catalogue,
    endpoint: &Endpoint,
    id: Option<&str>,
) -> Result<Sample> {
    let now = clock::now();
    let names = endpoint.parent_fields();
    if let (Some(_), Some(field)) = (id, names.first()) {
        let message =
            format!("an id alone is not enough: the request names {{parent.{field}}} too");
        let hint = "leave --id out: a record of the parent's own sample is taken then";
        return Err(Error::new(ErrorKind::Config, message).with_hint(hint).into());
    }
    let Some(rule) = endpoint.parent.as_ref().filter(|_| id.is_none()) else {
        return Ok(sample(client, endpoint, id.map(Driver::of), now).await?);
    };
    let parent = catalogue.find(&rule.endpoint)?;
    let parents = Box::pin(ask(client, catalogue, parent, None)).await?;
    let schema = Schema { columns: parents.columns.clone(), ..parent.schema() };
    let wrong = |message| Error::new(ErrorKind::Config, message);
    let fields = endpoint.parent_fields_in(&schema).map_err(wrong)?;
    let (id, named) = first_driver(&parents, rule, &fields).ok_or_else(|| {
        let message = format!("a sample of `{}` has no id at {}", rule.endpoint, rule.id);
        Error::new(ErrorKind::Data, message).with_hint("name an id: --id ID")
    })?;
    let driver = Driver { id: &id, named: &named };
    if let Some(field) = driver.lacks(&names) {
        let message = format!("no record in a sample of `{}` has a `{field}`", rule.endpoint);
        return Err(Error::new(ErrorKind::Data, message).into());
    }
    Ok(sample(client, endpoint, Some(driver), now).await?)
}

/// An endpoint by its name, or by its file.
fn find(settings: &Settings, name: &str) -> Result<(Catalogue, Endpoint)> {
    let path = Path::new(name);
    let is_file = path.extension().is_some_and(|it| it == "toml");
    let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_file);
    let chosen = [stem.unwrap_or(name).to_owned()];
    let catalogue = match stem {
        Some(stem) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Error::new(ErrorKind::Config, format!("cannot read the endpoint file {name}"))
                    .with_source(error)
            })?;
            settings.catalogue()?.with_file(stem, &text)?
        }
        None => settings.catalogue()?,
    };
    catalogue.check()?;
    let catalogue = catalogue.with_headers(&chosen, &|name| std::env::var(name).ok())?;
    let endpoint = catalogue.find(&chosen[0])?.clone();
    Ok((catalogue, endpoint))
}

/// An address that was typed: the API's base, and what is asked of it.
struct Target {
    base_url: String,
    path: String,
    query: Vec<(String, String)>,
}

impl Target {
    /// A whole address, or a path and a query below the base URL.
    fn of(text: &str, client: &ClientSettings) -> Result<Self> {
        let wrong = || {
            Error::new(ErrorKind::Config, format!("`{text}` is no address"))
                .with_hint("such as https://rest-api.copilot.clari.com/calls?limit=5, or /calls")
        };
        let base = client.base_url.trim_end_matches('/').to_owned();
        let whole = if text.starts_with('/') { format!("{base}{text}") } else { text.to_owned() };
        let url = Url::parse(&whole).map_err(|_| wrong())?;
        let plain = url.username().is_empty() && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
            return Err(wrong().into());
        }
        let query = url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
        let (base_url, path) = match whole.strip_prefix(&base) {
            Some(rest) if rest.starts_with(['/', '?']) => {
                let end = rest.find(['?', '#']).unwrap_or(rest.len());
                (base, rest[..end].to_owned())
            }
            _ => (url.origin().ascii_serialization(), url.path().to_owned()),
        };
        Ok(Self { base_url, path: if path.is_empty() { "/".to_owned() } else { path }, query })
    }
}

fn warn_of_host(target: &Target, settings: &Settings, printer: Printer) {
    if !settings.base_url.value.starts_with(&target.base_url) {
        printer.note(&format!("the credentials go to {}, as you typed", target.base_url));
    }
}

fn nothing_named() -> Error {
    Error::new(ErrorKind::Config, "nothing to sample is named").with_hint(
        "name an endpoint (`clari-lake endpoints` lists them), an endpoint file, or --url URL",
    )
}

fn draft_name(file: Option<&Path>) -> String {
    let stem = file.and_then(Path::file_stem).and_then(|stem| stem.to_str());
    stem.unwrap_or("draft").to_owned()
}

/// Writes a file that is not there yet.
fn write_new(file: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let wrong = |error: std::io::Error| {
        Error::new(ErrorKind::Config, format!("cannot write {}", file.display()))
            .with_hint("--init makes a new file; it replaces none")
            .with_source(error)
    };
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(wrong)?;
    }
    let mut made = std::fs::File::create_new(file).map_err(wrong)?;
    made.write_all(text.as_bytes()).map_err(wrong)?;
    Ok(())
}

fn next_steps(file: &Path, args: &SampleArgs) -> String {
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let url = args.url.as_deref().unwrap_or_default();
    let base = Url::parse(url).map(|url| url.origin().ascii_serialization());
    let base = base.map(|base| format!(" --base-url {base}")).unwrap_or_default();
    format!(
        "\n{} is a first endpoint. Look it over, then:\n\n  clari-lake export LAKE --endpoints {} \
         --endpoint {}{base}",
        file.display(),
        folder.display(),
        draft_name(Some(file)),
    )
}

fn show(sample: &Sample, draft: Option<&str>, json: bool, printer: Printer) -> Result<()> {
    if json {
        printer.data(&serde_json::to_string_pretty(sample)?);
        return Ok(());
    }
    printer.data(&format!(
        "GET {}: {}, {} ms, {}\n",
        sample.path,
        sample.status,
        sample.milliseconds,
        size(sample.bytes as u64)
    ));
    match &sample.records_at {
        Some(path) => {
            let count = sample.records.len();
            let shown = if count > ROWS { format!(", of which {ROWS}:") } else { String::new() };
            printer.data(&format!("{count} records at {path}{shown}"));
        }
        None => printer.data("no records where the endpoint says they are"),
    }
    if !sample.records.is_empty() {
        printer.data(&records(sample));
    }
    for reason in &sample.quarantined {
        printer.warn(&format!("a record would go to quarantine: {reason}"));
    }
    for remark in odd_records(&sample.undated, &sample.same_key) {
        printer.warn(&remark);
    }
    printer.data("\nwhere records may be:");
    printer.data(&places(sample));
    match &sample.paging {
        Some(paging) => printer.data(&format!("\nhow it may go on:\n\n[paging]\n{paging}")),
        None => printer.data("\nnothing in the reply says how it goes on"),
    }
    match draft {
        Some(draft) => {
            printer.data(&format!("an endpoint file (--init FILE saves it):\n\n{draft}"));
        }
        None => printer.data(&format!("columns:\n\n{}", draft_columns(&sample.columns)?)),
    }
    Ok(())
}

fn records(sample: &Sample) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    let names = names(&sample.records);
    if names.is_empty() {
        table.set_header(["value"]);
    } else {
        table.set_header(&names);
    }
    for record in sample.records.iter().take(ROWS) {
        match record.as_object() {
            Some(object) => table.add_row(names.iter().map(|name| folded(object.get(name)))),
            None => table.add_row([folded(Some(record))]),
        };
    }
    table.to_string()
}

/// The columns to show: those with values of their own before those that are folded.
fn names(records: &[Value]) -> Vec<String> {
    let objects: Vec<&Map<String, Value>> = records.iter().filter_map(Value::as_object).collect();
    let mut names: Vec<String> = Vec::new();
    for name in objects.iter().flat_map(|object| object.keys()) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let is_folded = |name: &String| {
        let mut values = objects.iter().filter_map(|object| object.get(name));
        values.any(|value| value.is_object() || value.is_array())
    };
    names.sort_by_key(|name| (name != "id", is_folded(name)));
    names.truncate(COLUMNS);
    names
}

fn folded(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::Object(members)) => format!("{{{} fields}}", members.len()),
        Some(Value::Array(items)) => format!("[{} items]", items.len()),
        Some(Value::String(text)) => short(text),
        Some(other) => other.to_string(),
    }
}

/// A text in one line, of which the beginning is enough, without what a terminal would obey.
fn short(text: &str) -> String {
    let plain: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    if plain.chars().count() <= WIDTH {
        return plain;
    }
    plain.chars().take(WIDTH - 1).chain(['…']).collect()
}

fn places(sample: &Sample) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["path", "records", "key", "fields"]);
    for place in &sample.places {
        let key = place.key.as_ref();
        let key = key.map(|(field, value)| format!("{field} = {}", short(value)));
        let fields = match place.fields.as_slice() {
            [] => "bare values".to_owned(),
            fields => short(&fields.join(", ")),
        };
        table.add_row([
            place.path.clone(),
            place.count.to_string(),
            key.unwrap_or_default(),
            fields,
        ]);
    }
    table.to_string()
}
