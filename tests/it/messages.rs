//! Messages: the true cause of what went wrong, in the first seconds, with what to do about it.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clari_lake::internals::simulator::Settings;
use serde_json::{Value, json};

use crate::support::{self, Canned, Lake, Site, clari_lake_at, small};

/// What a command says: its exit code, stdout and stderr.
fn said(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// B12: what is wrong with a base URL is not blamed on credentials, and is said within seconds.
#[test]
fn a_wrong_server_is_named_within_seconds() {
    let nothing = Canned::start(|_| (404, json!({"message": "no such page"})));
    let pages = Canned::start(|_| (200, json!("<html><body>Please log in</body></html>")));
    let picky = Canned::start(|_| (400, json!({"message": "no such limit"})));
    let refusing = Canned::start(|_| (401, json!({"errorMessage": "Unknown key"})));
    for (base_url, code, words) in [
        (nothing.base_url(), 2, "the API does not seem to be at"),
        (pages.base_url(), 2, "an HTML page came instead of JSON"),
        (picky.base_url(), 1, "the API refused the request (400): no such limit"),
        (refusing.base_url(), 2, "the credentials were not accepted (401): Unknown key"),
        ("https://no-such-host.invalid".to_owned(), 1, "does not resolve (no-such-host.invalid)"),
    ] {
        let (lake, begun) = (Lake::new(), Instant::now());
        let (found, out, err) = said(clari_lake_at(&["export", &lake.location()], &base_url));
        assert!(found == code && err.contains(words), "{base_url}: {found} {out}{err}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{base_url}: {:?}", begun.elapsed());
        let is_denied = base_url == refusing.base_url();
        assert_eq!(err.contains("CLARI_API_KEY"), is_denied, "{err}");
        assert!(!err.contains(&Settings::default().api_key), "{err}");
    }
}

/// A chained or experimental endpoint alone: 404 for everything is no matter of credentials either.
#[test]
fn only_404_replies_point_to_the_base_url() {
    let site = Site::exported();
    let nothing = Canned::start(|_| (404, json!({})));
    let args = ["export", &site.lake.location(), "--endpoint", "teams", "--rate", "0"];
    let (code, _, err) = said(clari_lake_at(&args, &nothing.base_url()));
    assert!(code == 2 && err.contains("check --base-url"), "{code} {err}");
}

/// P5: a key of numbers that is declared as text is stored as text, which the run says.
#[test]
fn a_numeric_key_in_a_column_of_texts_is_remarked_on() {
    let server = Canned::start(|_| (200, json!({"rows": [{"id": 1}, {"id": 2}]})));
    let folder = tempfile::tempdir().unwrap();
    for (of_type, is_said) in [("string", true), ("int64", false)] {
        let text = format!(
            "description = 'd'\npath = '/x'\nrecords = '$.rows[*]'\nkey = ['id']\n\
             dated = {{ by = 'run' }}\ncolumn = [{{ name = 'id', type = '{of_type}' }}]"
        );
        std::fs::write(folder.path().join("mine.toml"), text).unwrap();
        let (lake, dir) = (Lake::new(), folder.path().to_str().unwrap());
        let location = lake.location();
        let args = ["export", &location, "--endpoint", "mine", "--endpoint-dir", dir];
        let (code, _, err) = said(clari_lake_at(&args, &server.base_url()));
        assert_eq!((code, err.contains("declare it as int64")), (0, is_said), "{err}");
    }
}

/// A number below zero is a wrong value, not an unknown flag.
#[test]
fn a_limit_below_zero_is_a_wrong_value() {
    for flag in ["--rate", "--weekly-quota", "--quota-share", "--page-size", "--lookback"] {
        let (code, _, err) = said(clari_lake_at(&["export", "lake", flag, "-1"], ""));
        assert!(code == 2 && err.contains(&format!("invalid value '-1' for '{flag}")), "{err}");
    }
}

/// The demo's records are invented, so they never get into a lake that was exported to.
#[test]
fn the_demo_keeps_away_from_other_lakes() {
    let site = Site::exported();
    let before = site.lake.data();
    let (code, _, err) = said(support::clari_lake(&["demo", &site.lake.location()]));
    assert!(code == 2 && err.contains("records are invented"), "{code} {err}");
    // Nor into one whose first export was killed.
    std::fs::remove_dir_all(site.lake.path().join("_manifest/runs")).unwrap();
    let (code, _, err) = said(support::clari_lake(&["demo", &site.lake.location()]));
    assert!(code == 2 && err.contains("records are invented"), "{code} {err}");
    assert!(site.lake.data() == before);
}

/// An export into the demo's lake says so once, and does what it was told to.
#[test]
fn an_export_into_the_demos_lake_says_that_its_records_are_invented() {
    let (lake, server) = (Lake::new(), Canned::start(|_| (200, json!({"users": []}))));
    let location = lake.location();
    assert_eq!(said(support::clari_lake(&["demo", &location, "--calls", "5"])).0, 0);
    let args = ["export", &location, "--endpoint", "users", "--rate", "0"];
    for is_said in [true, false] {
        let (code, _, err) = said(clari_lake_at(&args, &server.base_url()));
        assert_eq!((code, err.contains("which are invented")), (0, is_said), "{err}");
    }
}

/// The partition length of a table is fixed when it is created: another one is not ignored silently.
#[test]
fn a_partition_length_that_a_table_does_not_have_is_remarked_on() {
    let (lake, server) = (Lake::new(), Canned::start(|_| (200, json!({"users": [{"id": "u"}]}))));
    let location = lake.location();
    let by_month = "one partition per day, as created: users; partition_by = month";
    for (length, is_said) in [(None, false), (Some("month"), true), (Some("day"), false)] {
        let mut args = vec!["export", &location, "--endpoint", "users", "--rate", "0"];
        args.extend(length.iter().flat_map(|it| ["--partition-by", it]));
        let (code, _, err) = said(clari_lake_at(&args, &server.base_url()));
        assert_eq!((code, err.contains(by_month)), (0, is_said), "{err}");
    }
    let args = ["changes", &location, "--since", "users=999999"];
    let (code, _, err) = said(support::clari_lake(&args));
    assert!(code == 2 && err.contains("the newest version of `users` is"), "{code} {err}");
}

/// A server that is down is named while the user waits.
#[test]
fn doctor_does_not_wait_for_a_server_that_is_down() {
    let begun = Instant::now();
    let (code, out, err) = said(clari_lake_at(&["doctor"], "http://127.0.0.1:9"));
    assert!(code == 1 && out.contains("no connection (127.0.0.1:9)"), "{code} {out}{err}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn a_write_to_stdout_that_fails_is_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = support::clari_lake(&["endpoints", "--json"]);
    command.stdout(Stdio::from(full));
    let output = command.output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && err.contains("cannot write to stdout"), "{err}");
}

/// B13: what cannot work is found before anything is sent.
#[test]
fn a_page_size_that_the_api_never_sends_is_found_by_config_check() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clari-lake.toml");
    for (text, is_right) in [
        ("[endpoint.calls]\npage_size = 500", false),
        ("[endpoint.users]\npage_size = 500", false),
        ("[endpoint.users]\npage_size = 100", true),
        ("[endpoint.calls.paging]\nstyle = 'skip_limit'\npage_size = 500", true),
    ] {
        std::fs::write(&file, text).unwrap();
        let args = ["config", "check", "--config", file.to_str().unwrap()];
        let (code, _, err) = said(clari_lake_at(&args, "http://127.0.0.1:9"));
        assert_eq!(code == 0, is_right, "{text}: {err}");
        assert!(is_right || err.contains("from 1 to 100"), "{err}");
    }
    let lake = folder.path().join("lake").display().to_string();
    let args = ["export", &lake, "--endpoint", "calls", "--page-size", "500"];
    let (code, _, err) = said(clari_lake_at(&args, "http://127.0.0.1:9"));
    assert!(code == 2 && err.contains("calls: a page has from 1 to 100 records"), "{err}");
    let args = ["export", &lake, "--endpoint", "users", "--page-size", "50"];
    let (code, _, err) = said(clari_lake_at(&args, "http://127.0.0.1:9"));
    assert!(code == 2 && err.contains("users has no pages"), "{err}");
}

/// Any part of a built-in endpoint can be changed, and its file can be printed to start from.
#[test]
fn a_built_in_file_is_printed_and_changed() {
    let server = Canned::start(|target| match target.split('?').next() {
        Some("/x/teams") => (200, json!({"rows": [{"name": "a", "n": 1}, {"name": "b", "n": 2}]})),
        _ => (200, json!({"topics": []})),
    });
    let (code, text, _) = said(clari_lake_at(&["endpoints", "teams", "--toml"], ""));
    assert_eq!((code, text.contains("path = \"/teams\"")), (0, true), "{text}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("whole.toml"), &text).unwrap();
    let changed = "path = '/x/teams'\nrecords = '$.rows[*]'\nkey = ['name']\n\
        paging = { style = 'none' }\nexperimental = false\n\
        [[column]]\nname = 'n'\ntype = 'double'";
    std::fs::write(folder.path().join("teams.toml"), changed).unwrap();
    let like = "like = 'teams'\ndescription = 'the same'\nkey = ['n']\n\
        [[column]]\nname = 'n'\ntype = 'string'";
    std::fs::write(folder.path().join("teams_by_number.toml"), like).unwrap();
    let (lake, dir) = (Lake::new(), folder.path().to_str().unwrap());
    for flag in ["--endpoint-dir", "--endpoints"] {
        let location = lake.location();
        let mut args = vec!["export", &location, flag, dir, "--rate", "0"];
        args.extend(["--endpoint", "teams", "--endpoint", "teams_by_number"]);
        let (code, out, err) = said(clari_lake_at(&args, &server.base_url()));
        assert_eq!(code, 0, "{out}{err}");
    }
    let names: Vec<Value> =
        lake.rows("teams").iter().map(|row| row.record["name"].clone()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(lake.rows("teams_by_number").len(), 2);
}

/// B7: a table without windows is as fresh as its last complete reading.
#[test]
fn tables_without_windows_have_an_age() {
    let server =
        Canned::start(|_| (200, json!({"rows": [{"id": "a", "at": "2026-11-01T00:00:00Z"}]})));
    let folder = tempfile::tempdir().unwrap();
    let text = "description = 'd'\npath = '/x'\nrecords = '$.rows[*]'\nkey = ['id']\n\
        dated = { by = 'field', field = 'at' }\n\
        column = [{ name = 'id', type = 'string' }, { name = 'at', type = 'timestamp' }]";
    std::fs::write(folder.path().join("mine.toml"), text).unwrap();
    let (lake, dir) = (Lake::new(), folder.path().to_str().unwrap());
    let location = lake.location();
    let own = ["--endpoint-dir", dir];
    let export = [&["export", &location, "--endpoint", "mine", "--rate", "0"][..], &own].concat();
    assert_eq!(said(clari_lake_at(&export, &server.base_url())).0, 0);
    let status = [&["status", &location, "--max-age", "26h"][..], &own].concat();
    let (code, out, err) = said(clari_lake_at(&status, &server.base_url()));
    assert!(code == 0 && !out.contains("never complete"), "{code} {out}{err}");
}

/// One thing by hand, from the command line; and what changed, with the point to go on from.
#[test]
fn by_hand_from_the_command_line() {
    let site = Site::new(&small());
    let (lake, base_url) = (site.lake.location(), site.server.base_url());
    let calls = site.workspace.calls_before(site.now, false);
    let ready = calls.iter().find(|call| call["status"] == "POST_PROCESSING_DONE").unwrap();
    let id = ready["id"].as_str().unwrap();
    let run = |args: &[&str]| said(clari_lake_at(args, &base_url));
    let export = ["export", &lake, "--rate", "0", "--endpoint", "call_details", "--id", id];
    assert_eq!(run(&export).0, 0);
    assert_eq!(site.lake.rows("call_details").len(), 1);
    let (code, out, _) = run(&["changes", &lake, "--since", "1d", "--json"]);
    let first: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, first["changed"][0]["inserted"].as_u64()), (0, Some(1)), "{out}");
    let next = first["next"].as_str().unwrap();
    let (code, out, _) = run(&["changes", &lake, "--since", next]);
    assert!(code == 0 && out.starts_with("nothing changed\nnext: call_details="), "{out}");
    for (args, words) in [
        (&["changes", &lake, "--since", "yesterday"][..], "expected a date"),
        (&["changes", &lake, "--since", "20200101T000000Z-1"], "there is no run"),
        (&["export", &lake, "--id", id], "--endpoint"),
        (&["export", &lake, "--endpoint", "users", "--id", id], "is not requested by id"),
        (&["export", &lake, "--endpoint", "call_details", "--id", id, "--from", "3d"], "cannot be"),
        (&["export", &lake, "--from", "30x"], "a time ago such as 30d"),
    ] {
        let (code, out, err) = run(args);
        assert!(code == 2 && err.contains(words), "{args:?}: {code} {out}{err}");
    }
}

/// A lake's place is one that every reader can read, or it is refused.
#[test]
fn a_folder_that_readers_treat_as_a_partition_is_refused() {
    let site = Site::new(&small());
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (name, code) in [("dt=2026-01-01/lake", 2), ("dt=lake", 2), ("year=2026/my dt=lake", 0)] {
        let (lake, only) = (place(name), ["--endpoint", "topics", "--rate", "0"]);
        let export = [&["export", lake.as_str()][..], &only].concat();
        let (found, out, err) = said(clari_lake_at(&export, &site.server.base_url()));
        assert_eq!(found, code, "{name}: {out}{err}");
        assert!(code == 0 || err.contains("treat as a partition"), "{err}");
    }
}
