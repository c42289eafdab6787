//! `sample`: from nothing but an address to a table, and headers that carry a secret.

use std::process::Command;

use serde_json::{Value, json};

use super::{Target, hourly};
use crate::support::{self, Canned, Lake};

const KEY: &str = "canary-key-77aa";

/// The program with credentials.
fn clari_lake(args: &[&str]) -> Command {
    let mut command = support::clari_lake(args);
    command.envs([("CLARI_API_KEY", KEY), ("CLARI_API_PASSWORD", "canary-password")]);
    command
}

fn said(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A server of 60 items in pages, which nobody has described.
fn server() -> Canned {
    Canned::start(|target| {
        let target = Target::of(target);
        if target.path != "/v2/items" {
            return (404, json!({}));
        }
        let (skip, limit) = (target.number("skip", 0), target.number("limit", 20));
        let items: Vec<Value> = hourly(60)
            .into_iter()
            .skip(skip)
            .take(limit.min(20))
            .map(|mut item| {
                item["people"] = json!([{"email": "a@example.com"}]);
                item
            })
            .collect();
        let more = skip + items.len() < 60;
        (200, json!({"data": {"items": items}, "pagination": {"hasMore": more}}))
    })
}

#[test]
fn from_an_address_to_a_table_in_two_commands() {
    let (server, lake) = (server(), Lake::new());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("items.toml");
    let url = format!("{}/v2/items?limit=20", server.base_url());
    let file_name = file.to_str().unwrap();
    let (code, out, err) = said(clari_lake(&["sample", "--url", &url, "--init", file_name]));
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("GET /v2/items: 200") && out.contains("20 records at $.data.items[*]"),
        "{out}"
    );
    assert!(out.contains("$.data.items[*].people[*]"), "{out}");
    assert!(err.contains("export LAKE --endpoints"), "{err}");
    assert_eq!(server.requests(), 1);
    let draft = std::fs::read_to_string(&file).unwrap();
    assert!(
        draft.contains("style = \"skip_limit\"") && draft.contains("key = [\"id\"]"),
        "{draft}"
    );
    let location = lake.location();
    let base_url = server.base_url();
    let dir = folder.path().to_str().unwrap();
    let export = || {
        let mut export = clari_lake(&["export", &location, "--endpoints", dir]);
        export.args(["--endpoint", "items", "--base-url", &base_url, "--rate", "0"]);
        said(export)
    };
    let (code, _, err) = export();
    assert_eq!(code, 0, "{err}");
    assert_eq!(lake.rows("items").len(), 60);
    let people = &lake.row("items", "r0003").record["people"][0]["email"];
    assert_eq!(people, "a@example.com");
    let before = lake.data();
    assert_eq!(export().0, 0);
    assert_eq!(lake.data(), before);
    // A second draft replaces no file.
    let (code, _, err) = said(clari_lake(&["sample", "--url", &url, "--init", file_name]));
    assert!(code == 2 && err.contains("replaces none"), "{err}");
}

/// A first endpoint brings all there is, in whatever way a reply or its address tells that there is
/// more; where nothing tells how to ask for it, the run says so and is not complete.
#[test]
fn a_draft_never_takes_a_first_page_for_all_there_is() {
    let server = Canned::start(|target| {
        let target = Target::of(target);
        let (first, size) = match target.path.as_str() {
            "/pages" => (target.number("page", 0) * 7, 7),
            "/tokens" => (target.number("pageToken", 0), target.number("pageSize", 7)),
            "/offsets" | "/totals" => (target.number("offset", 0), target.number("count", 7)),
            _ => (target.number("skip", 0), target.number("limit", 7)),
        };
        let items: Vec<Value> = hourly(30).into_iter().skip(first).take(size).collect();
        let next = first + items.len();
        let reply = match target.path.as_str() {
            "/pages" => json!({"items": items, "page": first / 7}),
            "/tokens" if next < 30 => json!({"items": items, "nextPageToken": next.to_string()}),
            "/flags" => json!({"items": items, "has_more": next < 30}),
            "/totals" => json!({"items": items, "total": 30}),
            _ => json!({"items": items}),
        };
        (200, reply)
    });
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    for (name, address, expected) in [
        ("pages", "/pages", 0),
        ("tokens", "/tokens?pageSize=4", 0),
        ("offsets", "/offsets?offset=0&count=6", 0),
        ("flags", "/flags", 0),
        ("limits", "/limits?limit=8", 0),
        ("totals", "/totals", 1),
    ] {
        let lake = Lake::new();
        let (url, location) = (format!("{}{address}", server.base_url()), lake.location());
        let file = format!("{dir}/{name}.toml");
        let (code, _, err) = said(clari_lake(&["sample", "--url", &url, "--init", &file]));
        assert_eq!(code, 0, "{address}: {err}");
        let mut export = clari_lake(&["export", &location, "--endpoints", dir, "--rate", "0"]);
        export.args(["--endpoint", name, "--base-url", &server.base_url()]);
        let (code, _, err) = said(export);
        assert_eq!(code, expected, "{address}: {err}");
        if code == 0 {
            assert_eq!(lake.rows(name).len(), 30, "{address}");
        } else {
            assert!(err.contains("repeats its pages"), "{address}: {err}");
        }
    }
}

#[test]
fn a_sample_is_json_for_whoever_wants_it_and_holds_no_secret() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.toml");
    let text = "description = 'd'\npath = '/v2/items'\nrecords = '$.data.items[*]'\nkey = ['id']\n\
        dated = { by = 'run' }\ncolumn = [{ name = 'id', type = 'string' }]\n\
        paging = { style = 'skip_limit' }\n[headers]\nX-Team = 'sales'\nX-Token = 'env:TOKEN'";
    std::fs::write(&path, text).unwrap();
    let file = path.to_str().unwrap();
    let base_url = server.base_url();
    let args = ["sample", file, "--base-url", &base_url, "--json"];
    let (code, _, err) = said(clari_lake(&args));
    assert!(code == 2 && err.contains("TOKEN, for the header `x-token`, is not set"), "{err}");
    assert_eq!(server.requests(), 0);
    let mut with_token = clari_lake(&args);
    with_token.env("TOKEN", "canary-token");
    let (code, out, err) = said(with_token);
    assert_eq!(code, 0, "{err}");
    assert!(!out.contains("canary") && !err.contains("canary"), "{out}{err}");
    let headers = server.last_headers();
    for header in ["x-team: sales", "x-token: canary-token", &format!("x-api-key: {KEY}")] {
        assert!(headers.iter().any(|it| it.eq_ignore_ascii_case(header)), "{headers:?}");
    }
    let sample: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(sample["records"].as_array().unwrap().len(), 10, "a small page");
    assert_eq!(server.targets(), ["/v2/items?skip=0&limit=10"]);
    let names = |key: &str, name: &str| {
        let items = sample[key].as_array().unwrap().iter();
        items.map(|it| it[name].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("columns", "name"), ["id", "at", "n", "people"]);
    assert_eq!(names("places", "path")[0], "$.data.items[*]");
    assert!(std::fs::read_dir(&folder).unwrap().count() == 1, "nothing is written");
}

#[test]
fn a_sample_of_nothing_says_what_is_wrong() {
    let server = server();
    let base_url = server.base_url();
    let wrong = format!("{base_url}/nowhere");
    for (args, code, words) in [
        (vec!["sample"], 2, "nothing to sample is named"),
        (vec!["sample", "cals"], 2, "there is no endpoint `cals`"),
        (vec!["sample", "--url", "ftp://example.com"], 2, "is no address"),
        (vec!["sample", "--url", "https://me:pw@example.com/x"], 2, "is no address"),
        (vec!["sample", "--url", &wrong], 1, "not found (404)"),
        (vec!["sample", "calls", "--init", "x.toml"], 2, "cannot be used with"),
    ] {
        let (found, out, err) = said(clari_lake(&args));
        assert!(found == code && err.contains(words), "{args:?}: {found} {out}{err}");
    }
}
