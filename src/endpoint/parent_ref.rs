//! Parents of requests: the fields of a parent's record that a child's requests name.
//!
//! Finds the fields besides the id that an endpoint's texts name, and checks them against the
//! columns of its parent.

use std::borrow::Cow;

use super::{DateFormat, Endpoint, Parent, Piece};
use crate::schema::{Column, ColumnType, Schema};

/// The values of a parent's record that a request names besides the id, in the order of
/// [`Endpoint::parent_fields`]; none where the record has no such value.
pub type ParentValues = Box<[Option<Box<str>>]>;

/// The parent of a request: its id, and the other fields of its record that the request names.
#[derive(Debug, Clone, Copy)]
pub struct ParentRef<'a> {
    /// Distinguishes its list from those of other parents: [`Parent::key_of`].
    pub key: &'a str,
    /// The id.
    pub id: &'a str,
    /// The values of the endpoint's [`Endpoint::parent_fields`], in their order.
    pub values: &'a [Option<Box<str>>],
}

/// A field of a parent's record that is named in requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentField {
    /// As the endpoint spells it: `owner.id`.
    pub name: String,
    /// Its format, if it is an instant.
    pub format: Option<DateFormat>,
    /// Whether the table has a column for it; otherwise its values can only be in `extra_json`.
    pub is_known: bool,
}

/// Whether a record with this id is the requested one. A CRM record's id has 15 characters, or 18
/// with three that encode its case: both are the same record.
#[must_use]
pub fn is_same_id(asked: &str, came: &str) -> bool {
    let is_crm = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let lengths = [asked.len(), came.len()];
    let are_forms = lengths == [15, 18] || lengths == [18, 15];
    asked == came || (are_forms && is_crm(asked) && is_crm(came) && asked[..15] == came[..15])
}

impl<'a> ParentRef<'a> {
    /// An id alone.
    #[must_use]
    pub fn of(id: &'a str) -> Self {
        Self { key: id, id, values: &[] }
    }

    /// The first of the endpoint's fields for which its record has no value.
    #[must_use]
    pub fn lacks<'f>(&self, fields: &[&'f str]) -> Option<&'f str> {
        let has = |at: usize| self.values.get(at).is_some_and(Option::is_some);
        fields.iter().enumerate().find(|(at, _)| !has(*at)).map(|(_, field)| *field)
    }
}

impl ParentField {
    /// The names along its path.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.name.split('.')
    }

    /// The column that contains it.
    #[must_use]
    pub fn root(&self) -> &str {
        self.names().next().unwrap_or_default()
    }
}

impl Parent {
    /// Whether a macro's field is the id: it is named `id`, or like the path of the ids.
    #[must_use]
    pub fn is_id(&self, field: &str) -> bool {
        let is_path = || self.id.query().is_none() && self.id.names().eq(field.split('.'));
        field == "id" || self.id.last_name() == Some(field) || is_path()
    }

    /// The key of a parent: its id, together with the other fields of its record that the requests
    /// name, unless the id is its whole key. The child table's parent column holds it.
    #[must_use]
    pub fn key_of(&self, id: &str, values: &[Option<Box<str>>]) -> String {
        if self.by_key || values.is_empty() {
            return id.to_owned();
        }
        // A slash within a part is escaped, so that no two parents have one key.
        let others = values.iter().map(|value| value.as_deref().unwrap_or_default());
        let parts = std::iter::once(id).chain(others).map(escaped);
        parts.collect::<Vec<_>>().join("/")
    }

    /// The ids that a parent's key may contain: the whole key, and the first part of one that
    /// [`Self::key_of`] has put together.
    pub(crate) fn ids_in<'k>(&self, key: &'k str) -> impl Iterator<Item = Cow<'k, str>> {
        let first = key.split_once('/').filter(|_| !self.by_key);
        let first = first.map(|(id, _)| Cow::from(id.replace("%2F", "/").replace("%25", "%")));
        std::iter::once(Cow::from(key)).chain(first)
    }
}

fn escaped(part: &str) -> String {
    part.replace('%', "%25").replace('/', "%2F")
}

impl Endpoint {
    /// The fields besides the id that its requests name, once each.
    #[must_use]
    pub fn parent_fields(&self) -> Vec<&str> {
        let Some(parent) = &self.parent else { return Vec::new() };
        let mut fields = Vec::new();
        for (_, template) in self.templates() {
            for piece in template.pieces() {
                if let Piece::Parent(field) = piece
                    && !parent.is_id(field)
                    && !fields.contains(&field.as_str())
                {
                    fields.push(field.as_str());
                }
            }
        }
        fields
    }

    /// The parent fields as columns of a parent's table with this schema.
    ///
    /// # Errors
    /// The message for the first field that a request cannot hold.
    pub fn parent_fields_in(&self, schema: &Schema) -> Result<Vec<ParentField>, String> {
        let fields = self.parent_fields().into_iter();
        fields.map(|field| self.parent_field_in(field, schema)).collect()
    }

    /// The same for one of them.
    pub(super) fn parent_field_in(
        &self,
        field: &str,
        schema: &Schema,
    ) -> Result<ParentField, String> {
        find(field, schema, &self.date_format)
    }
}

/// The field in a table with this schema.
fn find(field: &str, schema: &Schema, format: &DateFormat) -> Result<ParentField, String> {
    let field_of = |format, is_known| ParentField { name: field.to_owned(), format, is_known };
    if schema.added.parent.as_deref() == Some(field) {
        return Ok(field_of(None, true));
    }
    let mut columns: &[Column] = &schema.columns;
    let mut names = field.split('.').peekable();
    while let Some(name) = names.next() {
        let Some(column) = columns.iter().find(|column| column.name == name) else {
            return Ok(field_of(None, false));
        };
        if column.never_stored {
            return Err(format!("`{field}` is never stored, so no request can name it"));
        }
        match (&column.column_type, names.peek()) {
            (ColumnType::Struct(fields), Some(_)) => columns = fields,
            (ColumnType::Struct(fields), None) => {
                let one = fields.first().map_or("id", |field| field.name.as_str());
                return Err(format!(
                    "`{field}` is an object: name a field of it, such as `{field}.{one}`"
                ));
            }
            (ColumnType::List(_), _) => {
                return Err(format!("`{name}` is a list, but a request needs a single value"));
            }
            (_, Some(_)) => return Err(format!("`{name}` is not an object, so it has no fields")),
            // Where the API uses counted instants, so does a request.
            (ColumnType::Timestamp(written), None) if written.unit().is_none() => {
                return Ok(field_of(Some(format.clone()), true));
            }
            (_, None) => {}
        }
    }
    Ok(field_of(None, true))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "description = 'd'\npath = '/deals'\nrecords = '$'\nkey = ['id']\n\
        dated = { by = 'run' }\ncolumn = [{ name = 'id', type = 'string' }, \
        { name = 'at', type = 'timestamp' }, { name = 'tags', type = 'list<string>' }, \
        { name = 'url', type = 'string', never_stored = true }, \
        { name = 'owner', type = 'struct', fields = [{ name = 'id', type = 'int64' }] }]";

    fn child(path: &str) -> Endpoint {
        let text = format!(
            "description = 'd'\npath = '{path}'\nrecords = '$'\nkey = ['id']\n\
             dated = {{ by = 'run' }}\ncolumn = [{{ name = 'id', type = 'string' }}]\n\
             parent = {{ endpoint = 'deals', id = '$.people.ids[*]' }}"
        );
        Endpoint::from_toml("x", &text).unwrap()
    }

    #[test]
    fn the_id_goes_by_its_own_names_and_everything_else_is_a_field() {
        let endpoint = child("/{parent.id}/{parent.ids}/{parent.people.ids}/{parent.owner.id}");
        assert_eq!(endpoint.parent_fields(), ["owner.id"]);
        let twice = child("/{parent.id}/{parent.at}/{parent.status}/{parent.at}");
        assert_eq!(twice.parent_fields(), ["at", "status"]);
    }

    #[test]
    fn a_field_is_what_the_parents_columns_say() {
        let schema = Endpoint::from_toml("deals", PARENT).unwrap().schema();
        let find = |field: &str| {
            child(&format!("/{{parent.id}}/{{parent.{field}}}"))
                .parent_fields_in(&schema)
                .map(|fields| (fields[0].format.is_some(), fields[0].is_known))
        };
        assert_eq!(find("owner.id"), Ok((false, true)));
        assert_eq!(find("at"), Ok((true, true)));
        assert_eq!(find("other"), Ok((false, false)));
        assert_eq!(find("owner.name"), Ok((false, false)));
        for (field, why) in [
            ("owner", "name a field of it, such as `owner.id`"),
            ("tags", "`tags` is a list"),
            ("at.x", "`at` is not an object"),
            ("url", "never stored"),
        ] {
            assert!(find(field).unwrap_err().contains(why), "{field}");
        }
    }

    proptest! {
        /// P1: no two parents have one key, whatever their ids and fields look like, and the id is
        /// found in the key again (P15).
        #[test]
        fn p1_p15_a_parents_key_is_its_own(
            one in ("[a/%25F]{1,4}", prop::collection::vec(prop::option::of("[a/%25F]{1,4}"), 2)),
            other in ("[a/%25F]{1,4}", prop::collection::vec(prop::option::of("[a/%25F]{1,4}"), 2)),
        ) {
            let rule = child("/{parent.id}/{parent.owner.id}/{parent.at}").parent.unwrap();
            let key = |(id, values): &(String, Vec<Option<String>>)| {
                let values: ParentValues = values.iter().map(|it| it.as_deref().map(Into::into)).collect();
                rule.key_of(id, &values)
            };
            prop_assert_eq!(key(&one) == key(&other), one == other);
            prop_assert!(rule.ids_in(&key(&one)).any(|id| id == one.0));
        }
    }

    #[test]
    fn a_parent_says_which_field_it_lacks() {
        let values = [Some("a".into()), None];
        let parent = ParentRef { key: "x", id: "x", values: &values };
        assert_eq!(parent.lacks(&["one"]), None);
        assert_eq!(parent.lacks(&["one", "two"]), Some("two"));
        assert_eq!(ParentRef::of("x").lacks(&["one"]), Some("one"));
    }

    #[test]
    fn both_forms_of_a_crm_id_are_equal_and_nothing_else_is() {
        for (asked, came, is_same) in [
            ("a", "a", true),
            ("a", "A", false),
            ("001A000001LmkEo", "001A000001LmkEoIAJ", true),
            ("001A000001LmkEoIAJ", "001A000001LmkEo", true),
            ("001a000001LmkEo", "001A000001LmkEoIAJ", false),
            ("001A000001LmkE-", "001A000001LmkE-IAJ", false),
            ("001A000001LmkEo", "001A000001LmkEoIA", false),
        ] {
            assert_eq!(is_same_id(asked, came), is_same, "{asked} {came}");
        }
    }
}
