//! The metrics of a run, in the text format that Prometheus reads.
//!
//! Renders a run's outcome and its report, if there is one, as text. There are no record values,
//! and no names whose number grows with the data.

use chrono::{DateTime, Utc};

use super::{EndpointReport, Report};

/// The inputs of a run's metrics.
#[derive(Debug, Clone, Copy)]
pub struct Metrics<'r> {
    /// `export` or `backfill`.
    pub command: &'r str,
    /// The process's exit code.
    pub exit: u8,
    /// When the run began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// When a run last exported everything it was meant to.
    pub last_success: Option<DateTime<Utc>>,
    /// The run's report; none if the run failed with an error.
    pub report: Option<&'r Report>,
}

/// A number with its labels.
type Sample<'t> = (Vec<(&'t str, &'t str)>, f64);

impl Metrics<'_> {
    /// The text of `--metrics`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = Exposition::default();
        let command = vec![("command", self.command)];
        let duration = self.finished_at - self.started_at;
        text.gauge(
            "run_exit_code",
            "Exit code of the last run: 0 complete, 1 incomplete, 2 needs a fix.",
            vec![(command.clone(), f64::from(self.exit))],
        );
        let seconds = precise(duration.num_milliseconds()) / 1_000.0;
        text.gauge(
            "run_duration_seconds",
            "Duration of the last run.",
            vec![(command.clone(), seconds)],
        );
        text.gauge(
            "run_finished_timestamp_seconds",
            "When the last run ended.",
            vec![(command, stamp(self.finished_at))],
        );
        text.gauge(
            "last_success_timestamp_seconds",
            "When a run was last complete.",
            self.last_success.map(|at| (Vec::new(), stamp(at))).into_iter().collect(),
        );
        if let Some(report) = self.report {
            text.run(report);
            text.lake(report, self.finished_at);
            text.quota(report);
        }
        text.0
    }
}

/// The text under construction.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    /// What the run did.
    fn run(&mut self, report: &Report) {
        let answers = report.endpoints.iter().flat_map(|of| {
            let labels = |answer| vec![("endpoint", of.endpoint.as_str()), ("status", answer)];
            of.answers.iter().map(move |(answer, count)| (labels(answer.as_str()), whole(*count)))
        });
        self.gauge(
            "run_requests",
            "Requests of the last run by status, or by how the connection ended.",
            answers.collect(),
        );
        self.by_endpoint("run_records", "Records received in the last run.", report, |it| {
            Some(whole(it.records))
        });
        let changes = report.endpoints.iter().flat_map(|of| {
            let kinds =
                [("inserted", of.inserted), ("updated", of.updated), ("deleted", of.deleted)];
            kinds.map(|(kind, count)| {
                (vec![("endpoint", of.endpoint.as_str()), ("change", kind)], whole(count))
            })
        });
        self.gauge("run_rows", "Rows that the last run changed.", changes.collect());
        self.by_endpoint(
            "run_quarantined",
            "Records without a usable key in the last run.",
            report,
            |it| Some(whole(it.quarantined)),
        );
        self.gauge(
            "run_problems",
            "Number of things missing after the last run.",
            vec![(Vec::new(), whole(report.problems.len() as u64))],
        );
    }

    /// What the lake holds.
    fn lake(&mut self, report: &Report, now: DateTime<Utc>) {
        self.by_endpoint("rows", "Rows of the table.", report, |it| Some(whole(it.rows)));
        self.by_endpoint("bytes", "Size of the table's objects.", report, |it| {
            Some(whole(it.bytes))
        });
        self.by_endpoint("partitions", "Partitions of the table.", report, |it| {
            Some(whole(it.partitions))
        });
        let age = |at: DateTime<Utc>| precise((now - at).num_milliseconds()) / 1_000.0;
        self.by_endpoint(
            "watermark_age_seconds",
            "Age of the newest known change when the last run ended.",
            report,
            |it| it.watermark.map(age),
        );
        self.by_endpoint(
            "covered_to_timestamp_seconds",
            "Time up to which the table is listed.",
            report,
            |it| it.covered_to.map(stamp),
        );
        let queues = report.endpoints.iter().filter_map(|of| Some((of, of.queue?)));
        let states = queues.flat_map(|(of, queue)| {
            let states = [
                ("settled", queue.settled),
                ("pending", queue.pending),
                ("parked", queue.parked),
                ("unavailable", queue.unavailable),
            ];
            states.map(|(state, count)| {
                (vec![("endpoint", of.endpoint.as_str()), ("state", state)], whole(count))
            })
        });
        self.gauge("queue", "Records that are requested one by one, by state.", states.collect());
    }

    /// How many more requests the week allows.
    fn quota(&mut self, report: &Report) {
        let Some(week) = &report.week else { return };
        let one = |count: u64| vec![(Vec::new(), whole(count))];
        self.gauge("quota_requests", "Weekly quota of requests.", one(week.quota));
        self.gauge("quota_spent_requests", "Requests spent this week.", one(week.spent));
        let left = week.quota.saturating_sub(week.spent);
        self.gauge("quota_left_requests", "Requests left this week.", one(left));
        let spent = week.spent_on_backfill;
        let backfill = week.backfill_quota.saturating_sub(spent).min(left);
        self.gauge(
            "quota_left_for_backfill_requests",
            "Requests left for backfills this week.",
            one(backfill),
        );
    }

    fn by_endpoint(
        &mut self,
        name: &str,
        help: &str,
        report: &Report,
        of: impl Fn(&EndpointReport) -> Option<f64>,
    ) {
        let endpoints = report.endpoints.iter();
        let samples = endpoints
            .filter_map(|it| Some((vec![("endpoint", it.endpoint.as_str())], of(it)?)))
            .collect();
        self.gauge(name, help, samples);
    }

    /// One metric with its samples; nothing if it has none.
    fn gauge(&mut self, name: &str, help: &str, samples: Vec<Sample<'_>>) {
        if samples.is_empty() {
            return;
        }
        self.0.push_str(&format!(
            "# HELP clari_lake_{name} {help}\n# TYPE clari_lake_{name} gauge\n"
        ));
        for (labels, value) in samples {
            let labels: Vec<_> =
                labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
            let labels =
                if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            self.0.push_str(&format!("clari_lake_{name}{labels} {value}\n"));
        }
    }
}

/// A label's value, escaped for the format.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Seconds since 1970.
fn stamp(at: DateTime<Utc>) -> f64 {
    precise(at.timestamp())
}

#[expect(clippy::cast_precision_loss, reason = "the format has doubles only")]
fn whole(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "the format has doubles only")]
fn precise(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::super::{Answers, Problem, Queue, Week};
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn report() -> Report {
        let calls = EndpointReport {
            endpoint: "calls".to_owned(),
            answers: Answers::from([("200".to_owned(), 8), ("no_answer".to_owned(), 1)]),
            rows: 4_846,
            bytes: 2_100_000,
            inserted: 9,
            watermark: Some(at("2026-11-25T07:59:30Z")),
            ..EndpointReport::default()
        };
        let own = EndpointReport {
            endpoint: "a \"quoted\\ name".to_owned(),
            queue: Some(Queue { settled: 3, pending: 1, ..Queue::default() }),
            ..EndpointReport::default()
        };
        Report {
            run: "r".to_owned(),
            tool: "0".to_owned(),
            command: "export".to_owned(),
            by_id: false,
            lake: "l".to_owned(),
            started_at: at("2026-11-25T07:59:00Z"),
            finished_at: at("2026-11-25T08:00:00Z"),
            now: at("2026-11-25T07:59:00Z"),
            clock_off_seconds: None,
            complete: false,
            requests: 9,
            week: Some(Week {
                begins: "2026-11-22".parse().unwrap(),
                renewed_at: at("2026-11-29T00:00:00Z"),
                quota: 100,
                backfill_quota: 70,
                spent: 60,
                spent_on_backfill: 10,
                unknown: false,
            }),
            endpoints: vec![calls, own],
            changed: Vec::new(),
            problems: vec![Problem {
                endpoint: "calls".to_owned(),
                window: None,
                message: "m".to_owned(),
            }],
        }
    }

    #[test]
    fn metrics_are_gauges_by_endpoint() {
        let report = report();
        let metrics = Metrics {
            command: "export",
            exit: 1,
            started_at: report.started_at,
            finished_at: report.finished_at,
            last_success: Some(at("2026-11-24T08:00:00Z")),
            report: Some(&report),
        };
        insta::assert_snapshot!(metrics.text());
    }

    #[test]
    fn a_run_that_an_error_ended_has_metrics_too() {
        let (started_at, finished_at) = (at("2026-11-25T08:00:00Z"), at("2026-11-25T08:00:02.5Z"));
        let metrics = Metrics {
            command: "export",
            exit: 2,
            started_at,
            finished_at,
            last_success: None,
            report: None,
        };
        let text = metrics.text();
        let values = text.lines().filter(|line| !line.starts_with('#'));
        let expected = [
            "clari_lake_run_exit_code{command=\"export\"} 2",
            "clari_lake_run_duration_seconds{command=\"export\"} 2.5",
            "clari_lake_run_finished_timestamp_seconds{command=\"export\"} 1795593602",
        ];
        assert_eq!(values.collect::<Vec<_>>(), expected);
    }
}
