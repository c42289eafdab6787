//! The union of two schemas, for files of one table that were written while its schema grew.

use super::{Column, ColumnType, Schema};

impl Schema {
    /// The schema with the columns of both: first this one's, then those that only the other has.
    /// If types differ, integers become doubles; otherwise this one's type is kept, and the other's
    /// values go to `extra_json` when its rows are rewritten.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        add_columns(&mut union.columns, &other.columns);
        union
    }
}

fn add_columns(columns: &mut Vec<Column>, others: &[Column]) {
    for other in others {
        if let Some(known) = columns.iter_mut().find(|it| it.name == other.name) {
            widen(&mut known.column_type, &other.column_type);
        // Engines that ignore case would not distinguish the two.
        } else if !columns.iter().any(|it| it.name.eq_ignore_ascii_case(&other.name)) {
            columns.push(other.clone());
        }
    }
}

fn widen(known: &mut ColumnType, other: &ColumnType) {
    match (&mut *known, other) {
        (ColumnType::Struct(fields), ColumnType::Struct(others)) => add_columns(fields, others),
        (ColumnType::List(element), ColumnType::List(other)) => widen(element, other),
        (ColumnType::Int64, ColumnType::Double) => *known = ColumnType::Double,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::AddedColumns;
    use super::*;

    fn schema(columns: Vec<Column>) -> Schema {
        Schema { columns, added: AddedColumns::default() }
    }

    #[test]
    fn the_union_has_what_either_has() {
        let people = |fields: Vec<Column>| {
            let list = ColumnType::List(Box::new(ColumnType::Struct(fields)));
            Column::new("people", list)
        };
        let column = |name: &str, column_type| Column::new(name, column_type);
        let (text, whole) = (ColumnType::String, ColumnType::Int64);
        let one = schema(vec![
            column("id", text.clone()),
            column("n", whole.clone()),
            column("odd", text.clone()),
            people(vec![column("name", text.clone())]),
        ]);
        let other = schema(vec![
            column("id", text.clone()),
            column("n", ColumnType::Double),
            column("odd", ColumnType::Boolean),
            column("ID", text.clone()),
            people(vec![column("age", whole)]),
            column("mood", text),
        ]);
        let union = one.union(&other);
        let shown: Vec<_> = one.differences(&union).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["~ n: int64 -> double", "+ people[].age: int64", "+ mood: string"]);
        assert_eq!(union.union(&one), union);
        assert_eq!(union.union(&other), union);
    }
}
