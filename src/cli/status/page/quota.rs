//! The week's quota as a bar: spent, still needed this week, and free.
//!
//! Computes each segment's position and the sentences from a status and a forecast. Markup is in
//! the template.

use super::super::super::output::number;
use super::super::words::minute;
use super::charts::{Key, ratio};
use crate::forecast::Forecast;
use crate::status::Status;

/// The width of the bar.
const WIDTH: f64 = 720.0;

/// The quota's bar and sentences.
pub(super) struct QuotaChart {
    pub(super) sentence: String,
    pub(super) projection: String,
    pub(super) parts: Vec<Part>,
    pub(super) share_x: String,
    pub(super) share_anchor: &'static str,
    pub(super) share: String,
    pub(super) legend: Vec<Key>,
}

/// A segment of the bar.
pub(super) struct Part {
    pub(super) x: String,
    pub(super) width: String,
    pub(super) class: &'static str,
    pub(super) title: String,
}

/// What the rest of the week will use.
struct Projection {
    by_nights: u64,
    by_backfill: u64,
}

impl Projection {
    /// The nightly runs as in the last week, and the backfill as far as its share allows.
    fn of(status: &Status, forecast: &Forecast) -> Self {
        let left = status.week.renewed_at - status.now;
        let days = left.num_minutes().max(0).unsigned_abs().div_ceil(24 * 60);
        let by_nights = status.nightly_pace().unwrap_or_default().saturating_mul(days);
        let by_backfill = forecast.requests_for_backfill.min(forecast.week_left_for_backfill);
        Self { by_nights, by_backfill }
    }
}

impl QuotaChart {
    pub(super) fn new(status: &Status, forecast: &Forecast) -> Self {
        let week = &status.week;
        let projection = Projection::of(status, forecast);
        let nights = week.spent - week.spent_on_backfill.min(week.spent);
        let share_x = WIDTH * ratio(week.backfill_quota, week.quota);
        let mut bar = Bar { quota: week.quota, at: 0.0, parts: Vec::new(), legend: Vec::new() };
        bar.add("l4", "spent by nights", nights);
        bar.add("l2", "spent by backfills", week.spent_on_backfill);
        let rest = projection.by_nights + projection.by_backfill;
        bar.add("h", "still to be spent this week, as projected", rest);
        Self {
            sentence: format!(
                "{} of {} requests are spent since {}, {} of {} by backfills.",
                number(week.spent),
                number(week.quota),
                week.begins.format("%A, %-d %B"),
                number(week.spent_on_backfill),
                number(week.backfill_quota),
            ),
            projection: projection.words(status, forecast),
            share_x: format!("{share_x:.1}"),
            share_anchor: if share_x > WIDTH / 2.0 { "end" } else { "start" },
            share: format!("the backfills' share: {}", number(week.backfill_quota)),
            parts: bar.parts,
            legend: bar.legend,
        }
    }
}

impl Projection {
    fn words(&self, status: &Status, forecast: &Forecast) -> String {
        let week = &status.week;
        let by_end = week.spent + self.by_nights + self.by_backfill;
        let renewed = week.renewed_at.format("%A, %-d %B %H:%M");
        let pace = status
            .nightly_pace()
            .map_or("There was no run in the last week to project from".to_owned(), |pace| {
                format!("At {} requests per day, as in the last week", number(pace))
            });
        let verdict = match by_end {
            _ if by_end > week.quota => "which exceeds the quota: some will wait",
            _ => "which the quota allows",
        };
        let mut words = format!(
            "{pace}, about {} will be spent when it is renewed on {renewed}, {verdict}.",
            number(by_end)
        );
        if forecast.requests_for_backfill > 0 {
            words.push_str(&format!(
                " The backfill needs about {} more and will be complete by about {}.",
                number(forecast.requests_for_backfill),
                minute(forecast.complete_at)
            ));
        }
        words
    }
}

/// The bar under construction.
struct Bar {
    quota: u64,
    at: f64,
    parts: Vec<Part>,
    legend: Vec<Key>,
}

impl Bar {
    fn add(&mut self, class: &'static str, name: &str, count: u64) {
        if count == 0 {
            return;
        }
        let title = format!("{name}: {}", number(count));
        let width = (WIDTH * ratio(count, self.quota)).max(1.0).min(WIDTH - self.at);
        self.legend.push(Key::new(class, &title));
        let (x, shown) = (format!("{:.1}", self.at), format!("{width:.1}"));
        self.parts.push(Part { x, width: shown, class, title });
        self.at += width;
    }
}
