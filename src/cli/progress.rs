//! Progress: bars on a terminal, a line a minute without one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::output::{Printer, number};
use crate::report::{Live, Progress};

/// Shows progress until it is dropped.
pub(super) struct Display {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    pub(super) fn start(progress: Arc<Progress>, printer: Printer) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        let thread = printer.shows_progress().then(|| {
            std::thread::spawn(move || {
                if printer.is_terminal() {
                    bars(&progress, &flag);
                } else {
                    lines(&progress, printer, &flag);
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
            // A display that failed is no reason to fail.
            let _ = thread.join();
        }
    }
}

fn bars(progress: &Progress, ended: &AtomicBool) {
    let all = MultiProgress::new();
    let mut shown: HashMap<String, ProgressBar> = HashMap::new();
    let begun = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        for (name, live) in progress.snapshot() {
            let bar = shown.entry(name.clone()).or_insert_with(|| all.add(bar(&name)));
            bar.set_length(live.planned.max(1));
            bar.set_position(live.done);
            bar.set_message(message(live, begun));
            if live.ended && !bar.is_finished() {
                bar.finish_and_clear();
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = all.clear();
}

fn bar(name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:20} {bar:24} {pos:>6}/{len:<6} {wide_msg}");
    let bar = ProgressBar::new(1).with_prefix(name.to_owned());
    match style {
        Ok(style) => bar.with_style(style.progress_chars("━╸ ")),
        Err(_) => bar,
    }
}

fn message(live: Live, begun: Instant) -> String {
    let left = eta(live, begun).map(|left| format!(", about {} left", span(left)));
    format!(
        "{} records, {} requests{}",
        number(live.records),
        number(live.requests),
        left.unwrap_or_default()
    )
}

/// How long the rest takes if it goes on as it has.
fn eta(live: Live, begun: Instant) -> Option<Duration> {
    let elapsed = begun.elapsed();
    let enough = live.done > 0 && live.done < live.planned && elapsed > Duration::from_secs(3);
    let done = u32::try_from(live.done).ok().filter(|_| enough)?;
    let rest = u32::try_from(live.planned - live.done).ok()?;
    Some((elapsed / done).saturating_mul(rest))
}

fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5400 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

fn lines(progress: &Progress, printer: Printer, ended: &AtomicBool) {
    let mut last = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        if last.elapsed() >= Duration::from_secs(60) {
            last = Instant::now();
            for (name, live) in progress.snapshot().into_iter().filter(|(_, live)| !live.ended) {
                printer.note(&format!(
                    "{name}: {} of {}, {} records, {} requests",
                    number(live.done),
                    number(live.planned),
                    number(live.records),
                    number(live.requests)
                ));
            }
        }
    }
}
