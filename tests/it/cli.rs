//! The command line as its users meet it: words, exit codes, and no secret in any of them.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use clari_lake::internals::simulator::{Options, Server, Settings, Workspace};
use serde_json::Value;

use crate::support::{Assert, Lake, SALT, Site, clari_lake, now, small};

/// What a command says: its exit code, then stdout, then stderr.
fn said(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    format!("{code}\n{}{}", text(output.stdout), text(output.stderr))
}

#[test]
fn help_names_every_command_and_every_exit_code() {
    insta::assert_snapshot!(said(clari_lake(&["--help"])), @r#"
    0
    Exports a Clari Copilot workspace to a partitioned Parquet lake, exactly and incrementally.

    Credentials come from `CLARI_API_KEY` and `CLARI_API_PASSWORD`, or from the files that
    `CLARI_API_KEY_FILE` and `CLARI_API_PASSWORD_FILE` name; never from a flag.

    Usage: clari-lake [OPTIONS] <COMMAND>

    Commands:
      demo         Export a simulated workspace to a local lake; needs no credentials
      export       Export what changed since the last run (first run: the last 30 days)
      backfill     Export history, newest first, within a share of the weekly quota; resumable
      plan         Show what an export (with --from, a backfill) would request: windows, requests,
                   quota, time
      status       Show coverage, freshness, sizes, quota and the last runs of a lake
      verify       Check every object of a lake against its manifest and index
      changes      Show which partitions changed since a run or a time, over any number of runs
      doctor       Check the credentials, the workspace's endpoints, and the store's guarantees
      endpoints    Show the endpoints: what can be exported, and how each is requested
      schema       Show an endpoint's columns and types
      sample       Send one small request to an endpoint and show its records, columns and pagination
      config       Check the configuration, or show every setting and its source
      evolve       Add columns for the fields in `extra_json`, and rewrite every file of the table
      forget       Remove a call or a person's data from the lake, and keep it out
      sql          Print the lake's tables and views as SQL statements
      simulate     Serve a simulated API on this machine
      completions  Print shell completions for bash, zsh, fish, elvish or powershell
      man          Write man pages, one per command
      help         Print this message or the help of the given subcommand(s)

    Options:
      -q, --quiet
              Log only errors

      -v, --verbose...
              Log progress; -vv logs every request

          --log-format <text|json>
              Format of stderr: text, or one JSON object per line

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Exit codes: 0 complete; 1 incomplete but safe, run again; 2 fix something first; 130 or 143
    interrupted, safe.

    Try it without credentials: clari-lake demo
    "#);
}

#[test]
fn the_flags_of_export_are_these() {
    insta::assert_snapshot!(said(clari_lake(&["export", "--help"])), @r#"
    0
    Export what changed since the last run (first run: the last 30 days)

    Usage: clari-lake export [OPTIONS] [LAKE]

    Arguments:
      [LAKE]  The lake: a folder, which is created if it does not exist, or `s3://bucket/prefix`,
              `gs://…`, `az://…` [env: `CLARI_LAKE`]

    Options:
          --endpoint <NAME>         Only this endpoint (repeatable); default: all but the CRM endpoints
                                    and ranges
          --id <ID>                 Export only this id, such as one call's details (repeatable); needs
                                    one --endpoint that is requested by id
          --from <D>                List from this time on, even if it was exported before: a UTC date,
                                    an RFC 3339 instant, or a time ago such as 30d
          --to <D>                  Export as if the run had started at this UTC date or RFC 3339
                                    instant
          --full                    List everything in the lake again
          --evolve                  At the end, add columns for the fields in `extra_json`
      -q, --quiet                   Log only errors
      -v, --verbose...              Log progress; -vv logs every request
          --log-format <text|json>  Format of stderr: text, or one JSON object per line
      -h, --help                    Print help
      -V, --version                 Print version

    Tables:
          --lookback <TIME>           How far back to list records again, to find silent edits, such as
                                      12h or 4w [default: 7d]
          --page-size <N>             Records per page, for all exported endpoints with pages [default:
                                      the endpoint's own]
          --include-private           Export private calls too
          --no-transcripts            Leave out transcripts, and the phrases in which topics were found
          --partition-by <day|month>  Time per partition of new tables [default: day]
          --deletes <mark|drop>       Mark or drop the rows of deleted calls [default: mark]

    Requests:
          --base-url <URL>   Base URL of the API [env: `CLARI_BASE_URL`] [default: the vendor's]
          --rate <N>         Maximum requests per second; 0 for no limit [default: 10]
          --concurrency <N>  Maximum concurrent requests [default: 16]

    Limits:
          --weekly-quota <N>     Maximum requests per week, of all runs on this lake; weeks begin on
                                 Sunday 00:00 UTC [default: 100000]
          --quota-share <SHARE>  Share of the weekly quota that backfills may use, from 0 to 1 [default:
                                 0.7]
          --max-time <TIME>      Maximum duration of the run, such as 90m or 6h; what is complete by
                                 then is committed

    Files:
          --config <FILE>       Configuration file [default: clari-lake.toml in the current folder, if
                                it exists]
          --endpoint-dir <DIR>  Folder of endpoint files: your own endpoints, and changes to built-in
                                ones

    Results:
          --json            Print the run report as JSON on stdout
          --metrics <FILE>  Write the run's metrics to this file at its end, for Prometheus
    "#);
}

#[test]
fn every_command_has_a_man_page_and_every_shell_its_completions() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man").display().to_string();
    clari_lake(&["man", &dir]).assert().code(0);
    let page = |name: &str| std::fs::read_to_string(format!("{dir}/{name}.1")).unwrap();
    assert!(page("clari-lake-export").contains("CLARI_LAKE"));
    assert!(page("clari-lake").contains("Exit codes"));
    assert!(page("clari-lake-config-show").contains("every setting and its source"));

    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = clari_lake(&["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("max-time") && script.contains("evolve"), "{shell}");
    }
    clari_lake(&["man", "/dev/null/man"]).assert().code(2);
}

#[test]
fn endpoints_are_listed() {
    insta::assert_snapshot!(said(clari_lake(&["endpoints"])), @r#"
    0
    ┌─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┐
    │ endpoint                path                           key               dated by                           description                                                                         │
    ╞═════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════╡
    │ calls                   /calls                         id                time                               Calls: recorded, scheduled or failed, with participants, deal and metrics           │
    │ scorecard_templates     /scorecard-template            id                day of the run                     Templates of scorecards with their questions                                        │
    │ scorecards              /scorecard                     id                day of the window                  Scorecards that were filled in for calls                                            │
    │ topics                  /topics                        topic             day of the run                     Names of the keyword topics                                                         │
    │ topics_v2               /v2/topics                     topic_id          day of the run                     Topics with their trackers, descriptions and teams                                  │
    │ users                   /users                         id                day of the run                     Users of the workspace                                                              │
    │ accounts                /accounts                      id                day of the run      experimental   Accounts that Copilot knows from the CRM                                            │
    │ aggregate_stats         /stats/aggregate               day               day of the window   experimental   Measures of all calls of the workspace, day by day                                  │
    │ opportunities           /opportunities                 id                day of the run      experimental   Opportunities (deals) that Copilot knows from the CRM                               │
    │ playlists               /playlists                     id                day of the run      experimental   Playlists of calls                                                                  │
    │ teams                   /teams                         id                day of the run      experimental   Teams of the workspace                                                              │
    │ user_stats              /stats                         user_id, day      day of the window   experimental   Measures of each user's calls, day by day                                           │
    │ call_details            /call-details                  id                time                               Details of finished calls: all of the call, its transcript, summary and competitors │
    │ playlist_calls          /playlists/{parent.id}/calls   playlist_id, id   day of the run      experimental   Calls of each playlist                                                              │
    │ aggregate_stats_range   /stats/aggregate               range             day of the window   off            Measures of all calls of the workspace over a whole range, one row for each range   │
    │ user_stats_range        /stats                         range, user_id    day of the window   off            Measures of each user's calls over a whole range, one row for each user and range   │
    │ crm_accounts            /get-account                   crm_id            day of the run      off            CRM accounts that calls are linked to                                               │
    │ crm_contacts            /get-contact                   crm_id            day of the run      off            CRM contacts that calls are linked to                                               │
    │ crm_deals               /get-deal                      crm_id            day of the run      off            CRM deals that calls are linked to                                                  │
    └─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
    "#);
}

#[test]
fn a_schema_is_a_table_of_columns() {
    insta::assert_snapshot!(said(clari_lake(&["schema", "users"])), @r#"
    0
    users: Users of the workspace
    ┌────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┐
    │ column         type        description                                                                                 │
    ╞════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════╡
    │ dt             date        The partition: a folder, not a column in the files                                          │
    │ id             string      Id of the user in Copilot; joins users.userId of `calls` and rep and scorer of `scorecards` │
    │ email          string      E-mail address of the user                                                                  │
    │ name           string      Name of the user                                                                            │
    │ role           string      REP, MANAGER or OBSERVER, an open set                                                       │
    │ is_recording   boolean     Whether the user's calls are recorded                                                       │
    │ manager_id     string      Id of the user's manager; joins `users` on id; absent without one                           │
    │ day            date        The day of the window or run in which the row was found                                     │
    │ extra_json     string      Values that the other columns do not hold, shaped like the record                           │
    │ exported_at    timestamp   When this version of the row was fetched                                                    │
    └────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
    "#);
}

#[test]
fn a_schema_as_json_is_what_a_manifest_holds() {
    insta::assert_snapshot!(said(clari_lake(&["schema", "topics", "--json"])), @r#"
    0
    {
      "columns": [
        {
          "name": "topic",
          "type": "string",
          "description": "Name of the topic, the whole record: the API sends bare strings; joins metrics.categories.name of `calls`",
          "convert": true
        }
      ],
      "added": {
        "day": true,
        "deleted_at": false
      }
    }
    "#);
}

/// Every error that a user can make says what to do, and ends with 2.
#[test]
fn sql_and_schema_differences_of_a_lake_are_printed() {
    let lake = Lake::new();
    let folder = lake.path();
    let place = folder.to_str().unwrap();
    clari_lake(&["demo", place, "--calls", "20", "-q"]).assert().code(0);
    let sql = said(clari_lake(&["sql", place, "--engine", "duckdb"]));
    assert!(sql.contains(&format!("'{place}/calls/dt=*/part-*.parquet'")), "{sql}");
    // The demo's workspace has no CRM look-ups; its views still have their columns.
    assert!(sql.contains("-- table crm_deals, nothing yet"), "{sql}");
    let athena = said(clari_lake(&["sql", place, "--engine", "athena"]));
    assert!(athena.starts_with("2\n") && athena.contains("--location s3://"), "{athena}");
    let athena = ["sql", place, "--engine", "athena", "--location", "s3://b/p/"];
    let athena = said(clari_lake(&athena));
    assert!(athena.contains("\nlocation 's3://b/p/calls/'\n"), "{athena}");
    // The first manifest of users, before any reply, has the declared columns and no others.
    assert_eq!(said(clari_lake(&["schema", "users", place, "--diff", "1"])), "0\n");
    let missing = said(clari_lake(&["schema", "users", place, "--diff", "1..77"]));
    assert!(missing.contains("has no manifest 77 of `users`"), "{missing}");
}

#[test]
fn a_schema_is_a_statement_too() {
    insta::assert_snapshot!(said(clari_lake(&["schema", "topics_v2", "--ddl", "athena"])), @r"
    0
    create external table `topics_v2` (
      `topic_id` string,
      `topic_name` string,
      `type` string,
      `team_ids` array<string>,
      `custom_topic` struct<`description`:string,`status`:string>,
      `keyword_topic` struct<`trackers`:array<string>>,
      `day` date,
      `extra_json` string,
      `exported_at` timestamp
    )
    partitioned by (
      `dt` string
    )
    stored as parquet
    location 's3://bucket/topics_v2/';
    ");
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    let folder = Lake::new();
    let lake = folder.location();
    let run = |args: &[&str]| {
        let mut command = clari_lake(&[&["export", &lake], args].concat());
        command.envs([("CLARI_API_KEY", "k"), ("CLARI_API_PASSWORD", "p")]);
        said(command)
    };
    insta::assert_snapshot!(said(clari_lake(&["export", &lake])), @r#"
    2
    error: CLARI_API_KEY is not set

    hint: set CLARI_API_KEY, or CLARI_API_KEY_FILE to a file that holds it; create a key under workspace settings > integrations > Clari Copilot API; `clari-lake demo` needs none
    "#);
    insta::assert_snapshot!(run(&["--endpoint", "cals"]), @r#"
    2
    error: there is no endpoint `cals`

    hint: the endpoints are: calls, scorecard_templates, scorecards, topics, topics_v2, users, accounts, aggregate_stats, opportunities, playlists, teams, user_stats, call_details, playlist_calls, aggregate_stats_range, user_stats_range, crm_accounts, crm_contacts, crm_deals
    "#);
    insta::assert_snapshot!(run(&["--to", "2999-01-01"]), @r#"
    2
    error: the end, 2999-01-01T00:00:00Z, is in the future

    hint: omit the end (--to) to export up to now
    "#);
    insta::assert_snapshot!(run(&["--from", "2026-02-01", "--to", "2026-01-01"]), @r#"
    2
    error: the start, 2026-02-01T00:00:00Z, is not before the end, 2026-01-01T00:00:00Z

    hint: the start (--from) must be before the end (--to), or before now
    "#);
    insta::assert_snapshot!(run(&["--to", "yesterday"]), @r#"
    2
    error: invalid value 'yesterday' for '--to <D>': expected a date such as 2026-11-01, an instant such as 2026-11-01T06:00:00Z, or a time ago such as 30d

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(run(&["--base-url", "https://x.example/?a=b"]), @r#"
    2
    error: `https://x.example/?a=b` is not a base URL

    hint: it looks like https://rest-api.copilot.clari.com
    "#);
    insta::assert_snapshot!(said(clari_lake(&["schema", "cals"])), @r#"
    2
    error: there is no endpoint `cals`

    hint: the endpoints are: calls, scorecard_templates, scorecards, topics, topics_v2, users, accounts, aggregate_stats, opportunities, playlists, teams, user_stats, call_details, playlist_calls, aggregate_stats_range, user_stats_range, crm_accounts, crm_contacts, crm_deals
    "#);
    assert!(folder.files("").is_empty(), "nothing was written");
}

#[test]
fn the_demo_needs_no_credentials_and_its_report_is_complete() {
    let lake = Lake::new();
    let location = lake.location();
    let args = ["demo", location.as_str(), "--calls", "150", "--json", "-q"];
    let output = clari_lake(&args).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["complete"], &report["command"]), (&true.into(), &"demo".into()));
    let endpoint = |name: &str| {
        let endpoints = report["endpoints"].as_array().unwrap();
        endpoints.iter().find(|it| it["endpoint"] == name).unwrap().clone()
    };
    assert_eq!(endpoint("calls")["rows"], lake.rows("calls").len());
    assert_eq!(endpoint("users")["rows"], lake.rows("users").len());
    assert_eq!(report["problems"], Value::Array(Vec::new()));
}

#[test]
fn status_begins_with_a_verdict_and_can_be_a_page() {
    let lake = Lake::new();
    let location = lake.location();
    said(clari_lake(&["demo", location.as_str(), "--calls", "150", "-q"]));
    let text = said(clari_lake(&["status", location.as_str()]));
    assert!(text.starts_with("0\nAll is well. 1"), "{text}");
    let stale = said(clari_lake(&["status", location.as_str(), "--max-age", "0m"]));
    assert!(stale.starts_with("1\n"), "{stale}");
    assert!(stale.contains("things need attention."), "{stale}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("status.html");
    let page = file.to_str().unwrap();
    let args = ["status", location.as_str(), "--json", "--html", page];
    let output = clari_lake(&args).output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["well"], true);
    assert!(status["tables"][0]["evolvable"].is_array());
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.contains("All is well.") && page.contains("calls by day"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    let piped = said(clari_lake(&["status", location.as_str(), "--html", "-"]));
    assert!(piped.starts_with("0\n<!doctype html>") && piped.ends_with("</html>\n"), "{piped}");
    let nowhere = said(clari_lake(&["status", location.as_str(), "--html", "/no/such/page.html"]));
    assert!(nowhere.starts_with("2\nerror: cannot write /no/such/page.html\n"), "{nowhere}");
}

/// An export through the command, at the workspace's own instant.
fn export(server: &Server, lake: &Lake) -> Command {
    let mut command = clari_lake(&["export", &lake.location(), "--rate", "0", "--base-url"]);
    command.arg(server.base_url()).args(["--to", &now().to_rfc3339()]);
    command.envs([("CLARI_API_KEY", KEY), ("CLARI_API_PASSWORD", PASSWORD)]);
    command
}

/// A14: a run on a machine whose clock is wrong says so once, without `-v` or `--json`; on a machine
/// whose clock is right, nothing is said of it.
#[test]
fn a_wrong_clock_is_reported_by_default() {
    let said = |date, args: &[&str]| {
        let workspace = Workspace::generate(&Options { calls: 5, ..small() });
        let server =
            Server::start(workspace, Settings { date, ..with_canaries(Settings::default()) });
        let (server, lake) = (server.unwrap(), Lake::new());
        let output =
            export(&server, &lake).args(["--endpoint", "users"]).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    let yesterday = Some(Utc::now() - TimeDelta::days(1));
    for args in [&[][..], &["--log-format", "json"]] {
        let text = said(yesterday, args);
        assert_eq!(text.matches(" s ahead of the API's; this run goes by").count(), 1, "{text}");
        assert!(!said(None, args).contains("clock"));
    }
}

/// Other commands that send requests use the export's ledger, and never create one.
#[test]
fn p7_plan_and_doctor_use_the_ledger_of_a_lake_and_create_none() {
    let workspace = Workspace::generate(&Options { calls: 40, ..small() });
    let server = Server::start(workspace, with_canaries(Settings::default())).unwrap();
    let lake = Lake::new();
    let ask = |command: &str| {
        let before = server.requests().len();
        let mut command = clari_lake(&[command, &lake.location(), "--base-url"]);
        command.arg(server.base_url()).args(["--rate", "0"]);
        command.envs([("CLARI_API_KEY", KEY), ("CLARI_API_PASSWORD", PASSWORD)]);
        command.output().unwrap();
        assert!(server.requests().len() > before, "it asked");
    };
    let spent = || -> usize {
        let status = clari_lake(&["status", &lake.location(), "--json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        status["week"]["spent"].as_u64().unwrap().try_into().unwrap()
    };
    ask("plan");
    ask("doctor");
    assert_eq!(lake.files(""), Vec::<std::path::PathBuf>::new());
    let uncounted = server.requests().len();
    export(&server, &lake).output().unwrap();
    assert_eq!(spent(), server.requests().len() - uncounted);
    ask("plan");
    ask("doctor");
    assert_eq!(spent(), server.requests().len() - uncounted);
}

/// A table keeps the partition length it is created with, so the one that suits a workspace is named
/// before there is a table, and not afterwards.
#[test]
fn a_plan_and_a_first_export_say_which_partition_length_suits_the_workspace() {
    let workspace = Workspace::generate(&Options { calls: 40, ..small() });
    let server = Server::start(workspace, with_canaries(Settings::default())).unwrap();
    let lake = Lake::new();
    let advice = |mut command: Command| -> String {
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        let advice = said.lines().filter(|line| line.contains("--partition-by"));
        advice.collect::<Vec<_>>().join("\n")
    };
    let plan = |more: &[&str]| {
        let mut command = clari_lake(&["plan", &lake.location(), "--base-url"]);
        command.arg(server.base_url()).args(["--rate", "0"]).args(more);
        command.envs([("CLARI_API_KEY", KEY), ("CLARI_API_PASSWORD", PASSWORD)]);
        advice(command)
    };
    let by_month = "records a day: `--partition-by month` suits it better";
    assert!(plan(&[]).contains(by_month), "{}", plan(&[]));
    assert_eq!(plan(&["--partition-by", "month"]), "");
    let first = advice(export(&server, &lake));
    assert!(first.contains("calls has about") && first.contains(by_month), "{first}");
    assert_eq!(advice(export(&server, &lake)), "");
    assert_eq!(plan(&[]), "");
}

/// A plan counts the parents that a run exports too.
#[test]
fn p7_a_plan_of_details_counts_calls_until_the_lake_has_some() {
    let lake = Lake::new();
    let location = lake.location();
    let planned = || -> Vec<String> {
        let args = ["plan", location.as_str(), "--endpoint", "call_details", "--offline", "--json"];
        let output = clari_lake(&args).output().unwrap();
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        let endpoints = plan["endpoints"].as_array().unwrap().iter();
        endpoints.map(|it| it["endpoint"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(planned(), ["calls", "call_details"]);
    said(clari_lake(&["demo", location.as_str(), "--calls", "40", "-q"]));
    assert_eq!(planned(), ["call_details"]);
}

const KEY: &str = "canary-key-5d1f";
const PASSWORD: &str = "canary-password-9c2e";

fn with_canaries(settings: Settings) -> Settings {
    let (api_key, api_password) = (KEY.to_owned(), PASSWORD.to_owned());
    Settings { api_key, api_password, ..settings }
}

#[test]
fn p8_a_json_log_is_one_object_per_line_without_secrets_and_queries() {
    let workspace = Workspace::generate(&Options { calls: 40, ..small() });
    let server = Server::start(workspace, with_canaries(Settings::default())).unwrap();
    let lines = |mut command: Command| -> Vec<Value> {
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!text.contains("canary") && !text.contains("filterTime"), "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let json = ["--log-format", "json"];
    let lake = Lake::new();
    let mut every_request = export(&server, &lake);
    every_request.args(json).arg("-vv");
    let log = lines(every_request);
    let asked = log.iter().filter(|it| it["message"] == "asked").count();
    assert_eq!(asked, server.requests().len());
    let is_page =
        |line: &&Value| line["message"] == "page" && line["spans"][0]["endpoint"] == "calls";
    let page = log.iter().find(is_page).unwrap();
    assert_eq!(page["spans"][1]["name"], "window");
    assert!(page["spans"][1]["to"].is_string() && page["level"] == "DEBUG");
    let ended = log.last().unwrap();
    assert_eq!((&ended["message"], &ended["complete"]), (&"run ended".into(), &true.into()));

    let mut plain = export(&server, &lake);
    plain.args(json);
    let log = lines(plain);
    assert!(log.iter().all(|it| it["level"] == "INFO") && log.len() > 10, "{log:#?}");
    let mut quiet = export(&server, &lake);
    quiet.args(json).arg("-q");
    assert_eq!(lines(quiet), [] as [Value; 0]);
    let mut denied = export(&server, &lake);
    denied.args(json).env("CLARI_API_KEY", "wrong");
    let log = lines(denied);
    assert_eq!(log.last().unwrap()["level"], "ERROR");
    assert!(log.last().unwrap()["hint"].as_str().unwrap().contains("CLARI_API_KEY"));
}

#[test]
fn a_run_writes_its_metrics_however_it_ends() {
    let workspace = Workspace::generate(&Options { calls: 40, ..small() });
    let server = Server::start(workspace, with_canaries(Settings::default())).unwrap();
    let (lake, folder) = (Lake::new(), tempfile::tempdir().unwrap());
    let file = folder.path().join("clari.prom");
    let value = |name: &str| {
        let text = std::fs::read_to_string(&file).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.map(|value| value.parse::<f64>().unwrap())
    };
    let exit = "clari_lake_run_exit_code{command=\"export\"}";
    let success = "clari_lake_last_success_timestamp_seconds";
    let metrics = ["--metrics", file.to_str().unwrap(), "-q"];
    let mut denied = export(&server, &lake);
    denied.args(metrics).env("CLARI_API_KEY", "wrong");
    assert!(said(denied).starts_with("2\n"));
    assert_eq!((value(exit), value(success)), (Some(2.0), None));
    let mut complete = export(&server, &lake);
    complete.args(metrics);
    assert_eq!(said(complete), "0\n");
    let sent = value("clari_lake_run_requests{endpoint=\"calls\",status=\"200\"}").unwrap();
    let calls = server.requests().iter().filter(|it| it.path == "/calls").count();
    assert_eq!((value(exit), sent), (Some(0.0), f64::from(u32::try_from(calls).unwrap())));
    let rows = lake.rows("calls").len();
    assert_eq!(
        value("clari_lake_rows{endpoint=\"calls\"}"),
        u32::try_from(rows).ok().map(f64::from)
    );
    let last = value(success);
    assert!(last.is_some());
    let mut denied = export(&server, &lake);
    denied.args(metrics).env("CLARI_API_KEY", "wrong");
    assert!(said(denied).starts_with("2\n"));
    assert_eq!((value(exit), value(success)), (Some(2.0), last), "the last success is still known");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    let mut nowhere = export(&server, &lake);
    nowhere.args(["--metrics", "/no/such/folder/x.prom"]);
    let asked = server.requests().len();
    let text = said(nowhere);
    assert!(text.contains("the folder of /no/such/folder/x.prom does not exist"), "{text}");
    assert_eq!(server.requests().len(), asked, "nothing was asked for");
}

#[test]
fn p8_no_secret_is_in_any_output_or_file() {
    let workspace = Workspace::generate(&Options { calls: 40, ..small() });
    let server = Server::start(workspace.clone(), with_canaries(Settings::default())).unwrap();
    let denying = Server::start(workspace, Settings::default()).unwrap();
    let lake = Lake::new();
    let mut verbose = export(&server, &lake);
    verbose.arg("-v").arg("--json");
    let texts = [
        (0, said(verbose)),
        (0, said(export(&server, &lake))),
        (2, said(export(&denying, &lake))),
        (2, said(export(&denying, &Lake::new()))),
    ];
    for (code, text) in texts {
        assert!(text.starts_with(&format!("{code}\n")), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
    for path in lake.files("") {
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"canary"), "{}", path.display());
    }
}

#[test]
fn credentials_are_read_from_files_too() {
    let workspace = Workspace::generate(&Options { calls: 10, ..small() });
    let server = Server::start(workspace, with_canaries(Settings::default())).unwrap();
    let (lake, secrets) = (Lake::new(), tempfile::tempdir().unwrap());
    let file = |name: &str, text: &str| {
        let path = secrets.path().join(name);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        path
    };
    let mut command = export(&server, &lake);
    command.env_remove("CLARI_API_KEY").env_remove("CLARI_API_PASSWORD");
    command.env("CLARI_API_KEY_FILE", file("key", KEY));
    command.env("CLARI_API_PASSWORD_FILE", file("password", PASSWORD));
    command.args(["--endpoint", "users"]).assert().code(0);
    assert_eq!(lake.rows("users").len(), 8);
}

#[test]
fn p12_an_incomplete_run_ends_with_1_and_says_what_to_do() {
    let settings = with_canaries(Settings { quota: Some(20), ..Settings::default() });
    let server = Server::start(Workspace::generate(&small()), settings).unwrap();
    let text = said(export(&server, &Lake::new()));
    assert!(text.starts_with("1\n"), "{text}");
    assert!(text.contains("the quota is spent") && text.contains("hint: "), "{text}");
}

/// Section 6: a signal ends a run early and safely, and the next one finishes the job.
#[test]
fn p2_p3_sigterm_ends_with_143_and_leaves_a_lake_that_the_next_run_completes() {
    let latency = Duration::from_millis(15);
    let site = Site::with(&small(), with_canaries(Settings { latency, ..Settings::default() }));
    let mut run = export(&site.server, &site.lake).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while site.server.count("/call-details") < 10 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the run asks for nothing");
        std::thread::sleep(Duration::from_millis(2));
    }
    let kill = Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(run.wait().unwrap().code(), Some(143));
    site.assert_coverage_is_true();
    assert!(site.lake.rows("call_details").len() < site.lake.rows("calls").len());
    export(&site.server, &site.lake).assert().code(0);
    site.assert_calls(site.now);
}

/// kill -9 is no different, but for what the next run has to heal.
#[test]
fn p2_p3_sigkill_leaves_a_lake_that_reads_and_that_the_next_run_completes() {
    let latency = Duration::from_millis(5);
    let site = Site::with(&small(), with_canaries(Settings { latency, ..Settings::default() }));
    for requests in [3, 25, 60] {
        let mut command = export(&site.server, &site.lake);
        let mut run = command.stderr(Stdio::null()).spawn().unwrap();
        site.server.clear();
        while site.server.requests().len() < requests && run.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        run.kill().unwrap();
        run.wait().unwrap();
        site.assert_coverage_is_true();
    }
    export(&site.server, &site.lake).assert().code(0);
    site.assert_calls(site.now);
}

/// A folder with a configuration file, where a command is run.
fn configured(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("clari-lake.toml"), text).unwrap();
    folder
}

#[test]
fn a_configuration_is_shown_with_where_each_setting_came_from() {
    let folder = configured(
        "lake = \"data\"\nrate = 5\nbase_url = \"https://me:canary@example.com\"\n\
         [endpoint.calls]\npage_size = 25\n",
    );
    let mut show = clari_lake(&["config", "show", "--concurrency", "3", "--json"]);
    show.current_dir(&folder).env("CLARI_LAKE", "/elsewhere").env("CLARI_API_KEY", "canary");
    let text = said(show);
    assert!(text.starts_with("0\n") && !text.contains("canary"), "{text}");
    let shown: Value = serde_json::from_str(&text[2..]).unwrap();
    let setting = |key: &str| {
        let setting = &shown[key];
        (setting["value"].clone(), setting["origin"].as_str().unwrap().to_owned())
    };
    let file = || "clari-lake.toml".to_owned();
    assert_eq!(setting("lake"), ("/elsewhere".into(), "environment: CLARI_LAKE".to_owned()));
    assert_eq!(setting("rate"), (5.0.into(), file()));
    assert_eq!(setting("concurrency"), (3.into(), "--concurrency".to_owned()));
    assert_eq!(setting("lookback"), ("7d".into(), "default".to_owned()));
    assert_eq!(setting("endpoint.calls.page_size"), (25.into(), file()));
    assert_eq!(setting("base_url"), ("https://***@example.com".into(), file()));
    assert_eq!(setting("CLARI_API_KEY").0, "***");
    assert_eq!(setting("CLARI_API_PASSWORD").0, "not set");
}

#[test]
fn a_wrong_configuration_ends_every_command_with_2_and_its_place() {
    let folder = configured("lake = \"data\"\n[endpoint.calls]\npage_sise = 25\n");
    for args in [&["config", "check"][..], &["export"], &["verify"], &["endpoints"]] {
        let mut command = clari_lake(args);
        command.current_dir(&folder);
        let text = said(command);
        assert!(text.starts_with("2\n"), "{text}");
        assert!(text.contains("line 3, column 1") && text.contains("page_sise"), "{text}");
    }
    let mut other = clari_lake(&["config", "check", "--config", "no-such.toml"]);
    other.current_dir(&folder);
    assert!(said(other).contains("cannot read the configuration file no-such.toml"));
}

#[test]
fn a_call_is_forgotten_by_command_and_mistakes_are_reported() {
    let lake = Lake::new();
    let place = lake.location();
    clari_lake(&["demo", &place, "--calls", "20", "-q"]).assert().code(0);
    let run = |args: &[&str]| said(clari_lake(&[&["forget", &place], args].concat()));
    let none = run(&[]);
    assert!(none.starts_with("2\n") && none.contains("--call <ID>|--email <ADDRESS>"), "{none}");
    assert!(run(&["--email", "nobody"]).contains("expected an email address"));
    let id = lake.rows("calls")[0].record["id"].as_str().unwrap().to_owned();
    let text = run(&["--call", &id]);
    let line = "calls: 1 row removed, 0 rows blanked (0 values), 1 partition rewritten, 0 \
                quarantined records changed\n";
    assert!(text.starts_with("0\n") && text.contains(line), "{text}");
    assert!(
        text.ends_with("forgotten; it will not be exported again\n") && !text.contains(&id),
        "{text}"
    );
    assert_eq!(run(&["--call", &id]), "0\nalready forgotten; nothing was left to remove\n");
    assert!(lake.files_with("", &id).is_empty());
    clari_lake(&["verify", &place, "-q"]).assert().code(0);
    clari_lake(&["status", &place, "-q"]).assert().code(0);
    let text = run(&["--email", "ann@example.com", "--json"]);
    let told: Value = serde_json::from_str(&text[2..]).unwrap();
    assert_eq!((&told["is_new"], &told["unknown"]), (&true.into(), &Value::Array(Vec::new())));
    let nowhere = said(clari_lake(&["forget", "/no/such/lake", "--call", "x"]));
    assert!(nowhere.starts_with("2\n") && nowhere.contains("there is no lake"), "{nowhere}");
}

/// Hashes without a salt would hide nothing: exit 2, before the first request.
#[test]
fn a_missing_salt_and_impossible_rules_are_reported_before_the_first_request() {
    let workspace = Workspace::generate(&Options { calls: 10, ..small() });
    let server = Server::start(workspace, with_canaries(Settings::default())).unwrap();
    let run = |file: &str, more: &[&str], salt: Option<&str>| {
        let folder = configured(&format!("rate = 0\nlake = \"data\"\n{file}"));
        let mut command = clari_lake(&["export", "--to", &now().to_rfc3339()]);
        command.args(more).args(["--base-url", &server.base_url()]).current_dir(&folder);
        command.envs([("CLARI_API_KEY", KEY), ("CLARI_API_PASSWORD", PASSWORD)]);
        command.envs(salt.map(|salt| ("CLARI_LAKE_SALT", salt)));
        said(command)
    };
    let hashed = "[columns]\nusers.userEmail = \"hash\"\n";
    let contacts = "[endpoint.calls.columns]\ncrm_info.contact_ids = \"mask\"\n";
    for (file, more, salt, words) in [
        (hashed, &[][..], None, "CLARI_LAKE_SALT is not set"),
        (hashed, &[], Some("short"), "shorter than 16"),
        ("[columns]\nusers.userEmial = \"hash\"\n", &[], None, "line 4, column 7"),
        ("[columns]\nid = \"drop\"\n", &[], None, "is part of the key"),
        ("[endpoint.calls.columns]\ntime = \"mask\"\n", &[], None, "dates the rows"),
        ("[endpoint.calls.columns]\nstatus = \"hash\"\n", &[], Some(SALT), "needs `status`"),
        (
            contacts,
            &["--endpoint", "calls", "--endpoint", "crm_contacts"],
            None,
            "crm_contacts` needs",
        ),
    ] {
        let text = run(file, more, salt);
        assert!(text.starts_with("2\n") && text.contains(words), "{file}: {text}");
        assert!(!text.contains(SALT), "{text}");
    }
    assert_eq!(server.requests().len(), 0);
    let text = run(hashed, &["--endpoint", "calls"], Some(SALT));
    assert!(text.starts_with("0\n") && !text.contains(SALT), "{text}");
}

#[test]
fn an_export_follows_its_configuration() {
    let workspace = Workspace::generate(&Options { calls: 60, ..small() });
    let server = Server::start(workspace, with_canaries(Settings::default())).unwrap();
    let text = format!(
        "lake = \"data\"\nbase_url = \"{}\"\nrate = 0\n[endpoint.calls]\npage_size = 10\n\
         query = {{ filterStatus = \"POST_PROCESSING_DONE\" }}\n[endpoint.users]\non = false\n",
        server.base_url()
    );
    let folder = configured(&text);
    let mut command = clari_lake(&["export", "--to", &now().to_rfc3339()]);
    command.envs([("CLARI_API_KEY", KEY), ("CLARI_API_PASSWORD", PASSWORD)]);
    command.current_dir(&folder).assert().code(0);
    let requests = server.requests();
    let asked: Vec<_> = requests.iter().map(|request| format!("{request:?}")).collect();
    let lists = asked.iter().filter(|it| it.contains("/calls"));
    assert!(lists.clone().count() > 6, "{asked:#?}");
    assert!(folder.path().join("data/calls").is_dir());
    assert!(!folder.path().join("data/users").exists());
}
