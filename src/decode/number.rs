//! JSON numbers, exactly.
//!
//! Reads a number as written into the smallest form that holds it without loss. It never rounds,
//! and a zero keeps its sign.

/// Whether a text is a number in JSON's grammar.
pub(super) fn is_number(text: &str) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|it| it.is_ascii_digit()).count();
    let bytes = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let whole = digits(bytes);
    if whole == 0 || (whole > 1 && bytes[0] == b'0') {
        return false;
    }
    let mut rest = &bytes[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-"));
        let exponent = exponent.unwrap_or(&rest[1..]);
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

/// A JSON number's value; equal numbers are equal however they were written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Number {
    /// Whole, and within 64 bits.
    Int(i64),
    /// Exactly the decimal that this double prints as.
    Double(f64),
    /// Anything else: sign, digits and power of ten.
    Decimal(String),
}

impl Number {
    /// Reads a number; `None` when the text is not one in JSON's grammar.
    ///
    /// A number written with a fraction or an exponent means the double that prints as it; one
    /// written as an integer means that exact integer.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        short(text).or_else(|| any(text))
    }

    /// The value as a 64-bit integer, if it is one.
    pub(crate) fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            Self::Double(_) | Self::Decimal(_) => None,
        }
    }

    /// The value as a double, if that loses nothing.
    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "doubles hold all of these")]
            Self::Int(int) => (int.unsigned_abs() <= EXACT).then_some(*int as f64),
            Self::Double(double) => Some(*double),
            Self::Decimal(_) => None,
        }
    }
}

/// Doubles represent every whole number up to this one.
const EXACT: u64 = 1 << 53;

/// The fast path for nearly all numbers: too few digits to overflow or be rounded, and no exponent.
fn short(text: &str) -> Option<Number> {
    let bytes = text.as_bytes();
    let (sign, digits) = match bytes {
        [b'-', digits @ ..] => (-1, digits),
        _ => (1, bytes),
    };
    if digits.len() > 18 {
        return None;
    }
    let (mut value, mut whole) = (0i64, digits.len());
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + i64::from(byte - b'0'),
            b'.' if whole == digits.len() => whole = at,
            _ => return None,
        }
    }
    if whole == 0 || (whole > 1 && digits[0] == b'0') {
        return None;
    }
    let Some(fraction) = digits.len().checked_sub(whole + 1) else {
        let is_negative_zero = value == 0 && sign < 0;
        return (!is_negative_zero).then_some(Number::Int(sign * value));
    };
    // Both are whole and below 2^53, so their quotient is the double nearest to the text.
    let scale = *SCALES.get(fraction).filter(|_| fraction > 0 && digits.len() <= 16)?;
    #[expect(clippy::cast_precision_loss, reason = "doubles hold all of these")]
    let quotient = || (sign * value) as f64 / scale as f64;
    if value == 0 && sign < 0 {
        return Some(Number::Double(-0.0));
    }
    let is_whole = value % scale == 0;
    Some(if is_whole { Number::Int(sign * value / scale) } else { Number::Double(quotient()) })
}

const SCALES: [i64; 15] = {
    let mut scales = [1; 15];
    let mut at = 1;
    while at < scales.len() {
        scales[at] = scales[at - 1] * 10;
        at += 1;
    }
    scales
};

/// Any number.
fn any(text: &str) -> Option<Number> {
    let parts = Parts::parse(text)?;
    if parts.digits.is_empty() && text.starts_with('-') {
        return Some(Number::Double(-0.0));
    }
    if !text.contains(['.', 'e', 'E']) {
        let int = text.parse().map(Number::Int);
        return Some(int.unwrap_or_else(|_| Number::Decimal(parts.text())));
    }
    let double: f64 = text.parse().ok()?;
    Some(match parts.to_i64() {
        _ if !parts.prints_as(double) => Number::Decimal(parts.text()),
        Some(int) if int.unsigned_abs() <= EXACT => Number::Int(int),
        _ => Number::Double(double),
    })
}

/// `± 0.digits × 10^exponent`, digits without leading or trailing zeros.
#[derive(Debug, PartialEq)]
struct Parts {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Parts {
    fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || leading_zero || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        Some(Self::normalised(negative, &format!("{whole}{fraction}"), whole.len(), exponent))
    }

    fn normalised(negative: bool, all: &str, whole: usize, exponent: i64) -> Self {
        let digits = all.trim_start_matches('0');
        let leading = all.len() - digits.len();
        let digits = digits.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Self { negative: false, digits, exponent: 0 };
        }
        let point = i64::try_from(whole).unwrap_or(i64::MAX);
        let leading = i64::try_from(leading).unwrap_or(i64::MAX);
        Self { negative, digits, exponent: point.saturating_sub(leading).saturating_add(exponent) }
    }

    fn to_i64(&self) -> Option<i64> {
        if self.digits.is_empty() {
            return Some(0);
        }
        let length = usize::try_from(self.exponent).ok().filter(|length| *length <= 19)?;
        let zeros = length.checked_sub(self.digits.len())?;
        let sign = if self.negative { "-" } else { "" };
        format!("{sign}{}{}", self.digits, "0".repeat(zeros)).parse().ok()
    }

    /// Whether the shortest text that denotes `double` is exactly this decimal.
    fn prints_as(&self, double: f64) -> bool {
        if self.digits.len() <= 15 && self.exponent.abs() < 290 {
            return true;
        }
        let is_this = |shortest: Self| shortest == *self || self.is_other_half(&shortest, double);
        double.is_finite() && Self::parse(&format!("{double:e}")).is_some_and(is_this)
    }

    /// Whether `double` lies exactly midway between this decimal and the one that we would print:
    /// of two equally near shortest texts, some writers choose the upper and some the lower.
    fn is_other_half(&self, shortest: &Self, double: f64) -> bool {
        let is_beside = self.negative == shortest.negative
            && self.exponent == shortest.exponent
            && self.digits.len() == shortest.digits.len();
        // No double has more digits than this.
        let exact = Self::parse(&format!("{double:.780e}")).map(|it| it.digits);
        let lower = exact.as_deref().and_then(|digits| digits.strip_suffix('5'));
        let value = |digits: &str| digits.parse::<u64>().ok();
        let Some(lower) = lower.filter(|it| is_beside && it.len() == self.digits.len()) else {
            return false;
        };
        let between = value(lower).map(|lower| (lower, lower + 1));
        let both = value(&self.digits).zip(value(&shortest.digits));
        let sorted = both.map(|(a, b)| (a.min(b), a.max(b)));
        between.is_some() && between == sorted
    }

    fn text(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        format!("{sign}{}e{}", self.digits, self.exponent)
    }
}

fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let negative = text.starts_with('-');
    let size = digits.parse().unwrap_or(i64::MAX / 4);
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_keep_their_value_or_get_no_column() {
        let double = |text: &str| Number::parse(text).unwrap().as_f64();
        let int = |text: &str| Number::parse(text).unwrap().as_i64();
        assert_eq!(int("1.0"), Some(1));
        assert_eq!(int("2e3"), Some(2000));
        for zero in ["-0", "-0.0", "-0e5", "-0.00000000000000000000"] {
            assert_eq!(
                (int(zero), double(zero).map(f64::to_bits)),
                (None, Some(1 << 63)),
                "{zero}"
            );
        }
        assert_eq!(int("9223372036854775807"), Some(i64::MAX));
        assert_eq!(int("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(int("9223372036854775808"), None);
        assert_eq!(int("1.5"), None);
        assert_eq!(double("9007199254740993"), None);
        assert_eq!(double("10000000000000000000000000"), None);
        assert_eq!(double("1e25"), Some(1e25));
        assert_eq!(int("1e25"), None);
        assert_eq!(double("9223372036854775807"), None);
        assert_eq!(double("9007199254740992"), Some(9_007_199_254_740_992.0));
        assert_eq!(double("0.30000000000000004"), Some(0.1 + 0.2));
        assert_eq!(double("0.300000000000000041"), None);
        // Exactly …312.5: we print the even one, others the upper one.
        assert_eq!(double("11149858913130.313"), Some(11_149_858_913_130.312));
        assert_eq!(double("11149858913130.3121"), None);
        assert_eq!(double("1e400"), None);
        assert_eq!(double("1e-400"), None);
        assert_eq!(double("5e-324"), Some(5e-324));
        assert_eq!(Number::parse("1.50"), Number::parse("15e-1"));
    }

    #[test]
    fn invalid_json_numbers_are_refused() {
        for text in ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "1.2.3", "0x1", "1-2"] {
            assert_eq!(Number::parse(text), None, "{text}");
            assert!(!is_number(text), "{text}");
        }
    }

    proptest! {
        /// P5: a double comes back as the same double, whichever JSON writer wrote it.
        #[test]
        fn doubles_round_trip(double in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO) {
            let text = serde_json::to_string(&double).unwrap();
            prop_assert_eq!(Number::parse(&text).unwrap().as_f64().map(f64::to_bits), Some(double.to_bits()));
            prop_assert!(is_number(&text));
        }

        /// The fast and the slow path agree.
        #[test]
        fn short_numbers_are_what_any_number_is(text in r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,16})?") {
            if let Some(number) = short(&text) {
                prop_assert_eq!(Some(number), super::any(&text));
            }
        }

        /// P5: every integer comes back as itself.
        #[test]
        fn integers_round_trip(int: i64) {
            prop_assert_eq!(Number::parse(&int.to_string()).unwrap().as_i64(), Some(int));
        }
    }
}
