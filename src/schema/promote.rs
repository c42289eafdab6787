//! Explicitly requested schema changes: adding a column, or widening a type.

use super::{Column, ColumnType, Schema, Written, parse_type};

/// Whether a name works in every engine without quoting.
#[must_use]
pub fn is_plain_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.len() <= 128
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Schema {
    /// The schema with an additional column or field at a path: names joined by dots, with or
    /// without marking lists (`users.team`, `users[].team`). Scalars of another type are converted
    /// if that is lossless.
    ///
    /// # Errors
    /// An explanation of why that is impossible.
    pub fn promoted(&self, path: &str, type_name: &str) -> Result<Self, String> {
        // Existing rows have the API's values, so its spelling is kept.
        let column_type = spelled(parse_type(type_name, &[])?);
        let (parents, name) = split(path);
        if !is_plain_name(name) {
            return Err(format!("`{name}` is not a column name"));
        }
        if parents.is_empty() && self.collides(name) {
            return Err(format!("`{name}` is a column that clari-lake adds itself"));
        }
        let mut wider = self.clone();
        let columns = fields_at(&mut wider.columns, &parents)?;
        if let Some(known) = columns.iter().find(|it| it.name.eq_ignore_ascii_case(name)) {
            return Err(format!(
                "`{}` already exists, with type {}",
                known.name, known.column_type
            ));
        }
        columns.push(Column { convert: true, ..Column::new(name, column_type) });
        Ok(wider)
    }

    /// The schema with an integer column or field changed to a double.
    ///
    /// # Errors
    /// An explanation of why that is impossible.
    pub fn with_double(&self, path: &str) -> Result<Self, String> {
        let (parents, name) = split(path);
        let mut wider = self.clone();
        let columns = fields_at(&mut wider.columns, &parents)?;
        let column = columns.iter_mut().find(|column| column.name == name);
        let column = column.ok_or_else(|| format!("there is no `{path}`"))?;
        let mut inner = &mut column.column_type;
        while let ColumnType::List(element) = inner {
            inner = element;
        }
        match inner {
            ColumnType::Int64 => *inner = ColumnType::Double,
            other => {
                return Err(format!("`{path}` has type {other}; only integers can become doubles"));
            }
        }
        Ok(wider)
    }
}

fn spelled(column_type: ColumnType) -> ColumnType {
    match column_type {
        ColumnType::Timestamp(Written::Iso) => ColumnType::Timestamp(Written::Spelled),
        ColumnType::List(element) => ColumnType::List(Box::new(spelled(*element))),
        other => other,
    }
}

fn split(path: &str) -> (Vec<&str>, &str) {
    let mut names: Vec<_> = path.split('.').map(|name| name.trim_end_matches("[]")).collect();
    let last = names.pop().unwrap_or_default();
    (names, last)
}

fn fields_at<'c>(
    columns: &'c mut Vec<Column>,
    path: &[&str],
) -> Result<&'c mut Vec<Column>, String> {
    let Some((name, rest)) = path.split_first() else { return Ok(columns) };
    let column = columns.iter_mut().find(|column| column.name == *name);
    let mut inner = &mut column.ok_or_else(|| format!("there is no `{name}`"))?.column_type;
    while let ColumnType::List(element) = inner {
        inner = element;
    }
    match inner {
        ColumnType::Struct(fields) => fields_at(fields, rest),
        other => Err(format!("`{name}` has type {other}, so it has no fields")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::AddedColumns;
    use super::*;

    fn schema() -> Schema {
        let person = ColumnType::Struct(vec![Column::new("age", ColumnType::Int64)]);
        let people = Column::new("people", ColumnType::List(Box::new(person)));
        let columns = vec![Column::new("count", ColumnType::Int64), people];
        Schema { columns, added: AddedColumns::default() }
    }

    #[test]
    fn a_column_is_added_where_the_path_says() {
        let wider = schema().promoted("people[].born", "timestamp").unwrap();
        let wider = wider.promoted("mood", "list<string>").unwrap();
        let wider = wider.with_double("people.age").unwrap().with_double("count").unwrap();
        let shown: Vec<_> = schema().differences(&wider).iter().map(ToString::to_string).collect();
        let expected = [
            "~ count: int64 -> double",
            "~ people[].age: int64 -> double",
            "+ people[].born: timestamp",
            "+ mood: list<string>",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_impossible_column_is_an_error() {
        let refused = |path, name| schema().promoted(path, name).unwrap_err();
        assert_eq!(refused("Count", "string"), "`count` already exists, with type int64");
        assert_eq!(refused("nothing.x", "string"), "there is no `nothing`");
        assert_eq!(refused("count.x", "string"), "`count` has type int64, so it has no fields");
        assert_eq!(refused("a-b", "string"), "`a-b` is not a column name");
        assert_eq!(
            refused("Extra_json", "string"),
            "`Extra_json` is a column that clari-lake adds itself"
        );
        assert!(refused("x", "int32").starts_with("unknown type `int32`"));
        assert!(refused("x", "struct").contains("needs `fields`"));
        assert!(schema().with_double("people").unwrap_err().contains("only integers"));
    }
}
