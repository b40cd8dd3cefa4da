//! How calicoctl reads a plain scalar (YAML 1.1 by way of Go), and whether that keeps its text.

/// What a plain scalar means when nothing particular is wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reading {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text,
}

/// The reading of a plain scalar.
pub(crate) fn read(text: &str) -> Reading {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Reading::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => {
            Reading::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            Reading::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" => Reading::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Reading::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Reading::Float(f64::NEG_INFINITY),
        _ => number(text),
    }
}

/// What the scalar becomes where text is wanted; equal to the scalar where nothing changes.
pub(crate) fn as_text(text: &str) -> String {
    match read(text) {
        Reading::Null => String::new(),
        Reading::Bool(value) => value.to_string(),
        Reading::Int(value) => value.to_string(),
        // Too long for an integer: kept as it stands (tried with calicoctl).
        Reading::Float(_)
            if text.len() > 18
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && !text.starts_with('0') =>
        {
            text.to_owned()
        }
        Reading::Float(value) => go_float(value),
        Reading::Text => text.to_owned(),
    }
}

fn number(text: &str) -> Reading {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Reading::Text;
    }
    let plain = text.replace('_', "");
    integer(&plain)
        .map(Reading::Int)
        .or_else(|| float(&plain).map(Reading::Float))
        .unwrap_or(Reading::Text)
}

/// An integer with Go's prefixes: `0x`, `0o`, `0b`, and a bare `0` for octal. At most 64 bits.
fn integer(plain: &str) -> Option<i128> {
    let (sign, digits) = match plain.as_bytes().first()? {
        b'-' => (-1, plain.get(1..)?),
        b'+' => (1, plain.get(1..)?),
        _ => (1, plain),
    };
    let (radix, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, digits.get(2..)?),
        Some("0o") => (8, digits.get(2..)?),
        Some("0b") => (2, digits.get(2..)?),
        Some(two) if two.starts_with('0') => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let value = sign * i128::from_str_radix(digits, radix).ok()?;
    (i128::from(i64::MIN)..=i128::from(u64::MAX))
        .contains(&value)
        .then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn float(plain: &str) -> Option<f64> {
    let unsigned = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)),
        ),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_fits =
        digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent_fits = exponent.is_none_or(|text| !text.is_empty() && digits(text));
    (mantissa_fits && exponent_fits)
        .then(|| plain.parse().ok())
        .flatten()
}

/// Go's `strconv.FormatFloat(value, 'g', -1, 32)`.
fn go_float(value: f64) -> String {
    let scientific = match value.to_string().parse::<f32>() {
        Ok(narrow) if narrow.is_finite() => format!("{narrow:e}"),
        _ if value.is_nan() => return "NaN".to_owned(),
        _ => return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
    };
    let exponent = scientific
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse::<i32>().ok())
        .unwrap_or(0);
    match scientific.split_once('e').map(|(mantissa, _)| mantissa) {
        Some(mantissa) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        _ => scientific
            .parse::<f32>()
            .map_or(scientific, |narrow| narrow.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Reading, as_text, read};

    #[test]
    fn scalars_become_the_text_that_calicoctl_makes_of_them() {
        for (written, stored) in [
            ("y", "true"),
            ("no", "false"),
            ("on", "true"),
            ("~", ""),
            ("null", ""),
            ("0x10", "16"),
            ("010", "8"),
            ("1.0", "1"),
            ("1e3", "1000"),
            ("1_000", "1000"),
            (".5", "0.5"),
            ("+1", "1"),
            ("08", "8"),
            ("-0", "0"),
            ("True", "true"),
            (".inf", "+Inf"),
            ("0b11", "3"),
            ("1.50", "1.5"),
        ] {
            assert_eq!(as_text(written), stored, "{written}");
        }
    }

    #[test]
    fn scalars_that_keep_their_text_are_taken() {
        for text in [
            "1",
            "0",
            "-5",
            "true",
            "false",
            "2001-01-01",
            "12345678901234567890",
            "98765432109876543210",
            "1.5",
            "",
            "web",
            "80:90",
            "10.0.0.0/8",
            "1.2.3",
            "yess",
            "0xzz",
            "-",
            "1_a",
            "v1.0",
            "node.1",
        ] {
            assert_eq!(as_text(text), text);
        }
    }

    #[test]
    fn numbers_and_truth_are_read_as_yaml_1_1_has_them() {
        assert_eq!(read("0x1f"), Reading::Int(31));
        assert_eq!(read("yes"), Reading::Bool(true));
        assert_eq!(read("0.5"), Reading::Float(0.5));
        assert_eq!(read("1e400"), Reading::Float(f64::INFINITY));
        assert_eq!(read("http"), Reading::Text);
    }
}
