//! The links that an answer carries in its fields (RFC 8288).

use http::HeaderMap;
use http::header;
use potluck_content::MANIFEST_TYPE;
use url::Url;

/// Where an answer that came from `at` says the manifest of its file is: the first
/// `Link: <…>; rel="describedby"; type="application/vnd.potluck.manifest"`.
pub(crate) fn manifest_link(headers: &HeaderMap, at: &Url) -> Option<Url> {
    let fields = headers.get_all(header::LINK).into_iter();
    let mut links = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(Links);
    let link = links.find(Link::is_of_manifest)?;
    let mut url = at.join(link.target).ok()?;
    url.set_fragment(None);
    let plain = url.username().is_empty() && url.password().is_none();
    (plain && matches!(url.scheme(), "http" | "https")).then_some(url)
}

/// One link.
struct Link<'a> {
    target: &'a str,
    relations: Option<String>,
    media_type: Option<String>,
    /// Whether it is a link of something else than the file.
    anchored: bool,
}

impl Link<'_> {
    fn is_of_manifest(&self) -> bool {
        let relations = self.relations.as_deref().unwrap_or_default();
        let mut relations = relations.split_ascii_whitespace();
        let media_type = self.media_type.as_deref().unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        relations.any(|it| it.eq_ignore_ascii_case("describedby"))
            && media_type.eq_ignore_ascii_case(MANIFEST_TYPE)
            && !self.anchored
    }
}

/// The links of one field, as far as it can be read: what is still to be read.
struct Links<'a>(&'a str);

impl<'a> Iterator for Links<'a> {
    type Item = Link<'a>;

    fn next(&mut self) -> Option<Link<'a>> {
        let space = |c: char| c == ',' || c.is_ascii_whitespace();
        let rest = self.0.trim_start_matches(space);
        self.0 = "";
        let (target, mut rest) = rest.strip_prefix('<')?.split_once('>')?;
        let mut link = Link {
            target: target.trim(),
            relations: None,
            media_type: None,
            anchored: false,
        };
        while let Some(parameter) = rest.trim_start().strip_prefix(';') {
            let (name, value, left) = read_parameter(parameter)?;
            rest = left;
            // Of each the first counts (RFC 8288, section 3.3).
            match name.to_ascii_lowercase().as_str() {
                "rel" => link.relations = link.relations.or(Some(value)),
                "type" => link.media_type = link.media_type.or(Some(value)),
                "anchor" => link.anchored = true,
                _ => {}
            }
        }
        let rest = rest.trim_start();
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
        self.0 = rest;
        Some(link)
    }
}

/// Name and value of a parameter, and what comes after it.
fn read_parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start();
    let end = text.find(['=', ';', ',']).unwrap_or(text.len());
    let (name, rest) = (text[..end].trim(), &text[end..]);
    let Some(value) = rest.strip_prefix('=') else {
        return Some((name, String::new(), rest));
    };
    let value = value.trim_start();
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find([';', ',']).unwrap_or(value.len());
        return Some((name, value[..end].trim().to_owned(), &value[end..]));
    };
    let mut read = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((name, read, &quoted[at + 1..])),
            '\\' => read.push(chars.next()?.1),
            c => read.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fields: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::LINK, field.parse().unwrap());
        }
        let at = Url::parse("https://o/a/b.iso?x#y").unwrap();
        manifest_link(&headers, &at).map(|url| url.to_string())
    }

    const TYPE: &str = "type=\"application/vnd.potluck.manifest\"";

    #[test]
    fn finds_it_however_it_is_written() {
        let plain = format!("<b.iso.potluck>; rel=describedby; {TYPE}");
        let at = Some("https://o/a/b.iso.potluck".to_owned());
        assert_eq!(found(&[&plain]), at);
        let among = "<http://m/a>; rel=duplicate; pri=1, </a/b.iso.potluck#z> ;\
                     REL = \"up DescribedBy\" ; title=\"a, \\\"b\\\"; c\";\
                     TYPE=application/vnd.potluck.manifest, <x>";
        assert_eq!(found(&["<x>; rel=next", among]), at);
        let other = format!("<//mirror/m>; {TYPE}; rel=\"describedby\"; rel=next; flag");
        assert_eq!(found(&[&other]), Some("https://mirror/m".to_owned()));
    }

    #[test]
    fn takes_no_other_link_for_it() {
        for other in [
            "".to_owned(),
            format!("<m>; rel=describes; {TYPE}"),
            format!("<m>; rel=next; rel=describedby; {TYPE}"),
            "<m>; rel=describedby; type=\"application/xml\"".to_owned(),
            "<m>; rel=describedby".to_owned(),
            format!("<m>; rel=describedby; anchor=\"/other\"; {TYPE}"),
            format!("m; rel=describedby; {TYPE}"),
            format!("<m; rel=describedby; {TYPE}"),
            format!("<m>; title=\"open; rel=describedby; {TYPE}"),
            format!("<m> rel=describedby; {TYPE}"),
            format!("<ftp://o/m>; rel=describedby; {TYPE}"),
            format!("<https://u:p@o/m>; rel=describedby; {TYPE}"),
            format!("<http://[>; rel=describedby; {TYPE}"),
        ] {
            assert_eq!(found(&[&other]), None, "{other}");
        }
    }
}
