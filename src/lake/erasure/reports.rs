//! Reports of runs, and erasure from them: they name records in their examples and problems.

use serde_json::Value;

use crate::error::Result;
use crate::forgotten::Forgotten;
use crate::lake::store::Store;
use crate::report::Report;

impl Store {
    /// Stores a run's report, under its own name and as the latest. What was forgotten while the
    /// run was under way is removed from it. Returns the version of the list of the forgotten.
    ///
    /// # Errors
    /// When the store fails.
    pub fn write_report(&self, report: &mut Report) -> Result<u64> {
        let _lock = self.lock()?;
        let mut forgotten = self.forgotten(0)?;
        loop {
            report.clear(&|text| forgotten.without_names(text));
            let text = serde_json::to_vec_pretty(&report).unwrap_or_default();
            self.overwrite(&format!("_manifest/runs/{}.json", report.run), &text)?;
            self.overwrite("_manifest/runs/latest.json", &text)?;
            // After the list has grown, `forget` clears the reports that it finds: if the list has
            // not grown by now, it will find this one.
            let newest = self.read_forgotten()?;
            if newest.version == forgotten.version {
                return Ok(newest.version);
            }
            forgotten = newest;
        }
    }

    /// Removes the ids and addresses of the forgotten from the reports of all runs.
    ///
    /// # Errors
    /// When the store fails.
    pub fn clear_reports(&self) -> Result<()> {
        let forgotten = self.read_forgotten()?;
        let _lock = self.lock()?;
        for name in self.names("_manifest/runs")? {
            let path = format!("_manifest/runs/{name}");
            let text = self.read(&path)?.unwrap_or_default();
            // What is no JSON is no report of ours.
            let Ok(mut report) = serde_json::from_slice(&text) else { continue };
            if clear(&mut report, &forgotten) {
                let text = serde_json::to_vec_pretty(&report).unwrap_or(text);
                self.overwrite(&path, &text)?;
            }
        }
        Ok(())
    }
}

/// Removes names from every text of a report. Returns whether there were any.
fn clear(value: &mut Value, forgotten: &Forgotten) -> bool {
    match value {
        Value::String(text) => match forgotten.without_names(text) {
            Some(cleared) => {
                *text = cleared;
                true
            }
            None => false,
        },
        // Each is cleared, whatever the others hold.
        Value::Array(items) => items.iter_mut().fold(false, |any, it| clear(it, forgotten) | any),
        Value::Object(members) => {
            let mut any = members.values_mut().fold(false, |any, it| clear(it, forgotten) | any);
            let names =
                members.keys().filter_map(|it| Some((it.clone(), forgotten.without_names(it)?)));
            for (name, cleared) in names.collect::<Vec<_>>() {
                let value = members.remove(&name).unwrap_or_default();
                members.insert(cleared, value);
                any = true;
            }
            any
        }
        _ => false,
    }
}
