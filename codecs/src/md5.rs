//! MD5 (RFC 1321), which fingerprints are told by (`client_hello/fingerprint.rs`).
//! Nothing that has to be secure may use it.

/// The hash of a text.
#[must_use]
pub fn md5(text: &[u8]) -> [u8; 16] {
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut padded = text.to_vec();
    padded.push(0x80);
    while padded.len() % BLOCK != BLOCK - 8 {
        padded.push(0);
    }
    padded.extend(8u64.wrapping_mul(text.len() as u64).to_le_bytes());
    let table = table();
    for block in padded.chunks_exact(BLOCK) {
        round(&mut state, block, &table);
    }
    let mut hash = [0; 16];
    for (part, word) in hash.chunks_exact_mut(4).zip(state) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    hash
}

const BLOCK: usize = 64;

/// By how much each step of the four rounds rotates.
const ROTATIONS: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];

/// The sines of 1 to 64, as whole numbers.
fn table() -> [u32; 64] {
    std::array::from_fn(|i| ((i as f64 + 1.0).sin().abs() * 4_294_967_296.0) as u32)
}

fn round(state: &mut [u32; 4], block: &[u8], table: &[u32; 64]) {
    let word = |i: usize| {
        let bytes = &block[4 * i..][..4];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    };
    let [mut a, mut b, mut c, mut d] = *state;
    for (i, sine) in table.iter().enumerate() {
        let (mixed, place) = match i / 16 {
            0 => (b & c | !b & d, i),
            1 => (d & b | !d & c, (5 * i + 1) % 16),
            2 => (b ^ c ^ d, (3 * i + 5) % 16),
            _ => (c ^ (b | !d), 7 * i % 16),
        };
        let sum = a
            .wrapping_add(mixed)
            .wrapping_add(*sine)
            .wrapping_add(word(place));
        (a, d, c) = (d, c, b);
        b = b.wrapping_add(sum.rotate_left(ROTATIONS[i / 16][i % 4]));
    }
    for (word, more) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of RFC 1321, section A.5.
    #[test]
    fn hashes_of_the_rfc() {
        for (text, hash) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            let hex: String = md5(text.as_bytes())
                .iter()
                .map(|it| format!("{it:02x}"))
                .collect();
            assert_eq!(hex, hash, "{text}");
        }
    }
}
