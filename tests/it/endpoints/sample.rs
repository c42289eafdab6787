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

/// A server of 60 items in pages, without an endpoint file.
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
fn from_a_url_to_a_table_in_two_commands() {
    let (server, lake) = (server(), Lake::new());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("items.toml");
    let url = format!("{}/v2/items?limit=20", server.base_url());
    let file_name = file.to_str().unwrap();
    let (code, out, err) = said(clari_lake(&["sample", "--url", &url, "--init", file_name]));
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("/v2/items?limit=20\n200, ") && out.contains("20 records at $.data.items[*]"),
        "{out}"
    );
    assert!(out.contains("$.data.items[*].people[*]"), "{out}");
    assert!(err.contains("export LAKE --endpoint-dir"), "{err}");
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
    assert!(code == 2 && err.contains("does not replace a file"), "{err}");
}

/// A drafted endpoint exports everything, however a reply or its URL shows that there is more; if
/// nothing shows how to request it, the run says so and is not complete.
#[test]
fn a_draft_never_treats_a_first_page_as_the_whole_list() {
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

/// B2, B15: what `--init` saves is exported as it was sampled: a map, one record by its id, pages by a
/// `Link` header, macros, and what was chosen by flags.
#[test]
fn every_draft_is_exported_as_it_was_sampled() {
    let server = Canned::start(|target| {
        let target = Target::of(target);
        let user = |id: &str| json!({"id": id, "name": id, "n": 1, "at": "2026-11-01T00:00:00Z"});
        match target.path.as_str() {
            "/map" => (200, json!({"users": {"u1": user("u1"), "u2": user("u2")}})),
            "/one" => {
                let mut one = user("c1");
                one["turns"] = json!([{"text": "a", "end": 1}, {"text": "b", "end": 2}]);
                (200, json!({ "call": one }))
            }
            "/since" if target.get("since").is_some_and(|it| it.starts_with("20")) => {
                (200, json!({"a": [user("x")], "b": [{"m": 1, "k": "a"}, {"m": 1, "k": "b"}]}))
            }
            _ => (400, json!({"message": "no such thing"})),
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let chosen = ["--records", "$.b[*]", "--key", "m", "--key", "k", "--date-format", "yyyy-MM-dd"];
    for (name, address, more, rows, words) in [
        ("map", "/map", &[][..], 2, "records = \"$.users.*\""),
        ("one", "/one?id=c1", &[], 1, "records = \"$.call\"\nkey = [\"id\"]"),
        ("since", "/since?since={now-1}", &chosen, 2, "\"since\" = \"{now-1}\""),
    ] {
        let lake = Lake::new();
        let (url, location) = (format!("{}{address}", server.base_url()), lake.location());
        let file = format!("{dir}/{name}.toml");
        let sampled = [&["sample", "--url", &url, "--init", &file][..], more].concat();
        let (code, out, err) = said(clari_lake(&sampled));
        assert_eq!(code, 0, "{address}: {err}");
        assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(words), "{text}");
        let mut export = clari_lake(&["export", &location, "--endpoint-dir", dir, "--rate", "0"]);
        export.args(["--endpoint", name, "--base-url", &server.base_url()]);
        let (code, _, err) = said(export);
        assert_eq!(code, 0, "{address}: {err}");
        assert_eq!(lake.rows(name).len(), rows, "{address}");
    }
}

#[test]
fn a_sample_can_be_json_and_contains_no_secret() {
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
fn an_empty_sample_says_what_is_wrong() {
    let server = server();
    let base_url = server.base_url();
    let wrong = format!("{base_url}/nowhere");
    for (args, code, words) in [
        (vec!["sample"], 2, "there is nothing to sample"),
        (vec!["sample", "cals"], 2, "there is no endpoint `cals`"),
        (vec!["sample", "--url", "ftp://example.com"], 2, "is not a URL"),
        (vec!["sample", "--url", "https://me:pw@example.com/x"], 2, "is not a URL"),
        (vec!["sample", "--url", &wrong], 1, "not found (404)"),
        (vec!["sample", "--url", &wrong], 1, "404, application/json\n"),
        (vec!["sample", "--url", &wrong], 1, "/nowhere\n"),
        (vec!["sample", "--url", &wrong, "--init", "calls-by-hand.toml"], 2, "calls_by_hand.toml"),
        (vec!["sample", "--url", &wrong, "--init", "x.txt"], 2, "ends in .toml"),
        (vec!["sample", "--url", &wrong, "--from", "7d"], 2, "needs {window.from}"),
        (vec!["sample", "--url", "/x/{nwo}"], 2, "no macro `{nwo}`"),
        (vec!["sample", "--url", "/x/{parent.id}"], 2, "ids of another endpoint"),
        (vec!["sample", "--url", &wrong, "--header", "X-Token: a"], 2, "looks like a secret"),
        (vec!["sample", "users", "--from", "7d"], 2, "has no window"),
        (vec!["sample", "calls", "--init", "x.toml"], 2, "cannot be used with"),
    ] {
        let (found, out, err) = said(clari_lake(&args));
        assert!(found == code && err.contains(words), "{args:?}: {found} {out}{err}");
    }
}

/// B14, C8: what is almost JSON is shown, and what is another format is refused by name, at once.
#[test]
fn a_reply_that_is_not_json_is_read_or_refused_at_once() {
    for (body, code, words) in [
        ("{\"id\":1}\n{\"id\":2}\n", 0, "2 records at $[*]"),
        ("[{\"id\": \"a\", \"odd\": 007, \"none\": NaN}]", 0, "007"),
        ("id,name\n1,Ann\n", 1, "CSV came instead of JSON"),
        ("<calls/>", 1, "XML came instead of JSON"),
        ("<html>Sign in</html>", 1, "an HTML page came instead of JSON"),
    ] {
        let server = Canned::start_with(move |_| (200, "text/plain", body.to_owned()));
        let url = format!("{}/x", server.base_url());
        let (found, out, err) = said(clari_lake(&["sample", "--url", &url]));
        assert!(found == code && format!("{out}{err}").contains(words), "{body}: {out} {err}");
        assert_eq!(server.requests(), 1, "{body}");
    }
}

/// C17: nothing that the API sends is obeyed by a terminal: names, values, its own error words.
#[test]
fn control_characters_never_reach_the_terminal() {
    let odd = "\u{1b}]0;x\u{7}\r\u{202e}\u{9b}2J\u{2066}";
    let server = Canned::start(move |target| match Target::of(target).path.as_str() {
        "/refused" => (400, json!({"errors": [{"detail": format!("no {odd} such")}]})),
        "/failed" => (200, json!({"error": format!("no {odd} such"), "items": null})),
        _ => {
            let mut item = json!({"id": format!("a{odd}"), "title": odd, "at": 7});
            item[format!("name{odd}")] = json!({"below": odd});
            (200, json!({"items": [item], format!("rows{odd}"): [{"id": odd}]}))
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::new();
    let file = |name: &str, path: &str| {
        let text = format!(
            "description = 'd'\npath = '{path}'\nrecords = '$.items[*]'\nkey = ['id']\n\
             dated = {{ by = 'run' }}\n[[column]]\nname = 'id'\ntype = 'string'\n"
        );
        std::fs::write(folder.path().join(format!("{name}.toml")), text).unwrap();
    };
    file("odd", "/odd");
    file("refused", "/refused");
    file("failed", "/failed");
    let base = server.base_url();
    let (url, lake) = (format!("{base}/odd"), lake.location());
    let folder = folder.path().to_str().unwrap();
    let export = |name| {
        let all = ["export", &lake, "--endpoints", folder, "--base-url", &base, "--endpoint", name];
        all.map(str::to_owned)
    };
    let with = |args: [String; 8], more: &[&str]| -> Vec<String> {
        args.into_iter().chain(more.iter().map(|it| (*it).to_owned())).collect()
    };
    let mut runs: Vec<Vec<String>> =
        [&["sample", "--url", &url][..], &["sample", "--url", &url, "--json"]]
            .map(|args| args.iter().map(|it| (*it).to_owned()).collect())
            .to_vec();
    runs.push(with(export("odd"), &["-v"]));
    runs.push(with(export("refused"), &["-vv", "--json"]));
    runs.push(with(export("failed"), &["--log-format", "json"]));
    for args in runs {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (code, out, err) = said(clari_lake(&args));
        assert!(code < 2, "{args:?}: {err}");
        for obeyed in ["\u{1b}", "\u{7}", "\r", "\u{202e}", "\u{9b}", "\u{2066}"] {
            assert!(!out.contains(obeyed) && !err.contains(obeyed), "{args:?}: {out:?} {err:?}");
        }
        assert!(format!("{out}{err}").contains("202e"), "{args:?} shows it: {out} {err}");
    }
}
