//! Shows one request: what was sent, what each filter did, what the backend saw, what came back.

use super::scenario::{Observed, Step};
use std::{collections::BTreeMap, fmt::Write as _};

/// The text for one request.
pub(crate) fn step(number: usize, step: &Step, observed: &Observed) -> String {
    let mut text = format!("\n{number}. {}\n", step.title);
    line(&mut text, "request", &format!("{} {}", step.request.method, step.request.path));
    for (name, value) in &step.request.headers {
        line(&mut text, "", &format!("{name}: {value}"));
    }
    for (at, filter) in observed.filters.iter().enumerate() {
        let label = if at == 0 { "filters" } else { "" };
        line(&mut text, label, &format!("{}: {}", filter.name, filter.how));
    }
    match observed.echoed() {
        Some(echoed) => {
            let query = echoed.query.iter().map(|q| format!("?{q}")).collect::<String>();
            line(&mut text, "backend saw", &format!("{} {}{query}", echoed.method, echoed.path));
            // `Host` is on every request and the client of this demo does not list it.
            for (sign, name, value) in changes(&step.request.headers, &echoed.headers) {
                if name != "host" {
                    line(&mut text, "", &format!("{sign} {name}: {value}"));
                }
            }
        }
        None => line(&mut text, "backend saw", "nothing"),
    }
    line(&mut text, "answer", &observed.status.to_string());
    for (name, value) in &observed.headers {
        line(&mut text, "", &format!("{name}: {value}"));
    }
    if observed.echoed().is_none() && !observed.body.is_empty() {
        line(&mut text, "", observed.body.trim_end());
    }
    let differences = step.differences(observed);
    for difference in &differences {
        line(&mut text, "NOT EXPECTED", difference);
    }
    if differences.is_empty() {
        line(&mut text, "as expected", "");
    }
    text
}

fn line(text: &mut String, label: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", format!("   {label:<13}{value}").trim_end());
}

/// What differs between two sets of headers: `-` for what is gone or replaced, `+` for what is new.
fn changes<'a>(
    before: &'a BTreeMap<String, String>,
    after: &'a BTreeMap<String, String>,
) -> Vec<(char, &'a str, &'a str)> {
    let lost = before
        .iter()
        .filter(|(name, value)| after.get(&name.to_lowercase()) != Some(value))
        .map(|(name, value)| ('-', name.as_str(), value.as_str()));
    let gained = after
        .iter()
        .filter(|(name, value)| {
            !before.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && v == *value)
        })
        .map(|(name, value)| ('+', name.as_str(), value.as_str()));
    lost.chain(gained).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_headers_are_shown_with_their_sign() {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect::<BTreeMap<_, _>>()
        };
        let before = map(&[("X-Key", "k"), ("x-same", "s"), ("x-old", "1")]);
        let after = map(&[("x-same", "s"), ("x-old", "2"), ("x-tenant", "blue")]);
        assert_eq!(
            changes(&before, &after),
            [
                ('-', "X-Key", "k"),
                ('-', "x-old", "1"),
                ('+', "x-old", "2"),
                ('+', "x-tenant", "blue")
            ]
        );
    }
}
