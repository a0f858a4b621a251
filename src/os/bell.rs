//! A bell: one thread sleeps on it until another rings.

use std::time::Duration;

use super::sync::{Condvar, Mutex};

/// Remembers one ring, so that none is lost between two waits.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// Sleeps until the bell rings, or until the time is over. Returns at once if it rang since the last wait.
    pub fn wait(&self, time: Option<Duration>) {
        let mut rung = self.rung.lock();
        while !*rung {
            match time {
                None => self.changed.wait(&mut rung),
                Some(time) => {
                    self.changed.wait_for(&mut rung, time);
                    break;
                }
            }
        }
        *rung = false;
    }

    /// Wakes the thread that sleeps, or the next one that wants to.
    pub fn ring(&self) {
        let mut rung = self.rung.lock();
        if !*rung {
            *rung = true;
            self.changed.notify_one();
        }
    }
}
