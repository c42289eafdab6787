//! Users, teams, topics, scorecards, and usage statistics in the API's format, generated from the
//! catalogue.

use super::catalogue::Catalogue;
use super::index::Index;
use super::options::Options;
use super::record::{Record, put};
use super::tables::{Table, Tables};
use super::text::{generator, hash, hex24, one, paragraph, round, sentence, uuid};
use super::words;
use fastrand::Rng;
use serde_json::{Value, json};

const DAY: i64 = 86_400_000;

/// Users, teams, topics and scorecard templates.
pub(super) fn fill(tables: &mut Tables, options: &Options, catalogue: &Catalogue) {
    let mut rng = generator(options.seed, 20);
    let now = catalogue.now;
    let users = users(&mut rng, catalogue);
    let teams = teams(&mut rng, catalogue);
    let ids: Vec<Value> = teams.iter().map(|team| team["id"].clone()).collect();
    tables.fill(Table::Users, users.into_iter().map(|row| (now, row)));
    tables.fill(Table::Teams, teams.into_iter().map(|row| (now, row)));
    tables.fill(Table::Topics, words::TOPIC.iter().map(|name| (now, json!(name))));
    let topics: Vec<(i64, Value)> = words::TOPIC
        .iter()
        .map(|name| (now - rng.i64(DAY..300 * DAY), topic(&mut rng, name, &ids)))
        .collect();
    tables.fill(Table::TopicsV2, topics.into_iter());
    let templates: Vec<Value> = (0..6).map(|at| template(&mut rng, at)).collect();
    tables.fill(Table::ScorecardTemplates, templates.into_iter().map(|row| (now, row)));
}

/// Completed scorecards of random calls, dated soon after the call.
pub(super) fn scorecards(
    tables: &mut Tables,
    options: &Options,
    catalogue: &Catalogue,
    calls: &Index,
) {
    let mut rng = generator(options.seed, 21);
    let line = calls.range(i64::MIN, catalogue.now, false);
    let count = options.scorecards.unwrap_or(options.calls / 10);
    let templates: Vec<String> =
        tables.rows(Table::ScorecardTemplates).iter().map(|row| row.key.clone()).collect();
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        let Some((time, place)) = rng.choice(line).copied() else { break };
        let Some(call) = calls.at(place) else { break };
        let filled = (time + rng.i64(3_600_000..4 * DAY)).min(catalogue.now - 1_000);
        rows.push((filled, scorecard(&mut rng, catalogue, &call.id, &templates)));
    }
    tables.fill(Table::Scorecards, rows.into_iter());
}

fn users(rng: &mut Rng, catalogue: &Catalogue) -> Vec<Value> {
    let mut users = Vec::new();
    for (index, seat) in catalogue.seats.iter().enumerate() {
        let mut user = Record::new();
        put(&mut user, "id", seat.id.clone());
        put(&mut user, "email", seat.email.clone());
        put(&mut user, "name", seat.name.clone());
        let role = match index % 8 {
            0 => "MANAGER",
            7 => "OBSERVER",
            _ => "REP",
        };
        put(&mut user, "role", role);
        put(&mut user, "is_recording", rng.u8(..10) > 0);
        let manager = catalogue.seats.get(index / 8 * 8).filter(|_| role != "MANAGER");
        if let Some(manager) = manager {
            put(&mut user, "manager_id", manager.id.clone());
        }
        users.push(Value::Object(user));
    }
    users
}

fn teams(rng: &mut Rng, catalogue: &Catalogue) -> Vec<Value> {
    let names = ["Enterprise", "Mid-market", "SMB", "Customer success", "EMEA"];
    let mut teams = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let members = catalogue.seats.iter().skip(index).step_by(names.len());
        let members: Vec<&str> = members.map(|seat| seat.id.as_str()).collect();
        let manager = members.first().copied();
        teams.push(json!({
            "id": hex24(rng), "name": name, "manager_id": manager, "user_ids": members,
        }));
    }
    teams
}

fn topic(rng: &mut Rng, name: &str, teams: &[Value]) -> Value {
    let mut topic = Record::new();
    put(&mut topic, "topic_id", uuid(rng));
    put(&mut topic, "topic_name", name);
    let count = rng.usize(..3);
    put(&mut topic, "team_ids", rng.choose_multiple(teams.iter().cloned(), count));
    if rng.u8(..3) == 0 {
        let status = one(rng, &["ACTIVE", "TRAINING"]);
        put(&mut topic, "type", "CUSTOM");
        put(
            &mut topic,
            "custom_topic",
            json!({ "description": paragraph(rng, 1), "status": status }),
        );
    } else {
        let count = rng.usize(1..5);
        let trackers = rng.choose_multiple(words::PHRASE.iter().copied(), count);
        put(&mut topic, "type", "KEYWORD");
        put(&mut topic, "keyword_topic", json!({ "trackers": trackers }));
    }
    Value::Object(topic)
}

fn template(rng: &mut Rng, index: usize) -> Value {
    let kind = if index.is_multiple_of(2) { "SKILL" } else { "METHODOLOGY" };
    let questions: Vec<Value> = words::SKILL
        .iter()
        .zip(1..)
        .take(3 + index % 4)
        .map(|(skill, order)| {
            json!({ "skill": skill, "label": format!("How was: {skill}?"), "order": order.to_string() })
        })
        .collect();
    json!({
        "id": hex24(rng), "customer_id": "5f3c2a9b1d7e4c0012345678",
        "name": format!("Scorecard {}", index + 1), "type": kind, "questions": questions,
    })
}

fn scorecard(rng: &mut Rng, catalogue: &Catalogue, call: &str, templates: &[String]) -> Value {
    let mut card = Record::new();
    put(&mut card, "id", hex24(rng));
    put(&mut card, "type", one(rng, &["SKILL", "METHODOLOGY"]));
    put(&mut card, "rep", rng.choice(&catalogue.seats).map(|seat| seat.id.clone()));
    put(&mut card, "scorer", rng.choice(&catalogue.seats).map(|seat| seat.id.clone()));
    put(&mut card, "template_id", rng.choice(templates).cloned());
    put(&mut card, "call_id", call);
    let mut total = 0;
    let mut questions = Vec::new();
    for (skill, order) in words::SKILL.iter().zip(1..).take(rng.usize(2..6)) {
        let score = rng.u32(1..6);
        total += score;
        questions.push(json!({
            "score": score, "skill": skill, "label": format!("How was: {skill}?"),
            "order": order.to_string(),
        }));
    }
    let mean = round(f64::from(total) / 4.0);
    // The API omits a fraction of zero.
    put(&mut card, "total_score", if mean.fract() == 0.0 { json!(total / 4) } else { json!(mean) });
    put(&mut card, "questions_score", questions);
    if rng.bool() {
        let mut remark = String::new();
        sentence(rng, &mut remark);
        put(&mut card, "remark", remark);
    }
    Value::Object(card)
}

/// One user's statistics for some days, in one record; generated from both, so nothing is stored.
pub(super) fn stats(seed: u64, user: &str, days: &[String]) -> Record {
    let mut row = Record::new();
    put(&mut row, "user_id", user);
    let (mut all_calls, mut duration) = (0, 0);
    for day in days {
        let mut rng = generator(seed ^ hash(user.as_bytes()), hash(day.as_bytes()));
        let calls = rng.u32(..9);
        all_calls += calls;
        duration += calls * rng.u32(300..2_400);
        // For a range, the last day with calls provides the other fields.
        if calls > 0 {
            put(&mut row, "talk_listen_ratio", round(rng.f64()));
            put(&mut row, "longest_monologue_duration", round(rng.f64() * 200.0));
            put(&mut row, "questions_asked", rng.u32(..60));
        }
    }
    put(&mut row, "total_calls", all_calls);
    put(&mut row, "total_call_duration", duration);
    row
}

/// The workspace's statistics for some days; generated like [`stats`].
pub(super) fn aggregate(seed: u64, users: usize, days: &[String]) -> Record {
    let mut row = Record::new();
    let mut calls = 0;
    let mut ratio = 0.5;
    for day in days {
        let mut rng = generator(seed, hash(day.as_bytes()));
        calls += rng.usize(..users.max(1) * 5);
        ratio = round(0.3 + rng.f64() * 0.4);
    }
    put(&mut row, "total_calls", calls);
    put(&mut row, "total_users", users);
    put(&mut row, "avg_talk_listen_ratio", ratio);
    put(&mut row, "total_call_duration", calls * 1_450);
    row
}
