//! The house rules that a compiler does not check.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Which layers of `src/` each layer may name. The table in `src/lib.rs` says why.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("engine", &["protocol"]),
    ("hub", &["engine", "protocol"]),
    ("cluster", &["hub", "engine", "protocol"]),
    ("node", &["cluster", "hub", "engine", "protocol"]),
    ("broker", &["hub"]),
    ("config", &["telemetry", "broker", "node", "cluster", "hub", "engine"]),
    ("telemetry", &[]),
    ("cli", &["config", "telemetry", "broker", "node", "cluster", "hub", "engine"]),
];

/// Packages that a layer must not name, whatever else it may.
const MUST_NOT_NAME: &[(&str, &[&str])] = &[
    ("protocol", &["tokio", "tracing", "axum", "hyper", "fanfare_adapters", "getrandom"]),
    ("engine", &["axum", "hyper", "fanfare_adapters", "rmp_serde", "opentelemetry"]),
    ("hub", &["axum", "hyper", "fanfare_adapters", "rmp_serde", "opentelemetry"]),
    ("cluster", &["axum", "hyper", "fred", "async_nats", "opentelemetry"]),
    ("node", &["fred", "async_nats", "rmp_serde"]),
    ("broker", &["axum", "hyper", "fanfare_adapters", "rmp_serde", "opentelemetry"]),
];

/// A file longer than this does more than one thing.
const MAX_LINES: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below these folders of the repository, by its path from the root.
fn sources(folders: &[&str]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let generated = path.file_name().is_some_and(|name| name == "target" || name == "node_modules");
            if path.is_dir() && !generated {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(found.len() > 10, "the tree is somewhere else: {}", root().display());
    found
}

/// The layer of a file of `src/`: its first folder, or its name where it stands alone.
fn layer(path: &str) -> Option<&str> {
    let below = path.strip_prefix("src/")?;
    Some(
        below
            .split_once('/')
            .map_or_else(|| below.strip_suffix(".rs").unwrap_or(below), |(folder, _)| folder),
    )
}

/// The first segments of all paths that begin at the crate's root, `use crate::{a, b::c}` included.
fn crate_paths(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in source.split("crate::").skip(1).map(str::trim_start) {
        let Some(group) = line.strip_prefix('{') else {
            found.push(identifier(line));
            continue;
        };
        let mut depth = 0_usize;
        let mut begins = true;
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ if begins && depth == 0 && !character.is_whitespace() => {
                    found.push(identifier(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn identifier(text: &str) -> &str {
    text.split(|character: char| !character.is_alphanumeric() && character != '_')
        .next()
        .unwrap_or(text)
}

/// Comments may name anything.
fn without_comments(source: &str) -> String {
    source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// What stands in front of the inline tests, which may name upper layers no more than the rest, but external packages freely.
fn without_tests(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap_or(source)
}

#[test]
fn the_scan_sees_single_and_grouped_paths() {
    let source = "use crate::engine::Handle; use crate::{hub::{Io, Hub}, protocol, node::{a::{b}, c}}; fn f() -> crate::cluster::X {}";
    assert_eq!(crate_paths(source), ["engine", "hub", "protocol", "node", "cluster"]);
    assert_eq!(layer("src/config.rs"), Some("config"));
    assert_eq!(layer("src/hub/socket/mod.rs"), Some("hub"));
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> = sources(&["src", "adapters", "load-tests", "tests"])
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "these files do not open with `//!`: {silent:?}");
}

#[test]
fn no_file_does_everything() {
    let long: Vec<_> = sources(&["src", "adapters", "load-tests", "tests"])
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "these files have more than {MAX_LINES} lines: {long:?}");
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&["src"]) {
        let Some((own, below)) = layer(&path).and_then(|layer| MAY_IMPORT.iter().find(|(name, _)| *name == layer)) else {
            continue;
        };
        for named in crate_paths(&without_comments(&text)) {
            let is_layer = MAY_IMPORT.iter().any(|(name, _)| *name == named);
            if is_layer && named != *own && !below.contains(&named) {
                wrong.push(format!("{path} names crate::{named}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn layers_do_not_name_what_they_must_not_know() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&["src"]) {
        let Some((_, packages)) = layer(&path).and_then(|layer| MUST_NOT_NAME.iter().find(|(name, _)| *name == layer)) else {
            continue;
        };
        if path.ends_with("tests.rs") {
            continue;
        }
        let code = without_comments(without_tests(&text));
        for package in *packages {
            if code.contains(&format!("{package}::")) {
                wrong.push(format!("{path} names {package}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_layer_of_the_tree_stands_in_the_table() {
    let known = |layer: &str| matches!(layer, "lib" | "main" | "build") || MAY_IMPORT.iter().any(|(name, _)| *name == layer);
    let unknown: Vec<_> = sources(&["src"])
        .into_keys()
        .filter(|path| !layer(path).is_some_and(known))
        .collect();
    assert!(unknown.is_empty(), "no row in MAY_IMPORT for: {unknown:?}");
}
