//! `potluck config`, and reading the settings for every other command.

use serde_json::json;

use super::args::{ConfigCommand, Global};
use super::failure::Failure;
use super::output::Output;
use crate::config::{Config, Sources};

/// Reads the settings that hold for this command.
pub(super) fn load(global: &Global) -> Result<Config, Failure> {
    let mut flags = Vec::new();
    for text in &global.set {
        let Some((key, value)) = text.split_once('=') else {
            let message = format!("--set {text}: write KEY=VALUE, as peering.enabled=false");
            return Err(Failure::usage(message));
        };
        flags.push((key.to_owned(), value.to_owned(), format!("--set {key}")));
    }
    for (path, key, option) in [
        (&global.data_dir, "data_dir", "--data-dir"),
        (&global.socket, "control.socket", "--socket"),
    ] {
        let Some(path) = path else { continue };
        let absolute = std::path::absolute(path)
            .map_err(|error| Failure::usage(format!("{option} {}: {error}", path.display())))?;
        let text = absolute
            .into_os_string()
            .into_string()
            .map_err(|path| Failure::usage(format!("{option} {}: is not UTF-8", path.display())))?;
        flags.push((key.to_owned(), text, option.to_owned()));
    }
    Ok(Sources::of_process(global.config.clone(), flags).load()?)
}

pub(super) fn run(
    global: &Global,
    command: &ConfigCommand,
    output: &Output,
) -> Result<(), Failure> {
    let config = load(global)?;
    match command {
        ConfigCommand::Check if output.json => output.json(&json!({ "ok": true })),
        ConfigCommand::Check => output.line("all settings are right"),
        ConfigCommand::Show if output.json => output.json(&config.effective),
        ConfigCommand::Show => {
            let rows: Vec<Vec<String>> = config
                .effective
                .iter()
                .map(|setting| {
                    let set_by = match &setting.place {
                        Some(place) => format!("{} ({place})", setting.set_by.as_str()),
                        None => setting.set_by.as_str().to_owned(),
                    };
                    vec![setting.key.to_owned(), setting.value.to_string(), set_by]
                })
                .collect();
            output.table(&["key", "value", "set by"], &rows)
        }
    }
}
