//! The two threads that an engine has: one writes the wal behind its users, one makes checkpoints.
//!
//! They are two because a checkpoint waits for disks, and the wal must not wait for a checkpoint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::os::sync::{AtomicBool, Builder, JoinHandle, Ordering, sleep};
use crate::pages::PagedFiles;
use crate::wal::Durability;

use super::options::OpenOptions;

/// A watermark follows the last sync within this time.
const WATERMARK_DELAY: Duration = Duration::from_millis(100);

/// How long a checkpoint that did not bring relief waits before the next.
const RETRY_DELAY: Duration = Duration::from_millis(5);

/// The running threads.
pub struct Upkeep {
    files: Arc<PagedFiles>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Upkeep {
    /// Starts both.
    pub fn start(files: Arc<PagedFiles>, options: &OpenOptions) -> Result<Upkeep> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut upkeep = Upkeep { files: Arc::clone(&files), stop: Arc::clone(&stop), threads: Vec::new() };
        let interval = (options.durability == Durability::Async).then(|| options.interval());
        let writer = {
            let (files, stop) = (Arc::clone(&files), Arc::clone(&stop));
            move || write_behind(&files, &stop, interval)
        };
        let checkpointer = move || make_checkpoints(&files, &stop);
        let spawned = spawn("diamonddb-wal", writer)
            .and_then(|thread| {
                upkeep.threads.push(thread);
                spawn("diamonddb-checkpoint", checkpointer)
            })
            .map(|thread| upkeep.threads.push(thread));
        match spawned {
            Ok(()) => Ok(upkeep),
            Err(error) => {
                upkeep.stop();
                Err(Error::io("start", "a thread", &error))
            }
        }
    }

    /// Stops both and waits until they are gone.
    pub fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.files.wake();
        for thread in self.threads {
            // A thread that panicked poisoned the files; whoever closes hears of it there.
            let _ = thread.join();
        }
    }
}

/// A panic in a background thread ends all writing, as a crash would.
fn spawn(name: &str, act: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(act)
}

fn write_behind(files: &PagedFiles, stop: &AtomicBool, interval: Option<Duration>) {
    let rest = interval.map_or(WATERMARK_DELAY, |interval| interval.min(WATERMARK_DELAY));
    let mut synced = Instant::now();
    guarded(files, || {
        while !stop.load(Ordering::SeqCst) {
            let due = interval.is_some_and(|interval| synced.elapsed() >= interval);
            if due {
                synced = Instant::now();
            }
            // A failure is kept by the wal, and told to the next who writes or flushes.
            if files.tend_wal(due).is_err() && files.failure().is_some() {
                return;
            }
            files.wal().rest(rest, || stop.load(Ordering::SeqCst));
        }
    });
}

fn make_checkpoints(files: &PagedFiles, stop: &AtomicBool) {
    guarded(files, || {
        while !stop.load(Ordering::SeqCst) {
            if !files.wants_checkpoint() {
                files.await_request();
                continue;
            }
            if files.checkpoint().is_err() && files.failure().is_some() {
                return;
            }
            if files.wants_checkpoint() {
                // There was no room, or snapshots hold what would be freed: there may be room later.
                sleep(RETRY_DELAY);
            }
        }
    });
}

fn guarded(files: &PagedFiles, act: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_err() {
        files.poison("a background thread panicked");
    }
}
