//! Accounts, contacts, deals, opportunities, and playlists in the API's format, generated from the
//! catalogue. Their CRM ids are those in `crm_info`.

use super::catalogue::{Catalogue, Company, Contact, Deal};
use super::index::Index;
use super::options::Options;
use super::record::{Record, put};
use super::tables::{Table, Tables, object};
use super::text::{chance, generator, hex24, instant, one, paragraph, phone, uuid};
use super::words;
use fastrand::Rng;
use serde_json::{Value, json};

const DAY: i64 = 86_400_000;

/// Accounts and opportunities as lists, and all three CRM look-ups.
pub(super) fn fill(tables: &mut Tables, options: &Options, catalogue: &Catalogue) {
    let mut rng = generator(options.seed, 30);
    let (mut accounts, mut contacts, mut deals) = (Vec::new(), Vec::new(), Vec::new());
    for company in &catalogue.companies {
        accounts.push(account(&mut rng, company));
        contacts.extend(company.contacts.iter().map(|one| contact(&mut rng, one, company)));
        deals.extend(company.deals.iter().map(|one| deal(&mut rng, one, company, catalogue)));
    }
    let listed: Vec<Value> = deals.iter().map(opportunity).collect();
    let timed = |rows: Vec<Value>| rows.into_iter().map(|row| (catalogue.now, row));
    tables.fill(Table::Accounts, timed(accounts.clone()));
    tables.fill(Table::Opportunities, timed(listed));
    tables.fill(Table::CrmAccounts, timed(accounts));
    tables.fill(Table::CrmContacts, timed(contacts));
    tables.fill(Table::CrmDeals, timed(deals));
}

/// Playlists and the calls on them.
pub(super) fn playlists(
    tables: &mut Tables,
    options: &Options,
    catalogue: &Catalogue,
    calls: &Index,
) {
    let mut rng = generator(options.seed, 31);
    let line = calls.range(i64::MIN, catalogue.now, false);
    let mut rows = Vec::new();
    for name in ["Best discovery calls", "Objections 💪", "Onboarding", "Lost to Gong", "Empty"] {
        let id = uuid(&mut rng);
        let size = if name == "Empty" { 0 } else { rng.usize(3..70).min(line.len()) };
        let chosen = rng.choose_multiple(line.iter(), size);
        let ids =
            chosen.into_iter().filter_map(|(_, place)| Some(calls.at(*place)?.id.to_string()));
        tables.members.insert(id.clone(), ids.collect());
        let owner = rng.choice(&catalogue.seats).map(|seat| seat.id.clone());
        let created = instant(catalogue.now - rng.i64(DAY..400 * DAY), false);
        let row = json!({ "id": id, "name": name, "owner_id": owner, "created_time": created });
        rows.push((catalogue.now, row));
    }
    tables.fill(Table::Playlists, rows.into_iter());
}

fn account(rng: &mut Rng, company: &Company) -> Value {
    let (city, state, country) = rng.choice(words::CITY).copied().unwrap_or_default();
    let mut row = object([
        ("id", json!(hex24(rng))),
        ("crm_id", json!(company.crm_id)),
        ("name", json!(company.name)),
        ("phones", phones(rng)),
        ("website", json!(format!("https://www.{}", company.domain))),
        ("city", json!(city)),
        ("country", json!(country)),
        ("zip", json!(format!("{:05}", rng.u32(..100_000)))),
        ("custom_fields", custom_fields(rng)),
    ]);
    if rng.bool() {
        put(&mut row, "description", paragraph(rng, 2));
        put(
            &mut row,
            "address",
            format!("{} Market St\nFloor {}", rng.u32(1..900), rng.u32(1..30)),
        );
        put(&mut row, "state", state);
    }
    Value::Object(row)
}

fn contact(rng: &mut Rng, contact: &Contact, company: &Company) -> Value {
    let mut row = object([
        ("id", json!(hex24(rng))),
        ("crm_id", json!(contact.crm_id)),
        ("account_crm_id", json!(company.crm_id)),
        ("first_name", json!(contact.first)),
        ("last_name", json!(contact.last)),
        ("job_title", json!(contact.job)),
        ("phones", json!([contact.phone])),
        ("emails", json!([contact.email])),
        ("is_lead", json!(rng.bool())),
        ("custom_fields", custom_fields(rng)),
    ]);
    if rng.bool() {
        put(&mut row, "stage", one(rng, &["Working", "Qualified", "Customer"]));
        put(&mut row, "reason", one(rng, &["Inbound", "Event", "Referral"]));
    }
    Value::Object(row)
}

fn deal(rng: &mut Rng, deal: &Deal, company: &Company, catalogue: &Catalogue) -> Value {
    let closes = catalogue.now + deal.closes_in * DAY;
    let changed = catalogue.now - rng.i64(DAY..90 * DAY);
    let stage = words::STAGE.get(deal.stage).copied();
    let before = words::STAGE.get(deal.stage.saturating_sub(1)).copied();
    let mut row = object([
        ("id", json!(hex24(rng))),
        ("crm_id", json!(deal.crm_id)),
        ("owner_crm_id", json!(format!("005{:015}", rng.u64(..1_000_000)))),
        ("deal_name", json!(deal.name)),
        // Numbers as text in both, as the API sends them.
        ("amount", json!(deal.amount.to_string())),
        ("probability", json!((deal.stage * 18).to_string())),
        ("close_date", json!(instant(closes, false))),
        ("created_date", json!(instant(changed - 60 * DAY, false))),
        ("stage", json!(stage)),
        ("forecast_category", json!(one(rng, &["Pipeline", "Best Case", "Commit"]))),
        ("account_crm_id", json!(company.crm_id)),
        ("custom_fields", custom_fields(rng)),
    ]);
    let changed = instant(changed, chance(rng, catalogue.oddities));
    let stages = json!([{ "stage": stage, "prev_stage": before, "date_changed": changed }]);
    put(&mut row, "stage_change_history", stages);
    if rng.bool() {
        put(
            &mut row,
            "close_date_change_history",
            json!([{
                "close_date": instant(closes, false), "prev_close_date": instant(closes - 30 * DAY, false),
                "date_changed": changed,
            }]),
        );
        put(&mut row, "last_contacted", changed);
        put(&mut row, "next_call_date", instant(catalogue.now + 3 * DAY, false));
        put(&mut row, "deal_reason", one(rng, &["Price", "Fit", "Timing"]));
    }
    Value::Object(row)
}

/// The format is a guess: the public documentation has no such path.
fn opportunity(deal: &Value) -> Value {
    let copied = ["id", "crm_id", "deal_name", "amount", "stage", "close_date", "account_crm_id"];
    let pairs = copied.iter().filter_map(|key| Some(((*key).to_owned(), deal.get(*key)?.clone())));
    Value::Object(pairs.collect::<Record>())
}

fn phones(rng: &mut Rng) -> Value {
    match rng.u8(..6) {
        0 => Value::Null,
        1 => json!([]),
        _ => json!([phone(rng)]),
    }
}

fn custom_fields(rng: &mut Rng) -> Value {
    if rng.u8(..5) == 0 {
        return json!([]);
    }
    let tier = one(rng, &["Gold", "Silver", "", "n/a"]);
    json!([{ "key": "Tier__c", "value": tier }, { "key": "Seats__c", "value": rng.u32(1..999).to_string() }])
}
