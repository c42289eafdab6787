//! A call as `/call-details` shows it: the listed record with its transcript and what was derived
//! from it. Generated from the call's seed on every request; only edits are stored.

use super::catalogue::Catalogue;
use super::record::{self, DETAIL_KEYS, Record, Room, person, put};
use super::slot::Slot;
use super::text::{self, chance, generator, one, paragraph, round, sentence};
use super::words;
use fastrand::Rng;
use serde_json::{Value, json};

/// The record with its details, or `None` if the API answers 404.
pub(super) fn details(catalogue: &Catalogue, slot: &Slot, now: i64) -> Option<Record> {
    if !slot.has_details() {
        return None;
    }
    let mut call = record::record(catalogue, slot);
    if slot.is_finished() && slot.ready <= now {
        spoken(catalogue, slot, &mut call);
    } else {
        put(&mut call, "transcript", json!([]));
    }
    // Edited details override generated ones, whatever the status.
    for key in DETAIL_KEYS {
        if let Some(value) = slot.kept.as_ref().and_then(|kept| kept.get(key)) {
            put(&mut call, key, value.clone());
        }
    }
    Some(call)
}

fn spoken(catalogue: &Catalogue, slot: &Slot, call: &mut Record) {
    let mut rng = generator(slot.birth, 4);
    let Some(room) = Room::of(catalogue, slot.birth) else { return };
    let names = names(&room);
    let turns = catalogue.turns / 2 + rng.usize(..=catalogue.turns);
    put(call, "transcript", transcript(&mut rng, &names, turns, catalogue.oddities));
    if slot.status == "POST_PROCESSING_DONE" {
        let length = f64::from(slot.seconds);
        match rng.u8(..40) {
            0 => put(call, "summary", Value::Null),
            1 => {}
            _ => put(call, "summary", summary(&mut rng, &names, length, catalogue.oddities)),
        }
        rivals(call, &mut rng, names.len(), catalogue.oddities);
    }
    if rng.u8(..3) == 0 {
        put(call, "deal_stage_live", one(&mut rng, words::STAGE));
    }
}

fn names(room: &Room<'_>) -> Vec<String> {
    let seats = room.seats.iter().map(|seat| seat.name.clone());
    seats.chain(room.contacts.iter().map(|contact| contact.name())).collect()
}

fn transcript(rng: &mut Rng, names: &[String], turns: usize, odd: f64) -> Vec<Value> {
    // In hundredths of a second.
    let mut at = rng.usize(..400);
    let mut spoken = Vec::with_capacity(turns);
    for _ in 0..turns {
        let sentences = rng.usize(1..3);
        let text = paragraph(rng, sentences);
        let start = at;
        // About fifteen characters per second, and a short pause between two turns.
        at += text.len() * 100 / 15;
        let speaker = rng.usize(..names.len().max(1));
        let mut turn = Record::new();
        put(&mut turn, "text", text);
        put(&mut turn, "start", second(start));
        put(&mut turn, "end", second(at));
        put(&mut turn, "personId", person(rng, speaker, odd / 10.0));
        annotate(&mut turn, rng);
        spoken.push(Value::Object(turn));
        at += rng.usize(..150);
    }
    spoken
}

/// Hundredths as seconds; whole seconds have no fraction.
fn second(hundredths: usize) -> Value {
    let whole = u32::try_from(hundredths).unwrap_or(u32::MAX);
    if whole.is_multiple_of(100) { json!(whole / 100) } else { json!(f64::from(whole) / 100.0) }
}

/// A list of two shapes at once, an empty one, null, or no key at all.
fn annotate(turn: &mut Record, rng: &mut Rng) {
    match rng.u8(..20) {
        0..2 => put(turn, "annotations", json!([])),
        2 => put(turn, "annotations", Value::Null),
        3 | 4 => put(turn, "annotations", json!([tracker(rng)])),
        5 => put(turn, "annotations", json!([label(rng)])),
        6 => put(turn, "annotations", json!([tracker(rng), label(rng)])),
        _ => {}
    }
}

fn tracker(rng: &mut Rng) -> Value {
    let (tracker, category) = (one(rng, words::TOPIC), one(rng, words::TOPIC));
    json!({ "tracker": tracker, "phrase": one(rng, words::PHRASE), "category": category })
}

fn label(rng: &mut Rng) -> Value {
    let label = one(rng, words::LABEL);
    json!({ "label": label, "phrase": one(rng, words::PHRASE) })
}

fn summary(rng: &mut Rng, names: &[String], length: f64, odd: f64) -> Record {
    let mut summary = Record::new();
    put(&mut summary, "full_summary", paragraph(rng, 6));
    let topics: Vec<Value> = (0..rng.usize(1..5)).map(|_| topic(rng, length, odd)).collect();
    put(&mut summary, "topics_discussed", topics);
    match rng.u8(..8) {
        0 => put(&mut summary, "key_action_items", json!([])),
        1 => {}
        _ => {
            let items = (0..rng.usize(1..4)).map(|_| action(rng, names, length, odd));
            let items: Vec<Value> = items.collect();
            put(&mut summary, "key_action_items", items);
        }
    }
    // Undocumented, and of two types.
    if rng.bool() {
        let takeaways = paragraph(rng, 2);
        let list = chance(rng, odd * 3.0);
        put(
            &mut summary,
            "key_takeaways",
            if list { json!([takeaways]) } else { json!(takeaways) },
        );
    }
    summary
}

fn topic(rng: &mut Rng, length: f64, odd: f64) -> Value {
    let (name, text) = (one(rng, words::TOPIC), paragraph(rng, 1));
    let (start, end) = span(rng, length, odd);
    json!({ "name": name, "summary": text, "start_timestamp": start, "end_timestamp": end })
}

fn action(rng: &mut Rng, names: &[String], length: f64, odd: f64) -> Value {
    let mut item = String::new();
    sentence(rng, &mut item);
    let (start, end) = span(rng, length, odd);
    let mut action = json!({
        "action_item": item, "start_timestamp": start, "end_timestamp": end,
    });
    if let (Some(name), true) = (rng.choice(names), rng.u8(..5) > 0) {
        action["speaker_name"] = json!(name);
    }
    action
}

fn span(rng: &mut Rng, length: f64, odd: f64) -> (Value, Value) {
    let start = round(rng.f64() * length * 0.8);
    let end = round(start + rng.f64() * length * 0.2);
    (moment(rng, start, odd), moment(rng, end, odd))
}

/// Text, a number, or the text `NaN`.
fn moment(rng: &mut Rng, value: f64, odd: f64) -> Value {
    match rng.f64() {
        drawn if drawn < odd => json!("NaN"),
        drawn if drawn < odd * 2.0 => json!(value),
        _ => json!(value.to_string()),
    }
}

fn rivals(call: &mut Record, rng: &mut Rng, people: usize, odd: f64) {
    match rng.u8(..10) {
        0 => put(call, "competitor_sentiments", json!([])),
        1 | 2 => {
            let speaker = rng.usize(..people.max(1));
            let number =
                if chance(rng, odd * 5.0) { json!(speaker) } else { json!(speaker.to_string()) };
            let sentiment = one(rng, &["POSITIVE", "NEGATIVE", "NEUTRAL"]);
            let rival = one(rng, words::RIVAL);
            let at = round(rng.f64() * 900.0).to_string();
            put(
                call,
                "competitor_sentiments",
                json!([{
                    "competitor_name": rival, "sentiment": sentiment,
                    "reasoning": text::paragraph(rng, 1), "personId": number, "turn_start_time": at,
                }]),
            );
        }
        _ => {}
    }
}
