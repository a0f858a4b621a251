//! What the tests of crash safety share: a model of the database, scripts that run on both, and the comparison.
//!
//! [`model`] is a database as plain maps. [`script`] runs steps on a real one, on a simulated disk, and notes for each
//! when it began, when it was acknowledged, and the model after it. [`crash`] visits what power cuts may leave of
//! such a run, and opens it. [`watched`] is a disk that calls back, so that commits happen inside a checkpoint.
//! [`modules`] are stores and caches to exchange, [`broken`] such as break their contract, and
//! [`hooked`] such as a test stops on their way.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod broken;
pub mod crash;
pub mod damage;
pub mod failing;
pub mod history;
pub mod hooked;
pub mod model;
pub mod modules;
pub mod oracle;
pub mod random;
pub mod script;
pub mod watched;
pub mod workloads;

use diamonddb::{Durability, OpenOptions, Sizes};

/// Options under which a few hundred commits go through every path: pages of a few records, segments that roll,
/// files that grow, bulk appends.
pub fn small_sizes(durability: Durability) -> OpenOptions {
    OpenOptions {
        no_threads: true,
        durability,
        // A simulated run must not depend on the time.
        interval_ms: u32::MAX,
        dirty_soft: 16 << 20,
        dirty_hard: 32 << 20,
        sizes: Sizes {
            page: 64,
            segment_min: 8192,
            segment_max: 16384,
            wal_soft: 30_000,
            growth_min: 256,
            growth_max: 1024,
            bulk_min: 400,
            commit_max: 4096,
            chunk: 256,
            stripes: 4,
            buffer: 2048,
            open_files: 4,
        },
        ..OpenOptions::default()
    }
}

/// A number from the environment, in decimal or as `0x…`.
pub fn number_from_env(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number"))
}
