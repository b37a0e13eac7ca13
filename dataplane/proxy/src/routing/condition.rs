//! Method, header and query conditions of a match.

use super::Target;
use http::{HeaderMap, HeaderName, Method};
use penstock_config::{HttpMatch, ValueMatch, ValueTest};
use regex::bytes::{Regex, RegexBuilder};
use smallvec::SmallVec;
use std::borrow::Cow;

/// Bytes that a compiled regular expression may take. One expression of a route must not take the
/// memory of all of them.
const PATTERN_SIZE_LIMIT: usize = 1 << 20;

/// A regular expression that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Its syntax is wrong or it compiles to too much.
    #[error("regular expression `{pattern}` cannot be used: {problem}")]
    Regex {
        /// As written.
        pattern: String,
        /// What is wrong.
        problem: String,
    },
    /// No header can have this name.
    #[error("`{0}` is not a header field name")]
    HeaderName(String),
    /// No method can have this name.
    #[error("`{0}` is not a method")]
    Method(String),
}

/// Compiles a regular expression (RE2 syntax, no look-around, linear time) over a whole value.
///
/// # Errors
/// [`PatternError::Regex`] where it has another syntax or is too large.
pub fn compile_pattern(pattern: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_SIZE_LIMIT).build().map_err(
        |error| PatternError::Regex { pattern: pattern.into(), problem: error.to_string() },
    )
}

/// What a match asks for beside the path.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    method: Option<Method>,
    headers: Box<[(HeaderName, Test)]>,
    query: Box<[(Box<str>, Test)]>,
}

#[derive(Clone, Debug)]
enum Test {
    Exact(Box<str>),
    Pattern(Box<Regex>),
}

impl Condition {
    /// Compiles what a match asks for.
    ///
    /// # Errors
    /// [`PatternError`] where a part cannot be used.
    pub fn new(matched: &HttpMatch) -> Result<Self, PatternError> {
        let method = match matched.method.as_str() {
            "" => None,
            name => Some(
                Method::from_bytes(name.as_bytes())
                    .map_err(|_| PatternError::Method(name.into()))?,
            ),
        };
        let header = |value: &ValueMatch| {
            let name = HeaderName::from_bytes(value.name.as_bytes())
                .map_err(|_| PatternError::HeaderName(value.name.clone()))?;
            Ok((name, Test::new(value)?))
        };
        let query = |value: &ValueMatch| Ok((value.name.as_str().into(), Test::new(value)?));
        Ok(Self {
            method,
            headers: matched.headers.iter().map(header).collect::<Result<_, PatternError>>()?,
            query: matched.query.iter().map(query).collect::<Result<_, PatternError>>()?,
        })
    }

    /// Whether all of it holds.
    #[inline]
    pub fn holds(&self, target: &Target<'_>) -> bool {
        self.method.as_ref().is_none_or(|method| method == target.method)
            && self.headers.iter().all(|(name, test)| test.header(target.headers, name))
            && self.query.iter().all(|(name, test)| test.query(target.query, name))
    }
}

impl Test {
    fn new(value: &ValueMatch) -> Result<Self, PatternError> {
        Ok(match &value.test {
            Some(ValueTest::Regex(pattern)) => Test::Pattern(Box::new(compile_pattern(pattern)?)),
            Some(ValueTest::Exact(text)) => Test::Exact(text.as_str().into()),
            None => Test::Exact("".into()),
        })
    }

    fn value(&self, value: &[u8]) -> bool {
        match self {
            Test::Exact(text) => value == text.as_bytes(),
            Test::Pattern(pattern) => pattern.is_match(value),
        }
    }

    /// Several fields of one name are one value joined by `, ` (RFC 9110, section 5.3).
    fn header(&self, headers: &HeaderMap, name: &HeaderName) -> bool {
        let mut values = headers.get_all(name).iter();
        let (Some(first), second) = (values.next(), values.next()) else { return false };
        let Some(second) = second else { return self.value(first.as_bytes()) };
        let mut joined: SmallVec<[u8; 128]> = SmallVec::from_slice(first.as_bytes());
        for value in std::iter::once(second).chain(values) {
            joined.extend_from_slice(b", ");
            joined.extend_from_slice(value.as_bytes());
        }
        self.value(&joined)
    }

    fn query(&self, query: Option<&str>, name: &str) -> bool {
        query.and_then(|query| query_param(query, name)).is_some_and(|value| self.value(&value))
    }
}

/// The first value of a query parameter, percent-decoded; the name is compared decoded.
pub fn query_param<'q>(query: &'q str, name: &str) -> Option<Cow<'q, [u8]>> {
    query.split('&').filter(|pair| !pair.is_empty()).find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*percent_decode(key) == *name.as_bytes()).then(|| percent_decode(value))
    })
}

/// Decodes `%` and two hexadecimal digits (RFC 3986, section 2.1); anything else stays as it is.
pub fn percent_decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = || {
            let high = char::from(*bytes.get(at + 1)?).to_digit(16)?;
            let low = char::from(*bytes.get(at + 2)?).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()
        };
        match (bytes[at], digits()) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn exact(name: &str, value: &str) -> ValueMatch {
        ValueMatch { name: name.into(), test: Some(ValueTest::Exact(value.into())) }
    }

    fn pattern(name: &str, value: &str) -> ValueMatch {
        ValueMatch { name: name.into(), test: Some(ValueTest::Regex(value.into())) }
    }

    fn holds(matched: &HttpMatch, query: Option<&str>, headers: &HeaderMap) -> bool {
        let target = Target { method: &Method::GET, path: "/", query, headers };
        Condition::new(matched).expect("a valid match").holds(&target)
    }

    #[test]
    fn s7_03_the_first_of_repeated_query_parameters_counts_and_values_are_decoded() {
        let matched = HttpMatch { query: vec![exact("q", "a b")], ..Default::default() };
        let none = HeaderMap::new();
        assert!(holds(&matched, Some("x=1&q=a%20b&q=no"), &none));
        assert!(!holds(&matched, Some("q=no&q=a%20b"), &none));
        assert!(!holds(&matched, None, &none));
        assert!(!holds(&matched, Some("Q=a%20b"), &none), "names are exact");
        let empty = HttpMatch { query: vec![exact("flag", "")], ..Default::default() };
        assert!(holds(&empty, Some("flag"), &none));
    }

    #[test]
    fn several_fields_of_a_name_are_one_combined_value() {
        let mut headers = HeaderMap::new();
        headers.append("x-tag", HeaderValue::from_static("a"));
        headers.append("x-tag", HeaderValue::from_static("b"));
        let combined = HttpMatch { headers: vec![exact("x-tag", "a, b")], ..Default::default() };
        assert!(holds(&combined, None, &headers));
        let first = HttpMatch { headers: vec![exact("x-tag", "a")], ..Default::default() };
        assert!(!holds(&first, None, &headers), "a second field must not hide behind the first");
    }

    #[test]
    fn a_regular_expression_covers_the_whole_value() {
        let matched = HttpMatch { headers: vec![pattern("v", "1|22")], ..Default::default() };
        for (value, expected) in [("1", true), ("22", true), ("221", false), ("x1", false)] {
            let mut headers = HeaderMap::new();
            headers.insert("v", HeaderValue::from_static(value));
            assert_eq!(holds(&matched, None, &headers), expected, "{value}");
        }
    }

    #[test]
    fn a_pattern_that_is_wrong_or_too_large_is_refused() {
        assert!(compile_pattern("(").is_err());
        assert!(compile_pattern(r"(\w{1000}){1000}").is_err());
        assert!(compile_pattern("a(?=b)").is_err(), "look-around is not linear");
    }

    #[test]
    fn rfc3986_2_1_percent_and_two_digits_are_a_byte_and_anything_else_stays() {
        for (text, decoded) in [
            ("", ""),
            ("a+b", "a+b"),
            ("%41%7a%7A", "Azz"),
            ("a%20b%2Fc", "a b/c"),
            ("%C3%BC", "ü"),
            ("100%25", "100%"),
            ("%2541", "%41"),
            ("%4", "%4"),
            ("%", "%"),
            ("%g1", "%g1"),
            ("%1g", "%1g"),
            ("%%41", "%A"),
        ] {
            assert_eq!(*percent_decode(text), *decoded.as_bytes(), "{text}");
        }
    }
}
