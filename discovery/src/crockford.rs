//! Crockford's base 32: text that survives being read aloud. `O` is read as 0,
//! `I` and `L` as 1; hyphens and white space mean nothing.

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Digits between two hyphens.
const GROUP: usize = 5;

/// Bytes as groups of digits.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let digits = (bytes.len() * 8).div_ceil(5);
    let mut text = String::with_capacity(digits + digits / GROUP);
    for index in 0..digits {
        if index > 0 && index % GROUP == 0 {
            text.push('-');
        }
        let value = (0..5).fold(0, |value, bit| value << 1 | bit_of(bytes, index * 5 + bit));
        text.push(DIGITS[value] as char);
    }
    text
}

/// The whole bytes in a text, and whether what is left over is what [`encode`]
/// leaves: less than a digit, and nothing in it. Or the first character that is
/// no digit.
pub(crate) fn decode(text: &str) -> Result<(Vec<u8>, bool), char> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut count) = (0u32, 0);
    for c in text.chars().filter(|c| *c != '-' && !c.is_whitespace()) {
        bits = bits << 5 | value_of(c).ok_or(c)?;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Ok((bytes, count < 5 && bits == 0))
}

fn bit_of(bytes: &[u8], bit: usize) -> usize {
    let byte = bytes.get(bit / 8).copied().unwrap_or(0);
    usize::from(byte >> (7 - bit % 8) & 1)
}

fn value_of(c: char) -> Option<u32> {
    let c = match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        c => c,
    };
    let position = DIGITS.iter().position(|digit| char::from(*digit) == c)?;
    u32::try_from(position).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        for len in 0..40u8 {
            let bytes: Vec<u8> = (0..len).map(|i| i.wrapping_mul(37) ^ 0xa5).collect();
            let text = encode(&bytes);
            assert_eq!(decode(&text), Ok((bytes.clone(), true)), "{text}");
            assert_eq!(decode(&text.to_lowercase()), Ok((bytes, true)));
        }
    }

    #[test]
    fn letters_that_look_alike_are_the_same() {
        assert_eq!(decode("oO 1iIlL-00"), decode("00111 1100"));
        assert_eq!(decode("1u2"), Err('u'));
    }
}
