//! An address that a person typed, with macros in it, and the chosen options for its reply.

use chrono::{DateTime, TimeDelta, Utc};

use crate::calendar::TimeUnit;
use crate::endpoint::{DateFormat, Headers, Template, Values, WindowParameters};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{Request, headers, percent_encode};
use crate::window::Window;

/// An address to sample, and to make an endpoint of.
#[derive(Debug, Clone)]
pub struct Address {
    /// The path below the base URL.
    pub path: Template,
    /// The query, in order.
    pub query: Vec<(String, Template)>,
    /// Headers besides the credentials.
    pub headers: Headers,
    /// The format of `{now}`, if given.
    pub date_format: Option<DateFormat>,
    /// The unit in which `{now-1}` is counted, if given.
    pub time_unit: Option<TimeUnit>,
    /// The window for `{window.from}` and `{window.to}`; by default the last week.
    pub range: Option<Window>,
    /// Where the records are, if given.
    pub records: Option<String>,
    /// The fields that identify a record, if given.
    pub key: Vec<String>,
}

impl Address {
    /// An address with this path and query.
    ///
    /// # Errors
    /// `Config` when a macro is unknown, or needs something that an address alone does not have.
    pub fn new(path: &str, query: &[(String, String)]) -> Result<Self> {
        let template = |text: &str| {
            let wrong = |message| Error::new(ErrorKind::Config, message);
            let template = Template::try_from(text.to_owned()).map_err(wrong)?;
            if template.names_parent() {
                let message = "{parent.…} is a placeholder for the ids of another endpoint, which a URL \
                               alone does not have";
                return Err(wrong(message.to_owned())
                    .with_hint("write one id instead; see schemas/README.md, [parent]"));
            }
            Ok(template)
        };
        let query = query.iter().map(|(name, value)| Ok((name.clone(), template(value)?)));
        Ok(Self {
            path: template(path)?,
            query: query.collect::<Result<_>>()?,
            headers: Headers::default(),
            date_format: None,
            time_unit: None,
            range: None,
            records: None,
            key: Vec::new(),
        })
    }

    /// Whether it needs a window.
    #[must_use]
    pub fn names_window(&self) -> bool {
        let query = self.query.iter().map(|(_, value)| value);
        query.chain([&self.path]).any(Template::names_window)
    }

    /// The request, in which macros count from `now`.
    pub(super) fn request(&self, now: DateTime<Utc>) -> Request {
        let format = self.date_format.clone().unwrap_or_default();
        let range = self.range.unwrap_or_else(|| Window::new(now - TimeDelta::days(7), now));
        let parameters = WindowParameters { format: format.clone(), ..WindowParameters::default() };
        let (from, to) = parameters.edges(range);
        let values = Values {
            now,
            unit: self.time_unit.unwrap_or_default(),
            format: &format,
            window: Some((&from, &to)),
            parent: None,
            fields: &[],
        };
        let query = self.query.iter();
        let query = query.map(|(name, value)| (name.clone(), value.fill(&values, str::to_owned)));
        Request {
            path: self.path.fill(&values, percent_encode),
            query: query.collect(),
            headers: headers(&self.headers),
            ..Request::default()
        }
    }
}
