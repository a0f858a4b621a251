//! DiamondDB: an embedded storage engine.
mod error;
mod format;
pub mod os;
pub use error::{Error, Message, Result};
