//! The way between a run and the source: it takes time, not everything arrives, and all that is
//! said on it is noted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::clock::Clock;
use clari_lake::internals::fetch::{Break, Exchanged, Get, Severed, Transport};
use fastrand::Rng;
use serde_json::{Value, json};

use super::oracle::{Absence, Oracle, Said};
use super::source::{Answer, NoAnswer, Source};
use crate::support::normal;

/// What goes wrong on the way, and at the server, during one run.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble {
    /// The part of all requests that fail in passing.
    pub(super) share: f64,
    /// Whether some replies take many seconds.
    pub(super) slow: bool,
    /// From when on, and for how long, the server cannot be reached.
    pub(super) outage: Option<(Duration, Duration)>,
    /// The endpoint whose lists are refused from the second page on.
    pub(super) refused: Option<usize>,
    /// Whether every look-up is 404.
    pub(super) absent: bool,
    /// The record that no reply can hold.
    pub(super) unreadable: Option<(usize, String)>,
}

/// The source, and what was said of it.
pub(super) struct World {
    pub(super) source: Source,
    pub(super) oracle: Oracle,
    /// When each request was sent, and by which run.
    pub(super) sent: Vec<(DateTime<Utc>, usize)>,
    /// When each run last had an answer that settles a request.
    pub(super) settled: Vec<(DateTime<Utc>, usize)>,
    /// When the last exchange of each run ended, however it did.
    pub(super) ended: BTreeMap<usize, DateTime<Utc>>,
}

/// One run's way to the source.
pub(super) struct Wire {
    pub(super) world: Arc<Mutex<World>>,
    /// The server's clock.
    pub(super) server: Clock,
    pub(super) run: usize,
    pub(super) trouble: Trouble,
    /// Whether the run leaves out what people said.
    pub(super) no_transcripts: bool,
    pub(super) begun: DateTime<Utc>,
    pub(super) rng: Mutex<Rng>,
}

impl Wire {
    pub(super) fn transport(self) -> Arc<dyn Transport> {
        let wire = Arc::new(self);
        Arc::new(move |get: Get| Arc::clone(&wire).exchange(get))
    }

    async fn latency(&self) {
        let millis = {
            let mut rng = self.rng.lock().unwrap();
            let is_slow = self.trouble.slow && rng.u8(..4) == 0;
            if is_slow { rng.u64(500..15_000) } else { rng.u64(1..40) }
        };
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    fn is_out(&self) -> bool {
        let since = self.server.now() - self.begun;
        let is_in = |(from, length): (Duration, Duration)| {
            let from = TimeDelta::from_std(from).unwrap();
            from <= since && since < from + TimeDelta::from_std(length).unwrap()
        };
        self.trouble.outage.is_some_and(is_in)
    }

    async fn exchange(self: Arc<Self>, get: Get) -> Result<Exchanged, Severed> {
        let exchanged = self.exchange_once(get).await;
        self.world.lock().unwrap().ended.insert(self.run, self.server.now());
        exchanged
    }

    async fn exchange_once(&self, get: Get) -> Result<Exchanged, Severed> {
        let sent = self.server.now();
        self.world.lock().unwrap().sent.push((sent, self.run));
        self.latency().await;
        if self.is_out() {
            return Err(Break::NoConnection.into());
        }
        let (status, body, said) = self.answer(&get, sent);
        self.show(&get, status, said.as_ref());
        self.latency().await;
        let luck = self.rng.lock().unwrap().f64();
        let (status, body, said) = match luck / self.trouble.share.max(f64::MIN_POSITIVE) {
            0.0..0.2 => return Err(Break::Torn.into()),
            0.2..0.4 => (502, Bytes::from_static(b"{}"), None),
            0.4..0.6 => (429, Bytes::from_static(b"{\"message\":\"Too Many Requests\"}"), None),
            0.6..0.8 => (500, Bytes::from_static(b"{}"), None),
            0.8..1.0 if status == 200 => (200, body.slice(..body.len() / 2), None),
            _ => (status, body, said),
        };
        let now = self.server.now();
        let mut world = self.world.lock().unwrap();
        let is_settled = status == 404 || status == 400 || said.is_some();
        if is_settled {
            world.settled.push((now, self.run));
        }
        world.oracle.said.extend(said.map(|said| Said { answered: now, ..said }));
        let mut reply = Exchanged::new(body);
        *reply.status_mut() = http::StatusCode::from_u16(status).unwrap();
        let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        reply.headers_mut().insert("date", date.parse().unwrap());
        Ok(reply)
    }

    /// Prints a request, and whether its answer speaks of the key that `CLARI_LAKE_WATCH` names.
    fn show(&self, get: &Get, status: u16, said: Option<&Said>) {
        let Ok(watched) = std::env::var("CLARI_LAKE_WATCH") else { return };
        let records = said.map_or(&[][..], |said| &said.records);
        let found = records.iter().find(|(key, ..)| *key == watched);
        let (run, now, url) = (self.run, self.server.now().format("%dT%T%.3f"), &get.url);
        println!("run {run} {now} {status} {url}: {} records, {found:?}", records.len());
    }

    /// What the server answers, and what that says.
    fn answer(&self, get: &Get, sent: DateTime<Utc>) -> (u16, Bytes, Option<Said>) {
        let query: Vec<(String, String)> =
            get.url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
        let nothing = Bytes::from_static(b"{}");
        let mut world = self.world.lock().unwrap();
        // What the exporter asks to know whether the API answers at all.
        if get.url.path() == "/topics" {
            return (200, Bytes::from_static(b"{\"topics\": []}"), None);
        }
        let asked_for = world.source.route(get.url.path(), &query);
        let not_found = |world: &mut World| {
            if let Some((kind, Some(of))) = asked_for.clone() {
                world.oracle.absences.push(Absence { kind, of, sent });
            }
            (404, nothing.clone(), None)
        };
        let answer = match world.source.answer(get.url.path(), &query, self.server.now()) {
            Ok(answer) => answer,
            Err(NoAnswer::NotFound) => return not_found(&mut world),
            Err(NoAnswer::Refused) => return (400, nothing, None),
        };
        let of = world.source.kinds[answer.kind].clone();
        if self.trouble.absent && of.is_look_up() {
            return not_found(&mut world);
        }
        let is_later = |(name, value): &(String, String)| match name.as_str() {
            "skip" | "page" => value.parse::<u32>().is_ok_and(|number| number > 1),
            "cursor" => true,
            _ => false,
        };
        if self.trouble.refused == Some(answer.kind) && query.iter().any(is_later) {
            return (400, nothing, None);
        }
        let is_unreadable = self.trouble.unreadable.as_ref().is_some_and(|(kind, key)| {
            *kind == answer.kind && answer.records.iter().any(|(it, ..)| it == key)
        });
        if is_unreadable {
            return (502, nothing, None);
        }
        let Answer { kind, body, records, to, scope } = answer;
        let kept = |mut record: Value| {
            if let Some(fields) = record.as_object_mut().filter(|_| self.no_transcripts) {
                fields.remove(of.words().said);
            }
            normal(record)
        };
        let records = records.into_iter().map(|(key, at, record)| (key, at, kept(record)));
        let records = records.collect();
        let is_check = asked_for.and_then(|(_, of)| of).is_some_and(|of| {
            world.source.detects(kind)
                && !world.oracle.has_listed(self.run, &world.source, kind, &of)
        });
        let (run, answered, is_lost) = (self.run, sent, false);
        let said = Said { run, kind, sent, answered, records, to, scope, is_check, is_lost };
        (200, Bytes::from(json!(body).to_string()), Some(said))
    }
}
