//! Configuration: what may be set, where it is read, and who has the last word.
//!
//! Policy beats flags, flags beat the environment, the environment beats the file,
//! the file beats the profile's defaults. Every mistake in all of them is told at
//! once. Nothing else in the program reads settings.

mod domain_settings;
mod key;
mod layer;
mod mistake;
mod settings;
mod size;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use domain_settings::DomainSettings;
pub use layer::SetBy;
pub use mistake::{ConfigError, Mistake};
pub use settings::{
    CacheSettings, CacheSize, Control, Peering, Profile, Settings, Share, TransferSettings, Users,
};
pub(crate) use size::{parse_duration, parse_size, show_duration, show_size};
pub use value::Value;

use key::{KEYS, Places};
use layer::Layer;

/// Where the administrator's policy is.
pub const POLICY_FILE: &str = "/etc/potluck/policy.toml";

/// What settings are read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The configuration file that was named; `None` for the usual places.
    pub file: Option<PathBuf>,
    /// Options as key, value and the words that were written.
    pub flags: Vec<(String, String, String)>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Whether root runs this; decides the default paths.
    pub root: bool,
}

/// The effective settings, and who set each.
#[derive(Debug, Clone)]
pub struct Config {
    /// The settings.
    pub settings: Settings,
    /// Every key in the order of the documentation.
    pub effective: Vec<Effective>,
}

/// One key of the effective settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// With its section.
    pub key: &'static str,
    /// As it was written.
    pub value: Value,
    /// Who set it.
    pub set_by: SetBy,
    /// The line, variable or option that did.
    pub place: Option<String>,
}

impl Sources {
    /// The sources of this process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String, String)>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            file,
            flags,
            environment,
            root: rustix::process::geteuid().is_root(),
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn places(&self) -> Places {
        if self.root {
            return Places {
                data_dir: "/var/lib/potluck".into(),
                socket: "/run/potluck/potluck.sock".into(),
            };
        }
        let home = self.variable("HOME").unwrap_or("/nonexistent");
        let data_dir = match self.variable("XDG_DATA_HOME") {
            Some(dir) => format!("{dir}/potluck"),
            None => format!("{home}/.local/share/potluck"),
        };
        let socket = match self.variable("XDG_RUNTIME_DIR") {
            Some(dir) => format!("{dir}/potluck.sock"),
            // Beside the data, wherever that ends up.
            None => String::new(),
        };
        Places { data_dir, socket }
    }

    /// The layers above the defaults, the weakest first.
    fn layers(&self, mistakes: &mut Vec<Mistake>) -> Vec<Layer> {
        let mut layers = Vec::new();
        let home = self.variable("HOME").map(Path::new);
        let file = self.file.clone().or_else(|| {
            layer::default_files(self.root, home)
                .into_iter()
                .find(|path| path.exists())
        });
        if let Some(file) = file {
            layers.push(layer::read_file(&file, SetBy::File, mistakes));
        }
        let variables = self.environment.clone();
        layers.push(layer::read_environment(variables, mistakes));
        layers.push(layer::read_flags(&self.flags, mistakes));
        let policy = self.variable("POTLUCK_POLICY").map(Path::new);
        let policy = policy.or_else(|| Some(Path::new(POLICY_FILE)).filter(|path| path.exists()));
        if let Some(policy) = policy {
            layers.push(layer::read_file(policy, SetBy::Policy, mistakes));
        }
        layers
    }

    /// Reads everything.
    ///
    /// # Errors
    /// All mistakes there are, in every place.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut mistakes = Vec::new();
        let layers = self.layers(&mut mistakes);
        // Each written value is judged, even one that a stronger place overrides.
        let mut scratch = Settings::default();
        for (name, (value, place)) in layers.iter().flat_map(|layer| &layer.values) {
            let Some(key) = key::find(name) else { continue };
            if let Err(expected) = (key.apply)(&mut scratch, value) {
                let problem = format!("{value} is not valid: {expected}");
                mistakes.push(Mistake {
                    place: place.clone(),
                    key: (*name).to_owned(),
                    problem,
                });
            }
        }
        if !mistakes.is_empty() {
            mistakes.sort_by_key(|mistake| line_order(&mistake.place));
            return Err(ConfigError(mistakes));
        }
        self.resolve(&layers).map_err(ConfigError)
    }

    fn resolve(&self, layers: &[Layer]) -> Result<Config, Vec<Mistake>> {
        let mut settings = Settings::default();
        let strongest = |name: &str| {
            layers.iter().rev().find_map(|layer| {
                let (value, place) = layer.values.get(name)?;
                Some((value.clone(), layer.set_by, Some(place.clone())))
            })
        };
        let profile = match strongest("profile") {
            Some((Value::Text(text), ..)) if text == "lan" => Profile::Lan,
            _ => Profile::Bits,
        };
        let mut places = self.places();
        let mut effective = Vec::new();
        let mut mistakes = Vec::new();
        for key in &KEYS {
            let (value, set_by, place) = strongest(key.name).unwrap_or_else(|| {
                let value = key.default_value(profile, &places);
                (value, SetBy::Default, None)
            });
            if let Err(expected) = (key.apply)(&mut settings, &value) {
                // Only defaults can get here: a home directory that is no path.
                mistakes.push(Mistake {
                    place: "default".into(),
                    key: key.name.into(),
                    problem: format!("{value} is not valid: {expected}"),
                });
            }
            if key.name == "data_dir" && places.socket.is_empty() {
                places.socket = settings.data_dir.join("potluck.sock").display().to_string();
            }
            effective.push(Effective {
                key: key.name,
                value,
                set_by,
                place,
            });
        }
        if let Err((key, problem)) = settings.domain.given() {
            let set = effective.iter().find(|it| it.key == key);
            mistakes.push(Mistake {
                place: set
                    .and_then(|it| it.place.clone())
                    .unwrap_or_else(|| "[domain]".into()),
                key: key.into(),
                problem: problem.into(),
            });
        }
        if mistakes.is_empty() {
            Ok(Config {
                settings,
                effective,
            })
        } else {
            Err(mistakes)
        }
    }
}

/// Mistakes in the order of their lines.
fn line_order(place: &str) -> (String, u32) {
    match place.rsplit_once(':') {
        Some((file, line)) if line.parse::<u32>().is_ok() => {
            (file.to_owned(), line.parse().unwrap_or_default())
        }
        _ => (place.to_owned(), 0),
    }
}
