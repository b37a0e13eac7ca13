//! What a registry asks for with a 401: `WWW-Authenticate` (RFC 9110, section 11.6.1).

/// A way to prove who one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password (RFC 7617).
    Basic,
    /// A token that somebody else gives (the token authentication of the distribution registry).
    Bearer {
        /// Who gives tokens.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The first challenge of a field value that is understood; a token is better than a password.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let all = challenges(value);
        let bearer = all.iter().find_map(|(scheme, parameters)| {
            let get = |name: &str| {
                parameters
                    .iter()
                    .find(|(n, _)| n.eq_ignore_ascii_case(name))
                    .map(|(_, v)| v.clone())
            };
            let realm = get("realm").filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
            Some(Challenge::Bearer { realm, service: get("service"), scope: get("scope") })
        });
        let basic = || all.iter().any(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        bearer.or_else(|| basic().then_some(Challenge::Basic))
    }
}

type Parameters = Vec<(String, String)>;

/// Every scheme with its parameters. What cannot be read ends the list.
fn challenges(value: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            return found;
        }
        // A word with `=` after it belongs to the challenge before, any other begins a new one.
        match (after.trim_start().strip_prefix('='), found.last_mut()) {
            (Some(after), Some((_, parameters))) => {
                let Some((text, after)) = text(after.trim_start()) else { return found };
                parameters.push((word.to_owned(), text));
                rest = after;
            }
            (Some(_), None) => return found,
            (None, _) => {
                found.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
    }
}

/// A token (RFC 9110, section 5.6.2) and what follows it.
fn token(value: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    value.split_at(value.find(|c| !is_token(c)).unwrap_or(value.len()))
}

/// A token or a quoted string (section 5.6.4), and what follows it.
fn text(value: &str) -> Option<(String, &str)> {
    let Some(quoted) = value.strip_prefix('"') else {
        let (word, rest) = token(value);
        return Some((word.to_owned(), rest));
    };
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((text, &quoted[at + 1..])),
            '\\' => text.push(chars.next()?.1),
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        })
    }

    #[test]
    fn challenges_of_registries_are_read() {
        for (value, expected) in [
            (
                r#"Bearer realm="https://a.example/token",service="r.example",scope="repository:a/b:pull""#,
                bearer("https://a.example/token", Some("r.example"), Some("repository:a/b:pull")),
            ),
            (
                r#"bearer Realm = "https://a.example/t?x=1,2" "#,
                bearer("https://a.example/t?x=1,2", None, None),
            ),
            (r#"Basic realm="a", Bearer realm="https://b""#, bearer("https://b", None, None)),
            (r#"Bearer realm="a\"b", service=c"#, bearer("a\"b", Some("c"), None)),
            (r#"Basic realm="a \" b""#, Some(Challenge::Basic)),
            ("BASIC", Some(Challenge::Basic)),
            ("Negotiate, Basic realm=x", Some(Challenge::Basic)),
            ("Negotiate abc==", None),
            ("Bearer", None),
            (r#"Bearer realm="open"#, None),
            ("=", None),
            ("realm=\"x\"", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(value), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_read_or_not(value in ".*") {
            let _ = Challenge::parse(&value);
        }

        #[test]
        fn a_realm_comes_back_whatever_is_in_it(realm in "[ -~]{0,30}") {
            let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
            let value = format!("Basic realm=\"x\", Bearer service=s, realm=\"{quoted}\"");
            prop_assert_eq!(Challenge::parse(&value), bearer(&realm, Some("s"), None));
        }
    }
}
