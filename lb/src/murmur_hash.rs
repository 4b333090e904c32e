//! MurmurHash2 in its 64-bit form 64A, as `std::hash` of libstdc++ and Envoy's
//! `MURMUR_HASH_2` use it. Austin Appleby's algorithm is in the public domain
//! and so short that a library would be longer to vet.

/// The hash of `text` with the seed of libstdc++.
pub(crate) fn murmur_hash_2(text: &[u8]) -> u64 {
    let mut hash = SEED ^ (text.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        hash ^= shift_mix(word).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash ^= u64::from_le_bytes(word);
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    shift_mix(shift_mix(hash).wrapping_mul(MULTIPLIER))
}

fn shift_mix(value: u64) -> u64 {
    value ^ (value >> 47)
}

const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;

/// `0xc70f6907`, the seed of `std::hash`.
const SEED: u64 = 0xc70f_6907;

#[cfg(test)]
mod tests {
    use super::murmur_hash_2;

    /// What `std::hash<std::string>` of libstdc++ answers.
    #[test]
    fn hashes_are_those_of_the_standard_library_of_gcc() {
        let table: &[(&str, u64)] = &[
            ("", 0x553e_9390_1e46_2a6e),
            ("a", 0x454d_dee4_88c1_ed6b),
            ("ab", 0x4c4d_a6cd_289c_737b),
            ("abc", 0x32d8_2bf8_ed3d_ba39),
            ("abcd", 0xde77_5125_acd5_0b28),
            ("abcde", 0x0b41_619c_0ed2_1531),
            ("abcdef", 0x22c3_8f39_5b70_3657),
            ("abcdefg", 0xdeee_6830_a3af_82af),
            ("abcdefgh", 0x783d_b3e3_8db8_98bb),
            ("abcdefghi", 0xb4ec_9257_851c_8aaf),
            ("host-0_0", 0x4d84_c7b8_174a_b38a),
            ("10.0.0.1:8080_12", 0x6977_8447_eada_f0e4),
            (
                "The quick brown fox jumps over the lazy dog",
                0xdccb_f254_1704_bc75,
            ),
        ];
        for (text, hash) in table {
            assert_eq!(murmur_hash_2(text.as_bytes()), *hash, "{text:?}");
        }
    }
}
