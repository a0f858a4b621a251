//! The width of a `number`: the length of its text as ECMAScript's Number::toString writes it.
//!
//! Counting characters means writing the text, which costs more than all the rest of a save. Most numbers are small
//! integers, and their length follows from two comparisons.

/// Doubles hold every integer up to this one exactly.
pub(crate) const EXACT_MAX: f64 = (1u64 << 53) as f64;

/// The largest width a schema can ask for.
pub(crate) const WIDTH_MAX: u32 = 24;

/// The text that a JavaScript program would show: `0.1`, `1e+21`, `0` for -0. The number is finite.
pub(crate) fn text(value: f64) -> String {
    ryu_js::Buffer::new().format(value).to_owned()
}

/// Whether `value` is finite and its text has at most `width` characters.
#[inline]
pub(crate) fn fits(value: f64, width: u32) -> bool {
    let (least, greatest) = INTEGERS[width as usize];
    if least <= value && value <= greatest && value as i64 as f64 == value {
        return true;
    }
    value.is_finite() && ryu_js::Buffer::new().format_finite(value).len() <= width as usize
}

/// For each width the integers that surely fit: as many digits as the width, or one less and a sign.
const INTEGERS: [(f64, f64); WIDTH_MAX as usize + 1] = {
    // Width 0 is never asked for; its empty range keeps the index plain.
    let mut table = [(1.0, 0.0); WIDTH_MAX as usize + 1];
    let mut width = 1;
    let mut power: u64 = 1;
    while width < table.len() {
        let least = power - 1;
        power = if power < 1 << 53 { power * 10 } else { power };
        let greatest = power - 1;
        let least = if least < 1 << 53 { least as f64 } else { EXACT_MAX };
        let greatest = if greatest < 1 << 53 { greatest as f64 } else { EXACT_MAX };
        table[width] = (-least, greatest);
        width += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbers_text_is_that_of_ecmascript() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (123456789012345680000.0, "123456789012345680000"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (-1.2345678901234567e-6, "-0.0000012345678901234567"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn a_number_fits_exactly_when_its_text_does() {
        let mut values = vec![0.1, 1e21, 1e-7, 123456789012345680000.0, 1e20, 5e-324, f64::MAX, 0.5, 12.25, 1e22];
        values.push(-1.2345678901234567e-6);
        for exponent in 0..22 {
            let power = 10f64.powi(exponent);
            values.extend([power, power - 1.0, power + 1.0, power + 0.5]);
        }
        values.extend([EXACT_MAX, EXACT_MAX - 1.0, EXACT_MAX + 2.0]);
        for value in values {
            for value in [value, -value] {
                for width in 1..=WIDTH_MAX {
                    assert_eq!(fits(value, width), text(value).len() <= width as usize, "{value} in {width}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_fits_no_width() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!fits(value, 1));
            assert!(!fits(value, WIDTH_MAX));
        }
    }

    #[test]
    fn minus_zero_takes_one_character() {
        assert!(fits(-0.0, 1));
    }

    #[test]
    fn the_widest_text_has_one_character_more_than_the_widest_width() {
        assert!(!fits(-1.2345678901234567e-6, WIDTH_MAX));
        assert!(fits(1.2345678901234567e-6, WIDTH_MAX));
    }
}
