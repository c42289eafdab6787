//! Broken replies: what a body is worth that cannot be decoded.

use crate::decode::{NotJson, Undecodable, refused, repair};
use crate::error::{Error, ErrorKind};
use crate::fetch::Unreadable;

/// A body that is not JSON. When the same one comes again, it was not broken on its way, and is
/// repaired.
#[derive(Default)]
pub(super) struct Broken {
    body: Option<u64>,
    bytes: usize,
}

impl Broken {
    /// The body repaired, if it came before.
    pub(super) fn again(&mut self, body: &[u8], why: &str) -> Result<Vec<u8>, Unreadable> {
        if let Some(format) = NotJson::of(body) {
            let why = if format.is_lasting() { Unreadable::Final } else { Unreadable::NoList };
            return Err(why(refused(format)));
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

    /// That it cannot be repaired.
    pub(super) fn garbled(&self, why: &str) -> Unreadable {
        let message = format!("a reply of {} bytes is broken: {why}", self.bytes);
        Unreadable::Garbled(Error::new(ErrorKind::Data, message))
    }
}

/// What a reply is worth that could not be decoded.
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
