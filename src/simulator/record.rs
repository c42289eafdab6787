//! A call as `/calls` lists it, generated from a [`Slot`] and the catalogue. The same slot always
//! gives the same record: nothing is stored, so that two hundred thousand calls fit in memory.

use super::catalogue::{Catalogue, Company, Contact, Seat};
pub(super) use super::slot::Record;
use super::slot::Slot;
use super::text::{self, chance, generator, instant, one, round};
use super::words;
use fastrand::Rng;
use serde_json::{Value, json};

const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;

/// Fields that only `/call-details` shows.
pub(super) const DETAIL_KEYS: [&str; 4] =
    ["transcript", "summary", "competitor_sentiments", "deal_stage_live"];

/// The participants of a generated call; generated separately, so that list and details agree.
pub(super) struct Room<'a> {
    pub(super) company: &'a Company,
    pub(super) seats: Vec<&'a Seat>,
    pub(super) contacts: Vec<&'a Contact>,
}

impl<'a> Room<'a> {
    pub(super) fn of(catalogue: &'a Catalogue, birth: u64) -> Option<Self> {
        let mut rng = generator(birth, 2);
        let company = rng.choice(&catalogue.companies)?;
        let count = catalogue.seats.len();
        let first = rng.usize(..count.max(1));
        let seats = rng.usize(1..4).min(count);
        let guests = rng.usize(1..=company.contacts.len().max(1));
        Some(Self {
            company,
            // Consecutive users, so that no user takes part twice in one call.
            seats: (0..seats).filter_map(|at| catalogue.seats.get((first + at) % count)).collect(),
            contacts: company.contacts.iter().take(guests).collect(),
        })
    }
}

/// The record of a call, without the fields that only its details show.
pub(super) fn record(catalogue: &Catalogue, slot: &Slot) -> Record {
    let Some(kept) = &slot.kept else { return generated(catalogue, slot) };
    let listed = kept.iter().filter(|(key, _)| !DETAIL_KEYS.contains(&key.as_str()));
    listed.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// One text field of each row in a list field, as compared by the filters.
pub(super) fn texts<'a>(record: &'a Record, list: &str, key: &str) -> Vec<&'a str> {
    let rows = record.get(list).and_then(Value::as_array);
    rows.into_iter().flatten().filter_map(|row| row.get(key)?.as_str()).collect()
}

pub(super) fn put(record: &mut Record, key: &str, value: impl Into<Value>) {
    record.insert(key.to_owned(), value.into());
}

fn generated(catalogue: &Catalogue, slot: &Slot) -> Record {
    let mut rng = generator(slot.birth, 3);
    let mut record = Record::new();
    let Some(room) = Room::of(catalogue, slot.birth) else { return record };
    identity(&mut record, &mut rng, slot, &room, catalogue);
    people(&mut record, &mut rng, &room, slot, catalogue.oddities);
    sale(&mut record, &mut rng, &room, catalogue);
    calendar(&mut record, &mut rng, slot);
    if slot.has_recording() {
        outcome(&mut record, &mut rng, slot);
        put(&mut record, "metrics", metrics(&mut rng, &room, slot, catalogue.oddities));
    } else {
        refusal(&mut record, &mut rng, slot);
    }
    record
}

fn identity(
    record: &mut Record,
    rng: &mut Rng,
    slot: &Slot,
    room: &Room<'_>,
    catalogue: &Catalogue,
) {
    let odd = catalogue.oddities;
    let offset = chance(rng, odd);
    put(record, "id", &*slot.id);
    put(record, "source_id", rng.u64(10_000_000_000..99_999_999_999).to_string());
    put(record, "title", title(rng, room, catalogue));
    put(record, "status", &*slot.status);
    put(record, "type", &*slot.kind);
    put(record, "time", instant(slot.time, offset));
    put(record, "last_modified_time", instant(slot.modified, offset));
    put(record, "audio_url", Value::Null);
    if rng.bool() {
        put(record, "video_url", Value::Null);
    }
    put(record, "call_review_page_url", format!("https://copilot.clari.com/call/{}", slot.id));
    if chance(rng, odd) {
        // Not in the published documentation: new keys appear without notice.
        put(record, "meeting_language", "en-US");
    }
}

fn title(rng: &mut Rng, room: &Room<'_>, catalogue: &Catalogue) -> String {
    let mut title = format!("{} <> {}", one(rng, words::MEETING), room.company.name);
    if chance(rng, 0.08) {
        title.push_str(one(rng, words::FLOURISH));
    }
    if chance(rng, catalogue.oddities / 2.0) {
        title.push('\0');
    }
    if chance(rng, catalogue.lone_surrogates) {
        title.push(text::LONE_SURROGATE);
    }
    title
}

fn people(record: &mut Record, rng: &mut Rng, room: &Room<'_>, slot: &Slot, odd: f64) {
    let mut users = Vec::with_capacity(room.seats.len());
    for (index, seat) in room.seats.iter().enumerate() {
        // personId counts from 0, and 0 is a real person.
        let person = person(rng, index, odd);
        users.push(json!({
            "userId": seat.id, "userEmail": seat.email,
            "isOrganizer": index == 0, "personId": person,
        }));
    }
    put(record, "users", users);
    let mut invited = Vec::with_capacity(room.contacts.len());
    for (index, contact) in room.contacts.iter().enumerate() {
        invited.push(guest(rng, contact, room.seats.len() + index, odd));
    }
    put(record, "externalParticipants", invited);
    match (slot.has_recording(), rng.u8(..10)) {
        (true, 0) => put(record, "joinedParticipants", Value::Null),
        (true, _) => put(record, "joinedParticipants", joined(rng, room, odd)),
        (false, 0..5) => put(record, "joinedParticipants", json!([])),
        (false, _) => {}
    }
}

/// A person's number within one call; sometimes as text.
pub(super) fn person(rng: &mut Rng, number: usize, odd: f64) -> Value {
    if chance(rng, odd) { json!(number.to_string()) } else { json!(number) }
}

fn guest(rng: &mut Rng, contact: &Contact, number: usize, odd: f64) -> Value {
    let mut guest = Record::new();
    put(&mut guest, "email", contact.email.clone());
    if rng.u8(..4) > 0 {
        put(&mut guest, "name", contact.name());
    }
    if rng.u8(..5) == 0 {
        put(&mut guest, "phone", contact.phone.clone());
    }
    put(&mut guest, "personId", person(rng, number, odd));
    Value::Object(guest)
}

fn joined(rng: &mut Rng, room: &Room<'_>, odd: f64) -> Vec<Value> {
    let seats = room.seats.iter().map(|seat| (seat.name.clone(), seat.email.as_str()));
    let guests = room.contacts.iter().map(|guest| (guest.name(), guest.email.as_str()));
    let mut rows = Vec::new();
    for (number, (name, email)) in seats.chain(guests).enumerate() {
        let mut row = Record::new();
        put(&mut row, "name", name);
        // A dial-in participant has only a name.
        if rng.u8(..4) > 0 {
            put(&mut row, "email", email);
            put(&mut row, "personId", person(rng, number, odd));
        }
        if rng.u8(..12) == 0 {
            put(&mut row, "phone", text::phone(rng));
        }
        rows.push(Value::Object(row));
    }
    rows
}

fn sale(record: &mut Record, rng: &mut Rng, room: &Room<'_>, catalogue: &Catalogue) {
    if rng.u8(..10) == 0 {
        return;
    }
    put(record, "account_name", room.company.name.clone());
    let names: Vec<Value> = room.contacts.iter().map(|contact| json!(contact.name())).collect();
    match rng.u8(..20) {
        0 => put(record, "contact_names", Value::Null),
        1 => put(record, "contact_names", json!([])),
        2 => {}
        _ => put(record, "contact_names", names),
    }
    let mut crm = Record::new();
    put(&mut crm, "source_crm", if rng.u8(..6) == 0 { "hubspot" } else { "salesforce" });
    put(&mut crm, "account_id", room.company.crm_id.clone());
    let contacts: Vec<&str> = room.contacts.iter().map(|one| one.crm_id.as_str()).collect();
    match contacts.first() {
        Some(first) if chance(rng, catalogue.oddities) => put(&mut crm, "contact_ids", *first),
        _ => put(&mut crm, "contact_ids", contacts),
    }
    if let (Some(deal), true) = (rng.choice(&room.company.deals), rng.u8(..10) < 7) {
        put(&mut crm, "deal_id", deal.crm_id.clone());
        put(record, "deal_name", deal.name.clone());
        put(record, "deal_value", deal.amount.to_string());
        put(record, "deal_close_date", instant(catalogue.now + deal.closes_in * DAY, false));
        put(record, "deal_stage_before_call", words::STAGE.get(deal.stage).copied());
    }
    put(record, "crm_info", crm);
}

fn calendar(record: &mut Record, rng: &mut Rng, slot: &Slot) {
    if matches!(&*slot.kind, "RECORDING" | "AIRCALL_RECORDING" | "DIALPAD") {
        return;
    }
    let icaluid = format!("{}@google.com", text::hex24(rng));
    put(record, "calendar_id", format!("{}_R{}", icaluid, slot.time / 1_000));
    put(record, "icaluid", icaluid);
    if rng.u8(..4) == 0 {
        put(record, "recurring_event_id", text::hex24(rng));
        put(
            record,
            "original_start_time",
            instant(slot.time - rng.i64(0..3) * DAY, rng.u8(..8) == 0),
        );
    }
}

fn outcome(record: &mut Record, rng: &mut Rng, slot: &Slot) {
    let disposition = match rng.u8(..20) {
        0 => "UNKNOWN_CALL_DISPOSITION",
        1 | 2 => "CALL_DID_NOT_CONNECT_WITH_PROSPECT",
        _ => "CALL_CONNECTED_WITH_PROSPECT",
    };
    put(record, "disposition", disposition);
    if rng.u8(..6) == 0 {
        let length = i64::from(slot.seconds.max(60)) * 1_000;
        let marks: Vec<String> = (0..rng.usize(..4))
            .map(|_| instant(slot.time + rng.i64(MINUTE / 2..length), false))
            .collect();
        put(record, "bookmark_timestamps", marks);
    }
}

fn refusal(record: &mut Record, rng: &mut Rng, slot: &Slot) {
    let reason = match &*slot.status {
        "IGNORED_BY_USER" => "IGNORED_BY_USER",
        "BOTJOIN_DISABLED" => "IGNORED_NOT_EXTERNAL_MEETING",
        "BOTJOIN_DENIED" => "RECORDING_PERMISSION_DENIED",
        "CALL_DID_NOT_HAPPEN" => "IGNORED_NOT_CONFIRMED",
        "NOBODY_JOINED_CALL" => return put(record, "disposition", "CALL_NOBODY_JOINED"),
        _ if rng.bool() => return put(record, "bot_not_join_reason", json!([])),
        _ => return,
    };
    let second = rng.bool().then_some("IGNORED");
    let reasons: Vec<&str> = std::iter::once(reason).chain(second).collect();
    put(record, "bot_not_join_reason", reasons);
}

fn metrics(rng: &mut Rng, room: &Room<'_>, slot: &Slot, odd: f64) -> Record {
    let seconds = f64::from(slot.seconds);
    let questions = rng.u32(..30);
    let mut metrics = Record::new();
    // The API omits a fraction of zero: 1 on one row, 0.53 on the next.
    let ratio = if rng.u8(..12) == 0 { json!(1) } else { json!(round(rng.f64())) };
    put(&mut metrics, "talk_listen_ratio", ratio);
    put(&mut metrics, "num_questions_asked", questions);
    put(&mut metrics, "num_questions_asked_by_reps", rng.u32(..=questions));
    let as_text = chance(rng, odd);
    let duration = if as_text { json!(slot.seconds.to_string()) } else { json!(slot.seconds) };
    put(&mut metrics, "call_duration", duration);
    put(&mut metrics, "total_speak_duration", round(seconds * (0.6 + rng.f64() * 0.35)));
    put(&mut metrics, "longest_monologue_duration", round(20.0 + rng.f64() * 160.0));
    put(&mut metrics, "longest_monologue_start_time", round(rng.f64() * seconds));
    if rng.u8(..5) > 0 {
        put(&mut metrics, "engaging_questions", rng.u32(..9));
    }
    match rng.u8(..15) {
        0 => put(&mut metrics, "categories", Value::Null),
        1 => {}
        _ => put(&mut metrics, "categories", categories(rng, room, seconds)),
    }
    metrics
}

fn categories(rng: &mut Rng, room: &Room<'_>, seconds: f64) -> Vec<Value> {
    let count = rng.usize(..4);
    rng.choose_multiple(words::TOPIC.iter(), count)
        .into_iter()
        .map(|name| {
            let mut phrases = Vec::new();
            for _ in 0..rng.usize(1..3) {
                let mut phrase = json!({
                    "text": one(rng, words::PHRASE), "time": round(rng.f64() * seconds),
                });
                if let (Some(seat), true) = (rng.choice(&room.seats), rng.bool()) {
                    phrase["user_id"] = json!(seat.id);
                    phrase["name"] = json!(seat.name);
                }
                phrases.push(phrase);
            }
            json!({
                "name": name, "occurences": phrases.len(), "phrases_matched": phrases,
                "ai_detected": rng.u8(..4) == 0,
            })
        })
        .collect()
}
