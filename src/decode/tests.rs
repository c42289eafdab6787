//! Tests of decoding: that records come back unchanged.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::number::Number;
use super::*;
use crate::schema::EXTRA_JSON;

fn endpoint() -> Arc<Endpoint> {
    let text = r#"
        description = "d"
        path = "/x"
        records = "$.xs[*]"
        key = ["id"]
        dated = { by = "field", field = "time" }
        [[column]]
        name = "id"
        type = "string"
        convert = true
        [[column]]
        name = "time"
        type = "timestamp"
        [[column]]
        name = "count"
        type = "int64"
        convert = true
        [[column]]
        name = "ratio"
        type = "double"
        [[column]]
        name = "people"
        type = "list<struct>"
        fields = [
          { name = "name", type = "string" },
          { name = "email", type = "string" },
          { name = "ok", type = "boolean" },
        ]
        [[column]]
        name = "url"
        type = "string"
        never_stored = true
    "#;
    Arc::new(Endpoint::from_toml("xs", text).unwrap())
}

fn decoder(is_frozen: bool) -> RecordDecoder {
    let endpoint = endpoint();
    let schema = Arc::new(endpoint.schema());
    RecordDecoder::new(endpoint, schema, is_frozen, Arc::default())
}

fn decode(decoder: &mut RecordDecoder, records: &Value) -> Decoded {
    let body = json!({ "xs": records }).to_string();
    decoder.decode(body.as_bytes(), &Origin::default()).unwrap()
}

/// The lake's record: columns and `extra_json` merged, by this module's own way back.
fn read_back(rows: &Rows) -> Vec<Value> {
    let text =
        rows::to_json(&rows.to_table().unwrap(), &rows.schema, &mut TapeReader::default()).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Null and absent are the same, and so are 1 and 1.0.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Number(number) => match Number::parse(&number.to_string()).unwrap() {
            Number::Int(int) => json!(int),
            Number::Double(double) => json!(double),
            Number::Decimal(decimal) => json!(decimal),
        },
        Value::Object(members) => members
            .iter()
            .filter(|(_, member)| !member.is_null())
            .map(|(name, member)| (name.clone(), without_nulls(member)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[test]
fn clean_records_need_no_extra_json() {
    let records = json!([
        {"id": "a", "time": "2025-06-11T12:00:00Z", "count": 3, "ratio": 1, "url": null,
         "people": [{"name": "Ann", "ok": true}, {"name": "Bob"}]},
        {"id": "b", "time": "2025-06-11T12:00:00Z", "people": []},
    ]);
    let decoded = decode(&mut decoder(true), &records);
    let extra = decoded.rows.batch.column_by_name(EXTRA_JSON).unwrap();
    assert_eq!(extra.null_count(), 2);
    assert_eq!(decoded.surprises, Surprises::default());
}

#[test]
fn values_that_do_not_fit_are_kept_in_the_records_shape() {
    let records = json!([{"id": 7, "time": "2025-06-11T12:00:00Z", "count": "12",
        "ratio": "NaN", "people": [{"name": "Ann"}, {"name": 5, "new": [1]}, 3],
        "new": {"deep": []}, "url": "https://signed"}]);
    let decoded = decode(&mut decoder(true), &records);
    let extra = decoded.rows.batch.column_by_name(EXTRA_JSON).unwrap();
    let extra = arrow::array::AsArray::as_string::<i32>(extra).value(0).to_owned();
    let expected =
        r#"{"count":"12","new":{"deep":[]},"people":[null,{"name":5,"new":[1]},3],"ratio":"NaN"}"#;
    assert_eq!(serde_json::from_str::<Value>(&extra).unwrap().to_string(), expected);
    assert_eq!(&*decoded.rows.facts[0].key, "7");
    assert_eq!(decoded.surprises.misfits["people.name"], 1);
    assert!(decoded.surprises.numbers_as_text.contains("id"));
    let count = decoded.rows.batch.column_by_name("count").unwrap();
    let count = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(count);
    assert_eq!(count.value(0), 12);
}

/// C12, P5: a bare address instead of a person is in the address column, and comes back bare.
#[test]
fn a_bare_address_is_the_address_of_a_person() {
    let record = json!({"id": "a", "people":
        ["ann@example.com", {"name": "Bob", "email": "bob@example.com"}, "no address", null]});
    let decoded = decode(&mut decoder(true), &json!([record]));
    let people = decoded.rows.batch.column_by_name("people").unwrap();
    let people = arrow::array::AsArray::as_list::<i32>(people).value(0);
    let emails = arrow::array::AsArray::as_struct(&people).column_by_name("email").unwrap();
    let emails: Vec<_> = arrow::array::AsArray::as_string::<i32>(emails).iter().collect();
    assert_eq!(emails, [Some("ann@example.com"), Some("bob@example.com"), None, None]);
    assert_eq!(read_back(&decoded.rows), [record]);
}

/// P5: of duplicate names, the last value counts, wherever they occur.
#[test]
fn of_duplicate_keys_the_last_is_kept_and_the_others_are_counted() {
    let body = br#"{"xs": [{"id": "a", "count": 1, "count": 2, "new": {"x": 1, "x": {"y": 2}},
        "odd.name": 1, "odd.name": null, "people": [{"name": 1, "name": 2}]}]}"#;
    let decoded = decoder(true).decode(body, &Origin::default()).unwrap();
    let expected = json!({"id": "a", "count": 2, "new": {"x": {"y": 2}}, "people": [{"name": 2}]});
    assert_eq!(without_nulls(&read_back(&decoded.rows)[0]), expected);
    let extra = decoded.rows.batch.column_by_name(EXTRA_JSON).unwrap();
    let extra = arrow::array::AsArray::as_string::<i32>(extra).value(0);
    assert_eq!(extra, r#"{"new":{"x":{"y":2}},"people":[{"name":2}]}"#);
    let again =
        decoder(true).decode_rows(&decoded.rows.to_table().unwrap(), vec![Origin::default()]);
    assert_eq!(again.unwrap().facts[0].hash, decoded.rows.facts[0].hash);
    assert_eq!(decoded.surprises.duplicate_members, 3);
}

/// P5: a list may mix names, numbers and objects.
#[test]
fn bare_values_and_records_come_back_from_one_list() {
    let text = "description = \"d\"\npath = \"/x\"\nrecords = \"$.xs[*]\"\nkey = [\"topic\"]\n\
        dated = { by = \"run\" }\n[[column]]\nname = \"topic\"\ntype = \"string\"";
    let endpoint = Arc::new(Endpoint::from_toml("xs", text).unwrap());
    let schema = Arc::new(endpoint.schema());
    let mut decoder = RecordDecoder::new(endpoint, schema, true, Arc::default());
    let decoded = decode(&mut decoder, &json!(["a", 5, {"topic": "b", "new": 1}]));
    let expected = json!([{"topic": "a"}, {"topic": "5"}, {"topic": "b", "new": 1}]);
    assert_eq!(Value::from(read_back(&decoded.rows)), expected);
    let topics = decoded.rows.batch.column_by_name("topic").unwrap();
    let topics = arrow::array::AsArray::as_string::<i32>(topics);
    assert_eq!(topics.iter().flatten().collect::<Vec<_>>(), ["a", "5", "b"]);
}

/// Column depth is limited, however deep the data is, and the stack handles any depth.
#[test]
fn depth_neither_grows_the_schema_nor_overflows_the_stack() {
    let mut decoder = decoder(false);
    for depth in [60, 60, 60, 500, 500, 100_000] {
        let nested = format!("{}1{}", r#"{"x":1,"n":"#.repeat(depth), "}".repeat(depth));
        let listed = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let body = format!(r#"{{"xs": [{{"id": "a", "deep": {nested}, "lists": {listed}}}]}}"#);
        let decoded = decoder.decode(body.as_bytes(), &Origin::default()).unwrap();
        let table = decoded.rows.to_table().unwrap();
        let text = rows::to_json(&table, &decoded.rows.schema, &mut TapeReader::default());
        assert!(text.unwrap().contains(&listed), "{depth}");
        let again = decoder.decode_rows(&table, vec![Origin::default()]).unwrap();
        assert_eq!(again.facts[0].hash, decoded.rows.facts[0].hash, "{depth}");
    }
    let deepest = format!("{:?}", decoder.schema().columns).matches("Struct").count();
    assert!(deepest <= 20, "{deepest}");
}

/// A record with very many members takes time linear in its size.
#[test]
fn a_record_of_many_members_is_decoded_in_time() {
    let members: Vec<String> = (0..200_000).map(|at| format!("\"{at}\":{at}")).collect();
    let body = format!(r#"{{"xs": [{{"id": "a", {}}}]}}"#, members.join(","));
    let decoded = decoder(true).decode(body.as_bytes(), &Origin::default()).unwrap();
    assert_eq!(decoded.surprises.misfits.len(), 200_000);
}

#[test]
fn a_record_without_a_key_goes_to_quarantine_alone() {
    let records = json!([{"id": "a"}, {"id": ""}, {"id": null}, 5, {"id": {"x": 1}}, {"id": "b"}]);
    let decoded = decode(&mut decoder(true), &records);
    assert_eq!(decoded.rows.len(), 2);
    let reasons: Vec<_> = decoded.quarantined.iter().map(|it| it.reason.as_str()).collect();
    let expected = [
        "its `id` is empty",
        "it has no `id`",
        "it is not an object",
        "its `id` is neither a string nor a number",
    ];
    assert_eq!(reasons, expected);
    assert_eq!(decoded.page.entries.len(), 6);
}

#[test]
fn a_schema_grows_until_it_is_frozen_and_never_by_untyped_values() {
    let mut growing = decoder(false);
    let records = json!([{"id": "a", "x": 1, "y": null, "z": [], "w": {}, "ID": 1, "a.b": 1,
        "mixed": [1, "x"], "people": [{"age": 4}], "exported_at": "now"},
        {"id": "b", "x": 1.5, "list": [{"p": 1}, {"q": "t"}]}]);
    decode(&mut growing, &records);
    let grown: Vec<String> = growing.schema().columns[6..]
        .iter()
        .map(|column| format!("{}: {}", column.name, column.column_type))
        .collect();
    assert_eq!(grown, ["x: double", "list: list<struct<p: int64, q: string>>"]);
    assert!(growing.schema().columns[4].column_type.to_string().contains("age: int64"));
    let mut frozen = decoder(true);
    decode(&mut frozen, &records);
    assert_eq!(frozen.schema().columns.len(), 6);
}

#[test]
fn a_reply_that_is_not_json_differs_from_one_without_records() {
    let mut decoder = decoder(true);
    let mut kind = |body: &str| decoder.decode(body.as_bytes(), &Origin::default());
    for body in ["", "<html>", r#"{"xs":[{"id":"a"}"#, r#"{"xs":[]}{}"#, "\u{0}"] {
        assert!(matches!(kind(body), Err(Undecodable::NotJson(_))), "{body}");
    }
    assert!(matches!(kind("{}"), Err(Undecodable::NoRecords(_))));
    assert!(kind(r#"{"xs":null}"#).unwrap().rows.is_empty());
    assert_eq!(kind(" {\"xs\":[{\"id\":\"a\"}]}\n").unwrap().rows.len(), 1);
}

/// P1: whatever is accepted as JSON can be decoded, so that no reply blocks those next to it.
#[test]
fn a_body_is_json_if_it_can_be_decoded() {
    let bom = b"\xef\xbb\xbf{\"xs\":[]}";
    for body in [bom.as_slice(), br#"{"xs":["\ud83d"]}"#, b" [1]\n"] {
        assert!(is_json(body) && looks_whole(body), "{body:?}");
    }
    for body in [b"{\"xs\":[\"\xff\"]}".as_slice(), b"{}{}", b"{\"xs\":[{}"] {
        assert!(!is_json(body), "{body:?}");
    }
    assert!(decoder(true).decode(bom, &Origin::default()).is_ok());
}

#[test]
fn strings_survive_and_lone_surrogates_are_replaced_and_counted() {
    let body = r#"{"xs":[{"id":"a\u0000b","people":[{"name":"\ud83d\ude00 שלום \ud83d"}]}]}"#;
    let decoded = decoder(true).decode(body.as_bytes(), &Origin::default()).unwrap();
    assert_eq!(decoded.surprises.lone_surrogates, 1);
    assert_eq!(read_back(&decoded.rows)[0]["people"][0]["name"], "😀 שלום \u{fffd}");
    assert_eq!(&*decoded.rows.facts[0].key, "a\0b");
}

#[test]
fn the_hash_sees_content_not_spelling() {
    let hash = |record: &str| {
        let body = format!(r#"{{"xs":[{record}]}}"#);
        decoder(true).decode(body.as_bytes(), &Origin::default()).unwrap().rows.facts[0].hash
    };
    let one = hash(r#"{"id":"a","time":"2025-06-11T12:00:00.000Z","ratio":1.0,"x":null}"#);
    assert_eq!(
        one,
        hash(r#"{"ratio":1,"time":"2025-06-11T14:00:00+0200","id":"a","url":"https://u"}"#)
    );
    assert_ne!(one, hash(r#"{"ratio":1,"time":"2025-06-11T14:00:01+0200","id":"a"}"#));
    assert_ne!(one, hash(r#"{"ratio":1,"time":"2025-06-11T14:00:00+0200","id":"a","people":[]}"#));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-10i64..10).prop_map(Value::from),
        "[a-z\"\\\\\u{0}é😀]{0,6}".prop_map(Value::from),
        Just(json!("2025-06-11T12:00:00Z")),
        Just(json!("12")),
        Just(json!("NaN")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let names = "id|time|count|ratio|people|name|ok|new|New|a[.]b|";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..5)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    /// P5: whatever the API sends comes back, through a frozen schema, a growing one, and from the
    /// first to the second; and the row still hashes like the record.
    #[test]
    fn any_record_round_trips(
        records in prop::collection::vec(
            prop::collection::btree_map("time|count|ratio|people|new|New|x|a[.]b|", any_json(), 0..6),
            1..5,
        ),
    ) {
        let records: Vec<Value> = records.into_iter().enumerate().map(|(at, mut record)| {
            record.insert("id".to_owned(), json!(at.to_string()));
            record.into_iter().collect()
        }).collect();
        let expected: Vec<Value> = records.iter().map(without_nulls).collect();
        let mut growing = decoder(false);
        let frozen = decode(&mut decoder(true), &Value::from(records.clone()));
        let grown = decode(&mut growing, &Value::from(records));
        let table = frozen.rows.to_table().unwrap();
        let again = growing.decode_rows(&table, vec![Origin::default(); expected.len()]).unwrap();
        for rows in [&frozen.rows, &grown.rows, &again] {
            let back: Vec<Value> = read_back(rows).iter().map(without_nulls).collect();
            prop_assert_eq!(&back, &expected);
        }
        let hashes = |rows: &Rows| rows.facts.iter().map(|it| it.hash).collect::<Vec<_>>();
        prop_assert_eq!(hashes(&frozen.rows), hashes(&again));
        // A value next to a misfit may get its column only the second time.
        if grown.rows.schema == again.schema {
            let extra = |rows: &Rows| rows.batch.column_by_name(EXTRA_JSON).unwrap().to_data();
            prop_assert_eq!(extra(&grown.rows), extra(&again), "to the letter, either way");
        }
    }
}

/// C9: a text is a text, and a zero keeps its sign; where an older version wrote the index, values
/// that it treated as equal still do not count as changed.
#[test]
fn text_becomes_an_instant_only_in_a_timestamp_column() {
    let facts = |record: &str| {
        let body = format!(r#"{{"xs":[{record}]}}"#);
        decoder(true).decode(body.as_bytes(), &Origin::default()).unwrap().rows.facts[0].clone()
    };
    for (one, other) in [
        (r#""title": "2025-06-11T12:00:00Z""#, r#""title": "2025-06-11T14:00:00+02:00""#),
        (
            r#""people": [{"name": "2025-06-11T12:00:00Z"}]"#,
            r#""people": [{"name": "2025-06-11T12:00:00.0Z"}]"#,
        ),
        (r#""time": ["2025-06-11T12:00:00Z"]"#, r#""time": ["2025-06-11T12:00:00.0Z"]"#),
        (r#""ratio": -0.0"#, r#""ratio": 0.0"#),
        (r#""count": -0"#, r#""count": 0"#),
    ] {
        let (one, other) =
            (facts(&format!(r#"{{"id":"a",{one}}}"#)), facts(&format!(r#"{{"id":"a",{other}}}"#)));
        assert_ne!(one.hash, other.hash);
        assert_eq!(one.older_hashes, other.older_hashes);
        assert!(!one.has_content(other.hash) && !other.has_content(one.hash));
    }
    let plain = facts(r#"{"id":"a","time":"2025-06-11T12:00:00Z","count":3}"#);
    assert!(plain.older_hashes.is_empty());
}

/// P13: an older index has other hashes of keys that are numbers in a column of texts, and of
/// instants in texts: rows with these do not count as changed.
#[test]
fn numeric_keys_have_the_content_that_older_indexes_have() {
    let by_content = Endpoint::from_toml(
        "xs",
        "description = 'd'\npath = '/x'\nrecords = '$.xs[*]'\nkey = 'content'\n\
         dated = { by = 'run' }",
    );
    let by_content = Arc::new(by_content.unwrap());
    let schema = Arc::new(by_content.schema());
    let mut by_content = RecordDecoder::new(by_content, schema, true, Arc::default());
    for text in ["plain", "2025-06-11T12:00:00Z"] {
        let records = |id: Value| json!([{"id": id, "text": text}]);
        let mut older = |id| decode(&mut by_content, &records(id)).rows.facts[0].clone();
        let [number, digits, fraction] = [json!(7), json!("7"), json!(7.5)].map(&mut older);
        let now = |id| decode(&mut decoder(true), &records(id)).rows.facts[0].clone();
        for facts in [now(json!(7)), now(json!("7"))] {
            assert_eq!(facts.hash, digits.hash);
            assert!([&number, &digits].iter().all(|it| facts.has_content(it.hash)));
            let mut oldest = number.older_hashes.iter().chain(&digits.older_hashes);
            assert!(oldest.all(|hash| facts.has_content(*hash)));
            assert!(!facts.has_content(fraction.hash) && !facts.has_content(now(json!(8)).hash));
        }
        assert_eq!(now(json!(7.5)).hash, fraction.hash);
    }
}

/// B3: two records of one reply with the same key are both kept, one of them in quarantine.
#[test]
fn records_of_one_key_are_named() {
    let records = json!([{"id": "a", "x": 1}, {"id": "a", "x": 2}, {"id": "b"}, {"id": "b"}]);
    let decoded = decode(&mut decoder(true), &records);
    assert_eq!((decoded.rows.len(), decoded.page.entries.len()), (3, 4));
    assert_eq!(decoded.quarantined[0].record, r#"{"id":"a","x":1}"#);
    let twice = json!([{"id": "a", "x": 1}, {"id": "a", "x": 1}, {"id": "a", "x": 2}]);
    assert_eq!(decode(&mut decoder(true), &twice).rows.len(), 1);
    assert_eq!(decoded.quarantined[0].reason, SAME_KEY);
    assert_eq!(decoded.surprises.same_key.records, 1);
    assert_eq!(decoded.surprises.same_key.example, "id = a");
}

/// B5: a value that dates no record is described, not quoted.
#[test]
fn records_without_a_date_are_counted() {
    let undated = |time: &Value| {
        let records =
            json!([{"id": "a", "time": time}, {"id": "b", "time": "2025-06-11T12:00:00Z"}]);
        decode(&mut decoder(true), &records).surprises.undated
    };
    for (time, example) in [
        (json!(1_764_500_000_000_i64), "`time` is a number of 13 digits"),
        (json!("11 June, 25"), "`time` is a string like `99 aaaa, 99`"),
        (json!(null), "`time` is null"),
        (json!([1]), "`time` is neither a string nor a number"),
    ] {
        let undated = undated(&time);
        assert_eq!((undated.records, undated.example.as_str()), (1, example));
    }
}

/// C10: names that are data get no columns, and no table gets too many.
#[test]
fn names_that_are_data_stay_in_extra_json() {
    let mut growing = decoder(false);
    for call in 0..3 {
        let name = |at: usize| format!("p{call}_{at}");
        let person = |_| (0..100).map(|at| (name(at), json!({"talk": at}))).collect::<Value>();
        let people: Value = (0..100).map(|at| (name(at), person(at))).collect();
        let flat: Value = (0..40).map(|at| (name(at), json!(at))).collect();
        let narrow: Value = (0..30).map(|at| (name(at), flat.clone())).collect();
        let records = json!([{"id": name(0), "matrix": people, "narrow": narrow, "flat": flat}]);
        let decoded = decode(&mut growing, &records);
        assert_eq!(without_nulls(&read_back(&decoded.rows)[0]), without_nulls(&records[0]));
    }
    let columns = &growing.schema().columns;
    assert!(columns.iter().all(|column| column.name != "matrix"));
    assert!(columns.iter().any(|column| column.name == "flat"));
    let leaves = growing.schema().arrow().flattened_fields().len();
    assert!(leaves < 1200, "{leaves}");
}
