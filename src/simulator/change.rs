//! Changes to a workspace over time. Each change updates exactly what the real API updates, in
//! particular `last_modified_time`.

use super::birth;
use super::record::{Record, put, record};
use super::slot::Slot;
use super::tables::Table;
use super::text::{hash, instant, milliseconds};
use super::workspace::{State, Workspace};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::sync::Arc;

#[allow(clippy::must_use_candidate, reason = "a change is made for its effect")]
impl Workspace {
    /// Adds a call as it is, or replaces the one with its id.
    ///
    /// The record may include details (`transcript`, …), which only `/call-details` shows. Returns
    /// `false` if there is no text under `id`.
    pub fn insert_call(&self, call: Value, private: bool) -> bool {
        let mut state = self.write();
        let Value::Object(call) = call else { return false };
        let Some(id) = call.get("id").and_then(Value::as_str) else { return false };
        let mut slot = Slot {
            id: Arc::from(id),
            birth: hash(id.as_bytes()),
            time: state.now,
            modified: state.now,
            ready: i64::MIN,
            seconds: 1_800,
            status: "POST_PROCESSING_DONE".into(),
            kind: "ZOOM".into(),
            private,
            kept: Some(Box::new(call)),
        };
        follow(&mut slot);
        state.calls.insert(slot);
        true
    }

    /// Sets a call's status, which moves `last_modified_time`.
    pub fn set_status(&self, id: &str, status: &str, at: DateTime<Utc>) -> bool {
        self.write().calls.change(id, |slot| {
            slot.status = status.to_owned().into();
            slot.modified = at.timestamp_millis();
            lead(slot, &["status", "last_modified_time"]);
        })
    }

    /// Edits a field of a call or of its details; `last_modified_time` stays the same.
    pub fn edit_silently(&self, id: &str, field: &str, value: Value) -> bool {
        let mut state = self.write();
        let State { calls, catalogue, .. } = &mut *state;
        calls.change(id, |slot| {
            let grown = slot.kept.take().unwrap_or_else(|| Box::new(record(catalogue, slot)));
            let mut kept = grown;
            put(&mut kept, field, value);
            slot.kept = Some(kept);
            follow(slot);
        })
    }

    /// Moves a call to another time; if silent, `last_modified_time` stays the same.
    pub fn reschedule(&self, id: &str, time: DateTime<Utc>, silently: bool) -> bool {
        let mut state = self.write();
        let now = state.now;
        state.calls.change(id, |slot| {
            slot.time = time.timestamp_millis();
            lead(slot, &["time"]);
            if !silently {
                slot.modified = now;
                lead(slot, &["last_modified_time"]);
            }
        })
    }

    /// Deletes a call without a trace.
    pub fn delete_call(&self, id: &str) -> bool {
        self.write().calls.remove(id)
    }

    /// Hides a call from lists, or shows it again; its details remain available.
    pub fn set_private(&self, id: &str, private: bool) -> bool {
        self.write().calls.change(id, |slot| slot.private = private)
    }

    /// Sets when a call's transcript stops being empty.
    pub fn set_transcript_ready(&self, id: &str, at: DateTime<Utc>) -> bool {
        self.write().calls.change(id, |slot| slot.ready = at.timestamp_millis())
    }

    /// Adds a row to a table, or replaces the one with its key.
    pub fn insert_row(&self, table: Table, at: DateTime<Utc>, row: Value) {
        self.write().tables.insert(table, at.timestamp_millis(), row);
    }

    /// Removes a row from a table.
    pub fn remove_row(&self, table: Table, key: &str) -> bool {
        self.write().tables.remove(table, key)
    }

    /// Advances the workspace's clock: the calls in between are held and processed.
    pub fn advance(&self, to: DateTime<Utc>) {
        let mut state = self.write();
        let before = state.now;
        state.now = to.timestamp_millis().max(before);
        let now = state.now;
        let open = ["SCHEDULED", "INITIATED", "INPROGRESS", "WAITING_IN_QUEUE", "PROCESSING"];
        let due = |slot: &&Slot| open.contains(&&*slot.status) && processed(slot) < now;
        let calls = state.calls.range(i64::MIN, now, true).iter();
        let slots = calls.filter_map(|(_, place)| state.calls.at(*place));
        let due: Vec<Arc<str>> = slots.filter(due).map(|slot| slot.id.clone()).collect();
        for id in due {
            state.calls.change(&id, |slot| {
                slot.status = "POST_PROCESSING_DONE".into();
                // A status changes when the clock advances, never before what clients have already
                // seen.
                slot.modified = processed(slot).max(before);
                lead(slot, &["status", "last_modified_time"]);
            });
        }
    }

    /// Changes the calls before a request for a list: adds a new one at the top, imports a late one
    /// somewhere, or removes one.
    pub(super) fn befall(&self) {
        let mut state = self.write();
        let rate = state.options.arrivals_per_request;
        let mut left = rate;
        while left > 0.0 {
            if left >= 1.0 || state.fate.f64() < left {
                incident(&mut state);
            }
            left -= 1.0;
        }
    }
}

fn incident(state: &mut State) {
    // Each has a time of its own, so that modified times stay distinct.
    state.now += 1;
    let now = state.now;
    let days = i64::from(state.options.days.max(1));
    match state.fate.u8(..10) {
        0..2 => vanish(state),
        2..6 => arrive(state, now - 1),
        _ => {
            let time = birth::working_time(&mut state.fate, now, days);
            arrive(state, time);
        }
    }
}

fn arrive(state: &mut State, time: i64) {
    let now = state.now;
    let mut slot = birth::slot(&mut state.fate, &state.options, time, now);
    // However old the call is, the API only learns about it now.
    slot.modified = now;
    state.calls.insert(slot);
}

fn vanish(state: &mut State) {
    let range = state.calls.range(i64::MIN, state.now, false);
    let chosen = state.fate.choice(range).copied();
    if let Some(id) = chosen.and_then(|(_, place)| Some(state.calls.at(place)?.id.clone())) {
        state.calls.remove(&id);
    }
}

/// When a call's recording is processed, if nothing unusual happens.
fn processed(slot: &Slot) -> i64 {
    slot.time + i64::from(slot.seconds) * 1_000 + 15 * 60_000
}

/// Writes the changed fields into a stored record; all other fields stay as they are.
fn lead(slot: &mut Slot, changed: &[&str]) {
    let Some(kept) = &mut slot.kept else { return };
    for key in changed {
        match *key {
            "status" => put(kept, key, &*slot.status),
            "time" => put(kept, key, instant(slot.time, false)),
            _ => put(kept, key, instant(slot.modified, false)),
        }
    }
}

/// Updates the slot from a stored record; fields that cannot be read keep their values.
fn follow(slot: &mut Slot) {
    let Some(kept) = slot.kept.take() else { return };
    let text = |record: &Record, key: &str| Some(record.get(key)?.as_str()?.to_owned());
    let time = |key: &str| milliseconds(&text(&kept, key)?);
    slot.time = time("time").unwrap_or(slot.time);
    slot.modified = time("last_modified_time").unwrap_or(slot.modified);
    if let Some(status) = text(&kept, "status") {
        slot.status = status.into();
    }
    if let Some(kind) = text(&kept, "type") {
        slot.kind = kind.into();
    }
    let seconds = kept.get("metrics").and_then(|metrics| metrics.get("call_duration")?.as_u64());
    slot.seconds = seconds.and_then(|value| value.try_into().ok()).unwrap_or(slot.seconds);
    slot.kept = Some(kept);
}
