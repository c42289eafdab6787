//! Checks the pages and examples against the command line they describe.
//!
//! Finds what would not work in Markdown and example files, without running it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;

use super::args::Args;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages: their paths and texts.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    for folder in ["", "docs", "schemas", "examples", "benches"] {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        paths.extend(entries.map(|it| it.unwrap().path()));
    }
    paths.retain(|path| path.extension().is_some_and(|it| it == "md"));
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The lines of a page's shell blocks, and its inline code.
fn shell(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block = None;
    for line in page.lines() {
        match (block, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => block = Some(language),
            (Some(_), Some(_)) => block = None,
            (Some("sh"), None) => found.push(line.to_owned()),
            (Some(_), None) => {}
            // Every second part between backticks is code; `a|b` means either.
            (None, None) => found.extend(line.split('`').skip(1).step_by(2).map(either)),
        }
    }
    found
}

fn either(code: &str) -> String {
    let words = code.replace("\\|", "|");
    let words = words.split(' ').map(|word| word.split('|').next().unwrap_or(word));
    words.collect::<Vec<_>>().join(" ")
}

/// The program's invocations in a line of shell, each split into words.
fn calls(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" # ").next().unwrap_or(line);
    let line = line.split("   #").next().unwrap_or(line).replace(" 2>", " >");
    let commands = line.split(['|', ';', '(', ')', '&', '>', '[', '…']);
    let commands = commands.filter_map(|it| {
        let at = it.find("clari-lake ")?;
        let before = it[..at].trim();
        before.split(' ').all(|word| word.is_empty() || word.contains('=')).then(|| &it[at..])
    });
    commands.map(words).collect()
}

/// The words of a command, without quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in command.trim().chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_in_the_pages_is_one() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (path, page) in pages() {
        for call in shell(&page).iter().flat_map(|line| calls(line)) {
            count += 1;
            let outcome = Args::try_parse_from(&call).map_err(|error| error.kind());
            if let Err(kind) = outcome
                && !matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
            {
                wrong.push(format!("{}: {}: {kind:?}", path.display(), call.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 30, "only {count} commands were found");
}

/// The targets of a page's links within the repository.
fn links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1).filter_map(|it| it.split(')').next());
    targets.filter(|it| !it.contains("://") && !it.contains(' ')).collect()
}

/// The anchors of a page's headings.
fn anchors(page: &str) -> Vec<String> {
    let slug = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.chars().filter(|it| it.is_alphanumeric() || "-_".contains(*it)).collect()
    };
    page.lines().filter(|line| line.starts_with('#')).map(slug).collect()
}

#[test]
fn every_link_in_the_pages_leads_somewhere() {
    let mut dead = Vec::new();
    for (path, page) in pages() {
        for link in links(&page) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = path.parent().unwrap().join(file);
            let target = if file.is_empty() { path.clone() } else { target };
            let there = target.exists()
                && (anchor.is_empty()
                    || anchors(&fs::read_to_string(&target).unwrap()).contains(&anchor.to_owned()));
            if !there {
                dead.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

/// The constant parts of every string in the sources, long enough to be recognized.
fn source_strings(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_strings(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let strings = text.split('"').map(|it| {
                let lines: Vec<_> = it.split("\\\n").enumerate().collect();
                lines.iter().map(|(at, it)| if *at == 0 { it } else { it.trim_start() }).collect()
            });
            let strings: Vec<String> = strings.collect();
            let parts = strings.iter().flat_map(|it| it.split(['{', '}', '`']));
            found.extend(parts.map(|it| it.trim().to_owned()).filter(|it| it.len() >= 9));
        }
    }
}

/// The messages that the tables of `docs/operating.md` explain, without what varies in them.
fn messages(page: &str) -> Vec<String> {
    let cells = page.lines().filter_map(|it| it.strip_prefix("| `")?.split(" | ").next());
    let codes = cells.flat_map(|it| it.split('`').step_by(2));
    let parts = codes.flat_map(|it| it.split(['…', '(', ')']));
    let parts = parts.map(|it| it.trim_matches([' ', ',', ':', ';', '.']).to_owned());
    parts.filter(|it| it.len() >= 9 && !it.starts_with('-')).collect()
}

#[test]
fn every_message_in_the_pages_exists() {
    let mut strings = Vec::new();
    source_strings(&root().join("src"), &mut strings);
    let page = fs::read_to_string(root().join("docs/operating.md")).unwrap();
    let unknown: Vec<_> = messages(&page)
        .into_iter()
        .filter(|it| !strings.iter().any(|known| known.contains(it) || it.contains(known)))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn a_line_of_shell_falls_into_its_calls() {
    let line = "(A=b clari-lake sql l --engine duckdb; echo 'x y') | duckdb  # as configured";
    assert_eq!(calls(line), [["clari-lake", "sql", "l", "--engine", "duckdb"]]);
    assert_eq!(calls("cargo install clari-lake --locked"), [[""; 0]; 0]);
    assert_eq!(words("clari-lake sample --url 'a b'").last().unwrap(), "a b");
}
