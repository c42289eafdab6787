//! The API's answer to a valid GET, path by path. Credentials, quotas, and faults have been handled
//! before.

use super::details::details;
use super::ledger::Ledger;
use super::listing::{Listing, bounds};
use super::people;
use super::query::{Query, Span, decode};
use super::reply::Reply;
use super::settings::Settings;
use super::tables::{Row, Table};
use super::text::{generator, hash};
use super::workspace::Workspace;
use serde_json::{Value, json};

/// Everything that a reply is generated from.
pub(super) struct Desk<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) settings: &'a Settings,
    pub(super) ledger: &'a Ledger,
    /// Differs on every request, and with it the signed URLs.
    pub(super) nonce: u64,
}

type Answer = Result<Reply, Reply>;

impl Desk<'_> {
    /// The reply to a GET; a reply that is too large is a permanent 502.
    pub(super) fn reply(&self, path: &str, query: &str) -> Reply {
        let query = Query::parse(query, self.ledger);
        let reply = self.route(path, &query).unwrap_or_else(|refusal| refusal);
        if reply.body.len() > self.settings.max_reply_bytes {
            return Reply::message(502, "Internal server error");
        }
        reply
    }

    fn route(&self, path: &str, query: &Query<'_>) -> Answer {
        if self.settings.absent.iter().any(|absent| absent == path) {
            return Err(Reply::unknown_path());
        }
        match path {
            "/calls" => self.calls(query),
            "/call-details" => self.call_details(query),
            "/scorecard" => self.scorecards(query),
            "/users" => self.whole(query, Table::Users, "users"),
            "/topics" => self.whole(query, Table::Topics, "topics"),
            "/v2/topics" => self.whole(query, Table::TopicsV2, "topics"),
            "/scorecard-template" => {
                self.whole(query, Table::ScorecardTemplates, &self.settings.template_key)
            }
            "/teams" => self.whole(query, Table::Teams, "teams"),
            "/stats" => self.stats(query),
            "/stats/aggregate" => self.aggregate(query),
            "/playlists" => self.paged(query, Table::Playlists, "playlists"),
            "/accounts" => self.paged(query, Table::Accounts, "accounts"),
            "/opportunities" => self.paged(query, Table::Opportunities, "opportunities"),
            "/get-account" => self.look_up(query, Table::CrmAccounts),
            "/get-contact" => self.look_up(query, Table::CrmContacts),
            "/get-deal" => self.look_up(query, Table::CrmDeals),
            _ => self.playlist_calls(path, query),
        }
    }

    fn calls(&self, query: &Query<'_>) -> Answer {
        let listing = Listing::of(query, self.settings)?;
        let media = query.media()?;
        let counted = query.flag("includePagination", true)?;
        self.workspace.befall();
        let state = self.workspace.read();
        let page = listing.page(&state);
        let shown = page.calls.iter().map(|slot| self.sign(state.record(slot), media));
        let pagination = counted.then(|| pagination(page.matched, listing.span, shown.len()));
        Ok(Reply::list("calls", shown, pagination))
    }

    fn call_details(&self, query: &Query<'_>) -> Answer {
        let id = query.required("id")?;
        let media = query.media()?;
        let state = self.workspace.read();
        let call = state.calls.get(id).and_then(|slot| details(&state.catalogue, slot, state.now));
        let call = call.ok_or_else(Reply::not_found)?;
        Ok(Reply::json(200, &json!({ "call": self.sign(Value::Object(call), media) })))
    }

    fn scorecards(&self, query: &Query<'_>) -> Answer {
        let (from, to) = bounds(query, "Time", self.settings)?;
        let span = query.span(50, self.settings.beyond_cap)?;
        let state = self.workspace.read();
        let rows = state.tables.rows(Table::Scorecards);
        // They are sorted by a time that is not part of the record.
        let start = rows.partition_point(|row| row.time < from);
        let end = rows.partition_point(|row| row.time < to).max(start);
        let window = rows.get(start..end).unwrap_or_default().iter().rev();
        let asked = |row: &&Row| {
            let is = |key: &str, field| query.one(key).is_none_or(|id| row.value[field] == id);
            is("filterRepId", "rep") && is("filterScorerId", "scorer")
        };
        let window: Vec<&Row> = window.filter(asked).collect();
        let shown = cut(&window, span);
        let pagination = pagination(window.len(), span, shown.len());
        Ok(Reply::list("scorecards", shown, Some(pagination)))
    }

    /// An endpoint that returns everything at once, unless the settings page it.
    fn whole(&self, query: &Query<'_>, table: Table, key: &str) -> Answer {
        let (from, to) = match table {
            Table::TopicsV2 => bounds(query, "Modified", self.settings)?,
            _ => (i64::MIN, i64::MAX),
        };
        let state = self.workspace.read();
        let rows = state.tables.rows(table).iter();
        let rows: Vec<&Row> = rows.filter(|row| from <= row.time && row.time < to).collect();
        self.sized(query, &rows, key)
    }

    fn sized(&self, query: &Query<'_>, rows: &[&Row], key: &str) -> Answer {
        let Some(size) = self.settings.paged_whole else {
            return Ok(Reply::list(key, rows.iter().map(|row| row.value.clone()), None));
        };
        let mut span = query.span(size, self.settings.beyond_cap)?;
        span.limit = span.limit.min(size);
        let shown = cut(rows, span);
        let pagination =
            (!self.settings.paged_whole_silent).then(|| pagination(rows.len(), span, shown.len()));
        Ok(Reply::list(key, shown, pagination))
    }

    fn paged(&self, query: &Query<'_>, table: Table, key: &str) -> Answer {
        let span = query.span(50, self.settings.beyond_cap)?;
        let state = self.workspace.read();
        let rows: Vec<&Row> = state.tables.rows(table).iter().collect();
        let shown = cut(&rows, span);
        let pagination = pagination(rows.len(), span, shown.len());
        Ok(Reply::list(key, shown, Some(pagination)))
    }

    fn playlist_calls(&self, path: &str, query: &Query<'_>) -> Answer {
        let playlist =
            path.strip_prefix("/playlists/").and_then(|rest| rest.strip_suffix("/calls"));
        let playlist = playlist.ok_or_else(Reply::unknown_path)?;
        if self.settings.absent.iter().any(|absent| absent == "/playlists") {
            return Err(Reply::unknown_path());
        }
        let span = query.span(50, self.settings.beyond_cap)?;
        let state = self.workspace.read();
        let members = state.tables.members.get(&decode(playlist)).ok_or_else(Reply::not_found)?;
        let slots = members.iter().filter_map(|id| state.calls.get(id));
        let slots: Vec<_> = slots.filter(|slot| !slot.private).collect();
        let shown = slots.iter().skip(span.skip).take(span.limit);
        let shown: Vec<Value> = shown.map(|slot| state.record(slot)).collect();
        let pagination = pagination(slots.len(), span, shown.len());
        Ok(Reply::list("calls", shown, Some(pagination)))
    }

    fn look_up(&self, query: &Query<'_>, table: Table) -> Answer {
        let id = query.required("id")?;
        let state = self.workspace.read();
        let found = state.tables.find(table, id).ok_or_else(Reply::not_found)?;
        Ok(Reply::json(200, found))
    }

    fn stats(&self, query: &Query<'_>) -> Answer {
        let days = query.days(self.settings.stats_to_inclusive)?;
        let state = self.workspace.read();
        let users = state.tables.rows(Table::Users);
        let users = users.iter().filter(|_| !days.is_empty());
        let rows = users.map(|user| people::stats(state.options.seed, &user.key, &days));
        Ok(Reply::list("stats", rows.map(Value::Object), None))
    }

    fn aggregate(&self, query: &Query<'_>) -> Answer {
        let days = query.days(self.settings.stats_to_inclusive)?;
        let state = self.workspace.read();
        let users = state.tables.rows(Table::Users).len();
        let sum = people::aggregate(state.options.seed, users, &days);
        Ok(Reply::json(200, &json!({ "aggregate": sum })))
    }

    /// Signed URLs, different every time; unchanged if not requested.
    fn sign(&self, mut call: Value, (audio, video): (bool, bool)) -> Value {
        for (asked, key, ending) in [(audio, "audio_url", "mp3"), (video, "video_url", "mp4")] {
            if asked {
                let id = call["id"].as_str().unwrap_or_default();
                let signature = generator(hash(id.as_bytes()), self.nonce).u64(..);
                call[key] = json!(format!(
                    "https://recordings.example/{id}.{ending}?X-Expires=14400&X-Signature={signature:016x}"
                ));
            }
        }
        call
    }
}

fn cut(rows: &[&Row], span: Span) -> Vec<Value> {
    rows.iter().skip(span.skip).take(span.limit).map(|row| row.value.clone()).collect()
}

/// The last page has no `nextPageSkip`, not even null.
fn pagination(matched: usize, span: Span, shown: usize) -> Value {
    let next = span.skip + shown;
    let more = shown > 0 && next < matched;
    let mut pagination = json!({ "matched": matched, "hasMore": more });
    if more {
        pagination["nextPageSkip"] = json!(next);
    }
    pagination
}
