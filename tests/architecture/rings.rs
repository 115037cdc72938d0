//! Rings: files of which each knows the next, and the last the first.
//!
//! A file knows another when a path in its code leads there: `use`, or a path written out. What a `mod.rs` merely passes
//! on (`pub use`) is known where it stands, so that a folder's list of names is no ring of all its files.

use std::collections::{BTreeMap, BTreeSet};

/// The names of the modules from the crate's root to a file.
type Module = Vec<String>;

/// What one file says.
#[derive(Default)]
struct Said {
    /// The file's name, for people.
    file: String,
    /// Every path in it that may lead to another file.
    paths: Vec<Vec<String>>,
    /// What it passes on: a name, and the path that it stands for.
    passed_on: BTreeMap<String, Vec<String>>,
}

/// The rings among some files, each given by its name below `src` and its code; each as a line for people.
pub(crate) fn among(files: &[(String, String)]) -> Vec<String> {
    let modules: BTreeMap<Module, Said> = files
        .iter()
        .filter(|(name, _)| name != "main.rs")
        .map(|(name, code)| (module_of(name), read(name, code)))
        .collect();
    let known: BTreeMap<&Module, BTreeSet<&Module>> =
        modules.iter().map(|(module, said)| (module, knows(&modules, module, said))).collect();
    let mut rings = Vec::new();
    let mut seen = BTreeSet::new();
    for module in known.keys() {
        if seen.contains(module) {
            continue;
        }
        let reached = reachable(&known, module);
        let ring: Vec<&Module> =
            reached.iter().copied().filter(|other| reachable(&known, other).contains(module)).collect();
        seen.extend(ring.iter().copied());
        if !ring.is_empty() {
            rings.push(told(&modules, &known, &ring));
        }
    }
    rings
}

/// All that a file knows, directly or through others.
fn reachable<'a>(known: &BTreeMap<&'a Module, BTreeSet<&'a Module>>, from: &Module) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&Module> = known.get(from).into_iter().flatten().copied().collect();
    while let Some(module) = waiting.pop() {
        if reached.insert(module) {
            waiting.extend(known.get(module).into_iter().flatten().copied());
        }
    }
    reached
}

fn told(modules: &BTreeMap<Module, Said>, known: &BTreeMap<&Module, BTreeSet<&Module>>, ring: &[&Module]) -> String {
    let name = |module: &Module| modules[module].file.as_str();
    let of = |module: &Module| {
        let next: Vec<&str> = known[module].iter().filter(|next| ring.contains(next)).map(|next| name(next)).collect();
        format!("{} knows {}", name(module), next.join(" and "))
    };
    ring.iter().map(|module| of(module)).collect::<Vec<_>>().join("; ")
}

fn module_of(name: &str) -> Module {
    let mut parts: Vec<&str> = name.trim_end_matches(".rs").split('/').collect();
    if matches!(parts.last(), Some(&"mod" | &"lib")) {
        parts.pop();
    }
    parts.into_iter().map(str::to_owned).collect()
}

fn read(name: &str, code: &str) -> Said {
    let mut said = Said { file: name.to_owned(), ..Said::default() };
    let mut rest = without_visibility(code);
    while let Some((before, statement, behind)) = next_use(&rest) {
        let public = before.trim_end().ends_with("pub");
        for (path, name) in names_of(&statement) {
            if public {
                said.passed_on.insert(name, path);
            } else {
                said.paths.push(path);
            }
        }
        said.paths.extend(paths_in(&before));
        rest = behind;
    }
    said.paths.extend(paths_in(&rest));
    said
}

/// `pub(in crate::cli)` says who may look, not who is looked at. Every `pub(…)` is left as `pub`.
fn without_visibility(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some((before, after)) = rest.split_once("pub(") {
        kept.push_str(before);
        kept.push_str("pub");
        rest = after.split_once(')').map_or("", |(_, behind)| behind);
    }
    kept + rest
}

/// The next `use` statement: what is before it, its tree, and what is behind it.
fn next_use(code: &str) -> Option<(String, String, String)> {
    let mut from = 0;
    loop {
        let at = from + code[from..].find("use ")?;
        let before = &code[..at];
        if !before.ends_with(|last: char| last.is_alphanumeric() || last == '_') {
            let (statement, behind) = code[at + 4..].split_once(';')?;
            return Some((before.to_owned(), statement.to_owned(), behind.to_owned()));
        }
        from = at + 4;
    }
}

/// The names that a tree of `use` brings, each with the path that it stands for.
fn names_of(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    let Some((stem, branches)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
        let path: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
        let name = alias.map_or_else(|| path.last().cloned().unwrap_or_default(), |alias| alias.trim().to_owned());
        return vec![(path, name)];
    };
    let branches = branches.trim_end().strip_suffix('}').unwrap_or(branches);
    let mut names = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, character) in branches.char_indices().chain([(branches.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                let branch = branches[start..at].trim();
                if !branch.is_empty() {
                    names.extend(names_of(&format!("{stem}{branch}")));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

/// Every path of two parts or more.
fn paths_in(code: &str) -> Vec<Vec<String>> {
    let is_name = |character: char| character.is_alphanumeric() || character == '_';
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(is_name) {
        let behind_a_path = rest[..start].ends_with("::");
        let mut path = Vec::new();
        rest = &rest[start..];
        loop {
            let (name, behind) = rest.split_at(rest.find(|character| !is_name(character)).unwrap_or(rest.len()));
            path.push(name.to_owned());
            rest = behind;
            match rest.strip_prefix("::") {
                Some(next) if next.starts_with(is_name) => rest = next,
                _ => break,
            }
        }
        if path.len() > 1 && !behind_a_path {
            paths.push(path);
        }
    }
    paths
}

/// The other files to which the paths of a file lead.
fn knows<'a>(modules: &'a BTreeMap<Module, Said>, module: &Module, said: &Said) -> BTreeSet<&'a Module> {
    let found = said.paths.iter().filter_map(|path| resolved(modules, module, path, 0));
    found.filter(|other| *other != module).collect()
}

/// The file in which a path ends, as it is written in `from`; `None` where that is none of ours.
fn resolved<'a>(
    modules: &'a BTreeMap<Module, Said>,
    from: &Module,
    path: &[String],
    passed_on: usize,
) -> Option<&'a Module> {
    let (mut at, mut rest) = beginning(modules, from, path)?;
    while let Some((next, behind)) = rest.split_first() {
        let below: Module = at.iter().chain([next]).cloned().collect();
        if modules.contains_key(&below) {
            (at, rest) = (below, behind);
            continue;
        }
        // What is passed on from elsewhere is known there.
        if let Some(path) = modules.get(&at).and_then(|said| said.passed_on.get(next))
            && passed_on < 16
        {
            let whole: Vec<String> = path.iter().chain(behind).cloned().collect();
            return resolved(modules, &at, &whole, passed_on + 1);
        }
        break;
    }
    modules.get_key_value(&at).map(|(module, _)| module)
}

fn beginning<'p>(
    modules: &BTreeMap<Module, Said>,
    from: &Module,
    path: &'p [String],
) -> Option<(Module, &'p [String])> {
    let (first, mut rest) = path.split_first()?;
    let mut at = match first.as_str() {
        "crate" => return Some((Module::new(), rest)),
        "self" => return Some((from.clone(), rest)),
        "super" => from[..from.len().checked_sub(1)?].to_vec(),
        child => {
            let below: Module = from.iter().chain([&child.to_owned()]).cloned().collect();
            return modules.contains_key(&below).then_some((below, rest));
        }
    };
    while rest.first().is_some_and(|next| next == "super") {
        at.pop()?;
        rest = &rest[1..];
    }
    Some((at, rest))
}

#[cfg(test)]
mod tests {
    use super::among;

    fn files(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, code)| ((*name).to_owned(), (*code).to_owned())).collect()
    }

    #[test]
    fn a_ring_is_found_and_each_of_its_files_is_named() {
        let planted = files(&[
            ("lib.rs", "pub mod house; pub mod garden;"),
            (
                "house/mod.rs",
                "mod door; mod hall; mod key;\npub use door::Door;\npub(crate) use hall::{Hall, Lamp as Light};",
            ),
            ("house/door.rs", "use std::sync::Arc;\nuse super::{key::Key, Hall};\npub struct Door(Hall);"),
            ("house/hall.rs", "pub(in crate::house) struct Hall;\nfn lit() -> super::super::garden::Path { todo() }"),
            ("house/key.rs", "pub struct Key;"),
            ("garden.rs", "use crate::house::Door as Gate;\npub struct Path(Gate);"),
        ]);
        let ring = "garden.rs knows house/door.rs; house/door.rs knows house/hall.rs; house/hall.rs knows garden.rs";
        assert_eq!(among(&planted), [ring]);
    }

    #[test]
    fn what_a_folder_passes_on_makes_no_ring() {
        let lawful = files(&[
            ("house/mod.rs", "mod door; mod hall;\npub use self::door::Door;\npub use self::hall::Hall;"),
            ("house/door.rs", "use super::Hall;\npub struct Door(Hall);"),
            ("house/hall.rs", "use std::fmt;\npub(in crate::house) struct Hall;"),
        ]);
        assert_eq!(among(&lawful), [""; 0]);
    }

    #[test]
    fn a_file_and_the_one_below_it_are_a_ring_when_each_knows_the_other() {
        let planted = files(&[
            ("door.rs", "mod lock;\npub struct Size;\nfn closed() { lock::close() }"),
            ("door/lock.rs", "use super::Size;\npub fn close() {}"),
        ]);
        assert_eq!(among(&planted), ["door.rs knows door/lock.rs; door/lock.rs knows door.rs"]);
    }
}
