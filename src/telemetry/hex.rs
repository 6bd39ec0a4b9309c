//! Numbers in hexadecimal, as traces are named.

/// The sixteen digits of a number, in lower case.
pub(super) fn digits(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    digits[..8].copy_from_slice(&eight(number >> 32));
    digits[8..].copy_from_slice(&eight(number & u64::from(u32::MAX)));
    digits
}

/// The same of a number of twice the size.
pub(super) fn long(number: u128) -> [u8; 32] {
    let mut text = [0; 32];
    text[..16].copy_from_slice(&digits((number >> 64) as u64));
    text[16..].copy_from_slice(&digits(number as u64));
    text
}

/// The digits of 32 bits, all at a time: each becomes a byte of its own, and then a letter.
fn eight(number: u64) -> [u8; 8] {
    const EACH: u64 = u64::MAX / 0xff;
    let pairs = (number | number << 16) & 0x0000_ffff_0000_ffff;
    let pairs = (pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff;
    let values = (pairs | pairs << 4) & (EACH * 0x0f);
    let beyond_nine = ((values + EACH * 6) >> 4) & EACH;
    let letters = beyond_nine * u64::from(b'a' - b'0' - 10);
    (values + EACH * u64::from(b'0') + letters).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_are_what_the_standard_library_writes(number: u64, other: u128) {
            let written = String::from_utf8(digits(number).to_vec()).unwrap();
            prop_assert_eq!(written, format!("{number:016x}"));
            let written = String::from_utf8(long(other).to_vec()).unwrap();
            prop_assert_eq!(written, format!("{other:032x}"));
        }
    }
}
