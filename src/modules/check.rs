//! Whether a module keeps its contract.

use std::sync::Arc;

use super::{Cache, Store};

/// A promise, and whether a module keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedPromise {
    /// The promise, in a sentence.
    pub promise: &'static str,
    /// How it was broken; `None`: it was kept.
    pub broken: Option<String>,
}

/// Looks.
pub fn check_store(_store: Arc<dyn Store>, _again: Option<Arc<dyn Store>>) -> Vec<CheckedPromise> {
    Vec::new()
}

/// Looks.
pub fn check_cache(_cache: Arc<dyn Cache>) -> Vec<CheckedPromise> {
    Vec::new()
}
