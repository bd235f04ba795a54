//! `potluck job set`, and properties where jobs are made.

use std::path::{Path, PathBuf};

use potluck_plan::Priority;
use serde_json::{Map, Value, json};

use crate::cli::credentials;
use crate::cli::failure::Failure;
use crate::cli::get::header;

/// Everything that can be set.
const KEYS: &str = "name, description, priority, use_peers, retry_delay, no_progress_timeout, \
    max_download_time, user_agent, method, redirects, allow_downgrade, proxy, ca_files, \
    client_certificate, same_version, only_logged_in, on_complete, on_error, headers, \
    secret_headers, credentials, url, url-prefix or path";

/// What is sent for a key and the words after it.
pub(super) fn properties(key: &str, words: &[String]) -> Result<Map<String, Value>, Failure> {
    let name = key.replace('-', "_");
    let value = match name.as_str() {
        "headers" => fields(words)?,
        "secret_headers" => fields(&secret_lines(words)?)?,
        "ca_files" => json!(paths(words)?),
        "client_certificate" => certificate(words)?,
        "on_complete" | "on_error" => hook(words)?,
        "credentials" => match words {
            [] => credentials::ask()?,
            [none] if none == "none" => Value::Null,
            _ => credentials::read(Path::new(one(key, words)?))?,
        },
        _ => simple(key, &name, one(key, words)?)?,
    };
    Ok(Map::from_iter([(name, value)]))
}

/// `KEY=VALUE`, where a job is made.
pub(in crate::cli) fn assignments(texts: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut all = Map::new();
    for text in texts {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("{text}: write KEY=VALUE")))?;
        all.extend(properties(key, &[value.to_owned()])?);
    }
    Ok(all)
}

/// Keys with one word as their value.
fn simple(key: &str, name: &str, word: &str) -> Result<Value, Failure> {
    let wrong = |expected: &str| Failure::usage(format!("{key} {word}: {expected}"));
    let boolean = || match word {
        "true" | "1" => Ok(json!(true)),
        "false" | "0" => Ok(json!(false)),
        _ => Err(wrong("choose true or false")),
    };
    let or_default = || match word {
        "default" => Value::Null,
        word => json!(word),
    };
    Ok(match name {
        "name" | "description" => json!(word),
        "priority" => match word.parse::<Priority>() {
            Ok(priority) => json!(priority),
            Err(error) => return Err(wrong(&error.to_string())),
        },
        "use_peers" if word == "default" => Value::Null,
        "use_peers" | "allow_downgrade" | "same_version" | "only_logged_in" => boolean()?,
        "retry_delay" | "no_progress_timeout" | "max_download_time" | "user_agent" | "method" => {
            or_default()
        }
        "redirects" => match word {
            "allow" | "report" | "forbid" => json!(word),
            _ => return Err(wrong("choose allow, report or forbid")),
        },
        "proxy" => match word {
            "environment" | "none" => json!(word),
            url => json!({ "url": url }),
        },
        "url" => match word.split_once('=') {
            Some((file, url)) if file.parse::<usize>().is_ok() => {
                json!({ "file": file.parse::<usize>().unwrap_or_default(), "url": url })
            }
            _ => return Err(wrong("write INDEX=URL, the first file being 0")),
        },
        "path" => match word.split_once('=') {
            Some((file, path)) if file.parse::<usize>().is_ok() => {
                let path = paths(&[path.to_owned()])?.pop();
                json!({ "file": file.parse::<usize>().unwrap_or_default(), "path": path })
            }
            _ => return Err(wrong("write INDEX=PATH, the first file being 0")),
        },
        "url_prefix" => match word.split_once('=') {
            Some((from, to)) => json!({ "from": from, "to": to }),
            None => return Err(wrong("write OLD=NEW")),
        },
        _ => {
            let message = format!("a job has no {key} to set: choose {KEYS}");
            return Err(Failure::usage(message));
        }
    })
}

fn one<'a>(key: &str, words: &'a [String]) -> Result<&'a str, Failure> {
    match words {
        [word] => Ok(word),
        [] => Err(Failure::usage(format!("{key}: say to what"))),
        _ => Err(Failure::usage(format!(
            "{key} has one value: put it in quotes"
        ))),
    }
}

/// `K: V` each; none for no fields.
fn fields(words: &[String]) -> Result<Value, Failure> {
    let fields: Result<Vec<(String, String)>, String> =
        words.iter().map(|word| header(word)).collect();
    fields.map(|fields| json!(fields)).map_err(Failure::usage)
}

/// A single `-` is one field a line from standard input.
fn secret_lines(words: &[String]) -> Result<Vec<String>, Failure> {
    match words {
        [dash] if dash == "-" => std::io::stdin()
            .lines()
            .filter(|line| line.as_ref().is_ok_and(|line| !line.is_empty()) || line.is_err())
            .collect::<Result<_, _>>()
            .map_err(|error| Failure::failed(format!("standard input: {error}"))),
        words => Ok(words.to_vec()),
    }
}

fn paths(words: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let full = |word: &String| {
        std::path::absolute(word).map_err(|error| Failure::usage(format!("{word}: {error}")))
    };
    words.iter().map(full).collect()
}

fn certificate(words: &[String]) -> Result<Value, Failure> {
    match &paths(words)?[..] {
        [_] if words == ["none"] => Ok(Value::Null),
        [certificate, key] => Ok(json!({ "certificate_file": certificate, "key_file": key })),
        _ => Err(Failure::usage(
            "client_certificate: write CERTIFICATE-FILE KEY-FILE, or none",
        )),
    }
}

/// A program and the words it is called with.
fn hook(words: &[String]) -> Result<Value, Failure> {
    match words {
        [none] if none == "none" => Ok(Value::Null),
        [program, arguments @ ..] => Ok(json!({ "program": program, "arguments": arguments })),
        [] => Err(Failure::usage("write PROGRAM [ARGUMENT]…, or none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, words: &[&str]) -> Option<Value> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        properties(key, &words).ok().map(Value::Object)
    }

    #[test]
    fn each_key_has_its_own_words() {
        for (key, words, sent) in [
            ("name", vec!["x"], json!({ "name": "x" })),
            ("use-peers", vec!["0"], json!({ "use_peers": false })),
            ("use_peers", vec!["default"], json!({ "use_peers": null })),
            ("retry_delay", vec!["5s"], json!({ "retry_delay": "5s" })),
            (
                "proxy",
                vec!["http://p:1"],
                json!({ "proxy": { "url": "http://p:1" } }),
            ),
            (
                "headers",
                vec!["A: 1", "B: 2"],
                json!({ "headers": [["A", "1"], ["B", "2"]] }),
            ),
            ("headers", vec![], json!({ "headers": [] })),
            (
                "client_certificate",
                vec!["/c", "/k"],
                json!({ "client_certificate": { "certificate_file": "/c", "key_file": "/k" } }),
            ),
            (
                "client-certificate",
                vec!["none"],
                json!({ "client_certificate": null }),
            ),
            (
                "on_error",
                vec!["/bin/x", "-a"],
                json!({ "on_error": { "program": "/bin/x", "arguments": ["-a"] } }),
            ),
            ("credentials", vec!["none"], json!({ "credentials": null })),
            (
                "url-prefix",
                vec!["http://a/=http://b/?c=d"],
                json!({ "url_prefix": { "from": "http://a/", "to": "http://b/?c=d" } }),
            ),
            (
                "url",
                vec!["1=http://b"],
                json!({ "url": { "file": 1, "url": "http://b" } }),
            ),
            (
                "path",
                vec!["1=/tmp/b=c"],
                json!({ "path": { "file": 1, "path": "/tmp/b=c" } }),
            ),
        ] {
            assert_eq!(set(key, &words), Some(sent), "{key}");
        }
    }

    #[test]
    fn what_cannot_be_set_is_not_sent() {
        for (key, words) in [
            ("priority", vec!["urgent"]),
            ("use_peers", vec!["maybe"]),
            ("owner", vec!["me"]),
            ("name", vec![]),
            ("name", vec!["two", "words"]),
            ("headers", vec!["no colon"]),
            ("url", vec!["http://b"]),
            ("redirects", vec!["often"]),
            ("client_certificate", vec!["/c"]),
        ] {
            assert!(set(key, &words).is_none(), "{key}");
        }
        let both = assignments(&["name=a=b".to_owned(), "priority=low".to_owned()]);
        let expected = json!({ "name": "a=b", "priority": "low" });
        assert_eq!(Value::Object(both.ok().unwrap()), expected);
    }
}
