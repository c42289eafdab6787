//! `sample`: one small request, shown before anything is saved.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use comfy_table::Table;
use reqwest::Url;
use serde_json::{Map, Value};

use super::args::SampleArgs;
use super::exit::Exit;
use super::export::{numeric_keys, odd_records};
use super::output::{Printer, counted, size, table};
use super::settings::{Flags, Settings};
use crate::clock;
use crate::endpoint::{
    Catalogue, DateFormat, Endpoint, Headers, OneOrMany, Overrides, ParentRef, RecordPath,
    check_name, plain_name,
};
use crate::error::{Error, ErrorKind};
use crate::fetch::{Client, ClientSettings, Stop};
use crate::library::range;
use crate::retry::RetryPolicy;
use crate::sample::{Address, Extent, Sample, draft_columns, first_parent, sample, sample_url};
use crate::schema::{Column, ColumnType, Schema};
use crate::window::Window;

/// How many columns and characters of a record are shown.
const COLUMNS: usize = 5;
const WIDTH: u16 = 40;

/// The maximum width of the output.
const WIDEST: u16 = 80;

/// How many records are shown of a reply that holds more.
const ROWS: usize = 20;

pub(super) fn run(args: &SampleArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags { api: args.api.clone(), ..Flags::default() };
    let settings = Settings::load(&args.files, &flags)?;
    let mut client = settings.client()?;
    // The user is waiting: try a few times, then give the reason.
    client.retry =
        RetryPolicy { attempts: 3, attempts_too_large: 1, attempts_no_list: 2, ..client.retry };
    client.outage = std::time::Duration::from_secs(20);
    let name = draft_name(args.init.as_deref())?;
    let target = args.url.as_ref().map(|url| Target::of(url, &client)).transpose()?;
    if let Some(target) = &target {
        client.base_url.clone_from(&target.base_url);
        warn_of_host(target, &settings, printer);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sample, draft) = match (&args.endpoint, &target) {
        (None, None) => return Err(nothing_named().into()),
        (None, Some(target)) => {
            let address = address(args, target)?;
            let client = Client::new(&client, Stop::default())?;
            let asked = sample_url(&client, &name, &address, clock::now());
            let asked = runtime.block_on(asked);
            let (sample, draft) = asked.inspect_err(|_| show_seen(&client, printer))?;
            (sample, Some(draft))
        }
        (Some(name), target) => {
            let (catalogue, mut endpoint) = find(&settings, name)?;
            if let Some(target) = target {
                endpoint = endpoint.redirected(&target.path, &target.query)?;
            }
            change(&mut endpoint, args)?;
            let client = Client::new(&client, Stop::default())?;
            let asked =
                ask(&client, &catalogue, &endpoint, args.id.as_deref(), range(args, &endpoint)?);
            let sample = runtime.block_on(asked);
            (sample.inspect_err(|_| show_seen(&client, printer))?, None)
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

/// The window of `--from` and `--to`, for an endpoint that takes one.
fn range(args: &SampleArgs, endpoint: &Endpoint) -> Result<Option<Window>, Error> {
    let Some(from) = args.from else { return Ok(None) };
    if endpoint.window.is_none() {
        let message = format!("{} has no window, so --from has no effect", endpoint.name);
        return Err(Error::new(ErrorKind::Config, message));
    }
    let to = range::end(args.to, clock::now())?;
    range::check(Some(from), to)?;
    Ok(Some(Window::new(from, to)))
}

/// The address with the chosen options.
fn address(args: &SampleArgs, target: &Target) -> Result<Address> {
    let wrong = |message| Error::new(ErrorKind::Config, message);
    let mut address = Address::new(&target.path, &target.query)?;
    address.headers = headers(args)?;
    let format = args.date_format.clone().map(DateFormat::try_from);
    address.date_format = format.transpose().map_err(wrong)?;
    address.time_unit = args.time_unit;
    address.records.clone_from(&args.records);
    address.key.clone_from(&args.keys);
    if let Some(path) = &args.records {
        RecordPath::try_from(path.clone()).map_err(wrong)?;
    }
    if let Some(from) = args.from {
        if !address.names_window() {
            let message = "--from needs {window.from} or {window.to} in the URL".to_owned();
            return Err(wrong(message).into());
        }
        let to = range::end(args.to, clock::now())?;
        range::check(Some(from), to)?;
        address.range = Some(Window::new(from, to));
    }
    Ok(address)
}

/// Headers from flags, with values from the environment.
fn headers(args: &SampleArgs) -> Result<Headers, Error> {
    let wrong = |message| Error::new(ErrorKind::Config, message);
    let texts: BTreeMap<String, String> = args.headers.iter().cloned().collect();
    let mut headers = Headers::try_from(texts).map_err(wrong)?;
    headers.resolve(&|name| std::env::var(name).ok()).map_err(wrong)?;
    Ok(headers)
}

/// Changes an endpoint for this call only.
fn change(endpoint: &mut Endpoint, args: &SampleArgs) -> Result<(), Error> {
    let wrong = |message| Error::new(ErrorKind::Config, message);
    let records = args.records.clone().map(RecordPath::try_from);
    let records = records.transpose().map_err(wrong)?.map(OneOrMany::One);
    let is_new = |key: &&String| endpoint.columns.iter().all(|column| column.name != **key);
    let columns = args.keys.iter().filter(is_new);
    let columns = columns.map(|key| Column::new(key, ColumnType::String)).collect();
    let key = Some(args.keys.clone()).filter(|keys| !keys.is_empty());
    let overrides = Overrides { records, key, columns, ..Overrides::default() };
    overrides.apply(endpoint).map_err(|mistake| wrong(mistake.message))?;
    endpoint.headers.extend(&headers(args)?);
    Ok(())
}

/// The server's reply to a failed request.
fn show_seen(client: &Client, printer: Printer) {
    let Some(seen) = client.last_seen() else { return };
    printer.note(&format!("GET {}", seen.url));
    if let Some(status) = seen.status {
        let content_type = seen.content_type.unwrap_or_else(|| "no content type".to_owned());
        printer.note(&format!("{status}, {}\n", line(&content_type, WIDEST)));
        let beginning = seen.beginning.trim();
        if !beginning.is_empty() {
            printer.note(&format!("  {}\n", line(beginning, 4 * WIDEST)));
        }
    }
}

/// Samples an endpoint; a child endpoint by the first id of its parent's sample, if no id is given.
async fn ask(
    client: &Client,
    catalogue: &Catalogue,
    endpoint: &Endpoint,
    id: Option<&str>,
    range: Option<Window>,
) -> Result<Sample> {
    let now = clock::now();
    let names = endpoint.parent_fields();
    if let (Some(_), Some(field)) = (id, names.first()) {
        let message =
            format!("an id alone is not enough: the request names {{parent.{field}}} too");
        let hint = "omit --id to use a record from a sample of the parent";
        return Err(Error::new(ErrorKind::Config, message).with_hint(hint).into());
    }
    let Some(rule) = endpoint.parent.as_ref().filter(|_| id.is_none()) else {
        let parent = id.map(ParentRef::of);
        return Ok(sample(client, endpoint, Extent { parent, range }, now).await?);
    };
    let parent = catalogue.find(&rule.endpoint)?;
    let parents = Box::pin(ask(client, catalogue, parent, None, None)).await?;
    let schema = Schema { columns: parents.columns.clone(), ..parent.schema() };
    let wrong = |message| Error::new(ErrorKind::Config, message);
    let fields = endpoint.parent_fields_in(&schema).map_err(wrong)?;
    let (id, values) = first_parent(&parents, rule, &fields).ok_or_else(|| {
        let message = format!("a sample of `{}` has no id at {}", rule.endpoint, rule.id);
        Error::new(ErrorKind::Data, message).with_hint("pass an id: --id ID")
    })?;
    let parent = ParentRef { key: &id, id: &id, values: &values };
    if let Some(field) = parent.lacks(&names) {
        let message = format!("no record in a sample of `{}` has a `{field}`", rule.endpoint);
        return Err(Error::new(ErrorKind::Data, message).into());
    }
    Ok(sample(client, endpoint, Extent { parent: Some(parent), range }, now).await?)
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

/// An address from the command line: the API's base, and the path and query.
struct Target {
    base_url: String,
    path: String,
    query: Vec<(String, String)>,
}

impl Target {
    /// A whole address, or a path and a query below the base URL.
    fn of(text: &str, client: &ClientSettings) -> Result<Self> {
        let wrong = || {
            Error::new(ErrorKind::Config, format!("`{text}` is not a URL"))
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
        // As typed: a macro's braces must not be encoded.
        let path = |rest: &str| rest[..rest.find(['?', '#']).unwrap_or(rest.len())].to_owned();
        let (base_url, path) = match whole.strip_prefix(&base) {
            Some(rest) if rest.starts_with(['/', '?']) => (base, path(rest)),
            _ => {
                let after = whole.find("://").map_or(0, |at| at + 3);
                let rest =
                    whole[after..].find(['/', '?', '#']).map_or("", |at| &whole[after + at..]);
                (url.origin().ascii_serialization(), path(rest))
            }
        };
        Ok(Self { base_url, path: if path.is_empty() { "/".to_owned() } else { path }, query })
    }
}

fn warn_of_host(target: &Target, settings: &Settings, printer: Printer) {
    let origin = |url: &str| Url::parse(url).map(|url| url.origin().ascii_serialization());
    if origin(&settings.base_url.value).ok() != origin(&target.base_url).ok() {
        printer.note(&format!(
            "the credentials are sent to {}, because you typed it",
            target.base_url
        ));
    }
}

fn nothing_named() -> Error {
    Error::new(ErrorKind::Config, "there is nothing to sample").with_hint(
        "pass an endpoint (`clari-lake endpoints` lists them), an endpoint file, or --url URL",
    )
}

/// The endpoint's name from its file's name, which must be a name that an export accepts.
fn draft_name(file: Option<&Path>) -> Result<String, Error> {
    let Some(file) = file else { return Ok("draft".to_owned()) };
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let wrong = |message: String| {
        let right = file.with_file_name(format!("{}.toml", plain_name(stem)));
        Error::new(ErrorKind::Config, message).with_hint(format!("such as {}", right.display()))
    };
    check_name(stem).map_err(wrong)?;
    if file.extension().is_none_or(|it| it != "toml") {
        return Err(wrong("the name of an endpoint file ends in .toml".to_owned()));
    }
    Ok(stem.to_owned())
}

/// Writes a new file, never replacing one.
fn write_new(file: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let wrong = |error: std::io::Error| {
        Error::new(ErrorKind::Config, format!("cannot write {}", file.display()))
            .with_hint("--init does not replace a file; choose another name")
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
        "\nDraft saved to {}. Review it, then run:\n\n  clari-lake export LAKE --endpoint-dir {} \
         --endpoint {}{base}",
        file.display(),
        folder.display(),
        file.file_stem().unwrap_or_default().display(),
    )
}

fn show(sample: &Sample, draft: Option<&str>, json: bool, printer: Printer) -> Result<()> {
    if json {
        printer.data(&serde_json::to_string_pretty(sample)?);
        return Ok(());
    }
    printer.data(&format!(
        "GET {}\n{}, {} ms, {}\n",
        sample.url,
        sample.status,
        sample.milliseconds,
        size(sample.bytes as u64)
    ));
    match &sample.records_at {
        Some(path) => {
            let count = sample.records.len();
            let shown = if count > ROWS { format!(", of which {ROWS}:") } else { String::new() };
            let count = counted(count as u64, "record");
            printer.data(&format!("{count} at {path}{shown}"));
        }
        None => printer.data("no records where the endpoint says they are"),
    }
    if !sample.records.is_empty() {
        printer.data(&records(sample));
    }
    for reason in &sample.quarantined {
        printer.warn(&format!("one record would go to quarantine: {reason}"));
    }
    for remark in odd_records(&sample.undated, &sample.same_key) {
        printer.warn(&remark);
    }
    if let Some(remark) = numeric_keys(&sample.numbers_as_text) {
        printer.note(&remark);
    }
    printer.data("\ncandidate record paths:");
    printer.data(&places(sample));
    match &sample.paging {
        Some(paging) => printer.data(&format!("\ncandidate pagination:\n\n[paging]\n{paging}")),
        None => printer.data("\nthe reply shows no pagination"),
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
    let mut table = narrow();
    let names = names(&sample.records);
    if names.is_empty() {
        table.set_header(["value"]);
    } else {
        table.set_header(&names);
    }
    // One line per record, whatever its values.
    let columns = u16::try_from(names.len()).unwrap_or(1).max(1);
    let width = WIDEST / columns - 4;
    for record in sample.records.iter().take(ROWS) {
        match record.as_object() {
            Some(object) => table.add_row(names.iter().map(|name| folded(object.get(name), width))),
            None => table.add_row([folded(Some(record), width)]),
        };
    }
    table.to_string()
}

/// A table that fits any terminal.
fn narrow() -> Table {
    let mut table = table();
    let width = table.width().unwrap_or(WIDEST);
    table.set_width(width.min(WIDEST));
    table
}

/// The columns to show: those with distinct values before those that are folded.
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

fn folded(value: Option<&Value>, width: u16) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::Object(members)) => format!("{{{}}}", counted(members.len() as u64, "field")),
        Some(Value::Array(items)) => format!("[{}]", counted(items.len() as u64, "item")),
        Some(Value::String(text)) => line(text, width),
        Some(other) => other.to_string(),
    }
}

fn short(text: &str) -> String {
    line(text, WIDTH)
}

/// The beginning of a text on one line, without characters that control a terminal.
fn line(text: &str, width: u16) -> String {
    let width = usize::from(width);
    let plain: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    if plain.chars().count() <= width {
        return plain;
    }
    plain.chars().take(width - 1).chain(['…']).collect()
}

fn places(sample: &Sample) -> String {
    let mut table = narrow();
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
