//! The walls of the layout (ARCHITECTURE.md), held by reading the source.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines before a file's tests. More is a second room.
const MAX_LINES: usize = 450;

/// What each pure module may import of the crate: core is the bottom.
const PURE: [(&str, &[&str]); 3] =
    [("core", &["core"]), ("decode", &["decode", "core"]), ("scim", &["scim", "core"])];

/// Runtimes, clients and readings of a clock (an instant as an argument is fine): not in pure modules.
const IMPURE: [&str; 8] =
    ["tokio", "lapin", "redis", "reqwest", "axum", "tracing", "SystemTime::now", "Instant::now"];

/// Client libraries: the pipeline knows only its ports.
const CLIENTS: [&str; 4] = ["lapin", "redis", "reqwest", "axum"];

#[test]
fn pure_modules_name_no_runtime_client_or_clock() {
    let found = PURE.iter().flat_map(|(module, _)| naming(&format!("src/{module}"), &IMPURE));
    assert_none(found, "core, decode and scim are pure");
}

#[test]
fn pure_modules_import_only_each_other() {
    let found = PURE.iter().flat_map(|(module, allowed)| {
        code_lines(&format!("src/{module}")).into_iter().filter(|line| imports_another(&line.text, allowed))
    });
    assert_none(found, "core imports nothing, decode and scim import core");
}

#[test]
fn the_pipeline_names_no_client_library() {
    assert_none(naming("src/pipeline", &CLIENTS), "the pipeline is generic over pipeline::ports");
}

#[test]
fn the_sandbox_knows_of_the_relay_only_profiles() {
    let found = code_lines("src/sandbox").into_iter().filter(|line| {
        let in_manners = line.path.components().any(|it| it.as_os_str() == "manners");
        let is_profile = in_manners && line.text.contains("crate::target::profile::");
        let is_clock = line.text.contains("crate::ops::clock::");
        !is_profile && !is_clock && imports_another(&line.text, &["sandbox"])
    });
    assert_none(
        found,
        "what judges the relay shares nothing with it but the profile, which only `manners` reads",
    );
}

#[test]
fn no_file_has_grown_beyond_one_room() {
    let long = files("src").into_iter().filter_map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        (lines > MAX_LINES).then(|| Line {
            path,
            number: lines,
            text: format!("more than {MAX_LINES} lines"),
        })
    });
    assert_none(long, "split it by purpose");
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!("), concat!("XX", "X")];
    assert_none(everywhere().filter(|line| names_any(&line.text, &marks)), "do it or write an issue");
}

#[test]
fn no_package_mirror_is_named() {
    let hosts = [
        concat!("pkg", ".dev"),
        concat!("artifact", "ory"),
        concat!("index", "-url"),
        concat!("[source", "."),
    ];
    let found = everywhere().filter(|line| hosts.iter().any(|host| line.text.contains(host)));
    assert_none(found, "registries are a matter of the machine");
}

struct Line {
    path: PathBuf,
    number: usize,
    text: String,
}

fn assert_none(found: impl Iterator<Item = Line>, rule: &str) {
    let list: Vec<String> =
        found.map(|line| format!("{}:{}: {}", line.path.display(), line.number, line.text.trim())).collect();
    assert!(list.is_empty(), "{rule}:\n{}", list.join("\n"));
}

fn naming<'a>(folder: &str, words: &'a [&str]) -> impl Iterator<Item = Line> + use<'a> {
    code_lines(folder).into_iter().filter(move |line| names_any(&line.text, words))
}

/// Whether one of `words` stands in `text` as a whole word.
fn names_any(text: &str, words: &[&str]) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    words.iter().any(|word| {
        text.match_indices(word).any(|(at, _)| {
            !text[..at].ends_with(part_of_word) && !text[at + word.len()..].starts_with(part_of_word)
        })
    })
}

fn imports_another(text: &str, allowed: &[&str]) -> bool {
    text.split("crate::").skip(1).any(|rest| {
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        !allowed.contains(&name.as_str())
    })
}

/// The lines of a folder's Rust files that are not comments.
fn code_lines(folder: &str) -> Vec<Line> {
    let code = files(folder).into_iter().flat_map(lines_of);
    code.filter(|line| !line.text.trim_start().starts_with("//")).collect()
}

/// The lines of all that is written by hand, except this file's own folder of rules.
fn everywhere() -> impl Iterator<Item = Line> {
    let folders = ["src", "tests", "examples", "benches", "scripts", ".config", ".ci", "schemas"];
    let single =
        ["Cargo.toml", "Makefile", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    let single = single.into_iter().map(|name| root().join(name)).filter(|path| path.is_file());
    folders.into_iter().flat_map(files).chain(single).flat_map(lines_of)
}

fn lines_of(path: PathBuf) -> Vec<Line> {
    let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
    let numbered = text.lines().zip(1..);
    numbered.map(|(text, number)| Line { path: path.clone(), number, text: text.to_owned() }).collect()
}

/// The files below `folder`; none where there is no such folder.
pub fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push(path);
        }
    }
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
