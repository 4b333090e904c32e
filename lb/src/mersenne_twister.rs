//! The Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998; C++'s
//! `std::mt19937`): the order in which bounded loads try hosts is defined by
//! it, and must be Envoy's.

/// A generator. It is large, so it is made on the stack only by the rare pick
/// that finds its host overloaded.
pub(crate) struct MersenneTwister {
    state: [u32; SIZE],
    next: usize,
}

impl MersenneTwister {
    /// A generator whose numbers are a function of `seed`.
    pub(crate) fn new(seed: u32) -> Self {
        let mut state = [seed; SIZE];
        for place in 1..SIZE {
            let before = state[place - 1];
            state[place] = (before ^ (before >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(place as u32);
        }
        Self { state, next: 0 }
    }

    /// The next number of all 32 bits. The state is twisted as it is used,
    /// which gives the same numbers as twisting all of it at once.
    fn number(&mut self) -> u32 {
        let place = self.next;
        let after = (place + 1) % SIZE;
        self.next = after;
        let joined = (self.state[place] & 0x8000_0000) | (self.state[after] & 0x7fff_ffff);
        let twisted = (joined >> 1) ^ if joined & 1 == 1 { 0x9908_b0df } else { 0 };
        let number = self.state[(place + 397) % SIZE] ^ twisted;
        self.state[place] = number;
        let number = number ^ (number >> 11);
        let number = number ^ ((number << 7) & 0x9d2c_5680);
        let number = number ^ ((number << 15) & 0xefc6_0000);
        number ^ (number >> 18)
    }

    /// A number below `limit`, which must not be 0, all with the same
    /// probability: numbers that would favour some are left out.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        let width = (1u64 << 32) / u64::from(limit);
        loop {
            let number = (u64::from(self.number()) / width) as u32;
            if number < limit {
                return number;
            }
        }
    }
}

const SIZE: usize = 624;

#[cfg(test)]
mod tests {
    use super::MersenneTwister;

    #[test]
    fn the_numbers_are_those_of_the_standard() {
        // [rand.predef]: the 10,000th number of the default seed.
        let mut generator = MersenneTwister::new(5489);
        assert_eq!(generator.number(), 3_499_211_612);
        let last = (1..10_000).map(|_| generator.number()).last();
        assert_eq!(last, Some(4_123_659_995));
    }

    #[test]
    fn numbers_below_a_limit_are_uniform() {
        let mut generator = MersenneTwister::new(1);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[generator.below(7) as usize] += 1;
        }
        // Five standard deviations of a binomial share of 1/7.
        let bound = 5.0 * (70_000.0 / 7.0 * 6.0 / 7.0f64).sqrt();
        for count in counts {
            assert!((f64::from(count) - 10_000.0).abs() < bound, "{counts:?}");
        }
        assert_eq!(generator.below(1), 0);
    }
}
