//! The promises of a cache.

use std::sync::Arc;

use crate::os::sync::{AtomicU64, Ordering};

use super::super::seat::Seat;
use super::super::{Cache, CacheReply, Change, Fault, Habits, Key};
use super::promises::*;
use super::{CheckedPromise, Checks, FORMS, Form, Look, PLAIN, Sample, compare, deletion, introduced, on_threads};

/// More records than most caches have room for.
const MANY: u64 = 20_000;

/// Looks whether a cache keeps its promises. It is cleared.
pub fn check_cache(cache: Arc<dyn Cache>) -> Vec<CheckedPromise> {
    let mut checks = Checks::default();
    let Some((name, habits)) = introduced(&mut checks, || cache.name(), || cache.habits()) else { return checks.0 };
    let stage = Stage::new(cache, name, habits);
    checks.note(CLEARS, clears(&stage));
    checks.note(HITS, hits(&stage));
    checks.note(ANSWERS_TRULY, answers_truly(&stage));
    checks.note(NEWER_REPLACES, newer_replaces(&stage));
    checks.note(OLDER_IS_IGNORED, older_is_ignored(&stage));
    checks.note(DELETED_IS_GONE, deleted_is_gone(&stage));
    checks.note(CACHE_APART, apart(&stage));
    checks.note(CACHE_COPIES, copies(&stage));
    checks.note(NO_OTHER, no_other(&stage));
    if !habits.opening_thread {
        checks.note(CACHE_THREADS, threads(&stage));
    }
    checks.0
}

fn clears(stage: &Stage) -> Look {
    for round in 0..2 {
        let samples: Vec<Sample> = (0..20).map(|id| stage.sample(1, id, PLAIN)).collect();
        samples.iter().try_for_each(|sample| stage.tell(&sample.change()))?;
        stage.clear()?;
        for sample in &samples {
            compare(sample.key, stage.fetch(sample.key, PLAIN)?.as_ref(), None)
                .map_err(|what| format!("{what}, after clear number {}", round + 1))?;
        }
    }
    let sample = stage.sample(1, 3, PLAIN);
    stage.tell(&sample.change())?;
    stage.expect(&sample, PLAIN)
}

fn hits(stage: &Stage) -> Look {
    let mut hits = 0;
    for id in 0..64 {
        let sample = stage.sample(2, id, PLAIN);
        stage.tell(&sample.change())?;
        hits += u32::from(stage.fetch(sample.key, PLAIN)?.is_some());
    }
    if hits == 0 { Err("it found none of 64 records that it had just been told".to_owned()) } else { Ok(()) }
}

fn answers_truly(stage: &Stage) -> Look {
    for (table, form) in (3..).zip(FORMS) {
        for id in 0..9 {
            let sample = stage.sample(table, id, form);
            stage.tell(&sample.change())?;
            stage.expect(&sample, form).map_err(|what| {
                format!("{what} (records of {} bytes, null bitmaps of {})", form.record_size, form.nulls_size())
            })?;
        }
    }
    Ok(())
}

fn newer_replaces(stage: &Stage) -> Look {
    for id in (0..8).chain(0..8) {
        for _ in 0..3 {
            let sample = stage.sample(20, id, PLAIN);
            stage.tell(&sample.change())?;
            stage.expect(&sample, PLAIN)?;
        }
    }
    Ok(())
}

fn older_is_ignored(stage: &Stage) -> Look {
    for id in 0..64 {
        let (older, newer) = (stage.sample(21, id, PLAIN), stage.sample(21, id, PLAIN));
        stage.tell(&newer.change())?;
        // Where it forgot the newer one, it cannot know that the other is older.
        if stage.fetch(newer.key, PLAIN)?.is_some() {
            stage.tell(&older.change())?;
            stage.expect(&newer, PLAIN)?;
        }
    }
    Ok(())
}

fn deleted_is_gone(stage: &Stage) -> Look {
    let samples: Vec<Sample> = (0..8).map(|id| stage.sample(22, id, PLAIN)).collect();
    samples.iter().try_for_each(|sample| stage.tell(&sample.change()))?;
    for sample in &samples {
        stage.tell(&deletion(sample.key, stage.next_version()))?;
        compare(sample.key, stage.fetch(sample.key, PLAIN)?.as_ref(), None)?;
        // One that was never there.
        let key = Key { id: 100 + sample.key.id, ..sample.key };
        stage.tell(&deletion(key, stage.next_version()))?;
        compare(key, stage.fetch(key, PLAIN)?.as_ref(), None)?;
    }
    Ok(())
}

fn apart(stage: &Stage) -> Look {
    for id in 0..8 {
        let (one, other) = (stage.sample(23, id, PLAIN), stage.sample(24, id, PLAIN));
        stage.tell(&one.change())?;
        compare(other.key, stage.fetch(other.key, PLAIN)?.as_ref(), None)?;
        stage.tell(&other.change())?;
        stage.expect(&one, PLAIN)?;
        stage.expect(&other, PLAIN)?;
        stage.tell(&deletion(one.key, stage.next_version()))?;
        stage.expect(&other, PLAIN)?;
    }
    Ok(())
}

fn copies(stage: &Stage) -> Look {
    for id in 0..8 {
        let sample = stage.sample(25, id, PLAIN);
        let mut told = sample.clone();
        stage.tell(&told.change())?;
        told.record.fill(0x5A);
        told.nulls.fill(0x15);
        stage.expect(&sample, PLAIN)?;
        drop(std::hint::black_box(told));
    }
    Ok(())
}

fn no_other(stage: &Stage) -> Look {
    let form = |id: u64| if id.is_multiple_of(3) { PLAIN } else { Form::new(100, 9) };
    let samples: Vec<Sample> = (0..MANY).map(|id| stage.sample(26 + (id % 3) as u32, id, form(id))).collect();
    for (index, sample) in samples.iter().enumerate() {
        stage.tell(&sample.change())?;
        // Some are used again and again.
        let used = &samples[index * 7 % (index + 1)];
        stage.expect(used, form(used.key.id))?;
    }
    samples.iter().rev().try_for_each(|sample| stage.expect(sample, form(sample.key.id)))
}

fn threads(stage: &Stage) -> Look {
    on_threads(|number| {
        let mut newest: Vec<Option<Sample>> = vec![None; 40];
        for round in 0..2000 {
            let place = round * 7 % newest.len();
            // Neighbours belong to other threads.
            let key = Key { table: 30, id: place as u64 * 4 + number };
            if round % 9 == 8 {
                stage.tell(&deletion(key, stage.next_version()))?;
                newest[place] = None;
            } else {
                let sample = stage.sample(30, key.id, PLAIN);
                stage.tell(&sample.change())?;
                newest[place] = Some(sample);
            }
            let looked = round * 11 % newest.len();
            let key = Key { table: 30, id: looked as u64 * 4 + number };
            if let Some(found) = stage.fetch(key, PLAIN)? {
                compare(key, Some(&found), newest[looked].as_ref())?;
            }
        }
        Ok(())
    })
}

/// A cache, and the versions that it was told.
struct Stage {
    seat: Seat<Arc<dyn Cache>>,
    version: AtomicU64,
}

impl Stage {
    fn new(cache: Arc<dyn Cache>, name: String, habits: Habits) -> Stage {
        // A seat in no database.
        Stage { seat: Seat::new(cache, name, habits, 0), version: AtomicU64::new(1) }
    }

    /// A new version of a record.
    fn sample(&self, table: u32, id: u64, form: Form) -> Sample {
        Sample::new(Key { table, id }, self.next_version(), form)
    }

    fn next_version(&self) -> u64 {
        self.version.fetch_add(1, Ordering::SeqCst)
    }

    fn tell(&self, change: &Change<'_>) -> Look {
        self.call("store", |cache| cache.store(change))
    }

    fn clear(&self) -> Look {
        self.call("clear", |cache| cache.clear())
    }

    /// It finds this, or nothing.
    fn expect(&self, sample: &Sample, form: Form) -> Look {
        match self.fetch(sample.key, form)? {
            None => Ok(()),
            found => compare(sample.key, found.as_ref(), Some(sample)),
        }
    }

    fn fetch(&self, key: Key, form: Form) -> Result<Option<Sample>, String> {
        let mut bytes = vec![0; form.record_size + form.nulls_size()];
        let mut reply = CacheReply { record_size: form.record_size, bytes: &mut bytes, stamp: None, refused: false };
        self.call("fetch", |cache| cache.fetch(key, &mut reply))?;
        if reply.refused {
            return Err(format!("of record {} of table {} it answered twice, or with a wrong size", key.id, key.table));
        }
        let Some(stamp) = reply.stamp else { return Ok(None) };
        let (record, nulls) = bytes.split_at(form.record_size);
        Ok(Some(Sample { key, stamp, record: record.to_vec(), nulls: nulls.to_vec() }))
    }

    fn call(&self, act: &str, call: impl FnOnce(&Arc<dyn Cache>) -> Result<(), Fault>) -> Look {
        match self.seat.call(call) {
            Err(error) => Err(format!("it cannot be called: {}", error.message())),
            Ok(Err(fault)) => Err(format!("{act} failed: {fault}")),
            Ok(Ok(())) => Ok(()),
        }
    }
}
