//! The way between the exporter and the API: it takes time, and not everything arrives.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use clari_lake::internals::clock::Clock;
use clari_lake::internals::fetch::{Break, Exchanged, Get, Severed, Transport};
use clari_lake::internals::simulator::{Api, Fault, Settings, Workspace};
use fastrand::Rng;

use crate::support::received;

/// A way to an API that lives in this process.
pub(super) struct Wire {
    pub(super) api: Api,
    /// The server's clock.
    pub(super) clock: Clock,
    /// Whether the workspace goes on living while it is read.
    pub(super) lives: bool,
    /// While the server cannot be reached.
    pub(super) outage: Option<(DateTime<Utc>, DateTime<Utc>)>,
    rng: Mutex<Rng>,
}

impl Wire {
    pub(super) fn new(workspace: &Workspace, settings: Settings, clock: &Clock, rng: Rng) -> Self {
        let api = Api::new(workspace.clone(), settings);
        Self { api, clock: clock.clone(), lives: true, outage: None, rng: Mutex::new(rng) }
    }

    pub(super) fn transport(self: &Arc<Self>) -> Arc<dyn Transport> {
        let wire = Arc::clone(self);
        Arc::new(move |get: Get| Arc::clone(&wire).exchange(get))
    }

    fn latency(&self) -> Duration {
        Duration::from_micros(self.rng.lock().unwrap().u64(500..40_000))
    }

    async fn exchange(self: Arc<Self>, get: Get) -> Result<Exchanged, Severed> {
        tokio::time::sleep(self.latency()).await;
        let now = self.clock.now();
        if self.outage.is_some_and(|(from, to)| from <= now && now < to) {
            return Err(Break::NoConnection.into());
        }
        if self.lives {
            self.api.workspace().advance(now);
        }
        let url = get.url.clone();
        let (mut reply, fault) = self.api.answer(&received(get));
        if let Ok(watched) = std::env::var("CLARI_LAKE_WATCH") {
            let body = String::from_utf8_lossy(reply.body());
            let has_it = if body.contains(&watched) { ", has it" } else { "" };
            let (at, status) = (now.format("%dT%T%.3f"), reply.status().as_u16());
            super::note(format!("      {at} {status} {url} {fault:?}{has_it}"));
        }
        tokio::time::sleep(self.latency()).await;
        match fault {
            Some(Fault::Reset) => return Err(Break::Torn.into()),
            Some(Fault::Stall) => tokio::time::sleep(Duration::from_secs(90)).await,
            _ => {}
        }
        let date = self.clock.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        reply.headers_mut().insert("date", date.parse().unwrap());
        Ok(reply)
    }
}
