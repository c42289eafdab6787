//! Broken replies: what to do with a body that cannot be decoded.

use crate::decode::{NotJson, Undecodable, repair};
use crate::error::{Error, ErrorKind};
use crate::fetch::Unreadable;

/// A body that is not JSON. If the same body comes again, it was not damaged in transit, and is
/// repaired.
#[derive(Default)]
pub(super) struct Broken {
    body: Option<u64>,
    bytes: usize,
}

impl Broken {
    /// The repaired body, if the same one came before.
    pub(super) fn again(&mut self, body: &[u8], why: &str) -> Result<Vec<u8>, Unreadable> {
        if let Some(format) = NotJson::of(body) {
            return Err(Unreadable::of(format));
        }
        let hash = xxhash_rust::xxh3::xxh3_64(body);
        self.bytes = body.len();
        if self.body.replace(hash) != Some(hash) {
            return Err(Unreadable::NotJson(why.to_owned()));
        }
        let repaired = repair(body).ok_or_else(|| self.garbled(why))?;
        tracing::warn!(bytes = body.len(), "a reply that is not JSON was repaired: {why}");
        Ok(repaired)
    }

    /// The result when it cannot be repaired.
    pub(super) fn garbled(&self, why: &str) -> Unreadable {
        let message = format!("a reply of {} bytes is broken: {why}", self.bytes);
        Unreadable::Garbled(Error::new(ErrorKind::Data, message))
    }
}

/// What a reply that cannot be decoded amounts to.
pub(super) fn unreadable(error: Undecodable) -> Unreadable {
    match error {
        Undecodable::NotJson(why) => Unreadable::NotJson(why),
        error @ Undecodable::IsError(_) => {
            Unreadable::NoList(Error::new(ErrorKind::Data, error.to_string()))
        }
        Undecodable::NoRecords(path) => Unreadable::Final(
            Error::new(ErrorKind::Data, format!("the reply has no records at {path}"))
                .with_hint("`clari-lake schema` shows what is expected"),
        ),
        Undecodable::Other(error) => Unreadable::Final(error),
    }
}
