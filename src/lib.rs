//! DiamondDB: an embedded storage engine.
mod error;
mod format;
pub mod os;
mod pages;
mod wal;
pub use error::{Error, Message, Result};
