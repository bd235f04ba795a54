//! Names with wildcards.

/// Whether a name fits a pattern: `*` is any number of characters, `?` one, everything
/// else itself. Takes the product of their lengths at most.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut of) = (0, 0);
    // Where the last `*` was, and what it has taken.
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || Some(wanted) == name.get(of) => {
                at += 1;
                of += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    of = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn wildcards_stand_for_any_text() {
        for (pattern, name) in [
            ("", ""),
            ("*", ""),
            ("a*c", "abbc"),
            ("*.deb", "a.deb.deb"),
            ("?b*", "ab"),
            ("ü?", "üx"),
            ("a**b", "ab"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "a"),
            ("a", "b"),
            ("?", ""),
            ("*.deb", "a.de"),
            ("ab*c", "ab"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
