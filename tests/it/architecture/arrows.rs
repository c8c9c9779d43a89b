//! Who imports whom, read from the sources, also through what a module hands on: no file may reach itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::sources;

/// The module of a source, as it is written in a path: `cli::check::store`.
fn module(path: &Path) -> String {
    let path = path.with_extension("").display().to_string().replace('/', "::");
    path.strip_suffix("::mod").map_or(path.clone(), str::to_owned)
}

/// Every path of a `use` tree, spelled out.
fn spelled_out(tree: &str, prefix: &str, found: &mut Vec<String>) {
    let (mut depth, mut begin) = (0, 0);
    let mut parts = Vec::new();
    for (at, letter) in tree.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&tree[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tree[begin..]);
    for part in parts.into_iter().map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('{') {
            Some((head, inner)) => {
                let inner = inner.rsplit_once('}').unwrap().0;
                spelled_out(inner, &format!("{prefix}{head}"), found);
            }
            None => found.push(format!("{prefix}{part}")),
        }
    }
}

/// A line behind its `pub`, from its `use` on if it is one.
fn from_use(rest: &str) -> &str {
    let inner = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest);
    inner.trim_start()
}

/// The trees of the `use` lines of a source, and whether each hands on what it names.
fn imports(text: &str) -> Vec<(bool, String)> {
    let (mut found, mut open) = (Vec::new(), None::<(bool, String)>);
    for line in text.lines().map(str::trim) {
        let public = line.strip_prefix("pub").map(from_use);
        open = match (open, public.unwrap_or(line).strip_prefix("use ")) {
            (Some((public, tree)), _) => Some((public, format!("{tree} {line}"))),
            (None, begun) => begun.map(|begun| (public.is_some(), begun.to_owned())),
        };
        if let Some((public, (tree, _))) =
            open.as_ref().and_then(|(public, tree)| Some((*public, tree.split_once(';')?)))
        {
            found.push((public, tree.to_owned()));
            open = None;
        }
    }
    found
}

/// A path in the module `own`, from the root of the crate.
fn whole(own: &str, path: &str) -> String {
    if let Some(path) = path.strip_prefix("crate::") {
        return path.to_owned();
    }
    let (mut from, mut path) = (own, path.trim_start_matches("self::"));
    while let Some(rest) = path.strip_prefix("super::") {
        (from, path) = (from.rsplit_once("::").map_or("", |(parent, _)| parent), rest);
    }
    if from.is_empty() { path.to_owned() } else { format!("{from}::{path}") }
}

/// What modules hand on under their own name, by the path it then has: `store::Place` is `store::place::Place`.
fn handed_on(sources: &[(PathBuf, String)]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (path, text) in sources {
        let own = module(path);
        for (_, tree) in imports(text).into_iter().filter(|(public, _)| *public) {
            let mut paths = Vec::new();
            spelled_out(&tree, "", &mut paths);
            let named = paths.iter().map(|path| whole(&own, path));
            found.extend(
                named.filter_map(|path| Some((format!("{own}::{}", path.rsplit("::").next()?), path))),
            );
        }
    }
    found
}

/// The modules below `module` that a source names by its last name, as in `open::reader`.
fn named_below<'m>(text: &str, module: &'m str, modules: &'m BTreeSet<String>) -> Vec<&'m String> {
    let last = module.rsplit("::").next().unwrap();
    let below = modules.iter().filter(|name| name.starts_with(&format!("{module}::")));
    below.filter(|name| text.contains(&format!("{last}{}::", &name[module.len()..]))).collect()
}

/// The deepest module of a path that is a file.
fn file_of<'p>(path: &'p str, modules: &BTreeSet<String>) -> &'p str {
    let mut place = path;
    while !modules.contains(place) {
        let Some((parent, _)) = place.rsplit_once("::") else { break };
        place = parent;
    }
    place
}

/// The modules that a source names, in its `use` lines or behind a module that it has from there, each the deepest one that
/// is a file; of what another module hands on, that one and the one where it stands. What a module takes from the one it
/// is a part of, or gives to it, is no arrow.
fn arrows(
    own: &str,
    text: &str,
    modules: &BTreeSet<String>,
    handed_on: &BTreeMap<String, String>,
) -> BTreeSet<String> {
    let mut paths = Vec::new();
    for (_, tree) in imports(text) {
        spelled_out(&tree, "", &mut paths);
    }
    let mut found = BTreeSet::new();
    for path in paths {
        let mut path = whole(own, path.split(" as ").next().unwrap());
        found.insert(file_of(&path, modules).to_owned());
        while let Some(there) = handed_on.get(&path).filter(|there| **there != path) {
            path.clone_from(there);
        }
        if modules.contains(&path) {
            found.extend(named_below(text, &path, modules).into_iter().cloned());
        }
        found.insert(file_of(&path, modules).to_owned());
    }
    let is_related =
        |place: &str| own.starts_with(&format!("{place}::")) || place.starts_with(&format!("{own}::"));
    found.retain(|place| modules.contains(place) && place != own && !is_related(place));
    found
}

#[test]
fn no_two_files_import_each_other_over_however_many_others() {
    let sources = sources();
    let modules: BTreeSet<String> = sources.iter().map(|(path, _)| module(path)).collect();
    let handed_on = handed_on(&sources);
    let graph: BTreeMap<String, BTreeSet<String>> = sources
        .iter()
        .map(|(path, text)| (module(path), arrows(&module(path), text, &modules, &handed_on)))
        .collect();
    assert!(graph.values().map(BTreeSet::len).sum::<usize>() > 300, "the imports are not seen any more");
    let reach = |start: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start.to_owned()]);
        while let Some(name) = next.pop() {
            for target in graph.get(&name).into_iter().flatten() {
                if seen.insert(target.clone()) {
                    next.push(target.clone());
                }
            }
        }
        seen
    };
    let circles: Vec<&String> = graph.keys().filter(|name| reach(name).contains(*name)).collect();
    assert_eq!(circles, Vec::<&String>::new());
}
