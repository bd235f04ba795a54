//! URLs that stand for many: `file[001-100].deb`, `{main,contrib}/Packages`.

use super::failure::Failure;

/// More than these are not meant by anybody.
const MAX_URLS: usize = 10_000;

/// What a part of a pattern stands for.
enum Part {
    Text(String),
    OneOf(Vec<String>),
}

/// All URLs that a pattern stands for, the last wildcard changing fastest.
///
/// `{a,b}` is `a` and `b`; `[1-12]`, `[01-12]`, `[0-100:10]` and `[a-f]` count, with as
/// many digits as the first number has. Brackets with anything else in them, such as
/// those of IPv6 addresses, are themselves.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>, Failure> {
    let mut urls = vec![String::new()];
    for part in parts(pattern) {
        let choices = match part {
            Part::Text(text) => vec![text],
            Part::OneOf(choices) => choices,
        };
        if urls.len().saturating_mul(choices.len()) > MAX_URLS {
            return Err(Failure::usage(format!(
                "{pattern} stands for more than {MAX_URLS} URLs"
            )));
        }
        urls = urls
            .iter()
            .flat_map(|url| choices.iter().map(move |choice| format!("{url}{choice}")))
            .collect();
    }
    Ok(urls)
}

fn parts(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let wildcard = match first {
            '{' => between(rest, '}').and_then(|inside| Some((list(inside)?, inside))),
            '[' => between(rest, ']').and_then(|inside| Some((range(inside)?, inside))),
            _ => None,
        };
        let taken = match wildcard {
            Some((choices, inside)) => {
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::OneOf(choices));
                inside.len() + 2
            }
            None => {
                text.push(first);
                first.len_utf8()
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    parts.push(Part::Text(text));
    parts
}

fn between(text: &str, close: char) -> Option<&str> {
    let inside = text.get(1..)?;
    Some(inside.split_once(close)?.0)
}

fn list(inside: &str) -> Option<Vec<String>> {
    let several = inside.contains(',');
    several.then(|| inside.split(',').map(str::to_owned).collect())
}

/// `001-100`, `0-100:10`, `a-z`.
fn range(inside: &str) -> Option<Vec<String>> {
    let (ends, step) = match inside.split_once(':') {
        Some((ends, step)) => (ends, step.parse().ok().filter(|step| *step > 0)?),
        None => (inside, 1),
    };
    let (first, last) = ends.split_once('-')?;
    if let ([from @ b'a'..=b'z'], [to @ b'a'..=b'z']) = (first.as_bytes(), last.as_bytes()) {
        let letters = (*from..=*to).step_by(step);
        return Some(
            letters
                .map(|letter| char::from(letter).to_string())
                .collect(),
        );
    }
    let is_number = |text: &str| {
        (1..=18).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit())
    };
    if !is_number(first) || !is_number(last) {
        return None;
    }
    let (from, to): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let width = first.len();
    let numbers = (from..=to).step_by(step).take(MAX_URLS + 1);
    Some(numbers.map(|number| format!("{number:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pattern: &str) -> Vec<String> {
        expand(pattern).ok().unwrap()
    }

    #[test]
    fn patterns_stand_for_what_they_say() {
        assert_eq!(
            all("http://o/f[08-10]"),
            ["http://o/f08", "http://o/f09", "http://o/f10"]
        );
        assert_eq!(all("[0-20:10]"), ["0", "10", "20"]);
        assert_eq!(all("{a,b}[1-2]"), ["a1", "a2", "b1", "b2"]);
        assert_eq!(all("[a-c].x"), ["a.x", "b.x", "c.x"]);
        assert_eq!(all("a{,.sha256}"), ["a", "a.sha256"]);
    }

    #[test]
    fn everything_else_is_itself() {
        for url in [
            "http://[::1]:80/a",
            "http://[fe80::1-2]/a",
            "http://o/{a}/[x]/[1-]/{",
            "http://o/ü[",
        ] {
            assert_eq!(all(url), [url], "{url}");
        }
        assert!(all("[3-1]").is_empty());
    }

    #[test]
    fn there_is_an_end_to_it() {
        assert!(expand("[1-10000]").is_ok());
        assert!(expand("[0-10000]").is_err());
        assert!(expand("[1-999999999999999999]").is_err());
        assert!(expand("[1-101][1-100]").is_err());
    }
}
