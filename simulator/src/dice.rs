//! Chance that is the same in every process: a hash of the seed and of what it decides.

/// A place in the tree of decisions; every child is named by a text or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The root of a seed's decisions.
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x9e37_79b9_7f4a_7c15))
    }
    /// The child of that name.
    pub(crate) fn text(self, name: &str) -> Self {
        let mut hash = self.0;
        for chunk in name.as_bytes().chunks(8) {
            let mut word = [0_u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = mix(hash ^ u64::from_le_bytes(word)).wrapping_add(chunk.len() as u64);
        }
        Self(mix(hash ^ 0x0074_6578_7400))
    }
    /// The child of that number.
    pub(crate) fn number(self, number: u64) -> Self {
        Self(mix(self.0 ^ number.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ 0x6e75_6d00))
    }
    /// The number drawn here.
    pub(crate) fn value(self) -> u64 {
        self.0
    }
    /// Below `bound`; 0 where that is 0.
    pub(crate) fn below(self, bound: u64) -> u64 {
        ((u128::from(self.0) * u128::from(bound)) >> 64) as u64
    }
    /// From `low` to `high`, both included.
    pub(crate) fn between(self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }
    /// Whether something of this probability happens.
    pub(crate) fn chance(self, probability: f64) -> bool {
        self.fraction() < probability
    }
    /// From 0 to below 1.
    pub(crate) fn fraction(self) -> f64 {
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
    /// So many characters of an alphabet.
    pub(crate) fn letters(self, alphabet: &[u8], count: usize) -> String {
        let mut text = String::with_capacity(count);
        for n in 0..count {
            let at = self.number(n as u64).below(alphabet.len() as u64) as usize;
            text.push(char::from(alphabet[at]));
        }
        text
    }
    /// So many hexadecimal digits.
    pub(crate) fn hex(self, count: usize) -> String {
        let mut text = String::with_capacity(count + 16);
        let mut at = 0;
        while text.len() < count {
            use std::fmt::Write as _;
            let _ = write!(text, "{:016x}", self.number(at).value());
            at += 1;
        }
        text.truncate(count);
        text
    }
}

/// The finaliser of MurmurHash3, twice as often as that uses it.
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0x9fb2_1c65_1e98_df25);
    hash ^ (hash >> 28)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_the_same_every_time_and_spread_evenly() {
        let dice = Dice::new(7);
        assert_eq!(dice.text("a").number(3), Dice::new(7).text("a").number(3));
        assert_ne!(dice.text("a"), dice.text("b"));
        assert_ne!(dice.text("ab").text("c"), dice.text("a").text("bc"));
        let hits = (0..10_000).filter(|n| dice.number(*n).chance(0.3)).count();
        assert!((2_800..3_200).contains(&hits), "{hits}");
        assert!((0..1_000).all(|n| (3..=5).contains(&dice.number(n).between(3, 5))));
        assert_eq!(dice.hex(17).len(), 17);
    }
}
