//! Queries as text: one column to a line.

/// A query.
#[derive(Debug, Clone, Default)]
pub(super) struct Query {
    columns: Vec<String>,
    from: Vec<String>,
    conditions: Vec<String>,
    group_by: Vec<String>,
}

impl Query {
    pub(super) fn from(relation: impl Into<String>) -> Self {
        Self { from: vec![relation.into()], ..Self::default() }
    }

    /// Selects `expression`, called `name`.
    pub(super) fn column(mut self, name: &str, expression: impl AsRef<str>) -> Self {
        let expression = expression.as_ref();
        let is_called_so = expression.rsplit_once('.').is_some_and(|(_, column)| column == name);
        let is_called_so = is_called_so || expression == name;
        let renamed = || format!("{expression} as {name}");
        self.columns.push(if is_called_so { expression.to_owned() } else { renamed() });
        self
    }

    /// Joins another relation; nothing if it is empty.
    pub(super) fn join(mut self, join: impl Into<String>) -> Self {
        self.from.push(join.into());
        self.from.retain(|relation| !relation.is_empty());
        self
    }

    pub(super) fn condition(mut self, condition: impl Into<String>) -> Self {
        self.conditions.push(condition.into());
        self
    }

    pub(super) fn group_by(mut self, expression: impl Into<String>) -> Self {
        self.group_by.push(expression.into());
        self
    }

    /// The query's text.
    pub(super) fn text(&self) -> String {
        let mut text = format!("select\n  {}", self.columns.join(",\n  "));
        text.push_str(&format!("\nfrom {}", self.from.join("\n")));
        if !self.conditions.is_empty() {
            text.push_str(&format!("\nwhere {}", self.conditions.join("\n  and ")));
        }
        if !self.group_by.is_empty() {
            text.push_str(&format!("\ngroup by {}", self.group_by.join(", ")));
        }
        text
    }

    /// The query as a relation called `alias`.
    pub(super) fn within(&self, alias: &str) -> String {
        within(&self.text(), alias)
    }
}

/// A query's text as a relation called `alias`.
pub(super) fn within(query: &str, alias: &str) -> String {
    format!("(\n  {}\n) as {alias}", query.replace('\n', "\n  "))
}
