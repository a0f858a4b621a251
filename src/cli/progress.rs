//! How far a long verb has come, drawn on standard error while that is a terminal, and nowhere otherwise.

use super::failure;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Display;
use std::time::Duration;

const BYTES: &str = "{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left";
const BYTES_WITHOUT_END: &str = "{spinner} {msg} {bytes}";
const RECORDS: &str = "{msg} {wide_bar} {human_pos} of {human_len} records, {eta} left";

/// A bar that vanishes when dropped, and the voice of the verb that draws it.
pub struct Progress {
    bar: ProgressBar,
    quiet: bool,
}

impl Progress {
    /// Progress through a file of `total` bytes, or of a pipe with no known end.
    pub fn of_bytes(act: &'static str, total: Option<u64>, quiet: bool) -> Progress {
        Progress::new(act, total, if total.is_some() { BYTES } else { BYTES_WITHOUT_END }, quiet)
    }

    /// Progress through `total` records.
    pub fn of_records(act: &'static str, total: u64, quiet: bool) -> Progress {
        Progress::new(act, Some(total), RECORDS, quiet)
    }

    fn new(act: &'static str, total: Option<u64>, template: &str, quiet: bool) -> Progress {
        // The target for standard error hides itself where that is no terminal.
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(total, target)
            .with_style(ProgressStyle::with_template(template).expect("our templates are well formed"))
            .with_message(act);
        if total.is_none() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Progress { bar, quiet }
    }

    /// So far now.
    pub fn reach(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// Says a sentence above the bar, unless told to be quiet.
    pub fn say(&self, sentence: impl Display) {
        if !self.quiet {
            self.bar.suspend(|| failure::say(sentence));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
