//! What an endpoint sees of a request: its query.

/// The parameters of a query, decoded, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses what follows the `?`. `+` is a space, `%XX` a byte; a `%` that is
    /// not followed by two hexadecimal digits, or bytes that are not UTF-8, are
    /// an error, for a filter that was meant otherwise must not match by luck.
    pub(super) fn parse(query: &str) -> Result<Self, BadQuery> {
        (query.split('&'))
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode(name)?, decode(value)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The first value of a parameter; empty if it was given without one.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        (self.0.iter())
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value, unless it is empty.
    pub(super) fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// A query that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadQuery;

fn decode(text: &str) -> Result<String, BadQuery> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || {
                    let digit = bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                    digit.ok_or(BadQuery)
                };
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| BadQuery)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        for (query, expected) in [
            ("", vec![]),
            ("usedonly", vec![("usedonly", "")]),
            ("a=b&c=d=e", vec![("a", "b"), ("c", "d=e")]),
            ("filter=a%2Bb+c%26", vec![("filter", "a+b c&")]),
            ("&&x=&", vec![("x", "")]),
            ("%C3%A4=1", vec![("ä", "1")]),
        ] {
            let pairs = Query::parse(query).expect(query);
            let shown: Vec<_> = (pairs.0.iter())
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            assert_eq!(shown, expected, "{query}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_an_error() {
        for query in ["a=%", "a=%4", "a=%zz", "%g0=1", "a=%ff", "a=%C3", "a=%+1"] {
            assert_eq!(Query::parse(query), Err(BadQuery), "{query}");
        }
    }

    #[test]
    fn the_first_of_equal_names_counts() {
        let query = Query::parse("a=1&a=2&b").expect("it is valid");
        assert_eq!(
            (query.get("a"), query.get("b"), query.get("c")),
            (Some("1"), Some(""), None)
        );
        assert_eq!(query.non_empty("b"), None);
        assert!(query.has("b") && !query.has("c"));
    }
}
