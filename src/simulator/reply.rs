//! One reply as bytes, before it is sent. Whether it is compressed or cut off is decided elsewhere.

use super::text::LONE_SURROGATE;
use serde_json::{Value, json};

/// Status and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn json(status: u16, value: &Value) -> Self {
        let mut body = Vec::new();
        write(&mut body, value);
        Self { status, kind: "application/json", body: with_surrogates(body) }
    }

    /// Rows under a key, with paging information. Rows are written one at a time, because a hundred
    /// calls take far more memory as values than as text.
    pub(super) fn list(
        key: &str,
        rows: impl IntoIterator<Item = Value>,
        pagination: Option<Value>,
    ) -> Self {
        let mut body = b"{".to_vec();
        write(&mut body, &Value::from(key));
        body.extend_from_slice(b":[");
        for (index, row) in rows.into_iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            write(&mut body, &row);
        }
        body.push(b']');
        if let Some(pagination) = pagination {
            body.extend_from_slice(b",\"pagination\":");
            write(&mut body, &pagination);
        }
        body.push(b'}');
        Self { status: 200, kind: "application/json", body: with_surrogates(body) }
    }

    pub(super) fn message(status: u16, message: &str) -> Self {
        Self::json(status, &json!({ "message": message }))
    }

    /// The platform's message for an unknown path.
    pub(super) fn unknown_path() -> Self {
        Self::message(403, "Missing Authentication Token")
    }

    pub(super) fn not_found() -> Self {
        Self::message(404, "Not found")
    }

    /// Text that is not JSON.
    pub(super) fn page(status: u16, body: &str) -> Self {
        Self { status, kind: "text/html", body: body.as_bytes().to_vec() }
    }
}

fn write(body: &mut Vec<u8>, value: &Value) {
    // A `Value` has only text keys and writing to memory cannot fail.
    let _ = serde_json::to_writer(body, value);
}

fn with_surrogates(body: Vec<u8>) -> Vec<u8> {
    match std::str::from_utf8(&body) {
        Ok(text) if text.contains(LONE_SURROGATE) => {
            text.replace(LONE_SURROGATE, "\\ud83d").into_bytes()
        }
        _ => body,
    }
}
