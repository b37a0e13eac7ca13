//! What an unquoted YAML scalar means.
//!
//! YAML 1.2 (core schema) and the YAML 1.1 of the Kubernetes tools read a few plain scalars
//! differently. Such a file would mean one thing here and another in a cluster, so those scalars
//! are refused with a remedy; every other one is read by the core schema.

use super::node::Scalar;
use serde_json::Number;

/// Reads a plain (unquoted, untagged) scalar.
///
/// # Errors
/// What is wrong, and the remedy.
pub(crate) fn plain(text: &str) -> Result<Scalar, (String, String)> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Scalar::Null),
        "true" | "True" | "TRUE" => return Ok(Scalar::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Scalar::Bool(false)),
        _ => {}
    }
    if ["yes", "no", "on", "off"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Err((
            format!("{text} without quotes is a text here and true or false in a cluster"),
            format!("write \"{text}\" for the text, or true or false"),
        ));
    }
    match number(text)? {
        Some(number) => Ok(Scalar::Number(number)),
        None => Ok(Scalar::Text(text.to_owned())),
    }
}

/// A number by the core schema (YAML 1.2.2, section 10.3.2); `None` for any other text.
///
/// # Errors
/// A number that JSON cannot hold, or that YAML 1.1 reads as octal.
pub(crate) fn number(text: &str) -> Result<Option<Number>, (String, String)> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if matches!(digits, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err((
            format!("{text} is no number that JSON knows"),
            "write a finite number".into(),
        ));
    }
    if let Some(number) = radix(text) {
        return Ok(Some(number));
    }
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        if digits.len() > 1 && digits.starts_with('0') {
            return Err((
                format!("{text} is decimal here and octal in a cluster"),
                format!("write \"{text}\" for the text, or the number without leading zeros"),
            ));
        }
        let whole = if negative {
            text.parse::<i64>().ok().map(Number::from)
        } else {
            digits.parse::<u64>().ok().map(Number::from)
        };
        return Ok(whole.or_else(|| text.parse().ok().and_then(Number::from_f64)));
    }
    if !is_float(digits) {
        return Ok(None);
    }
    match text.parse().ok().and_then(Number::from_f64) {
        Some(number) => Ok(Some(number)),
        None => Err((format!("{text} is too large for a number"), "quote it as a text".into())),
    }
}

fn radix(text: &str) -> Option<Number> {
    let parse = |digits: &str, radix| {
        digits
            .bytes()
            .all(|b| b.is_ascii_hexdigit())
            .then(|| u64::from_str_radix(digits, radix).ok())
            .flatten()
            .map(Number::from)
    };
    text.strip_prefix("0x")
        .and_then(|d| parse(d, 16))
        .or_else(|| text.strip_prefix("0o").and_then(|d| parse(d, 8)))
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    mantissa && exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_by_the_core_schema() {
        let number = |n: f64| Scalar::Number(Number::from_f64(n).expect("finite"));
        let text = |t: &str| Scalar::Text(t.into());
        for (input, expected) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("null", Scalar::Null),
            ("nUll", text("nUll")),
            ("true", Scalar::Bool(true)),
            ("FALSE", Scalar::Bool(false)),
            ("0", Scalar::Number(0.into())),
            ("-12", Scalar::Number((-12).into())),
            ("+12", Scalar::Number(12.into())),
            ("18446744073709551615", Scalar::Number(u64::MAX.into())),
            ("18446744073709551616", number(18_446_744_073_709_551_616.0)),
            ("0x1F", Scalar::Number(31.into())),
            ("0o17", Scalar::Number(15.into())),
            ("1.5", number(1.5)),
            (".5", number(0.5)),
            ("1e3", number(1000.0)),
            ("1.", number(1.0)),
            ("-1.5E-1", number(-0.15)),
            ("1.2.3", text("1.2.3")),
            ("5ms", text("5ms")),
            ("16Mi", text("16Mi")),
            ("0xZZ", text("0xZZ")),
            ("-", text("-")),
            ("e5", text("e5")),
            (".", text(".")),
            ("12:30", text("12:30")),
            ("2026-01-01", text("2026-01-01")),
        ] {
            assert_eq!(plain(input), Ok(expected), "{input}");
        }
    }

    #[test]
    fn scalars_that_a_cluster_reads_differently_are_refused() {
        for input in ["yes", "No", "ON", "off", "0777", "-012", ".inf", "-.INF", ".nan", "1e999"] {
            assert!(plain(input).is_err(), "{input}");
        }
    }
}
