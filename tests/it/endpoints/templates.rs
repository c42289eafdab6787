//! The thirteen templates of the commercial connector, by name: what can be said of each.

use chrono::TimeDelta;
use clari_lake::internals::endpoint::{Catalogue, Endpoint, ParentRef};
use clari_lake::internals::fetch::{first_page, request};
use serde_json::{Value, json};

use crate::support::{Canned, Lake, Run, Site, at, small};

const TEMPLATES: [&str; 13] = [
    "calls",
    "call_details",
    "users",
    "teams",
    "topics",
    "topics_v2",
    "scorecard_templates",
    "user_stats",
    "aggregate_stats",
    "playlists",
    "playlist_calls",
    "accounts",
    "opportunities",
];

/// Those that take a range of dates, and the names of its parameters.
const RANGES: [(&str, &str, &str); 3] = [
    ("calls", "filterTimeGt", "filterTimeLt"),
    ("user_stats", "from", "to"),
    ("aggregate_stats", "from", "to"),
];

fn changed(name: &str, text: &str) -> Endpoint {
    let catalogue = Catalogue::built_in().unwrap().with_file(name, text).unwrap();
    catalogue.check().unwrap();
    catalogue.find(name).unwrap().clone()
}

fn asked(endpoint: &Endpoint) -> (String, Vec<(String, String)>) {
    let first = first_page(endpoint, &endpoint.paging, at("2026-11-23T12:00:00Z"), None);
    let request = request(
        endpoint,
        &clari_lake::internals::fetch::Asked { parent: Some(ParentRef::of("p1")), ..first },
    );
    (request.path, request.query)
}

fn has(query: &[(String, String)], name: &str, value: &str) -> bool {
    query.contains(&(name.to_owned(), value.to_owned()))
}

#[test]
fn each_moves_to_another_path_and_page_size_by_three_lines() {
    for name in TEMPLATES {
        let of = match name {
            "playlist_calls" | "call_details" => "/{parent.id}",
            _ => "",
        };
        let sized = if name == "call_details" { "" } else { "page_size = 25\n" };
        let text = format!("path = \"/v9/{name}{of}\"\nrecords = \"$.data[*]\"\n{sized}");
        let endpoint = changed(name, &text);
        let (path, query) = asked(&endpoint);
        assert_eq!(path, format!("/v9/{name}{}", of.replace("{parent.id}", "p1")));
        assert!(sized.is_empty() || has(&query, "limit", "25"), "{name}: {query:?}");
        assert_eq!(endpoint.records.all()[0].as_str(), "$.data[*]");
        let off = changed(name, "on = false");
        assert!(!off.on && off.path.as_str() != endpoint.path.as_str());
    }
}

#[test]
fn each_takes_a_range_of_dates_in_any_format() {
    for (name, from, to) in RANGES {
        let text = "[window]\nformat = \"yyyy-MM-dd\"\nends = \"inclusive\"\n";
        let (_, query) = asked(&changed(name, text));
        let first = if name == "calls" { "2026-11-16" } else { "2026-11-22" };
        let last = if name == "calls" { "2026-11-23" } else { "2026-11-22" };
        assert!(has(&query, from, first) && has(&query, to, last), "{name}: {query:?}");
    }
    // Those without dates of their own take a range by macros.
    for name in TEMPLATES.iter().filter(|name| RANGES.iter().all(|(it, ..)| it != *name)) {
        let text = "date_format = \"yyyy-MM-dd\"\nquery = { from = \"{now-30}\", to = \"{now}\" }";
        let (_, query) = asked(&changed(name, text));
        assert!(has(&query, "from", "2026-10-24") && has(&query, "to", "2026-11-23"), "{name}");
    }
}

/// A template is exported by the connector's name for it alone, whatever it is
/// driven by, each into a lake of its own.
#[test]
fn each_is_exported_by_its_name_alone() {
    let site = Site::new(&small());
    for name in TEMPLATES {
        let run = Run::new(site.server.base_url(), Lake::new().location(), site.now);
        let run = run.from(site.now - TimeDelta::days(3)).only(&[name]);
        let report = run.complete();
        let rows = report.endpoints.iter().find(|it| it.endpoint == name).unwrap().rows;
        assert!(rows > 0, "{name} has no rows");
        let parent = changed(name, "").parent.map(|parent| parent.endpoint);
        let names: Vec<_> = report.endpoints.iter().map(|it| it.endpoint.clone()).collect();
        let expected: Vec<_> = parent.into_iter().chain([name.to_owned()]).collect();
        assert_eq!(names, expected, "a chained one brings along what drives it");
    }
}

/// A parent is exported too only if the lake does not have it.
#[test]
fn a_parent_is_exported_too_once_and_a_snapshot_once_a_day() {
    let site = Site::new(&small());
    let export = |name: &str, days: i64| {
        let run = site.export().at(site.now + TimeDelta::days(days)).only(&[name]).complete();
        run.endpoints.into_iter().map(|it| it.endpoint).collect::<Vec<_>>()
    };
    assert_eq!(export("playlist_calls", 0), ["playlists", "playlist_calls"]);
    assert_eq!(export("playlist_calls", 0), ["playlist_calls"]);
    assert_eq!(export("playlist_calls", 1), ["playlists", "playlist_calls"]);
    assert_eq!(export("call_details", 1), ["calls", "call_details"]);
    assert_eq!(export("call_details", 2), ["call_details"]);
    assert_eq!(export("crm_deals", 2), ["crm_deals"]);
}

#[test]
fn a_similar_name_is_suggested() {
    let catalogue = Catalogue::built_in().unwrap();
    let hint = |name: &str| catalogue.find(name).unwrap_err().hint().unwrap().to_owned();
    for name in TEMPLATES {
        let spaced = name.replace('_', " ");
        let spellings = [name.replace('_', "-"), spaced.to_uppercase(), name.to_uppercase()];
        for spelling in spellings.iter().filter(|spelling| *spelling != name) {
            assert_eq!(hint(spelling), format!("did you mean `{name}`?"), "{spelling}");
        }
    }
    assert_eq!(hint("Scorecard Template"), "did you mean `scorecard_templates`?");
    assert_eq!(hint("stats"), "did you mean `user_stats`?");
    assert!(hint("nonsense").starts_with("the endpoints are: calls, "));
}

/// Every one of them is exported from where its three lines say.
#[test]
fn all_are_exported_from_their_new_paths() {
    let server = Canned::start(|target| {
        let path = target.split('?').next().unwrap_or_default();
        let record = json!({"id": "c1", "topic_id": "c1", "user_id": "u1", "status": "PROCESSED",
            "time": "2026-11-20T10:00:00Z", "transcript": [{"text": "t"}], "topic": "t"});
        let is_paged_out = target.contains("skip=") && !target.contains("skip=0");
        match path {
            "/v9/topics" => (200, json!({"data": ["pricing"]})),
            "/v9/call_details/c1" => (200, json!({"data": [record]})),
            path if path.starts_with("/v9/") && is_paged_out => (200, json!({"data": []})),
            path if path.starts_with("/v9/") => (200, json!({"data": [record]})),
            _ => (404, Value::Null),
        }
    });
    let texts: Vec<(&str, String)> = TEMPLATES
        .iter()
        .map(|name| {
            let of = match *name {
                "playlist_calls" | "call_details" => "/{parent.id}",
                _ => "",
            };
            let text = format!("path = \"/v9/{name}{of}\"\nrecords = \"$.data[*]\"\nquery = {{}}");
            (*name, text)
        })
        .collect();
    let files: Vec<(&str, &str)> =
        texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let lake = Lake::new();
    let now = at("2026-11-23T12:00:00Z");
    let run = Run::new(server.base_url(), lake.location(), now);
    let report = run.with_files(&files).only(&TEMPLATES).complete();
    for endpoint in &report.endpoints {
        assert!(endpoint.rows > 0, "{} has no rows", endpoint.endpoint);
    }
    let strays: Vec<_> =
        server.targets().into_iter().filter(|target| !target.starts_with("/v9/")).collect();
    assert_eq!(strays, [""; 0]);
}

/// The page of the connector's templates gives a command for each.
#[test]
fn each_has_its_command_in_the_docs() {
    let page = include_str!("../../../docs/by-hand.md");
    for name in TEMPLATES {
        let table = page.lines().filter(|line| line.starts_with("| "));
        let mut commands = table.filter(|line| line.contains("`clari-lake export ./lake"));
        let of_it = format!("--endpoint {name}");
        assert!(commands.any(|line| line.contains(&of_it)), "{name}");
    }
}
