//! The promises of a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use crate::os::sync::{AtomicU64, Mutex, Ordering};

use super::super::seat::Seat;
use super::super::{Change, Fault, Fetched, Found, Habits, Item, Key, Stamp, Store};
use super::promises::*;
use super::{CheckedPromise, Checks, FORMS, Form, Look, PLAIN, Sample, compare, deletion, introduced, on_threads};

/// How many records there are where there are many.
const MANY: u64 = 2000;

/// Looks whether a store keeps its promises. It is to be empty, and is not so afterwards. `again` is another module
/// over the same data, which is asked for nothing before the first was let go; without one nothing is said of what
/// survives.
pub fn check_store(store: Arc<dyn Store>, again: Option<Arc<dyn Store>>) -> Vec<CheckedPromise> {
    let mut checks = Checks::default();
    let Some((name, habits)) = introduced(&mut checks, || store.name(), || store.habits()) else { return checks.0 };
    let mut stage = Stage::new(store, name, habits);
    checks.note(EMPTY, stage.begin());
    checks.note(FAITHFUL, faithful(&mut stage));
    checks.note(MISSING, missing(&mut stage));
    checks.note(DELETED, deleted(&mut stage));
    checks.note(NEWEST, newest(&mut stage));
    checks.note(APART, apart(&mut stage));
    checks.note(IN_PLACE, in_place(&mut stage));
    checks.note(ITSELF, itself(&mut stage));
    checks.note(COPIES, copies(&mut stage));
    checks.note(if habits.immediate { AT_ONCE } else { IN_THE_END }, found(&mut stage));
    checks.note(BEGINS_EMPTY, begins_empty(&mut stage));
    checks.note(OTHERS_STAY, others_stay(&mut stage));
    if habits.atomic {
        checks.note(TOGETHER, together(&mut stage));
    }
    if !habits.opening_thread {
        checks.note(THREADS, threads(&mut stage));
    }
    if let Some(again) = again {
        open_again(&mut checks, &mut stage, again);
    }
    // Last of all: a store that accepts what it cannot do may persist nothing any more.
    if habits.atomic {
        checks.note(ALL_OR_NONE, all_or_none(&mut stage));
    }
    checks.note(REFUSES, refuses(&mut stage));
    checks.0
}

fn faithful(stage: &mut Stage) -> Look {
    for form in FORMS {
        let table = stage.make(form)?;
        let samples: Vec<Sample> = (0..9).map(|id| stage.sample(table, id)).collect();
        stage.put_each(&samples)?;
        stage.settle()?;
        stage.expect_all(table, &samples).map_err(|what| {
            format!("{what} (records of {} bytes, null bitmaps of {})", form.record_size, form.nulls_size())
        })?;
    }
    Ok(())
}

fn missing(stage: &mut Stage) -> Look {
    let table = stage.make(PLAIN)?;
    stage.expect(table, &[0, 1, 77], &[None, None, None])?;
    let sample = stage.sample(table, 1);
    stage.put_each(std::slice::from_ref(&sample))?;
    stage.settle()?;
    stage.expect(table, &[0, 1, 2, 300], &[None, Some(&sample), None, None])
}

fn deleted(stage: &mut Stage) -> Look {
    let table = stage.make(PLAIN)?;
    let samples: Vec<Sample> = (0..10).map(|id| stage.sample(table, id)).collect();
    stage.put_each(&samples)?;
    stage.settle()?;
    stage.delete(table, 3)?;
    stage.delete(table, 9)?;
    // One that goes in the same breath in which it came.
    let brief = stage.sample(table, 10);
    stage.put_each(&[brief])?;
    stage.delete(table, 10)?;
    stage.settle()?;
    let left: Vec<Option<&Sample>> = (0..11).map(|id| samples.get(id).filter(|_| id != 3 && id != 9)).collect();
    stage.expect(table, &(0..11).collect::<Vec<u64>>(), &left)
}

fn newest(stage: &mut Stage) -> Look {
    let table = stage.make(PLAIN)?;
    let mut newest = None;
    for round in 0..12 {
        let sample = stage.sample(table, 5);
        stage.put_each(std::slice::from_ref(&sample))?;
        newest = Some(sample);
        // Some are replaced before, some after they were persisted.
        if round % 3 == 0 {
            stage.settle()?;
            stage.expect(table, &[5], &[newest.as_ref()])?;
        }
    }
    stage.settle()?;
    stage.expect(table, &[5], &[newest.as_ref()])
}

fn apart(stage: &mut Stage) -> Look {
    let tables = [stage.make(PLAIN)?, stage.make(PLAIN)?, stage.make(PLAIN)?];
    let one: Vec<Sample> = (0..20).map(|id| stage.sample(tables[0], id)).collect();
    let other: Vec<Sample> = (0..10).map(|id| stage.sample(tables[1], id)).collect();
    stage.put_each(&one)?;
    stage.put_each(&other)?;
    stage.delete(tables[1], 4)?;
    stage.settle()?;
    stage.expect_all(tables[0], &one)?;
    stage.expect(tables[1], &[3, 4, 11], &[Some(&other[3]), None, None])?;
    stage.expect(tables[2], &[3, 4, 11], &[None, None, None])
}

fn in_place(stage: &mut Stage) -> Look {
    let table = stage.make(PLAIN)?;
    let samples: Vec<Sample> = (0..50).map(|id| stage.sample(table, id * 2)).collect();
    stage.put_each(&samples)?;
    stage.settle()?;
    let at = |id: u64| samples.get(id as usize / 2).filter(|_| id.is_multiple_of(2));
    let look = |ids: &[u64]| stage.expect(table, ids, &ids.iter().map(|id| at(*id)).collect::<Vec<_>>());
    look(&[])?;
    look(&(0..100).rev().collect::<Vec<u64>>())?;
    look(&[8, 8, 9, 8, 0, 400, 98, 8])?;
    // 37 has no divisor in common with 101.
    look(&(0..101).map(|n| n * 37 % 101).collect::<Vec<u64>>())
}

fn itself(stage: &mut Stage) -> Look {
    let table = stage.make(PLAIN)?;
    let samples: Vec<Sample> = (0..MANY).map(|id| stage.sample(table, id)).collect();
    stage.put_each(&samples)?;
    stage.settle()?;
    stage.expect_all(table, &samples)?;
    samples.iter().step_by(97).try_for_each(|sample| stage.expect(table, &[sample.key.id], &[Some(sample)]))
}

fn copies(stage: &mut Stage) -> Look {
    let table = stage.make(PLAIN)?;
    let samples: Vec<Sample> = (0..6).map(|id| stage.sample(table, id)).collect();
    // The memory is there until the end, and has other bytes in it.
    let mut given = samples.clone();
    stage.put_each(&given)?;
    given.iter_mut().for_each(|given| {
        given.record.fill(0x5A);
        given.nulls.fill(0x15);
    });
    stage.settle()?;
    let look = stage.expect_all(table, &samples);
    drop(std::hint::black_box(given));
    look
}

fn found(stage: &mut Stage) -> Look {
    let table = stage.make(PLAIN)?;
    for id in 0..20 {
        let sample = stage.sample(table, id);
        stage.put_each(std::slice::from_ref(&sample))?;
        stage.settle()?;
        stage.expect(table, &[id], &[Some(&sample)])?;
        if id % 4 == 3 {
            stage.delete(table, id)?;
            stage.settle()?;
            stage.expect(table, &[id], &[None])?;
        }
    }
    Ok(())
}

fn begins_empty(stage: &mut Stage) -> Look {
    let table = stage.make(PLAIN)?;
    let samples: Vec<Sample> = (0..10).map(|id| stage.sample(table, id)).collect();
    stage.put_each(&samples)?;
    stage.persist()?;
    stage.make_numbered(table)?;
    let ids: Vec<u64> = (0..10).collect();
    stage.expect(table, &ids, &[None; 10])?;
    let sample = stage.sample(table, 2);
    stage.put_each(std::slice::from_ref(&sample))?;
    stage.persist()?;
    stage.expect(table, &[1, 2, 3], &[None, Some(&sample), None])
}

fn others_stay(stage: &mut Stage) -> Look {
    let tables = [stage.make(PLAIN)?, stage.make(PLAIN)?, stage.make(PLAIN)?];
    let samples: Vec<Vec<Sample>> =
        tables.iter().map(|table| (0..10).map(|id| stage.sample(*table, id)).collect()).collect();
    samples.iter().try_for_each(|samples| stage.put_each(samples))?;
    stage.tables.remove(&tables[1]);
    stage.update_meta()?;
    stage.persist()?;
    stage.expect_all(tables[0], &samples[0])?;
    stage.expect_all(tables[2], &samples[2])
}

fn together(stage: &mut Stage) -> Look {
    let tables = [stage.make(PLAIN)?, stage.make(Form::new(100, 9))?];
    let old: Vec<Sample> = (0..4).map(|id| stage.sample(tables[0], id)).collect();
    stage.put_each(&old)?;
    let new = [stage.sample(tables[0], 1), stage.sample(tables[1], 0), stage.sample(tables[1], 7)];
    let gone = deletion(Key { table: tables[0], id: 2 }, stage.next_version());
    stage.write(&[new[1].change(), gone, new[0].change(), new[2].change()])?;
    stage.settle()?;
    stage.expect(tables[0], &[0, 1, 2, 3], &[Some(&old[0]), Some(&new[0]), None, Some(&old[3])])?;
    stage.expect(tables[1], &[0, 1, 7], &[Some(&new[1]), None, Some(&new[2])])
}

fn all_or_none(stage: &mut Stage) -> Look {
    let table = stage.make(PLAIN)?;
    let samples: Vec<Sample> = (0..4).map(|id| stage.sample(table, id)).collect();
    stage.put_each(&samples)?;
    stage.settle()?;
    let strange = Sample::new(Key { table: stage.no_table(), id: 0 }, stage.next_version(), PLAIN);
    let gone = deletion(Key { table, id: 2 }, stage.next_version());
    let new = [stage.sample(table, 1), stage.sample(table, 9)];
    if stage.write(&[new[0].change(), gone, strange.change(), new[1].change()]).is_ok() {
        return Err("it says that all was done, in a table that is not there, too".to_owned());
    }
    stage.settle()?;
    let ids: [u64; 5] = [0, 1, 2, 3, 9];
    let left: Vec<Option<&Sample>> = ids.iter().map(|id| samples.get(*id as usize)).collect();
    stage.expect(table, &ids, &left)
}

fn refuses(stage: &mut Stage) -> Look {
    let key = Key { table: stage.no_table(), id: 0 };
    let sample = Sample::new(key, stage.next_version(), PLAIN);
    match stage.write(&[sample.change()]) {
        Ok(()) => Err(format!("it accepts a record in table {}, which was never made", key.table)),
        Err(_) => Ok(()),
    }
}

fn threads(stage: &mut Stage) -> Look {
    let shared = stage.make(PLAIN)?;
    let mut own = Vec::new();
    for _ in 0..4 {
        own.push(stage.make(PLAIN)?);
    }
    let stage = &*stage;
    on_threads(|number| {
        for round in 0..100 {
            // Its own records, in a table of its own and among those of others.
            let one = stage.sample(own[number as usize], round % 10);
            let other = stage.sample(shared, round % 10 * 4 + number);
            stage.put_each(&[one.clone(), other.clone()])?;
            // Whoever finds nothing before persists now and then.
            if stage.habits.immediate || round % 20 == 19 {
                stage.settle()?;
                stage.expect(one.key.table, &[one.key.id], &[Some(&one)])?;
                stage.expect(shared, &[other.key.id], &[Some(&other)])?;
            }
            if round % 10 == 7 {
                stage.delete(shared, other.key.id)?;
                stage.settle()?;
                stage.expect(shared, &[other.key.id, 1000], &[None, None])?;
            }
        }
        Ok(())
    })
}

/// What is to be there when the store is opened again.
struct Left {
    table: u32,
    /// None: it was deleted.
    records: Vec<Option<Sample>>,
    /// Of its last change.
    version: u64,
}

fn open_again(checks: &mut Checks, stage: &mut Stage, again: Arc<dyn Store>) {
    let left = leave(stage);
    stage.seat.close();
    stage.seat = Stage::seat(again, "the store, opened again".to_owned(), stage.habits);
    let mut told = Found::default();
    let opened = left.and_then(|left| stage.initialize(&mut told).map(|()| left));
    let left = match opened {
        Ok(left) => left,
        Err(what) => {
            return [META, SURVIVES, HIGHEST].into_iter().for_each(|promise| checks.note(promise, Err(what.clone())));
        }
    };
    checks.note(META, stage.compare_meta(&told));
    checks.note(SURVIVES, survives(stage, &left));
    checks.note(HIGHEST, highest(&left, &told));
}

/// Leaves records behind, persisted.
fn leave(stage: &mut Stage) -> Result<[Left; 2], String> {
    let one = leave_table(stage, PLAIN)?;
    let mut other = leave_table(stage, Form::new(300, 12))?;
    // In the one the highest id was deleted last, and bears the highest version; in the other a record in the midst
    // was stored after that.
    let sample = stage.sample(other.table, 8);
    stage.put_each(std::slice::from_ref(&sample))?;
    other.version = sample.stamp.version;
    other.records[8] = Some(sample);
    stage.update_meta()?;
    stage.persist()?;
    Ok([one, other])
}

fn leave_table(stage: &mut Stage, form: Form) -> Result<Left, String> {
    let table = stage.make(form)?;
    let mut left = Left { table, records: Vec::new(), version: 0 };
    for id in 0..30 {
        let sample = stage.sample(table, id);
        stage.put_each(std::slice::from_ref(&sample))?;
        left.records.push(Some(sample));
    }
    stage.persist()?;
    for id in [3, 29] {
        left.version = stage.next_version();
        stage.write(&[deletion(Key { table, id }, left.version)])?;
        left.records[id as usize] = None;
    }
    Ok(left)
}

fn survives(stage: &mut Stage, left: &[Left]) -> Look {
    for Left { table, records, .. } in left {
        let ids: Vec<u64> = (0..records.len() as u64).collect();
        stage.expect(*table, &ids, &records.iter().map(Option::as_ref).collect::<Vec<_>>())?;
        let sample = stage.sample(*table, 30);
        stage.put_each(std::slice::from_ref(&sample))?;
        stage.settle()?;
        stage.expect(*table, &[0, 29, 30], &[records[0].as_ref(), None, Some(&sample)])?;
    }
    Ok(())
}

fn highest(left: &[Left], told: &Found) -> Look {
    for Left { table, records, version } in left {
        let there = told.stored.get(table).ok_or_else(|| format!("it says nothing of table {table}"))?;
        let right = (records.len() as u64 - 1, *version);
        if *there != right {
            return Err(format!("of table {table} it says {there:?}, and id and version were {right:?}"));
        }
    }
    Ok(())
}

/// A table as the meta-data have it.
fn describe(table: u32, form: Form) -> String {
    let Form { record_size, field_count } = form;
    let size = |field: usize| if field + 1 < field_count { 1 } else { record_size - (field_count - 1) };
    let schema = (0..field_count).map(|field| (format!("f{field}"), json!(["bytes", size(field)])));
    let schema: serde_json::Map<String, serde_json::Value> = schema.collect();
    json!({
        "table": table,
        "name": format!("table {table}"),
        "next_id": 0,
        "record_size": record_size,
        "nulls_size": form.nulls_size(),
        "schema": schema,
    })
    .to_string()
}

/// A store, and what it was told.
struct Stage {
    seat: Seat<Arc<dyn Store>>,
    habits: Habits,
    /// The tables that are there, and each as the meta-data have it.
    tables: BTreeMap<u32, (Form, String)>,
    next_table: u32,
    version: AtomicU64,
    /// The meta-data that it has.
    meta: Mutex<String>,
}

impl Stage {
    fn new(store: Arc<dyn Store>, name: String, habits: Habits) -> Stage {
        Stage {
            seat: Stage::seat(store, name, habits),
            habits,
            tables: BTreeMap::new(),
            next_table: 1,
            version: AtomicU64::new(1),
            meta: Mutex::default(),
        }
    }

    /// A seat in no database.
    fn seat(store: Arc<dyn Store>, name: String, habits: Habits) -> Seat<Arc<dyn Store>> {
        Seat::new(store, name, habits, 0)
    }

    /// The first call.
    fn begin(&mut self) -> Look {
        let mut told = Found::default();
        self.initialize(&mut told)?;
        if let Some((table, (_, version))) = told.stored.last_key_value() {
            // The others are looked into beside what is there.
            self.next_table = table.saturating_add(1).min(u32::MAX / 2);
            self.version.fetch_max(version.saturating_add(1).min(u64::MAX / 2), Ordering::SeqCst);
            return Err(format!("it has records of table {table}"));
        }
        told.meta.map_or(Ok(()), |meta| Err(format!("it has meta-data: {} bytes", meta.len())))
    }

    fn initialize(&self, told: &mut Found) -> Look {
        self.call("initialize", |store| store.initialize(told))
    }

    fn make(&mut self, form: Form) -> Result<u32, String> {
        let table = self.next_table;
        self.next_table += 1;
        self.tables.insert(table, (form, describe(table, form)));
        let made = self.make_numbered(table);
        if made.is_err() {
            self.tables.remove(&table);
        }
        made.map(|()| table)
    }

    fn make_numbered(&self, table: u32) -> Look {
        let (_, meta) = &self.tables[&table];
        self.call("make_table", |store| store.make_table(table, meta))?;
        self.update_meta()
    }

    fn update_meta(&self) -> Look {
        let tables: Vec<&str> = self.tables.values().map(|(_, meta)| meta.as_str()).collect();
        let (next, version, tables) = (self.next_table, self.version.load(Ordering::SeqCst), tables.join(","));
        let meta = format!(r#"{{"format":1,"next_table":{next},"version":{version},"tables":[{tables}]}}"#);
        self.call("update_meta", |store| store.update_meta(&meta))?;
        *self.meta.lock() = meta;
        Ok(())
    }

    fn compare_meta(&self, told: &Found) -> Look {
        match &told.meta {
            None => Err("it has none".to_owned()),
            Some(meta) if *meta == self.meta.lock().as_bytes() => Ok(()),
            Some(meta) => Err(format!("it has others, of {} bytes", meta.len())),
        }
    }

    /// A new version of a record.
    fn sample(&self, table: u32, id: u64) -> Sample {
        let form = self.form(table);
        Sample::new(Key { table, id }, self.next_version(), form)
    }

    fn form(&self, table: u32) -> Form {
        self.tables.get(&table).map_or(PLAIN, |(form, _)| *form)
    }

    fn next_version(&self) -> u64 {
        self.version.fetch_add(1, Ordering::SeqCst)
    }

    /// The number of a table that was never made.
    fn no_table(&self) -> u32 {
        self.next_table + 1000
    }

    fn put_each(&self, samples: &[Sample]) -> Look {
        samples.iter().try_for_each(|sample| self.write(&[sample.change()]))
    }

    fn delete(&self, table: u32, id: u64) -> Look {
        self.write(&[deletion(Key { table, id }, self.next_version())])
    }

    fn write(&self, changes: &[Change<'_>]) -> Look {
        let mut items = vec![Item::Done; changes.len()];
        self.call("store", |store| store.store(changes, &mut items))?;
        match items.iter().position(|item| *item != Item::Done) {
            None => Ok(()),
            Some(index) => Err(format!("it says that change {index} of {} is {:?}", changes.len(), items[index])),
        }
    }

    /// From here on it must find what it accepted.
    fn settle(&self) -> Look {
        if self.habits.immediate { Ok(()) } else { self.persist() }
    }

    fn persist(&self) -> Look {
        self.call("persist_all", |store| store.persist_all())
    }

    fn expect_all(&self, table: u32, samples: &[Sample]) -> Look {
        let ids: Vec<u64> = samples.iter().map(|sample| sample.key.id).collect();
        self.expect(table, &ids, &samples.iter().map(Some).collect::<Vec<_>>())
    }

    /// Fetches records in one call, and compares each.
    fn expect(&self, table: u32, ids: &[u64], stored: &[Option<&Sample>]) -> Look {
        let found = self.fetch(table, ids)?;
        let mut pairs = ids.iter().zip(&found).zip(stored);
        pairs.try_for_each(|((id, found), stored)| compare(Key { table, id: *id }, found.as_ref(), *stored))
    }

    fn fetch(&self, table: u32, ids: &[u64]) -> Result<Vec<Option<Sample>>, String> {
        let form = self.form(table);
        let (record_size, nulls_size) = (form.record_size, form.nulls_size());
        let size = record_size + nulls_size;
        let mut bytes = vec![0; ids.len() * size];
        let mut stamps = vec![Stamp::default(); ids.len()];
        let mut items = vec![Item::Missing; ids.len()];
        let mut reply = Fetched {
            record_size,
            nulls_size,
            bytes: &mut bytes,
            stamps: &mut stamps,
            items: &mut items,
            refusal: None,
            reason: None,
        };
        self.call("fetch", |store| store.fetch(table, ids, &mut reply))?;
        if let Some(what) = reply.refusal {
            return Err(what);
        }
        let sample = |index: usize| match items[index] {
            Item::Missing => Ok(None),
            Item::Done => {
                let (record, nulls) = bytes[index * size..][..size].split_at(record_size);
                let (key, stamp) = (Key { table, id: ids[index] }, stamps[index]);
                Ok(Some(Sample { key, stamp, record: record.to_vec(), nulls: nulls.to_vec() }))
            }
            Item::Failed | Item::Ambiguous => Err(format!("it cannot tell record {} of table {table}", ids[index])),
        };
        (0..ids.len()).map(sample).collect()
    }

    fn call(&self, act: &str, call: impl FnOnce(&Arc<dyn Store>) -> Result<(), Fault>) -> Look {
        match self.seat.call(call) {
            Err(error) => Err(format!("it cannot be called: {}", error.message())),
            Ok(Err(Fault::Ambiguous(text))) => Err(format!("{act} is ambiguous: {text}")),
            Ok(Err(Fault::Failed(text))) => Err(format!("{act} failed: {text}")),
            Ok(Ok(())) => Ok(()),
        }
    }
}
