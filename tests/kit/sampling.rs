//! Which of the places where something can fail are visited: a sample in each run, all of them in a long one.
//!
//! `DIAMOND_FAULTS` says how many, or `all`; `DIAMOND_SEED` which. `DIAMOND_REPLAY` names a single one, as a test that
//! fails says it.

use std::collections::BTreeSet;

/// A number from the environment, in decimal or as `0x…`.
pub fn seed(default: u64) -> u64 {
    let Ok(text) = std::env::var("DIAMOND_SEED") else { return default };
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("DIAMOND_SEED is {text:?}, which is no number"))
}

/// The place to repeat, if one is named.
pub fn replay() -> Option<String> {
    std::env::var("DIAMOND_REPLAY").ok()
}

/// Some of the numbers below `all`, ascending: as many as `DIAMOND_FAULTS` says, or else `default`.
pub fn places(all: u64, default: u64, seed: u64) -> Vec<u64> {
    let wanted = match std::env::var("DIAMOND_FAULTS") {
        Err(_) => default,
        Ok(text) if text == "all" => all,
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("DIAMOND_FAULTS is {text:?}, neither a number nor 'all'")),
    };
    if wanted >= all {
        return (0..all).collect();
    }
    let mut chosen = BTreeSet::new();
    let mut random = Random(seed);
    while (chosen.len() as u64) < wanted {
        chosen.insert(random.below(all));
    }
    chosen.into_iter().collect()
}

/// A small generator of pseudo-random numbers.
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(mixed ^ (mixed >> 31)) * u128::from(limit)) >> 64) as u64
    }
}
