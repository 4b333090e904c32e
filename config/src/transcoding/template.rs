//! Templates of paths (`google.api.http`): `/shelves/{shelf}/books/{book=**}:verb`.

use super::Transcoder;

/// A variable of a path, as the names of its fields, with its value.
pub(super) type Named = (Vec<String>, String);

/// A compiled template.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template {
    segments: Vec<Segment>,
    verb: Option<Box<str>>,
    variables: Vec<Variable>,
}

/// In the order of preference.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    /// This text.
    Literal(Box<str>),
    /// `*`
    One,
    /// `**`, which is the last one.
    Rest,
}

#[derive(Debug, PartialEq, Eq)]
struct Variable {
    fields: Vec<String>,
    /// Its segments: from the first, up to the second.
    from: usize,
    to: usize,
}

/// What is done to escaped characters of variables that are several segments.
/// Those of one are always decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unescape {
    /// Those of RFC 6570 section 1.5 stay as they are.
    ExceptReserved,
    /// `/` stays as it is.
    ExceptSlash,
    /// All are decoded.
    All,
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser {
            rest: text,
            template: Template {
                segments: Vec::new(),
                verb: None,
                variables: Vec::new(),
            },
        };
        parser
            .run()
            .map_err(|reason| format!("{text:?}: {reason}"))?;
        Ok(parser.template)
    }

    pub fn verb(&self) -> Option<&str> {
        self.verb.as_deref()
    }

    fn matches(&self, segments: &[&str], verb: Option<&str>) -> bool {
        let open = self.segments.last() == Some(&Segment::Rest);
        let fixed = self.segments.len() - usize::from(open);
        let fits = match open {
            true => segments.len() >= fixed,
            false => segments.len() == fixed,
        };
        fits && self.verb() == verb
            && self
                .segments
                .iter()
                .zip(segments)
                .all(|(own, given)| match own {
                    Segment::Literal(text) => **text == **given,
                    Segment::One | Segment::Rest => true,
                })
    }

    fn captures(&self, segments: &[&str], unescape: Unescape) -> Vec<Named> {
        let capture = |variable: &Variable| {
            let is_open = self.segments[variable.from..variable.to].contains(&Segment::Rest);
            let to = if is_open { segments.len() } else { variable.to };
            let how = match is_open || to - variable.from > 1 {
                true => unescape,
                false => Unescape::All,
            };
            let parts: Vec<_> = segments[variable.from..to]
                .iter()
                .map(|segment| unescaped(segment, how, false))
                .collect();
            (variable.fields.clone(), parts.join("/"))
        };
        self.variables.iter().map(capture).collect()
    }
}

impl Transcoder {
    /// The rule that a path without its query matches, with its variables.
    pub(super) fn look_up(&self, http_method: &[u8], path: &str) -> Option<(usize, Vec<Named>)> {
        let path = path.strip_prefix('/')?;
        let of_method = || {
            let rules = self.rules.iter().enumerate();
            rules.filter(|(_, rule)| rule.http_method.as_bytes() == http_method)
        };
        let slash = path.rfind('/').map_or(0, |at| at + 1);
        let verb_at = path[slash..].rfind(':').map(|at| slash + at);
        let known = |verb: &str| {
            let mut rules = self.rules.iter();
            self.any_verb || rules.any(|rule| rule.template.verb() == Some(verb))
        };
        let (path, verb) = match verb_at {
            Some(at) if known(&path[at + 1..]) => (&path[..at], Some(&path[at + 1..])),
            _ => (path, None),
        };
        let mut segments: Vec<_> = path.split('/').collect();
        while segments.last() == Some(&"") {
            segments.pop();
        }
        let (place, rule) = of_method()
            .filter(|(_, rule)| rule.template.matches(&segments, verb))
            .min_by(|(_, a), (_, b)| a.template.segments.cmp(&b.template.segments))?;
        Some((place, rule.template.captures(&segments, self.unescape)))
    }
}

/// Text with its escaped characters decoded; what is no escape stays.
pub(super) fn unescaped(text: &str, how: Unescape, plus: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        let stays = |byte: u8| match how {
            Unescape::All => false,
            Unescape::ExceptSlash => byte == b'/',
            Unescape::ExceptReserved => b":/?#[]@!$&'()*+,;=".contains(&byte),
        };
        match escaped {
            Some(byte) if !stays(byte) => {
                out.push(byte);
                at += 3;
            }
            _ => {
                let is_space = plus && bytes[at] == b'+';
                out.push(if is_space { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

struct Parser<'a> {
    rest: &'a str,
    template: Template,
}

impl Parser<'_> {
    fn run(&mut self) -> Result<(), String> {
        if !self.take('/') {
            return Err("it must begin with a slash".into());
        }
        if self.rest.is_empty() {
            return Ok(());
        }
        self.segments(true)?;
        if self.take(':') {
            let verb = self.word(&['/', '{', '}', '*', ':']);
            if verb.is_empty() {
                return Err("the verb is empty".into());
            }
            self.template.verb = Some(verb.into());
        }
        if !self.rest.is_empty() {
            return Err(format!("unexpected {:?}", self.rest));
        }
        Ok(())
    }

    fn segments(&mut self, may_have_variables: bool) -> Result<(), String> {
        loop {
            if self.template.segments.last() == Some(&Segment::Rest) {
                return Err("** must be the last segment".into());
            }
            if self.take('{') {
                if !may_have_variables {
                    return Err("a variable within a variable".into());
                }
                self.variable()?;
            } else if self.take('*') {
                let rest = self.take('*');
                let segment = if rest { Segment::Rest } else { Segment::One };
                self.template.segments.push(segment);
            } else {
                let text = self.word(&['/', ':', '{', '}', '*', '=']);
                if text.is_empty() {
                    return Err("an empty segment".into());
                }
                self.template.segments.push(Segment::Literal(text.into()));
            }
            if !self.take('/') {
                return Ok(());
            }
        }
    }

    fn variable(&mut self) -> Result<(), String> {
        let path = self.word(&['=', '}', '/', '{', '*', ':']);
        if path.is_empty() || path.split('.').any(str::is_empty) {
            return Err("a variable without a name".into());
        }
        let from = self.template.segments.len();
        if self.take('=') {
            self.segments(false)?;
        } else {
            self.template.segments.push(Segment::One);
        }
        if !self.take('}') {
            return Err("a variable without an end".into());
        }
        self.template.variables.push(Variable {
            fields: path.split('.').map(str::to_owned).collect(),
            from,
            to: self.template.segments.len(),
        });
        Ok(())
    }

    fn take(&mut self, one: char) -> bool {
        let found = self.rest.strip_prefix(one);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn word(&mut self, ends: &[char]) -> String {
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_read_or_refused() {
        for text in [
            "/",
            "/a",
            "/a/{b}",
            "/{a.b=c/*}/d",
            "/a/{b=**}",
            "/**",
            "/a:v",
            "/a/{b=*}:v",
        ] {
            assert!(Template::parse(text).is_ok(), "{text}");
        }
        for text in [
            "", "a", "/a/", "//a", "/{", "/{a", "/{}", "/{a=}", "/{a..b}", "/**/a", "/{a={b}}",
            "/a:", "/a:b:c", "/a}", "/a*",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn each_prefix_of_a_template_is_read_without_a_panic() {
        let text = "/a/{b.c=d/*/**}:verb";
        for end in 0..=text.len() {
            let _ = Template::parse(&text[..end]);
        }
    }

    #[test]
    fn paths_match_segment_by_segment() {
        let captured = |template: &str, path: &str, verb| {
            let template = Template::parse(template).expect("a template");
            let segments: Vec<_> = path.split('/').filter(|s| !s.is_empty()).collect();
            template.matches(&segments, verb).then(|| {
                let all = template.captures(&segments, Unescape::ExceptReserved);
                let all = all.iter().map(|(f, v)| format!("{}={v}", f.join(".")));
                all.collect::<Vec<_>>().join(" ")
            })
        };
        for (template, path, verb, expected) in [
            ("/a/{b}", "/a/x%2Fy", None, Some("b=x/y")),
            ("/a/{b}", "/a", None, None),
            ("/a/{b}", "/a/x/y", None, None),
            ("/{a.b=c/*}/d", "/c/x/d", None, Some("a.b=c/x")),
            ("/a/{b=**}", "/a", None, Some("b=")),
            ("/a/{b=**}", "/a/x/y%2Fz%20", None, Some("b=x/y%2Fz ")),
            ("/a/*", "/a/x", None, Some("")),
            ("/a:v", "/a", Some("v"), Some("")),
            ("/a:v", "/a", None, None),
            ("/a", "/a", Some("v"), None),
            ("/", "", None, Some("")),
        ] {
            assert_eq!(
                captured(template, path, verb).as_deref(),
                expected,
                "{template} {path}"
            );
        }
    }

    #[test]
    fn escapes_are_decoded_as_far_as_they_may() {
        for (how, expected) in [
            (Unescape::ExceptReserved, "%2f%23/ %23%"),
            (Unescape::ExceptSlash, "%2f#/ %23%"),
            (Unescape::All, "/#/ %23%"),
        ] {
            assert_eq!(unescaped("%2f%23/%20%2523%", how, false), expected);
        }
        assert_eq!(unescaped("a+b", Unescape::All, true), "a b");
        assert_eq!(unescaped("a+b%g0%1", Unescape::All, false), "a+b%g0%1");
    }
}
