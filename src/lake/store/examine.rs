//! The examination: tries out what a store can do and reports the checks to the user. It leaves
//! nothing behind.

use std::io::Write;

use super::probe::{Guarantees, RACERS, Tags, own_path};
use super::{Kind, Remote, Store};
use crate::check::{Check, Verdict};
use crate::config::Conditional;
use crate::error::{Error, ErrorKind, Result};

impl Store {
    /// Tries out what an export needs from the store, using temporary objects.
    #[must_use]
    pub fn examine(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        let listed = self.is_empty();
        match &listed {
            Ok(true) => checks.push(good("reading", "it answers; there is no lake yet")),
            Ok(false) => checks.push(good("reading", "it answers; there is a lake")),
            Err(error) => checks.push(Check::failed("reading", error)),
        }
        if listed.is_err() {
            return checks;
        }
        match &self.kind {
            Kind::Local(_) => {
                let path = own_path();
                let tried = self.try_locally(&path);
                let deleted = self.delete(&path).and_then(|()| self.clear_traces());
                checks.push(reported(
                    "writing",
                    tried.and(deleted).map(|()| {
                        "files can be created once, replaced, listed and deleted".to_owned()
                    }),
                ));
            }
            Kind::Remote(remote) => self.examine_remote(remote, &mut checks),
        }
        checks
    }

    fn try_locally(&self, path: &str) -> Result<()> {
        let _lock = self.lock()?;
        let is_new = self.create(path, b"1")?;
        let is_new_again = self.create(path, b"2")?;
        let version = self.existing(path)?.version().clone();
        let mut staged = self.stage()?;
        // If staging fails, the object that is put in place shows it.
        let _ = staged.write_all(b"3");
        let replaced = self.replace(staged, path, Some(&version))?;
        let content = self.read(path)?;
        if is_new && !is_new_again && replaced.is_some() && content.as_deref() == Some(b"3") {
            return Ok(());
        }
        let message = "the folder's file system does not create and replace files as a lake needs";
        Err(Error::new(ErrorKind::Config, message))
    }

    fn examine_remote(&self, remote: &Remote, checks: &mut Vec<Check>) {
        let found = match remote.probe() {
            Ok(found) => found,
            Err(error) => return checks.push(Check::failed("writing", &error)),
        };
        checks.push(good("writing", "objects are created and deleted"));
        checks.extend(guarantees(found));
        checks.push(reported("listing", self.try_listing(remote)));
        if found.refuses_present {
            checks.push(race(remote.race()));
        }
        checks.push(conditional(found, remote.conditional()));
        checks.push(versions(found));
    }

    /// Checks that a new object is listed, and that a deleted one is not.
    fn try_listing(&self, remote: &Remote) -> Result<String> {
        let path = own_path();
        let is_listed = || {
            let names = self.names("_manifest")?;
            Ok::<_, Error>(names.iter().any(|name| path.ends_with(name)))
        };
        remote.write(&path, b"1")?;
        let written = is_listed();
        self.delete(&path)?;
        if !written? || is_listed()? {
            let message = "a listing does not show writes and deletions immediately";
            return Err(Error::new(ErrorKind::Config, message)
                .with_hint("use a store with consistent listings, as all large vendors have"));
        }
        Ok("writes and deletions are visible immediately".to_owned())
    }
}

/// The checks of each kind of conditional write.
fn guarantees(found: Guarantees) -> Vec<Check> {
    let create = if found.refuses_present {
        good("create if absent", "an existing object is not overwritten")
    } else {
        let message = "an existing object is overwritten: If-None-Match is ignored";
        Check::new("create if absent", Verdict::Bad, message)
    };
    let replace = match (found.replaces, found.refuses_stale) {
        (Some(Tags::Quoted), true) => {
            good("replace if unchanged", "only the version that was read is replaced")
        }
        (Some(Tags::Bare), true) => {
            let message = "only the version that was read is replaced; the store matches its ETags \
                           only without quotes, so they are sent without";
            Check::new("replace if unchanged", Verdict::Note, message)
        }
        (Some(_), false) => {
            let message = "an object is replaced although its version differs: If-Match is ignored";
            Check::new("replace if unchanged", Verdict::Bad, message)
        }
        (None, _) => {
            let message = "an object is not replaced although its version matches: If-Match never \
                           succeeds";
            Check::new("replace if unchanged", Verdict::Bad, message)
        }
    };
    vec![create, replace]
}

fn race(winners: Result<u32>) -> Check {
    match winners {
        Ok(1) => good("race", &format!("of {RACERS} concurrent writers, one succeeds")),
        Ok(winners) => {
            let message = format!(
                "of {RACERS} concurrent writers, {winners} succeeded: the check and the write are \
                 not atomic"
            );
            Check::new("race", Verdict::Bad, message).with_hint(
                "never run two exports on this lake at the same time, or use another store",
            )
        }
        Err(error) => Check::failed("race", &error),
    }
}

/// Whether the store keeps the guarantees expected of it.
fn conditional(found: Guarantees, expected: Conditional) -> Check {
    let subject = "store.conditional";
    let most = found.conditional();
    let name = |conditional| match conditional {
        Conditional::Etag => "etag",
        Conditional::CreateOnly => "create-only",
        Conditional::None => "none",
    };
    let rank = |conditional| match conditional {
        Conditional::Etag => 2,
        Conditional::CreateOnly => 1,
        Conditional::None => 0,
    };
    let (most_name, expected_name) = (name(most), name(expected));
    if rank(expected) > rank(most) {
        let message = format!("\"{expected_name}\" is more than this store keeps");
        return Check::new(subject, Verdict::Bad, message).with_hint(format!(
            "set store.conditional = \"{most_name}\" in clari-lake.toml, and run one export at a \
             time; or use another store"
        ));
    }
    if rank(expected) < rank(most) {
        let message = format!("\"{expected_name}\"; this store keeps \"{most_name}\" as well");
        return Check::new(subject, Verdict::Note, message);
    }
    good(subject, &format!("\"{expected_name}\", which this store keeps"))
}

fn versions(found: Guarantees) -> Check {
    if found.keeps_versions {
        let message = "the bucket keeps old versions: each replaced partition remains until a \
                       lifecycle rule expires it, even after `forget`";
        let hint = "expire noncurrent versions after a few days; docs/object-stores.md has rules";
        return Check::new("old versions", Verdict::Note, message).with_hint(hint);
    }
    let message = "no old versions were found; soft delete keeps them too, if it is on";
    Check::new("old versions", Verdict::Note, message)
}

fn reported(subject: &str, outcome: Result<String>) -> Check {
    match outcome {
        Ok(message) => good(subject, &message),
        Err(error) => Check::failed(subject, &error),
    }
}

fn good(subject: &str, message: &str) -> Check {
    Check::new(subject, Verdict::Good, message)
}
