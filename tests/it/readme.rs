//! README.md and ARCHITECTURE.md say what is there: keys, metrics, commands, events and tests.

use std::collections::BTreeSet;

use clap::CommandFactory;
use scim_relay::cli::Cli;
use scim_relay::config::keys::{KEYS, Key};
use scim_relay::core::letter::Class;
use scim_relay::target::profile::{Profile, shipped};
use serde_json::Value;

use crate::schemas::{fits, is_decoded, validator};
use crate::tidy::{files, root};

const BEGIN: &str =
    "<!-- keys: made from src/config/keys.rs by UPDATE_SCHEMAS=1 cargo test --test it readme -->\n";
const END: &str = "<!-- end of keys -->";

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// The row of a key.
fn row(key: &Key) -> String {
    let default = match (key.default, key.required) {
        (Some(default), _) => format!("`{default}`"),
        (None, true) => "**required**".to_owned(),
        (None, false) => String::new(),
    };
    format!("| `{}` | {default} | {} |\n", key.path, key.doc.replace('|', "\\|"))
}

#[test]
fn the_readme_s_table_of_keys_is_the_table_of_keys() {
    let text = document("README.md");
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (held, after) = rest.split_once(END).unwrap();
    let rows: String = KEYS.iter().map(row).collect();
    let table = format!("\n| key | default | |\n|---|---|---|\n{rows}\n");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(root().join("README.md"), format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(held, table, "run this test with UPDATE_SCHEMAS=1 to rewrite the table");
}

#[test]
fn the_readme_lists_every_metric_that_is_recorded_and_no_other() {
    let source: String = sources().collect();
    let recorded: BTreeSet<&str> = ["::counter!", "::gauge!", "::histogram!"]
        .into_iter()
        .flat_map(|macro_name| source.split(macro_name).skip(1))
        .filter_map(|call| call.trim_start_matches(['(', '\n', ' ']).strip_prefix('"')?.split('"').next())
        .collect();
    let text = document("README.md");
    let listed: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("| `scim_relay_")?.split('`').next()).collect();
    let recorded: BTreeSet<&str> =
        recorded.into_iter().filter_map(|name| name.strip_prefix("scim_relay_")).collect();
    assert_eq!(listed, recorded);
}

#[test]
fn the_readme_lists_every_command_and_no_other() {
    let cli = Cli::command();
    let commands: BTreeSet<&str> = cli.get_subcommands().map(|command| command.get_name()).collect();
    let text = document("README.md");
    let fenced = text.split("```").skip(1).step_by(2).flat_map(str::lines);
    let shown = fenced.filter_map(|line| line.strip_prefix("scim-relay ")?.split(' ').next());
    assert_eq!(shown.collect::<BTreeSet<_>>(), commands);
    for called in inline_code(&text).iter().filter_map(|code| code.strip_prefix("scim-relay ")) {
        let command = called.split(' ').next().unwrap();
        assert!(commands.contains(command), "`scim-relay {called}`");
    }
}

#[test]
fn the_readme_s_profiles_are_the_shipped_ones_and_verified_where_it_says_so() {
    let text = document("README.md");
    let (_, table) = text.split_once("| profile | verified | what it says |\n|---|---|---|\n").unwrap();
    let cells = |line: &str| {
        let mut cells =
            line.strip_prefix("| `")?.split('|').map(|cell| cell.trim().trim_end_matches('`').to_owned());
        Some((cells.next()?, cells.next()?))
    };
    let listed: BTreeSet<(String, String)> = table.lines().map_while(cells).collect();
    let of = |name| Profile::load(name, &|_| unreachable!("a shipped one is no file")).unwrap();
    let verified = |name| if of(name).verified { "yes" } else { "no" };
    let known = shipped().map(|name| (name.to_owned(), verified(name).to_owned()));
    assert_eq!(listed, known.collect());
}

#[test]
fn the_readme_s_profile_of_one_s_own_is_good() {
    let text = document("README.md");
    let (_, rest) = text.split_once("```toml\n# own.toml").unwrap();
    let own = rest.split("```").next().unwrap().split_once('\n').unwrap().1.to_owned();
    Profile::load("own.toml", &|_| Ok(own.clone())).unwrap();
}

#[test]
fn the_readme_s_classes_are_classes() {
    let text = document("README.md");
    let (_, table) = text.split_once("| class | |\n|---|---|\n").unwrap();
    let known: BTreeSet<&str> = Class::ALL.iter().map(|class| class.name()).collect();
    let listed = table.lines().map_while(|line| line.strip_prefix("| `")?.split('`').next());
    let unknown: Vec<&str> = listed.filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_readme_s_events_are_accepted() {
    let validator = validator("event.json");
    let text = document("README.md");
    let events = text.lines().filter(|line| line.starts_with("{\"specversion\""));
    let (mut kinds, mut refused) = (BTreeSet::new(), 0);
    for line in events {
        let event: Value = serde_json::from_str(line).unwrap();
        fits(&validator, &event);
        kinds.insert(event["type"].as_str().unwrap().to_owned());
        refused += usize::from(!is_decoded(&event, true));
    }
    assert_eq!(refused, 1, "one event of the tour is wrong on purpose");
    assert_eq!(kinds.len(), 8, "an example of each type: {kinds:?}");
}

#[test]
fn the_tests_that_the_architecture_names_exist() {
    let source: String = sources().collect();
    let text = document("ARCHITECTURE.md");
    let is_test = |name: &&str| {
        name.matches('_').count() >= 3
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let code = inline_code(&text);
    let named = code.iter().copied().filter(is_test);
    let missing: Vec<&str> = named.filter(|name| !source.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}

#[test]
fn the_files_that_the_documents_name_exist() {
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = document(name);
        let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let code = inline_code(&text);
        let coded = code.into_iter().filter(|code| code.starts_with("src/") || code.starts_with("tests/"));
        for path in linked.filter(|link| !link.starts_with("http")).chain(coded) {
            assert!(root().join(path).exists(), "{name} names {path}");
        }
    }
}

/// What stands between backticks within a line.
fn inline_code(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

/// What is written in Rust.
fn sources() -> impl Iterator<Item = String> {
    let rust = ["src", "tests"]
        .into_iter()
        .flat_map(files)
        .filter(|path| path.extension().is_some_and(|e| e == "rs"));
    rust.map(|path| std::fs::read_to_string(path).unwrap())
}
