//! Quantities as Kubernetes writes them.

/// Why a text is no quantity of whole bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a number of bytes: {reason}; write for example `16Mi`, `64Ki` or `1048576`"
)]
pub struct QuantityError {
    text: String,
    reason: &'static str,
}

/// Parses a Kubernetes quantity that stands for bytes, rounded up to a whole byte.
///
/// Kubernetes, `Quantity`: "`<quantity> ::= <signedNumber><suffix>` ... `<suffix> ::= <binarySI> |
/// <decimalExponent> | <decimalSI>`, `<binarySI> ::= Ki | Mi | Gi | Ti | Pi | Ei`, `<decimalSI> ::=
/// m | "" | k | M | G | T | P | E`, `<decimalExponent> ::= "e" <signedNumber> | "E"
/// <signedNumber>`". The suffixes `n` and `u` are read as well. Negative amounts are refused:
/// bytes are counted.
pub fn bytes(text: &str) -> Result<u64, QuantityError> {
    let fail = |reason| QuantityError { text: text.chars().take(64).collect(), reason };
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned.starts_with('-') {
        return Err(fail("it is negative"));
    }
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(fail("it begins with no number"));
    }
    let scale = Scale::parse(suffix).ok_or_else(|| fail("its suffix is unknown"))?;
    let too_large = || fail("it is too large");

    // digits / 10^len(fraction) * factor * 10^exponent, in 128 bits, rounded up.
    let digits: u128 =
        format!("0{whole}{}", fraction.trim_end_matches('0')).parse().map_err(|_| too_large())?;
    let exponent = scale.exponent - fraction.trim_end_matches('0').len() as i32;
    let scaled = digits.checked_mul(u128::from(scale.factor)).ok_or_else(too_large)?;
    let power = |n: u32| 10u128.checked_pow(n);
    let value = if scaled == 0 {
        0
    } else if exponent >= 0 {
        power(exponent.unsigned_abs()).and_then(|p| scaled.checked_mul(p)).ok_or_else(too_large)?
    } else {
        // A divisor beyond 128 bits leaves less than one byte.
        power(exponent.unsigned_abs()).map_or(1, |p| scaled.div_ceil(p))
    };
    u64::try_from(value).map_err(|_| too_large())
}

/// What a suffix multiplies by: `factor * 10^exponent`.
struct Scale {
    factor: u64,
    exponent: i32,
}

impl Scale {
    fn parse(suffix: &str) -> Option<Scale> {
        let decimal = |exponent| Some(Scale { factor: 1, exponent });
        let binary = |shift: u32| Some(Scale { factor: 1 << shift, exponent: 0 });
        match suffix {
            "" => decimal(0),
            "n" => decimal(-9),
            "u" => decimal(-6),
            "m" => decimal(-3),
            "k" => decimal(3),
            "M" => decimal(6),
            "G" => decimal(9),
            "T" => decimal(12),
            "P" => decimal(15),
            "E" => decimal(18),
            "Ki" => binary(10),
            "Mi" => binary(20),
            "Gi" => binary(30),
            "Ti" => binary(40),
            "Pi" => binary(50),
            "Ei" => binary(60),
            _ => {
                let exponent = suffix.strip_prefix(['e', 'E'])?;
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
                let exponent: i32 = if plain { exponent.parse().ok()? } else { return None };
                // Beyond these nothing but zero is representable; the bound keeps sums in range.
                if exponent.abs() > 1_000 { None } else { decimal(exponent) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_read_in_every_notation() {
        for (text, value) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("16Mi", 16 << 20),
            ("64Ki", 64 << 10),
            ("1.5Gi", 3 << 29),
            ("+2k", 2_000),
            ("1M", 1_000_000),
            ("12e6", 12_000_000),
            ("12E+3", 12_000),
            ("1500m", 2),
            ("1e-3", 1),
            (".5Ki", 512),
            ("5.", 5),
            ("1E", 1_000_000_000_000_000_000),
            ("15Ei", 15 << 60),
            ("0e999", 0),
        ] {
            assert_eq!(bytes(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_byte_count_are_refused() {
        for text in
            ["", ".", "-1Mi", "Mi", "16 Mi", "16MiB", "16mi", "1.2.3", "1e", "1e+", "16Ei", "0x10"]
        {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn binary_suffixes_multiply(n in 0u64..1 << 20) {
            prop_assert_eq!(bytes(&format!("{n}Ki")), Ok(n << 10));
            prop_assert_eq!(bytes(&format!("{n}Mi")), Ok(n << 20));
            prop_assert_eq!(bytes(&format!("{n}Gi")), Ok(n << 30));
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eEkMGTPimnu]{0,40}") {
            let _ = bytes(&text);
        }
    }
}
