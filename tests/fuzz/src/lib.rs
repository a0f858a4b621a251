//! What the fuzz targets share. A target is a file of `targets/`: bytes come in, something is done with them, and what
//! was promised is looked at.
//!
//! What every run of every target promises:
//!
//! 1. Nothing panics, aborts, hangs or overflows, whatever the bytes are, and no memory is touched out of bounds: debug
//!    assertions, overflow checks and the address sanitizer are on.
//! 2. Memory stays below a limit: no number that a file holds is trusted to say how much there will be.
//! 3. What is refused is refused by a sentence, of a kind that says whose fault it is.
//! 4. Damage that no checksum was made to fit is never taken for data ([`visit::damaged`]).

pub mod feed;
pub mod folder;
pub mod forge;
#[path = "../../support/mod.rs"]
pub mod support;
pub mod visit;

pub use feed::Feed;
