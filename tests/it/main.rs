//! The promises of the design, each checked against a simulated workspace from outside: what the API
//! would say is compared with what a reader finds in the lake.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests touch files and end where they fail"
)]

mod backfill;
mod breakdown;
mod by_hand;
mod changes;
mod cli;
mod clock;
mod copying;
mod crash;
mod endpoints;
mod evolve;
mod faults;
mod first_export;
mod floors;
mod forget;
mod formats;
#[expect(clippy::print_stdout, reason = "the seed and the schedule, for replaying it")]
#[allow(
    clippy::struct_excessive_bools,
    clippy::large_futures,
    reason = "what is drawn is many small choices, and a schedule is one future"
)]
mod generated;
#[expect(clippy::print_stdout, reason = "the seed, for replaying it")]
#[allow(clippy::struct_excessive_bools, reason = "what is drawn is many small choices")]
mod hostile;
mod idempotent;
mod library;
mod messages;
mod not_a_lake;
mod other_server;
mod privacy;
mod quarantine;
mod quota;
mod report;
mod requests;
#[expect(clippy::print_stdout, reason = "the seed and the schedule, for a replay")]
mod simulation;
mod snapshots;
mod stores;
mod support;
#[expect(clippy::print_stdout, reason = "a test that cannot run here says so")]
mod torn;
mod truth;
mod writers;
