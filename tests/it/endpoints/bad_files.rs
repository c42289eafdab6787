//! Files that are wrong: each is one clear error with its place, before anything is asked.

use clari_lake::internals::endpoint::Catalogue;

use crate::support::JsonSchema;

/// A file that is right; each case changes something.
const RIGHT: &str = r#"description = "d"
path = "/x"
records = "$.items[*]"
key = ["id"]

[dated]
by = "field"
field = "at"

[window]
from = "from"
to = "to"

[paging]
style = "skip_limit"

[[column]]
name = "id"
type = "string"

[[column]]
name = "at"
type = "timestamp"
"#;

fn read(name: &str, text: &str) -> Result<(), String> {
    let catalogue = Catalogue::built_in().unwrap().with_file(name, text);
    catalogue.and_then(|it| it.check()).map_err(|error| error.to_string())
}

/// What is replaced in the right file, by what, and what is said of it: a line, and some words.
const CASES: [(&str, &str, usize, &str); 44] = [
    ("path =", "pathh =", 2, "unknown field `pathh`"),
    ("\"/x\"", "\"x\"", 2, "begins with one `/`"),
    ("\"/x\"", "\"//example.com/x\"", 2, "begins with one `/`"),
    ("\"/x\"", "\"https://example.com/x\"", 2, "begins with one `/`"),
    ("\"/x\"", "\"/x?limit=5\"", 2, "has no query"),
    ("\"/x\"", "\"/x/../y\"", 2, "has no `.`"),
    ("\"/x\"", "\"/x y\"", 2, "has no spaces"),
    ("\"/x\"", "\"/x/{tomorrow}\"", 2, "no macro `{tomorrow}`"),
    ("\"/x\"", "\"/x/{now\"", 2, "an unmatched brace"),
    ("\"/x\"", "\"/x/{parent.id}\"", 2, "needs a [parent]"),
    ("\"/x\"", "5", 2, "invalid type: integer"),
    ("\"$.items[*]\"", "\"items\"", 3, "must begin with $"),
    ("\"$.items[*]\"", "\"$.items[\"", 3, "is not a JSONPath"),
    ("\"$.items[*]\"", "[]", 3, "at least one path"),
    ("\"$.items[*]\"", "[\"$.a\", 5]", 3, "invalid type"),
    ("key = [\"id\"]", "key = []", 4, "at least one field"),
    ("key = [\"id\"]", "key = [\"id\", \"id\"]", 4, "appears twice"),
    ("key = [\"id\"]", "key = [\"uuid\"]", 4, "needs a [[column]] of type string"),
    ("key = [\"id\"]", "key = [\"at\"]", 4, "needs a [[column]] of type string"),
    ("key = [\"id\"]", "key = \"id\"", 4, "a key is a list of fields"),
    ("field = \"at\"", "field = \"when\"", 8, "needs a [[column]] of type timestamp"),
    ("field = \"at\"", "", 6, "missing field `field`"),
    ("by = \"field\"", "by = \"month\"", 7, "unknown variant `month`"),
    ("from = \"from\"", "format = \"YYYY\"", 11, "the year of the week"),
    ("from = \"from\"", "format = \"yyyy-MM-ddTHH\"", 11, "the letter `T`"),
    ("from = \"from\"", "format = \"yyyy-MM\"", 11, "needs the day"),
    ("from = \"from\"", "step = \"fortnight\"", 11, "unknown variant `fortnight`"),
    (
        "from = \"from\"",
        "format = \"day\"\nstep = \"hour\"",
        12,
        "shorter than the precision of the format",
    ),
    ("from = \"from\"", "step = \"minute\"", 11, "a step is hour"),
    ("from = \"from\"\nto = \"to\"", "", 10, "requests do not name the window"),
    ("style = \"skip_limit\"", "style = \"scroll\"", 15, "unknown variant `scroll`"),
    ("style = \"skip_limit\"", "style = \"cursor\"", 14, "needs `next`"),
    ("style = \"skip_limit\"", "style = \"whole\"\nlimit = \"l\"", 14, "`limit` does not belong"),
    ("style = \"skip_limit\"", "style = \"skip_limit\"\npage_size = 0", 16, "from 1 to 10000"),
    ("style = \"skip_limit\"", "style = \"skip_limit\"\npage_size = 20000", 16, "from 1 to 10000"),
    ("style = \"skip_limit\"", "style = \"page_number\"\nmost = 0", 16, "must be at least 1"),
    ("style = \"skip_limit\"", "style = \"skip_limit\"\nskip = \"limit\"", 15, "for two purposes"),
    ("style = \"skip_limit\"", "style = \"skip_limit\"\nskp = \"s\"", 16, "unknown field `skp`"),
    ("[paging]", "[query]\nfrom = \"x\"\n\n[paging]", 15, "already set by [paging]"),
    ("[paging]", "[headers]\nAuthorization = \"Bearer x\"\n\n[paging]", 14, "looks like a secret"),
    ("[paging]", "[parent]\nendpoint = \"calls\"\n\n[paging]", 14, "missing field `id`"),
    ("type = \"timestamp\"", "type = \"date\"", 17, "unknown type `date`"),
    ("name = \"at\"", "name = \"ID\"", 22, "columns `id` and `ID` collide"),
    ("description = \"d\"", "description = \"d\"\ndescription = \"e\"", 2, "duplicate key"),
];

#[test]
fn each_of_forty_four_bad_files_gives_one_clear_error_with_its_place() {
    read("mine", RIGHT).unwrap();
    for (old, new, line, words) in CASES {
        assert!(RIGHT.contains(old), "{old}");
        let mut text = RIGHT.replacen(old, new, 1);
        // A column that collides must not miss first.
        if words.contains("collide") {
            text = text.replace("field = \"at\"", "field = \"t\"");
            text.push_str("\n[[column]]\nname = \"t\"\ntype = \"timestamp\"\n");
        }
        let error = read("mine", &text).expect_err(new);
        assert!(error.starts_with("endpoint mine: "), "{error}");
        assert!(error.contains(&format!("line {line}, column")), "{new}: {error}");
        assert!(error.contains(words), "{new}: {error}");
        assert_eq!(error.matches("TOML parse error").count(), 1, "{error}");
    }
}

#[test]
fn mistakes_across_files_are_reported_too() {
    let chained = |parent: &str| {
        let window = "[window]\nfrom = \"from\"\nto = \"to\"\n";
        let text = RIGHT.replace(window, "").replace("\"/x\"", "\"/x/{parent.id}\"");
        format!("{text}\n[parent]\nendpoint = \"{parent}\"\nid = \"$.id\"\n")
    };
    let error = |name: &str, text: &str| read(name, text).unwrap_err();
    for (parent, line, words) in [
        ("nobody", 23, "parent `nobody` does not exist"),
        ("mine", 23, "not its own parent"),
        ("calls", 22, "how long results are cached"),
    ] {
        let error = error("mine", &chained(parent));
        assert!(error.starts_with("endpoint mine: "), "{error}");
        assert!(
            error.contains(&format!("line {line}, column")) && error.contains(words),
            "{error}"
        );
    }
    // What is named of a parent's record is there, as far as its columns tell.
    let naming = |path: &str| {
        chained("calls").replace("/x/{parent.id}", path) + "column = \"call\"\nrefresh = \"7d\"\n"
    };
    for field in ["id", "status", "time", "crm_info.deal_id", "metrics.call_duration"] {
        read("mine", &naming(&format!("/x/{{parent.id}}/{{parent.{field}}}"))).unwrap();
    }
    for (field, words) in [
        ("stauts", "calls has no field `stauts`: its columns are id, "),
        ("crm_info.deal", "calls has no field `crm_info.deal`"),
        ("crm_info", "of calls, `crm_info` is an object: name a field of it, such as `crm_info.s"),
        ("users", "of calls, `users` is a list"),
        ("users.userId", "of calls, `users` is a list"),
        ("status.x", "of calls, `status` is not an object"),
        ("audio_url", "of calls, `audio_url` is never stored"),
    ] {
        let error = error("mine", &naming(&format!("/x/{{parent.id}}/{{parent.{field}}}")));
        assert!(error.contains("line 2, column 1") && error.contains(words), "{error}");
    }
    let error_of = |path: &str| error("mine", &naming(path));
    assert!(error_of("/x/{parent.status}").contains("write {parent.id} in the path"));
    assert!(error_of("/x/{parent.id}/{parent.a..b}").contains("no macro `{parent.a..b}`"));
    assert!(error_of("/x/{parent.id}/{parent.}").contains("no macro `{parent.}`"));
    let queried =
        naming("/x/{parent.id}").replace("[paging]", "[query]\nq = \"{parent.no}\"\n[paging]");
    assert!(error("mine", &queried).contains("line 12, column 1"), "{}", error("mine", &queried));
    assert!(error("mine", "\npath = \"/x\"").contains("line 1, column 1"));
    assert!(error("mine", "path = \"/x\"").contains("`mine` is not built in"));
    assert!(error("Mine", RIGHT).contains("lower-case letters"));
    assert!(error("../mine", RIGHT).contains("lower-case letters"));
    assert!(error("calls", "path = \"calls\"").contains("line 1, column 1"));
    assert!(error("calls", "pages = 5").contains("unknown field `pages`"));
    assert!(error("calls", "key = [\"nothing\"]").contains("line 1, column 1"));
    assert!(error("mine", "like = \"cals\"").contains("there is no endpoint `cals`"));
    assert!(error("mine", "like = \"calls\"\nkey = []").contains("line 2, column 1"));
    let (one, other) = (chained("other"), chained("one"));
    let catalogue = Catalogue::built_in().unwrap();
    let catalogue = catalogue.with_file("one", &one).unwrap().with_file("other", &other).unwrap();
    assert!(catalogue.check().unwrap_err().to_string().contains("cycle"));
}

/// The JSON Schema for editors accepts what the program does, and refuses what it can.
#[test]
fn the_json_schema_agrees_with_the_program() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");
    let schema = std::fs::read_to_string(format!("{folder}/endpoint.schema.json")).unwrap();
    let validator = JsonSchema::new(serde_json::from_str(&schema).unwrap());
    let is_valid = |text: &str| {
        let value: toml::Value = toml::from_str(text).unwrap();
        validator.is_valid(&serde_json::to_value(value).unwrap())
    };
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "toml") {
            files += 1;
            assert!(is_valid(&std::fs::read_to_string(&path).unwrap()), "{}", path.display());
        }
    }
    assert_eq!(files, 19);
    assert!(is_valid(RIGHT) && is_valid("path = \"/x\"\npage_size = 5\non = false"));
    for text in
        ["paths = \"/x\"", "path = \"x\"", "page_size = 0", "paging = { style = \"scroll\" }"]
    {
        assert!(!is_valid(text), "{text}");
    }
    for wrong in [("skip_limit", "scroll"), ("skip_limit", "cursor"), ("\"field\"", "\"window\"")] {
        assert!(!is_valid(&RIGHT.replacen(wrong.0, wrong.1, 1)), "{wrong:?}");
    }
}

/// Every example of the documentation is right.
#[test]
fn the_examples_of_the_documentation_are_right() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let schema = include_str!("../../../schemas/endpoint.schema.json");
    let validator = JsonSchema::new(serde_json::from_str(schema).unwrap());
    let mut examples = 0;
    for block in text.split("```toml\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let name = if block.contains("description") { "example" } else { "calls" };
        read(name, block).unwrap_or_else(|error| panic!("{error}\n{block}"));
        let value: toml::Value = toml::from_str(block).unwrap();
        assert!(validator.is_valid(&serde_json::to_value(value).unwrap()), "{block}");
        examples += 1;
    }
    assert_eq!(examples, 4);
}
