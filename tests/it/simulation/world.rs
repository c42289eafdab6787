//! What happens at the source, between runs and while they read.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::clock::Clock;
use clari_lake::internals::simulator::{Table, Workspace};
use fastrand::Rng;
use serde_json::{Value, json};

use super::note;

/// Statuses in which a call's details are asked for; none ever leaves them.
const READY: [&str; 2] = ["PROCESSED", "POST_PROCESSING_DONE"];
const OTHERS: [&str; 4] = ["PROCESSING", "INPROGRESS", "CALL_DID_NOT_HAPPEN", "ERROR_PROCESSING"];

/// The people and machines that change the workspace.
pub(super) struct World {
    pub(super) workspace: Workspace,
    /// The server's clock.
    clock: Clock,
    rng: Rng,
    /// What changes without leaving a trace is no older than this: nothing looks further back.
    pub(super) silent_since: DateTime<Utc>,
    /// No call is older.
    pub(super) first: DateTime<Utc>,
    deleted: Vec<Value>,
    pub(super) private: BTreeSet<String>,
    /// Calls that were put off to a later day, and whose rows may be gone until it comes.
    pub(super) postponed: BTreeSet<String>,
    /// Calls that a list may have missed tonight though they are there: if such a call is deleted
    /// then, it may take a week until that is looked into.
    pub(super) restless: BTreeSet<String>,
    /// The titles that calls have had.
    titles: BTreeSet<(String, String)>,
    born: u64,
}

impl World {
    pub(super) fn new(
        workspace: &Workspace,
        clock: &Clock,
        rng: Rng,
        first: DateTime<Utc>,
    ) -> Self {
        let (workspace, clock) = (workspace.clone(), clock.clone());
        let all = workspace.ids_before(DateTime::<Utc>::MAX_UTC, true);
        let public: BTreeSet<_> =
            workspace.ids_before(DateTime::<Utc>::MAX_UTC, false).into_iter().collect();
        let private = all.into_iter().filter(|id| !public.contains(id)).collect();
        Self {
            workspace,
            clock,
            rng,
            silent_since: first,
            first,
            deleted: Vec::new(),
            private,
            postponed: BTreeSet::new(),
            restless: BTreeSet::new(),
            titles: BTreeSet::new(),
            born: 0,
        }
    }

    /// Changes something every moment, and less and less often.
    pub(super) async fn go_on(&mut self) -> ! {
        let mut pace = 1.0;
        loop {
            let pause = Duration::from_millis(self.rng.u64(10..400)).mul_f64(pace);
            tokio::time::sleep(pause).await;
            self.change();
            pace *= 1.1;
        }
    }

    /// Changes one thing.
    pub(super) fn change(&mut self) {
        let now = self.clock.now();
        self.workspace.advance(now);
        let what = match self.rng.u8(..20) {
            0..3 => self.arrive(now),
            3..6 => self.change_status(now),
            6..9 => self.edit(),
            9..11 => self.import(now),
            11..13 => self.reschedule(now, false),
            13 if self.rng.bool() => self.postpone(now),
            13 => self.reschedule(now, true),
            14..16 => self.delete(),
            16 => self.come_back(),
            17 => self.hide(),
            18 => self.show(),
            _ => self.score(now),
        };
        if let Some(what) = what {
            note(format!("    {} {what}", now.format("%dT%H:%M:%S%.3f")));
        }
    }

    /// A call that is listed, with a time from `since` on.
    fn a_call(&mut self, since: DateTime<Utc>) -> Option<String> {
        let calls = self.workspace.calls_before(self.clock.now(), false);
        let calls: Vec<_> = calls.into_iter().filter(|call| time(call) >= since).collect();
        let call = self.rng.choice(calls)?;
        Some(call["id"].as_str().unwrap().to_owned())
    }

    fn time_since(&mut self, since: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let span = (now - since).num_milliseconds().max(1);
        since + TimeDelta::milliseconds(self.rng.i64(0..span))
    }

    fn insert(&mut self, time: DateTime<Utc>, now: DateTime<Utc>) -> Option<String> {
        let model = self.a_call(self.first)?;
        let mut call = self.workspace.call(&model)?;
        self.born += 1;
        let id = format!("born-{}", self.born);
        let status = if self.rng.bool() { READY[1] } else { OTHERS[self.rng.usize(..4)] };
        call["id"] = json!(id);
        call["time"] = json!(time.to_rfc3339());
        call["last_modified_time"] = json!(now.to_rfc3339());
        call["status"] = json!(status);
        self.workspace.insert_call(call, false).then_some(id)
    }

    fn arrive(&mut self, now: DateTime<Utc>) -> Option<String> {
        let age = TimeDelta::seconds(self.rng.i64(1..600));
        let id = self.insert(now - age, now)?;
        Some(format!("{id} arrives"))
    }

    fn import(&mut self, now: DateTime<Utc>) -> Option<String> {
        let time = self.time_since(self.first, now);
        let id = self.insert(time, now)?;
        Some(format!("{id} is imported for {time}"))
    }

    fn change_status(&mut self, now: DateTime<Utc>) -> Option<String> {
        let id = self.a_call(self.first)?;
        let before = self.workspace.call(&id)?["status"].clone();
        let is_ready = READY.iter().any(|it| before == *it);
        let status = if is_ready || self.rng.bool() {
            READY[self.rng.usize(..2)]
        } else {
            OTHERS[self.rng.usize(..4)]
        };
        let done = self.workspace.set_status(&id, status, now);
        done.then(|| format!("{id} is {status}, after {before}"))
    }

    fn edit(&mut self) -> Option<String> {
        let id = self.a_call(self.silent_since)?;
        let value = match self.rng.u8(..4) {
            0 => json!({ "odd": [1, null, "two"] }),
            1 => Value::Null,
            _ => json!(format!("title {}", self.rng.u32(..))),
        };
        // Details that were read under another title are not requested again where the list says
        // what it said before: nothing shows that they are older.
        let before = self.workspace.call(&id)?["title"].to_string();
        self.titles.insert((id.clone(), before));
        let is_new = self.titles.insert((id.clone(), value.to_string()));
        let value = if is_new { value } else { json!(format!("title {}", self.titles.len())) };
        let done = self.workspace.edit_silently(&id, "title", value);
        done.then(|| format!("{id} is edited"))
    }

    fn reschedule(&mut self, now: DateTime<Utc>, silently: bool) -> Option<String> {
        let since = if silently { self.silent_since } else { self.first };
        let id = self.a_call(since)?;
        let time = self.time_since(since, now);
        let done = self.workspace.reschedule(&id, time, silently);
        self.restless.insert(id.clone());
        done.then(|| format!("{id} moves to {time}, silently: {silently}"))
    }

    fn postpone(&mut self, now: DateTime<Utc>) -> Option<String> {
        let id = self.a_call(self.silent_since).filter(|id| !self.restless.contains(id))?;
        let time = now + TimeDelta::minutes(self.rng.i64(1..6_000));
        self.postponed.insert(id.clone());
        let silently = self.rng.bool();
        let done = self.workspace.reschedule(&id, time, silently);
        done.then(|| format!("{id} is put off to {time}, silently: {silently}"))
    }

    fn delete(&mut self) -> Option<String> {
        let id = self.a_call(self.silent_since).filter(|id| !self.restless.contains(id))?;
        let mut call = self.workspace.details(&id).or_else(|| self.workspace.call(&id))?;
        // What it does not say now it will not say when it comes back either.
        for key in ["transcript", "summary", "competitor_sentiments", "deal_stage_live"] {
            call.as_object_mut()?.entry(key).or_insert(Value::Null);
        }
        self.deleted.push(call);
        self.workspace.delete_call(&id).then(|| format!("{id} is deleted"))
    }

    fn come_back(&mut self) -> Option<String> {
        let since = self.silent_since;
        let place = self.deleted.iter().position(|call| time(call) >= since)?;
        let call = self.deleted.swap_remove(place);
        let id = call["id"].as_str()?.to_owned();
        self.workspace.insert_call(call, false).then(|| format!("{id} is back"))
    }

    fn hide(&mut self) -> Option<String> {
        let id = self.a_call(self.silent_since)?;
        self.private.insert(id.clone());
        self.restless.insert(id.clone());
        self.workspace.set_private(&id, true).then(|| format!("{id} is private"))
    }

    fn show(&mut self) -> Option<String> {
        let since = self.silent_since;
        let recent =
            |id: &&String| self.workspace.call(id).is_some_and(|call| time(&call) >= since);
        let id = self.private.iter().find(recent).cloned()?;
        self.private.remove(&id);
        self.workspace.set_private(&id, false).then(|| format!("{id} is public"))
    }

    fn score(&mut self, now: DateTime<Utc>) -> Option<String> {
        let mut row = self.rng.choice(self.workspace.rows(Table::Scorecards))?;
        self.born += 1;
        row["id"] = json!(format!("card-{}", self.born));
        self.workspace.insert_row(Table::Scorecards, now, row);
        Some(format!("card-{} is filled in", self.born))
    }
}

fn time(call: &Value) -> DateTime<Utc> {
    let text = call["time"].as_str().unwrap();
    let parsed = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"));
    parsed.unwrap().to_utc()
}
