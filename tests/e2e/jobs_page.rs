//! `docs/jobs.md` keeps its word: every test that it names is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;

/// The names of all functions below a directory.
fn functions(dir: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if path.is_dir() && name.is_some_and(|name| name != "target" && !name.starts_with('.')) {
            functions(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path)?;
            let names = text.split("fn ").skip(1);
            let names = names.filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
    Ok(())
}

#[test]
fn every_row_says_how_it_is_and_names_tests_that_exist() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut known = BTreeSet::new();
    functions(&root, &mut known)?;
    let page = fs::read_to_string(root.join("docs/jobs.md"))?;
    let mut rows = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [row, _, here, tests] = cells[..] else {
            panic!("not four cells: {line}");
        };
        if row == "row" {
            continue;
        }
        assert!(rows.insert(row.to_owned()), "{row} is there twice");
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        for name in &named {
            assert!(known.contains(*name), "{row}: there is no test {name}");
        }
        let promised = here.starts_with("same") || here.starts_with("better");
        let refused = ["not ", "see "].iter().any(|word| here.starts_with(word));
        assert!(promised || refused, "{row}: same, better or not here?");
        assert!(!promised || !named.is_empty(), "{row} names no test");
    }
    let lasts = [
        ("J", 24),
        ("P", 12),
        ("R", 9),
        ("F", 17),
        ("V", 9),
        ("H", 16),
    ];
    for (letter, last) in lasts {
        for number in 1..=last {
            let row = format!("{letter}{number:02}");
            assert!(rows.contains(&row), "{row} is missing");
        }
    }
    Ok(())
}
