//! Progress: a line for each endpoint on a terminal, a line per minute without one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::bars::BARS;
use super::output::{Printer, counted, number};
use crate::fetch::Client;
use crate::report::{Live, Progress};

/// How often the display is drawn, and how often a line is printed.
const TICK: Duration = Duration::from_millis(200);
const MINUTE: Duration = Duration::from_secs(60);
/// The period over which the request rate is measured.
const RATE_TIME: Duration = Duration::from_secs(20);

/// The run's limits, to estimate the remaining time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Requests a second, at most; 0 for no limit.
    pub(super) rate: f64,
    /// Requests left in the week when the run begins, if they are counted.
    pub(super) week_left: Option<u64>,
}

/// Shows progress until it is dropped.
pub(super) struct Display {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    pub(super) fn start(
        progress: Arc<Progress>,
        client: Arc<Client>,
        pace: impl FnOnce() -> Pace + Send + 'static,
        printer: Printer,
    ) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        let thread = printer.shows_progress().then(|| {
            std::thread::spawn(move || {
                let pace = pace();
                if printer.is_terminal() {
                    bars(&progress, &client, pace, &flag);
                } else {
                    lines(&progress, &client, (pace, printer), &flag);
                }
            })
        });
        Self { ended, thread }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A failing display is no reason to fail the run.
            let _ = thread.join();
        }
    }
}

/// The run's progress over all endpoints.
struct RunProgress {
    pace: Pace,
    begun: Instant,
    /// How many requests had been answered, at moments of the last seconds.
    answered: Vec<(Instant, u64)>,
}

impl RunProgress {
    fn new(pace: Pace) -> Self {
        let begun = Instant::now();
        Self { pace, begun, answered: vec![(begun, 0)] }
    }

    /// Records the current numbers.
    fn note(&mut self, live: &BTreeMap<String, Live>, now: Instant) {
        self.answered.push((now, live.values().map(|live| live.requests).sum()));
        let is_old = |(at, _): &(Instant, u64)| now.duration_since(*at) > RATE_TIME;
        let old = self.answered.iter().take_while(|it| is_old(it)).count();
        // One older sample is kept, so that the interval is never too short.
        self.answered.drain(..old.saturating_sub(1));
    }

    fn requests(&self) -> u64 {
        self.answered.last().map_or(0, |last| last.1)
    }

    /// The recent rate, in requests a second.
    fn rate(&self) -> f64 {
        let (Some(first), Some(last)) = (self.answered.first(), self.answered.last()) else {
            return 0.0;
        };
        let seconds = last.0.duration_since(first.0).as_secs_f64();
        if seconds < 0.5 { 0.0 } else { count(last.1 - first.1) / seconds }
    }

    /// The remaining time: the requests still needed, extrapolated from those so far, at the recent
    /// rate, but never faster than allowed.
    fn left(&self, live: &BTreeMap<String, Live>) -> Option<Duration> {
        let requests: f64 = live.values().filter(|live| !live.ended).map(requests_left).sum();
        let mut rate = self.rate();
        if self.pace.rate > 0.0 {
            rate = rate.min(self.pace.rate);
        }
        let is_known = self.begun.elapsed() > Duration::from_secs(3) && rate > 0.0;
        let seconds = requests / rate;
        (is_known && requests > 0.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
    }

    /// The run as a whole in one line.
    fn total(&self, live: &BTreeMap<String, Live>) -> String {
        let mut parts =
            vec![counted(self.requests(), "request"), format!("{:.1} a second", self.rate())];
        if let Some(left) = self.pace.week_left {
            let left = left.saturating_sub(self.requests());
            parts.push(format!("{} left this week", number(left)));
        }
        if let Some(left) = self.left(live) {
            // Endpoints that have not begun are not planned yet.
            let is_all = live.values().all(|live| live.ended || live.planned > 0);
            let about = if is_all { "about" } else { "at least" };
            parts.push(format!("{about} {} to go", span(left)));
        }
        parts.join(", ")
    }
}

/// How many requests an endpoint still needs, if each remaining item takes as many as those done.
fn requests_left(live: &Live) -> f64 {
    let left = count(live.planned.saturating_sub(live.done));
    let each = if live.done == 0 { 1.0 } else { count(live.requests) / count(live.done) };
    left * each.max(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn count(number: u64) -> f64 {
    number as f64
}

fn bars(progress: &Progress, client: &Client, pace: Pace, ended: &AtomicBool) {
    let all = BARS.get_or_init(MultiProgress::new);
    all.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
    let total = all.add(line("{wide_msg}"));
    let mut shown: BTreeMap<String, ProgressBar> = BTreeMap::new();
    let mut course = RunProgress::new(pace);
    while !ended.load(Ordering::Relaxed) {
        let live = progress.snapshot();
        course.note(&live, Instant::now());
        for (name, live) in live.iter().filter(|(_, live)| live.planned > 0) {
            let bar = shown.entry(name.clone()).or_insert_with(|| {
                let style = "{prefix:19!} {bar:16} {pos:>7}/{len:<7} {wide_msg}";
                all.insert_before(&total, line(style).with_prefix(name.clone()))
            });
            bar.set_length(live.planned.max(1));
            bar.set_position(live.done);
            bar.set_message(counts(*live));
            if live.ended && !bar.is_finished() {
                bar.finish_and_clear();
            }
        }
        total.set_message(with_waiting(course.total(&live), client));
        std::thread::sleep(TICK);
    }
    let _ = all.clear();
}

/// A bar in the terminal's own colors.
fn line(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(1);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("━╸ ")),
        Err(_) => bar,
    }
}

/// An endpoint's numbers so far; look-ups are decoded in batches.
fn counts(live: Live) -> String {
    let rows = format!(", {}", counted(live.records, "row"));
    let rows = if live.records > 0 { rows } else { String::new() };
    format!("{} pages{rows}", number(live.pages))
}

/// A line with what the run is waiting for.
fn with_waiting(line: String, client: &Client) -> String {
    match client.waiting() {
        Some(waiting) => format!("{line}; {waiting}"),
        None => line,
    }
}

fn lines(
    progress: &Progress,
    client: &Client,
    (pace, printer): (Pace, Printer),
    ended: &AtomicBool,
) {
    let mut course = RunProgress::new(pace);
    let mut said = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        let now = Instant::now();
        if now.duration_since(said) < MINUTE {
            continue;
        }
        said = now;
        let live = progress.snapshot();
        course.note(&live, now);
        printer.note(&with_waiting(minute(&course, &live), client));
    }
}

/// The text of a minute's line: the run as a whole, and the active endpoints.
fn minute(course: &RunProgress, live: &BTreeMap<String, Live>) -> String {
    let under_way = live.iter().filter(|(_, live)| !live.ended && live.planned > 0);
    let under_way: Vec<_> = under_way
        .map(|(name, live)| {
            let (done, planned) = (number(live.done), number(live.planned));
            format!("{name} {done} of {planned}, {}", counts(*live))
        })
        .collect();
    format!("{}; {}", course.total(live), under_way.join("; "))
}

fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5400 => format!("{} min", seconds.div_ceil(60)),
        5400..172_800 => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(requests: u64, done: u64, planned: u64) -> Live {
        Live { requests, done, planned, ..Live::default() }
    }

    fn course(rate: f64, answered: &[(u64, u64)]) -> RunProgress {
        let now = Instant::now();
        let begun = now.checked_sub(Duration::from_secs(100)).unwrap();
        let at = |(ago, count): &(u64, u64)| {
            (now.checked_sub(Duration::from_secs(*ago)).unwrap(), *count)
        };
        let answered = answered.iter().map(at).collect();
        RunProgress { pace: Pace { rate, week_left: Some(1_000) }, begun, answered }
    }

    #[test]
    fn the_remaining_time_follows_requests_so_far_and_the_allowed_rate() {
        let lives = BTreeMap::from([
            ("calls".to_owned(), live(20, 5, 10)),
            ("users".to_owned(), live(3, 1, 1)),
            ("details".to_owned(), live(0, 0, 80)),
        ]);
        let slow = course(10.0, &[(20, 0), (0, 100)]);
        assert_eq!(slow.left(&lives), Some(Duration::from_secs(20)), "100 requests at 5 a second");
        let burst = course(10.0, &[(1, 0), (0, 100)]);
        assert_eq!(burst.left(&lives), Some(Duration::from_secs(10)), "and never above 10");
        let unlimited = course(0.0, &[(1, 0), (0, 100)]);
        assert_eq!(unlimited.left(&lives), Some(Duration::from_secs(1)));
        assert_eq!(course(10.0, &[(0, 0)]).left(&lives), None, "nothing is known yet");
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut course = course(10.0, &[(90, 0), (50, 400), (25, 400), (10, 500)]);
        let live = BTreeMap::from([("calls".to_owned(), live(550, 5, 10))]);
        course.note(&live, Instant::now());
        assert!((course.rate() - 6.0).abs() < 0.1, "150 requests in 25 s: {}", course.rate());
        let line = course.total(&live);
        assert!(
            line.starts_with("550 requests, 6.0 a second, 450 left this week, about "),
            "{line}"
        );
    }

    #[test]
    fn a_minute_is_one_line() {
        let calls = Live { pages: 12, records: 1_200, ..live(20, 5, 10) };
        let ended = Live { ended: true, ..live(3, 1, 1) };
        let lives = BTreeMap::from([("calls".to_owned(), calls), ("users".to_owned(), ended)]);
        let said = minute(&course(10.0, &[(20, 0), (0, 100)]), &lives);
        let expected = "100 requests, 5.0 a second, 900 left this week, about 4 s to go; \
            calls 5 of 10, 12 pages, 1,200 rows";
        assert_eq!(said, expected);
        let mut waiting = lives;
        waiting.insert("details".to_owned(), Live::default());
        let said = minute(&course(10.0, &[(20, 0), (0, 100)]), &waiting);
        assert_eq!(said, expected.replace("about", "at least"), "what is to come is not known");
    }
}
