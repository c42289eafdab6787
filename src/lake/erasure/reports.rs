//! Erasure from the reports of runs, which name records in their examples and problems.

use serde_json::Value;

use crate::error::Result;
use crate::forgotten::Forgotten;
use crate::lake::store::Store;

impl Store {
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
            members.values_mut().fold(false, |any, it| clear(it, forgotten) | any)
        }
        _ => false,
    }
}
