//! No two files import each other: read from the paths that their code names. The root of a crate is
//! left out, since it names its modules to show what is public of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Names of modules from the root of the crate on.
type Module = Vec<String>;

/// The folders below `place` that hold a crate with sources.
fn crates(place: &Path, found: &mut Vec<PathBuf>) {
    if place.join("Cargo.toml").is_file() && place.join("src").is_dir() {
        found.push(place.join("src"));
    }
    for entry in fs::read_dir(place).expect("a folder").flatten() {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if entry.path().is_dir() && !hidden && entry.file_name() != "target" {
            crates(&entry.path(), found);
        }
    }
}

/// The sources of a crate by module.
fn sources(folder: &Path, module: &Module, found: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("UTF-8").to_owned();
        let inner = || module.iter().cloned().chain([stem.clone()]).collect();
        if path.is_dir() {
            sources(&path, &inner(), found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let of = match stem.as_str() {
                "mod" | "lib" | "main" => module.clone(),
                _ => inner(),
            };
            found.insert(of, fs::read_to_string(&path).expect("UTF-8"));
        }
    }
}

/// What is code, without comments and tests, in pieces: words, `::`, braces and commas.
fn pieces(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code: Vec<_> = code.lines().map(|line| line.split("//").next().unwrap_or("")).collect();
    let mut pieces = Vec::<String>::new();
    let mut word = String::new();
    for character in code.join("\n").replace("::", "\u{2237}").chars() {
        if character.is_alphanumeric() || character == '_' {
            word.push(character);
            continue;
        }
        if !word.is_empty() {
            pieces.push(std::mem::take(&mut word));
        }
        if !character.is_whitespace() {
            pieces.push(character.to_string());
        }
    }
    pieces
}

/// The paths of a tree of names that begins at a piece, and where it ends.
fn tree(pieces: &[String], mut at: usize, mut path: Module, found: &mut Vec<Module>) -> usize {
    loop {
        match pieces.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while let Some(piece) = pieces.get(at).filter(|piece| *piece != "}") {
                    at = match piece.as_str() {
                        "," => at + 1,
                        "as" => at + 2,
                        _ => tree(pieces, at, path.clone(), found),
                    };
                }
                return at + 1;
            }
            Some(name) if name.chars().all(|c| c.is_alphanumeric() || c == '_') => {
                path.push(name.to_owned());
                at += 1;
            }
            _ => {
                found.push(path);
                return at + 1;
            }
        }
        if pieces.get(at).is_none_or(|piece| piece != "\u{2237}") {
            found.push(path);
            return at;
        }
        at += 1;
    }
}

/// The modules that a module names.
fn named(module: &Module, source: &str, all: &BTreeMap<Module, String>) -> BTreeSet<Module> {
    let pieces = pieces(source);
    let mut paths = Vec::new();
    for at in 0..pieces.len() {
        let begins = matches!(pieces[at].as_str(), "crate" | "super" | "self");
        let first = at.checked_sub(1).is_none_or(|before| pieces[before] != "\u{2237}");
        if begins && first && pieces.get(at + 1).is_some_and(|p| p == "\u{2237}") {
            tree(&pieces, at, Module::new(), &mut paths);
        }
    }
    let resolve = |path: Module| {
        let above = path.iter().take_while(|name| *name == "super").count();
        let mut full = match path[0].as_str() {
            "crate" => Module::new(),
            _ => module[..module.len().saturating_sub(above)].to_vec(),
        };
        full.extend_from_slice(&path[above.max(usize::from(above == 0))..]);
        (1..=full.len()).rev().map(|n| full[..n].to_vec()).find(|m| all.contains_key(m))
    };
    paths.into_iter().filter_map(resolve).filter(|found| found != module).collect()
}

/// Pairs that name each other.
fn circles(all: &BTreeMap<Module, String>) -> Vec<(Module, Module)> {
    let names: BTreeMap<_, _> = all.iter().map(|(m, source)| (m, named(m, source, all))).collect();
    let mut circles = Vec::new();
    for (module, others) in &names {
        for other in others.iter().filter(|other| *module < *other && !module.is_empty()) {
            if names[other].contains(*module) {
                circles.push(((*module).clone(), other.clone()));
            }
        }
    }
    circles
}

#[test]
fn no_two_files_import_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = Vec::new();
    crates(&root, &mut folders);
    assert!(folders.len() > 20, "crates are missing: {folders:?}");
    for folder in folders {
        let mut all = BTreeMap::new();
        sources(&folder, &Module::new(), &mut all);
        assert_eq!(circles(&all), [], "{}", folder.display());
    }
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let module = |name: &str| name.split("::").map(str::to_owned).collect::<Module>();
    for (a, b, expected) in [
        ("use crate::b::B;", "fn f() { crate::a::g() }", 1),
        ("use super::b::B;", "use crate::{c, a::{self, A as _}};", 1),
        ("use crate::{c::C, b};", "use super::a;", 1),
        ("use crate::b::B;", "// use crate::a::A;\n#[cfg(test)]\nuse crate::a::A;", 0),
        ("use crate::c::C;", "use crate::a::A;", 0),
    ] {
        let all = BTreeMap::from([
            (module("a"), a.to_owned()),
            (module("b"), b.to_owned()),
            (module("c"), String::new()),
        ]);
        assert_eq!(circles(&all).len(), expected, "{a} and {b}");
    }
}
