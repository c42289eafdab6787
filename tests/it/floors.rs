//! The house: every import against the table of floors, and the lower floors free of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of each layer, model first, command line last; `simulator` is next to them.
/// Rooms that the design has and the house has not yet are here already.
const FLOORS: [&[&str]; 7] = [
    &[
        "endpoint",
        "schema",
        "window",
        "calendar",
        "span",
        "page",
        "partition",
        "row",
        "manifest",
        "report",
        "config",
        "place",
        "check",
        "secret",
        "forgotten",
        "error",
    ],
    &["plan", "paginate", "quota", "retry", "decode", "commit_plan"],
    &["fetch", "lake", "clock", "allocator"],
    &["ledger"],
    &[
        "pipeline", "verify", "changes", "evolve", "forget", "forecast", "status", "sample", "sql",
        "doctor",
    ],
    &["library"],
    &["main", "cli"],
];

/// What floors 0 and 1 never mention, since they are values and decisions.
const WORLD: [&str; 7] =
    ["tokio", "reqwest", "std::fs", "std::env", "Utc::now", "fastrand", "tracing"];

/// A source file without its tests and comments.
struct Source {
    /// Its path below `src`.
    path: PathBuf,
    code: String,
}

impl Source {
    /// The room it belongs to: the first folder, or the file's own name.
    fn room(&self) -> String {
        let first = self.path.components().next().unwrap().as_os_str();
        Path::new(first).file_stem().unwrap().to_str().unwrap().to_owned()
    }

    /// The path of its module, such as `lake::table::merge`.
    fn module(&self) -> String {
        let path = self.path.with_extension("");
        let path = if path.ends_with("mod") { path.parent().unwrap().to_owned() } else { path };
        let names = path.components().map(|it| it.as_os_str().to_str().unwrap());
        names.collect::<Vec<_>>().join("::")
    }

    /// The other modules of its room that it imports from or names; what it only exports again is
    /// not used by it.
    fn modules_used(&self, modules: &BTreeMap<String, &Source>) -> BTreeSet<String> {
        let module = self.module();
        let names: Vec<&str> = module.split("::").collect();
        let statements = self.code.split("\nuse ").skip(1);
        let statements = statements.filter_map(|text| text.split(';').next());
        let imports =
            statements.flat_map(|statement| expanded(&statement.replace(['\n', ' '], "")));
        // Paths in the code itself, such as `super::missing::mark(..)`, and those of child modules,
        // which need no import.
        let code = self.code.replace("(in crate::", "(");
        let paths = code.split(|it: char| !(it.is_alphanumeric() || "_:".contains(it)));
        let is_child = |path: &str| {
            let declared = |name: &str| code.contains(&format!("mod {name};"));
            path.split_once("::").is_some_and(|(first, _)| declared(first))
        };
        let paths = paths.filter_map(|path| {
            let path = path.trim_end_matches(':');
            let is_other = path.starts_with("super::") || path.starts_with("crate::");
            if is_child(path) {
                Some(format!("self::{path}"))
            } else {
                is_other.then(|| path.to_owned())
            }
        });
        let imports = imports.chain(paths);
        let absolute = imports.filter_map(|import| {
            let up = import.matches("super::").count();
            let rest = import.trim_start_matches("super::").to_owned();
            if let Some(rest) = rest.strip_prefix("crate::") {
                Some(rest.to_owned())
            } else if let Some(rest) = rest.strip_prefix("self::") {
                Some(format!("{module}::{rest}"))
            } else if up > 0 {
                let above = names.get(..names.len().checked_sub(up)?)?;
                Some(above.iter().copied().chain([rest.as_str()]).collect::<Vec<_>>().join("::"))
            } else {
                None
            }
        });
        let used = absolute.filter_map(|import| {
            let mut path = import.as_str();
            while !modules.contains_key(path) {
                path = path.rsplit_once("::")?.0;
            }
            Some(path.to_owned())
        });
        let is_of_room = |it: &String| it.split("::").next() == Some(names[0]) && *it != module;
        used.filter(is_of_room).collect()
    }

    /// How many modules deep its own module is.
    fn depth(&self) -> usize {
        self.path.components().count() - usize::from(self.path.ends_with("mod.rs"))
    }

    /// The rooms that it names, by `crate::` or by enough `super::`.
    fn imports(&self) -> BTreeSet<String> {
        assert!(!self.code.contains("crate::{"), "{}: one `use` per room", self.path.display());
        let by_crate = self.code.split("crate::").skip(1).map(first_name);
        let up = "super::".repeat(self.depth());
        let by_super = self.code.split(&up).skip(1).map(first_name);
        let named = by_crate.chain(by_super).filter(|name| floor(name).is_some());
        named.filter(|name| *name != self.room()).collect()
    }
}

fn first_name(text: &str) -> String {
    text.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect()
}

/// The paths of an import: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expanded(import: &str) -> Vec<String> {
    let Some((begin, rest)) = import.split_once('{') else { return vec![import.to_owned()] };
    let (mut paths, mut depth, mut path) = (Vec::new(), 0, String::new());
    for letter in rest.trim_end_matches('}').chars().chain([',']) {
        match letter {
            ',' if depth == 0 => paths.extend(expanded(&std::mem::take(&mut path))),
            _ => {
                depth += i32::from(letter == '{') - i32::from(letter == '}');
                path.push(letter);
            }
        }
    }
    paths.into_iter().map(|path| format!("{begin}{path}")).collect()
}

fn floor(room: &str) -> Option<usize> {
    // The simulator is beside the use cases.
    let room = if room == "simulator" { "pipeline" } else { room };
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, root: &Path, sources: &mut Vec<Source>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // A folder of tests is test code as a whole.
                if !path.ends_with("tests") {
                    walk(&path, root, sources);
                }
            } else {
                let code = without_tests(&fs::read_to_string(&path).unwrap());
                sources.push(Source { path: path.strip_prefix(root).unwrap().to_owned(), code });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    walk(&root, &root, &mut sources);
    sources
}

/// The code without comments and without what only tests compile.
fn without_tests(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let item = lines.next().unwrap_or_default();
            let indent = &item[..item.len() - item.trim_start().len()];
            let end = format!("{indent}}}");
            let is_block = item.ends_with('{');
            let _ = is_block.then(|| lines.find(|line| *line == end));
        } else if !line.trim_start().starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

fn is_allowed(room: &str, other: &str) -> bool {
    let (Some(here), Some(there)) = (floor(room), floor(other)) else { return false };
    let is_clock = other == "clock" && here >= 2;
    let is_vocabulary = here == 0 && there == 0;
    room != "simulator" && (there < here || is_clock || is_vocabulary)
}

#[test]
fn every_module_is_in_a_layer() {
    for source in sources().iter().filter(|source| source.room() != "lib") {
        assert!(floor(&source.room()).is_some(), "{} is on no floor", source.path.display());
    }
}

#[test]
fn imports_go_down_only_and_modules_of_one_layer_do_not_import_each_other() {
    let mut broken = BTreeSet::new();
    for source in sources().iter().filter(|source| source.room() != "lib") {
        let room = source.room();
        let others = source.imports().into_iter();
        broken.extend(others.filter(|it| !is_allowed(&room, it)).map(|it| (room.clone(), it)));
    }
    assert_eq!(broken, BTreeSet::new(), "imports against the table");
}

#[test]
fn values_and_decisions_know_no_clock_files_environment_randomness_or_network() {
    for source in sources() {
        if floor(&source.room()).is_some_and(|floor| floor < 2) {
            for word in WORLD {
                let is_named = source.code.contains(word);
                assert!(!is_named, "{} mentions {word}", source.path.display());
            }
        }
    }
}

#[test]
fn no_two_files_of_a_module_import_each_other() {
    let sources = sources();
    let modules: BTreeMap<String, &Source> =
        sources.iter().map(|source| (source.module(), source)).collect();
    let edges: BTreeMap<&String, BTreeSet<String>> =
        modules.iter().map(|(module, source)| (module, source.modules_used(&modules))).collect();
    let reaches = |from: &String, to: &String| {
        let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
        while let Some(at) = left.pop() {
            for next in edges.get(at).into_iter().flatten() {
                if next == to {
                    return true;
                }
                if let Some((known, _)) = edges.get_key_value(next)
                    && seen.insert(*known)
                {
                    left.push(*known);
                }
            }
        }
        false
    };
    let cyclic: Vec<&String> = modules.keys().filter(|it| reaches(it, it)).collect();
    assert_eq!(cyclic, Vec::<&String>::new(), "files that import each other");
}

#[test]
fn only_the_command_line_reads_the_system_clock() {
    for source in sources().iter().filter(|source| source.room() != "clock") {
        let asks = source.code.contains("clock::now(");
        assert!(!asks || source.room() == "cli", "{} asks", source.path.display());
    }
}

#[test]
fn the_reader_of_imports_sees_through_tests_comments_and_depth() {
    let text = "// use crate::cli;\nuse crate::error::Error;\n#[cfg(test)]\nmod tests;\n\
        fn f() { super::super::window::g() }\n#[cfg(test)]\nmod tests {\n    use crate::lake;\n}\n";
    let path = PathBuf::from("plan/queue.rs");
    let source = Source { path, code: without_tests(text) };
    let imports: Vec<_> = source.imports().into_iter().collect();
    assert_eq!(imports, ["error", "window"]);
    assert!(
        !is_allowed("plan", "lake") && !is_allowed("plan", "clock") && is_allowed("lake", "clock")
    );
    assert!(!is_allowed("pipeline", "simulator") && !is_allowed("simulator", "error"));
}

#[test]
fn a_path_in_the_code_counts_as_an_import() {
    let source = |path: &str, code: &str| Source { path: path.into(), code: code.to_owned() };
    let all = [
        source("lake/mod.rs", "mod child;\nmod other;\nfn f() { child::g(1) }\n"),
        source("lake/child.rs", "pub(in crate::lake) fn g(_: u8) { super::other::h() }\n"),
        source("lake/other.rs", "pub(super) fn h() { crate::lake::child::g(2) }\n"),
    ];
    let modules: BTreeMap<String, &Source> = all.iter().map(|it| (it.module(), it)).collect();
    let used = |module: &str| Vec::from_iter(modules[module].modules_used(&modules));
    assert_eq!(used("lake"), ["lake::child"]);
    assert_eq!(used("lake::child"), ["lake::other"]);
    assert_eq!(used("lake::other"), ["lake::child"]);
}
