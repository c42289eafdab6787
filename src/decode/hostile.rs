//! Hostile records: whatever JSON a server makes up comes back, or is named.
//!
//! The texts are made by hand, so that they hold what no library writes: numbers that are none,
//! members of one name, a zero with a sign.

use serde_json::{Map, Value, json};

use super::number::Number;
use super::*;
use crate::schema::EXTRA_JSON;

/// A generator of texts; the same texts in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }

    fn pick<'i>(&mut self, items: &[&'i str]) -> &'i str {
        items[self.roll(items.len())]
    }
}

const NAMES: [&str; 14] = [
    "time",
    "count",
    "ratio",
    "people",
    "name",
    "ok",
    "at",
    "tags",
    "new",
    "New",
    "a.b",
    "",
    "x",
    "content_key",
];
const NUMBERS: [&str; 20] = [
    "0",
    "7",
    "-1",
    "1.5",
    "1e3",
    "-0.0",
    "-0",
    "1.50",
    "9223372036854775807",
    "9223372036854775808",
    "1e400",
    "0.1e-400",
    "12345678901234567890123",
    "1764500000000",
    "1764500000",
    "0.30000000000000004",
    "1764500000.25",
    "-1764500000000",
    "2e-7",
    "253402300800",
];
const NO_NUMBERS: [&str; 8] = ["007", "5-3", "1e", "1.", "-", "1.2.3", "--1", "0e+"];
const TEXTS: [&str; 16] = [
    "",
    "a",
    "12",
    "-0",
    "NaN",
    "2025-06-11T12:00:00Z",
    "2025-06-11T12:00:00.000Z",
    "2025-06-11T14:00:00+02:00",
    "2025-06-11",
    "2025-06-11T12:00:00.0000001Z",
    "true",
    "\\u0000\\u001b",
    "\\\"\\\\\\/",
    "\\u202e😀",
    "1764500000000",
    "https://x",
];

/// A value as text, and what it means; a member that another of the same name follows means
/// nothing, and null is absent.
fn value(dice: &mut Dice, depth: usize) -> (String, Value) {
    match dice.roll(if depth == 0 { 8 } else { 12 }) {
        0 => ("null".to_owned(), Value::Null),
        1 => ("true".to_owned(), json!(true)),
        2 | 3 => {
            let text = dice.pick(&NUMBERS).to_owned();
            let value = number(&text);
            (text, value)
        }
        4 => {
            let text = dice.pick(&NO_NUMBERS);
            (text.to_owned(), json!(text))
        }
        5..=7 => {
            let text = format!("\"{}\"", dice.pick(&TEXTS));
            let value: String = serde_json::from_str(&text).unwrap();
            (text, spelled(&value))
        }
        8 | 9 => {
            let items: Vec<_> = (0..dice.roll(4)).map(|_| value(dice, depth - 1)).collect();
            let (texts, values): (Vec<_>, Vec<_>) = items.into_iter().unzip();
            (format!("[{}]", texts.join(",")), Value::from(values))
        }
        _ => object(dice, depth - 1, &[]),
    }
}

fn object(dice: &mut Dice, depth: usize, first: &[(&str, &str)]) -> (String, Value) {
    let (mut texts, mut members) = (Vec::new(), Map::new());
    for (name, text) in first {
        texts.push(format!("\"{name}\":{text}"));
        members.insert((*name).to_owned(), serde_json::from_str(text).unwrap());
    }
    for _ in 0..dice.roll(7) {
        let name = dice.pick(&NAMES);
        let (text, value) = value(dice, depth);
        texts.push(format!("{}\"{name}\" :{text}", dice.pick(&["", " ", "\n"])));
        members.insert(name.to_owned(), value);
    }
    members.retain(|_, value| !value.is_null());
    (format!("{{{}}}", texts.join(",")), Value::Object(members))
}

/// A number in the form in which equal numbers are equal.
fn number(text: &str) -> Value {
    match Number::parse(text).unwrap() {
        Number::Int(int) => json!(int),
        Number::Double(double) => json!(format!("double {double:?}")),
        Number::Decimal(decimal) => json!(format!("decimal {decimal}")),
    }
}

/// A text, an instant in the one spelling that timestamps give back; that other columns keep every
/// spelling, the hashes say.
fn spelled(text: &str) -> Value {
    let instant = instant::parse(text).and_then(instant::spell);
    json!(instant.as_deref().unwrap_or(text))
}

/// What a text of JSON means, its numbers in that form.
fn meaning(text: &str) -> Value {
    let visit = |tape: &Tape<'_>, root| meaning_at(tape, root);
    TapeReader::default().read(text.as_bytes(), visit).unwrap()
}

fn meaning_at(tape: &Tape<'_>, at: u32) -> Value {
    use arrow::json::reader::TapeElement;
    match tape.get(at) {
        TapeElement::Number(index) => number(tape.get_string(index)),
        TapeElement::String(index) => spelled(tape.get_string(index)),
        TapeElement::True => json!(true),
        TapeElement::False => json!(false),
        TapeElement::StartList(_) => json::items(tape, at).map(|it| meaning_at(tape, it)).collect(),
        TapeElement::StartObject(end) => json::members(tape, at, end)
            .map(|(name, member)| (name.to_owned(), meaning_at(tape, member)))
            .filter(|(_, value)| !value.is_null())
            .collect(),
        _ => Value::Null,
    }
}

/// What the lake says: columns and `extra_json` merged; `extra_json` is JSON by the letter.
fn read_back(rows: &Rows) -> Vec<Value> {
    let table = rows.to_table().unwrap();
    let extra = table.column_by_name(EXTRA_JSON).unwrap();
    for text in arrow::array::AsArray::as_string::<i32>(extra).iter().flatten() {
        assert!(is_strict_json(text), "{text}");
    }
    let text = rows::to_json(&table, &rows.schema, &mut TapeReader::default()).unwrap();
    let Value::Array(records) = meaning(&text) else { panic!("{text}") };
    records
}

/// The kinds of tables: what is before the columns, and the columns.
const TABLES: [(&str, &str); 6] = [
    ("key = ['id']\ndated = { by = 'field', field = 'time' }", "timestamp"),
    ("key = ['id']\ndated = { by = 'field', field = 'time' }", "epoch_millis"),
    ("key = ['id']\ndated = { by = 'field', field = 'time' }", "epoch_seconds"),
    ("key = ['id', 'day']\ndated = { by = 'run' }", "string"),
    ("key = 'content'\ndated = { by = 'run' }", "double"),
    (
        "key = ['id']\ndated = { by = 'run' }\nparent = { endpoint = 'p', id = '$.id', column = 'of' }",
        "timestamp",
    ),
];

fn endpoint((head, time): (&str, &str), convert: bool, id: &str) -> Arc<Endpoint> {
    let columns = format!(
        "[[column]]\nname = 'id'\ntype = '{id}'\n\
         [[column]]\nname = 'time'\ntype = '{time}'\nconvert = {convert}\n\
         [[column]]\nname = 'count'\ntype = 'int64'\nconvert = {convert}\n\
         [[column]]\nname = 'ratio'\ntype = 'double'\nconvert = {convert}\n\
         [[column]]\nname = 'tags'\ntype = 'list<timestamp>'\nconvert = {convert}\n\
         [[column]]\nname = 'people'\ntype = 'list<struct>'\nfields = [\
         {{ name = 'name', type = 'string', convert = {convert} }}, \
         {{ name = 'at', type = '{time}', convert = {convert} }}, \
         {{ name = 'ok', type = 'boolean' }}]\n"
    );
    let path = if head.contains("parent") { "/x/{parent.id}" } else { "/x" };
    let text = format!("description = 'd'\npath = '{path}'\nrecords = '$[*]'\n{head}\n{columns}");
    Arc::new(Endpoint::from_toml("xs", &text).unwrap())
}

/// P5: 24,000 hostile records come back from every kind of table, settled or growing, and on the
/// way from the one to the other; and each row hashes as its record did.
#[test]
fn hostile_records_come_back() {
    let mut dice = Dice(0x5eed_0000_0000_0001);
    for (number, table) in TABLES.into_iter().enumerate() {
        for (convert, id) in [(true, "int64"), (false, "string")] {
            let endpoint = endpoint(table, convert, id);
            let decoder = |settled| {
                let schema = Arc::new(endpoint.schema());
                RecordDecoder::new(Arc::clone(&endpoint), schema, settled, Arc::default())
            };
            let (mut settled, mut growing) = (decoder(true), decoder(false));
            for reply in 0..40 {
                hold(&mut dice, (&mut settled, &mut growing), reply, number);
            }
            assert!(growing.schema().columns.len() > settled.schema().columns.len());
        }
    }
}

fn hold(
    dice: &mut Dice,
    (settled, growing): (&mut RecordDecoder, &mut RecordDecoder),
    reply: usize,
    table: usize,
) {
    let records = (0..50).map(|row| object(dice, 3, &[("id", &(reply * 50 + row).to_string())]));
    let (texts, expected): (Vec<String>, Vec<Value>) = records.unzip();
    let body = format!("[{}]", texts.join(","));
    let origin = Origin {
        parent: Some("p".into()),
        day: Some(20_000),
        found_on: Some(20_000),
        ..Origin::default()
    };
    let first = settled.decode(body.as_bytes(), &origin).unwrap();
    let grown = growing.decode(body.as_bytes(), &origin).unwrap();
    assert!(first.quarantined.is_empty() && first.surprises.same_key.is_none());
    let origins = vec![origin; expected.len()];
    let again = growing.decode_rows(&first.rows.to_table().unwrap(), origins).unwrap();
    for rows in [&first.rows, &grown.rows, &again] {
        for ((back, expected), text) in read_back(rows).iter().zip(&expected).zip(&texts) {
            assert_eq!(back.to_string(), expected.to_string(), "{text} in table {table}");
        }
        let facts = rows.facts.iter().zip(&first.rows.facts);
        for ((facts, first), text) in facts.zip(&texts) {
            assert_eq!((facts.hash, &facts.key), (first.hash, &first.key), "{text}");
        }
    }
}
