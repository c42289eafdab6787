//! Checks that types cannot express: keys that contradict each other.

use super::{ColumnRules, Dated, Endpoint, OneOrMany, Paging, Piece, Template, WindowParameters};
use crate::calendar::TimeUnit;
use crate::place::Mistake;
use crate::schema::{Column, ColumnType};

impl Endpoint {
    /// The first mistake that makes this endpoint invalid.
    pub(super) fn check(&self) -> Result<(), Mistake> {
        check_path(&self.path)?;
        self.check_records()?;
        self.check_key()?;
        self.check_time()?;
        self.check_macros()?;
        self.check_query()?;
        self.check_parent()?;
        self.check_metadata()?;
        self.check_rules()?;
        let paging = self.paging.check();
        paging.map_err(|(key, message)| Mistake::at(["paging", key], message))?;
        check_names(&self.columns, &["column".to_owned()])
    }

    /// Every rule is about a column, and none about one that identifies or dates rows.
    fn check_rules(&self) -> Result<(), Mistake> {
        let mut fixed: Vec<(&str, &str)> =
            self.key.iter().map(|key| (key.as_str(), "is part of the key")).collect();
        fixed.extend(self.time_field().map(|field| (field, "dates the rows")));
        fixed.extend(
            self.modified.iter().map(|it| (it.field.as_str(), "says when the record changed")),
        );
        let metadata = self.metadata.as_ref().map(|_| self.metadata_column.as_str());
        self.rules.check(&self.columns, metadata, &fixed)?;
        let verbatim = ColumnRules::dropping(&self.verbatim);
        verbatim
            .check(&self.columns, metadata, &fixed)
            .map_err(|mistake| Mistake { path: vec!["verbatim".to_owned()], ..mistake })
    }

    fn check_records(&self) -> Result<(), Mistake> {
        match &self.records {
            OneOrMany::Many(paths) if paths.is_empty() => {
                Err(Mistake::at(["records"], "`records` needs at least one path"))
            }
            _ => Ok(()),
        }
    }

    fn check_key(&self) -> Result<(), Mistake> {
        // A range has a single record, which needs no other key.
        if self.key.is_empty() && !self.is_of_ranges() {
            return Err(Mistake::at(["key"], "`key` needs at least one field"));
        }
        for (at, key) in self.key.iter().enumerate() {
            if self.key[..at].contains(key) {
                return Err(Mistake::at(["key"], format!("key `{key}` appears twice")));
            }
        }
        if self.has_content_key() {
            return Ok(());
        }
        for key in self.key.iter().filter(|key| !self.is_day(key)) {
            let is_key = |column: &Column| {
                column.name == *key
                    && matches!(column.column_type, ColumnType::String | ColumnType::Int64)
            };
            if !self.columns.iter().any(is_key) {
                let message = format!("key `{key}` needs a [[column]] of type string or int64");
                return Err(Mistake::at(["key"], message));
            }
        }
        Ok(())
    }

    fn check_time(&self) -> Result<(), Mistake> {
        if let Some(field) = self.time_field() {
            let is_time = |column: &Column| {
                column.name == field && matches!(column.column_type, ColumnType::Timestamp(_))
            };
            if !self.columns.iter().any(is_time) {
                let message = format!(
                    "date field `{field}` needs a [[column]] of type timestamp, epoch_seconds, \
                     epoch_millis or epoch_micros"
                );
                return Err(Mistake::at(["dated", "field"], message));
            }
        }
        match (&self.dated, &self.window) {
            (Dated::Window, None) => {
                Err(Mistake::at(["dated"], "rows dated by window need a [window]"))
            }
            (Dated::Run, Some(_)) => Err(Mistake::at(
                ["window"],
                "endpoints dated by run are read whole, so they have no [window]; to request a \
                 range, write {now-30} in [query]",
            )),
            (_, Some(_)) if self.parent.is_some() => Err(Mistake::at(
                ["window"],
                "a child endpoint is requested by its parent's ids, not by windows",
            )),
            (_, Some(window)) => self.check_window(window),
            (_, None) => Ok(()),
        }
    }

    fn check_window(&self, window: &WindowParameters) -> Result<(), Mistake> {
        let asks = |parameter: &Option<String>, is: &dyn Fn(&Piece) -> bool| {
            parameter.is_some() || self.templates().any(|(_, it)| it.pieces().iter().any(is))
        };
        let begins = asks(&window.from, &|piece| *piece == Piece::WindowFrom);
        let ends = asks(&window.to, &|piece| *piece == Piece::WindowTo);
        if !begins && !ends {
            let message = "requests do not name the window: set `from` and `to`, the names of \
                           query parameters, or write {window.from} and {window.to} in the path \
                           or [query]";
            return Err(Mistake::at(["window"], message));
        }
        self.check_range(window)?;
        let finest = window.resolution();
        if finest > TimeUnit::Day {
            let message = "a window covers days or less, so its format needs the day";
            return Err(Mistake::at(["window", "format"], message));
        }
        match window.step {
            Some(step) if step < finest => {
                let message = "the step is shorter than the precision of the format";
                Err(Mistake::at(["window", "step"], message))
            }
            Some(TimeUnit::Second | TimeUnit::Minute) => {
                let message = "a step is hour, day, week, month or year";
                Err(Mistake::at(["window", "step"], message))
            }
            _ => Ok(()),
        }
    }

    /// The rows of a whole range come from one request.
    fn check_range(&self, window: &WindowParameters) -> Result<(), Mistake> {
        let Some(name) = &window.range_column else { return Ok(()) };
        let wrong = |message: String| Err(Mistake::at(["window", "range_column"], message));
        let is_taken = |column: &Column| column.name.eq_ignore_ascii_case(name);
        if name.is_empty() || self.columns.iter().any(is_taken) || self.key.contains(name) {
            return wrong(format!("`{name}` cannot be the range column"));
        }
        if self.dated != Dated::Window || self.sums_up_days() || window.step.is_some() {
            return wrong(
                "endpoints with a range column are dated by window and have no `day` in their key \
                 and no step"
                    .to_owned(),
            );
        }
        if matches!(self.paging, Paging::SkipLimit(_)) {
            return wrong("windows with skip and limit may have to be split".to_owned());
        }
        Ok(())
    }

    /// Every macro has a meaning.
    fn check_macros(&self) -> Result<(), Mistake> {
        for (path, template) in self.templates() {
            let wrong = |message: String| Err(Mistake { path: path.clone(), message });
            if template.names_window() && self.window.is_none() {
                return wrong(format!("`{}` needs a [window]", template.as_str()));
            }
            if template.names_parent() && self.parent.is_none() {
                return wrong(format!("`{}` needs a [parent]", template.as_str()));
            }
        }
        Ok(())
    }

    /// No query parameter is set twice.
    fn check_query(&self) -> Result<(), Mistake> {
        let mut set = self.paging.parameters();
        let window = self.window.iter().flat_map(|it| [it.from.as_deref(), it.to.as_deref()]);
        set.extend(window.flatten());
        set.extend(self.modified.iter().map(|it| it.from.as_str()));
        for name in self.query.keys() {
            if name.is_empty() {
                return Err(Mistake::at(["query"], "a query parameter needs a name"));
            }
            if set.contains(&name.as_str()) {
                let message =
                    format!("`{name}` is already set by [paging], [window] or [modified]");
                return Err(Mistake::at(["query", name], message));
            }
        }
        Ok(())
    }

    fn check_parent(&self) -> Result<(), Mistake> {
        let Some(parent) = &self.parent else { return Ok(()) };
        if parent.endpoint == self.name {
            return Err(Mistake::at(["parent", "endpoint"], "an endpoint is not its own parent"));
        }
        let is_id = |piece: &Piece| matches!(piece, Piece::Parent(field) if parent.is_id(field));
        if !self.templates().any(|(_, template)| template.pieces().iter().any(is_id)) {
            let message = "requests do not name the parent's id: write {parent.id} in the path or \
                           [query]";
            return Err(Mistake::at(["parent"], message));
        }
        if parent.refresh.is_some() && self.key.iter().any(|key| self.is_day(key)) {
            let message = "results cannot be cached if `day` is part of the key";
            return Err(Mistake::at(["parent", "refresh"], message));
        }
        if self.dated == Dated::Window {
            let message = "a child endpoint is dated by a field or by the run";
            return Err(Mistake::at(["dated"], message));
        }
        Ok(())
    }

    fn check_metadata(&self) -> Result<(), Mistake> {
        let name = &self.metadata_column;
        if self.metadata.is_none() {
            return Ok(());
        }
        if name.is_empty() || self.schema().reserves(name) || self.key.contains(name) {
            let message = format!("`{name}` cannot be the metadata column");
            return Err(Mistake::at(["metadata_column"], message));
        }
        Ok(())
    }

    /// All texts with macros, by the path of their key.
    pub(super) fn templates(&self) -> impl Iterator<Item = (Vec<String>, &Template)> {
        let query = self.query.iter().flat_map(|(name, values)| {
            let path = vec!["query".to_owned(), name.clone()];
            values.all().iter().map(move |value| (path.clone(), value))
        });
        std::iter::once((vec!["path".to_owned()], &self.path)).chain(query)
    }
}

/// A path below the base URL, which cannot lead elsewhere.
fn check_path(path: &Template) -> Result<(), Mistake> {
    let text = path.as_str();
    let why = if !text.starts_with('/') || text.starts_with("//") {
        "begins with one `/`, below the base URL"
    } else if text.contains(['?', '#']) {
        "has no query: write it under [query]"
    } else if text.split('/').any(|segment| segment == ".." || segment == ".") {
        "has no `.` or `..`"
    } else if text.chars().any(|it| it.is_whitespace() || it.is_control() || it == '\\') {
        "has no spaces and no `\\`"
    } else {
        return Ok(());
    };
    Err(Mistake::at(["path"], format!("a path {why}")))
}

/// No two names differ only in case, at any depth: engines that fold case would confuse them.
fn check_names(columns: &[Column], path: &[String]) -> Result<(), Mistake> {
    for (at, column) in columns.iter().enumerate() {
        let place = |name: &str| [path, &[at.to_string(), name.to_owned()]].concat();
        let twin = columns[..at].iter().find(|other| other.name.eq_ignore_ascii_case(&column.name));
        if let Some(twin) = twin {
            let message = format!("columns `{}` and `{}` collide", twin.name, column.name);
            return Err(Mistake { path: place("name"), message });
        }
        let mut inner = &column.column_type;
        while let ColumnType::List(element) = inner {
            inner = element;
        }
        if let ColumnType::Struct(fields) = inner {
            check_names(fields, &place("fields"))?;
        }
    }
    Ok(())
}
