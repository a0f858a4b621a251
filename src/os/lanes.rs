//! A sum that threads add to without meeting: each in a lane of its own, on a cache line of its own.
//!
//! Two processors that count in one place hand its cache line to and fro, which takes longer than a small commit may.

use std::sync::atomic::AtomicUsize;

use crossbeam::utils::CachePadded;

use super::sync::{AtomicI64, Ordering, thread_local};

/// More threads than these share lanes, and only then meet.
const COUNT: usize = 16;

thread_local! {
    static LANE: usize = next_lane();
}

// Not the scheduler's counter: which lane a thread adds to changes no sum.
fn next_lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) % COUNT
}

/// A number that is the sum of its lanes.
#[derive(Default)]
pub struct Lanes([CachePadded<AtomicI64>; COUNT]);

/// The lane in which a thread counted.
#[derive(Clone, Copy)]
pub struct Lane(usize);

impl Lanes {
    /// Adds in this thread's lane, and says which that is.
    #[inline]
    pub fn add(&self, count: i64) -> Lane {
        // A destructor of this thread may count when its lane is forgotten.
        let lane = LANE.try_with(|lane| *lane).unwrap_or(0);
        self.0[lane].fetch_add(count, Ordering::SeqCst);
        Lane(lane)
    }

    /// Takes away what was added in a lane, on whichever thread.
    #[inline]
    pub fn take_back(&self, lane: Lane, count: i64) {
        self.0[lane.0].fetch_sub(count, Ordering::Release);
    }

    /// The sum. Where threads add meanwhile it is that of no one moment, but what was added before is in it.
    pub fn sum(&self) -> i64 {
        self.0.iter().map(|lane| lane.load(Ordering::SeqCst)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_of_all_that_all_threads_added_and_took_back() {
        let lanes = Lanes::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * COUNT {
                scope.spawn(|| {
                    (0..1000).for_each(|_| {
                        let lane = lanes.add(3);
                        lanes.take_back(lane, 1);
                    })
                });
            }
        });
        assert_eq!(lanes.sum(), 2 * 2 * COUNT as i64 * 1000);
    }
}
