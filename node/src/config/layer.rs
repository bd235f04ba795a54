//! The places that settings come from, each read on its own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::de::{DeTable, DeValue};

use super::key::{KEYS, find, nearest};
use super::mistake::Mistake;
use super::value::Value;

/// Who set a value. Ordered: a later one beats an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SetBy {
    /// Nobody: the profile's default.
    Default,
    /// The configuration file.
    File,
    /// A variable of the environment.
    Environment,
    /// An option of the command line.
    Flag,
    /// The administrator.
    Policy,
}

impl SetBy {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
            Self::Policy => "policy",
        }
    }
}

/// What one place sets.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) set_by: SetBy,
    /// By key: the value, and where exactly it stands.
    pub(super) values: BTreeMap<&'static str, (Value, String)>,
}

impl Layer {
    fn new(set_by: SetBy) -> Self {
        Self {
            set_by,
            values: BTreeMap::new(),
        }
    }
}

/// Reads a configuration or policy file.
pub(super) fn read_file(path: &Path, set_by: SetBy, mistakes: &mut Vec<Mistake>) -> Layer {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, path, set_by, mistakes),
        Err(error) => {
            mistakes.push(Mistake {
                place: path.display().to_string(),
                key: String::new(),
                problem: format!("cannot be read: {error}"),
            });
            Layer::new(set_by)
        }
    }
}

/// `POTLUCK_PEERING_MAX_CLIENTS=3` for `peering.max_clients`. Names that begin like a
/// section but are no key are refused; other names belong to options or to others.
pub(super) fn read_environment(
    variables: impl IntoIterator<Item = (String, String)>,
    mistakes: &mut Vec<Mistake>,
) -> Layer {
    let mut layer = Layer::new(SetBy::Environment);
    let names: BTreeMap<String, &'static str> = KEYS
        .iter()
        .map(|key| (key.name.replace('.', "_").to_uppercase(), key.name))
        .chain([("SOCKET".to_owned(), "control.socket")])
        .collect();
    for (variable, value) in variables {
        let Some(name) = variable.strip_prefix("POTLUCK_") else {
            continue;
        };
        if let Some(key) = names.get(name) {
            layer.values.insert(key, (Value::Text(value), variable));
        } else if ["CONTROL_", "PEERING_", "CACHE_", "TRANSFER_"]
            .iter()
            .any(|section| name.starts_with(section))
        {
            let (section, key) = name.split_once('_').unwrap_or((name, ""));
            let wrong = format!("{section}.{key}").to_lowercase();
            mistakes.push(unknown(variable, wrong));
        }
    }
    layer
}

/// Options: `KEY=VALUE` pairs, each with the words that were written.
pub(super) fn read_flags(flags: &[(String, String, String)], mistakes: &mut Vec<Mistake>) -> Layer {
    let mut layer = Layer::new(SetBy::Flag);
    for (name, value, place) in flags {
        match find(name) {
            Some(key) => {
                let value = Value::Text(value.clone());
                layer.values.insert(key.name, (value, place.clone()));
            }
            None => mistakes.push(unknown(place.clone(), name.clone())),
        }
    }
    layer
}

/// The files that are read when none is named: the first that exists.
pub(super) fn default_files(root: bool, home: Option<&Path>) -> Vec<PathBuf> {
    let own = home
        .filter(|_| !root)
        .map(|home| home.join(".config/potluck/potluck.toml"));
    own.into_iter()
        .chain([PathBuf::from("/etc/potluck/potluck.toml")])
        .collect()
}

fn parse(text: &str, path: &Path, set_by: SetBy, mistakes: &mut Vec<Mistake>) -> Layer {
    let mut reader = Reader {
        text,
        path,
        layer: Layer::new(set_by),
        mistakes,
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = reader.place(&error.span().unwrap_or(0..0));
        reader.mistakes.push(Mistake {
            place,
            key: String::new(),
            problem: error.message().trim().replace('\n', ", "),
        });
    }
    reader.table("", table.get_ref());
    reader.layer
}

struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
    layer: Layer,
    mistakes: &'a mut Vec<Mistake>,
}

impl Reader<'_> {
    fn table(&mut self, section: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = match section {
                "" => key.get_ref().to_string(),
                section => format!("{section}.{}", key.get_ref()),
            };
            let place = self.place(&key.span());
            match (value.get_ref(), find(&name)) {
                (value, Some(key)) => {
                    let value = plain(value, self.text, value_span(table, &name));
                    self.layer.values.insert(key.name, (value, place));
                }
                (DeValue::Table(inner), None) if is_section(&name) => self.table(&name, inner),
                (_, None) => self.mistakes.push(unknown(place, name)),
            }
        }
    }

    fn place(&self, span: &Range<usize>) -> String {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!("{}:{line}", self.path.display())
    }
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| {
        key.name
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

fn value_span(table: &DeTable<'_>, name: &str) -> Range<usize> {
    let last = name.rsplit('.').next().unwrap_or(name);
    table.get(last).map_or(0..0, |value| value.span())
}

fn plain(value: &DeValue<'_>, text: &str, span: Range<usize>) -> Value {
    let written = || Value::Other(text.get(span.clone()).unwrap_or_default().to_owned());
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| written(), Value::Number),
        DeValue::Array(items) => items
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map_or_else(written, Value::List),
        _ => written(),
    }
}

fn unknown(place: String, name: String) -> Mistake {
    let section = name.split_once('.').map(|(section, _)| section);
    let problem = match nearest(&name) {
        Some(known) => format!("there is no such key; did you mean {known}?"),
        None => {
            let same_section = |key: &&super::key::Key| match section {
                Some(section) if is_section(section) => {
                    key.name.starts_with(&format!("{section}."))
                }
                _ => true,
            };
            let known: Vec<&str> = KEYS
                .iter()
                .filter(same_section)
                .map(|key| key.name)
                .collect();
            format!("there is no such key; choose from {}", known.join(", "))
        }
    };
    Mistake {
        place,
        key: name,
        problem,
    }
}
