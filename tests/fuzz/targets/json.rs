//! Records, as JSON and packed, in tables of every type of field: what goes in comes out, and goes in again.
#![no_main]

use std::cell::RefCell;

use diamonddb::os::simulated::SimulatedDisk;
use diamonddb::{
    Database, Durability, Error, JsonStyle, OpenOptions, Record, RecordId, RecordMut, Schema, Sizes, Table,
};
use diamonddb_fuzz::Feed;
use diamonddb_fuzz::visit::sentence;
use libfuzzer_sys::fuzz_target;

const SCHEMAS: [&str; 6] = [
    r#"{"s":["string",9],"c":["string",4,"characters"],"b":["bytes",3],"n":["number",5],"i":["i8"],"j":["i16"],
        "k":["i32"],"l":["i64"],"u":["u8"],"v":["u16"],"w":["u32"],"x":["u64"],"f":["f32"],"g":["f64"],"o":["bool"],
        "t":["timestamp"]}"#,
    r#"{"t":["timestamp","required"],"s":["string",3,"required"],"o":["bool","required"]}"#,
    r#"{"n":["number",24],"m":["number",1],"f":["f32"],"g":["f64"]}"#,
    r#"{"l":["i64"],"x":["u64"],"t":["timestamp"]}"#,
    r#"{"s":["string",300],"c":["string",100,"characters"],"b":["bytes",64]}"#,
    r#"{"é \"\\":["u8"],"€":["i8"]}"#,
];

/// A database lives for so many runs.
const RUNS: u32 = 400;

/// One opening, its tables, and how many runs it has served.
type Bench = (Database, Vec<Table>, u32);

thread_local! {
    static BENCH: RefCell<Option<Bench>> = const { RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    BENCH.with_borrow_mut(|bench| {
        let (_, tables, runs) = bench.get_or_insert_with(set_up);
        let mut feed = Feed(data);
        let choice = feed.byte();
        let table = &tables[usize::from(choice >> 3) % tables.len()];
        match (choice & 7, std::str::from_utf8(feed.0)) {
            (0, Ok(text)) => many(table, text),
            (1 | 2, _) | (_, Err(_)) => packed(table, feed),
            (_, Ok(text)) => json(table, text),
        }
        *runs += 1;
        if *runs == RUNS {
            let (db, ..) = bench.take().expect("it was just used");
            let report = db.verify().expect("a verification");
            assert!(report.findings.is_empty(), "what was let in keeps the rules: {:?}", report.findings);
        }
    });
});

fn set_up() -> Bench {
    let sizes = Sizes { segment_min: 64 << 10, segment_max: 64 << 10, page: 4096, ..Sizes::default() };
    let durability = Durability::Async;
    let options = OpenOptions { no_threads: true, interval_ms: u32::MAX, durability, sizes, ..OpenOptions::default() };
    let db = Database::open_on(SimulatedDisk::new(1), &options).expect("an empty folder opens");
    let make = |(index, json): (usize, &&str)| {
        let schema = Schema::parse(json).expect("a schema of ours");
        db.make_table(&format!("t{index}"), &schema).expect("a table of ours")
    };
    let tables = SCHEMAS.iter().enumerate().map(make).collect();
    (db, tables, 0)
}

fn json(table: &Table, text: &str) {
    match table.save_json(text) {
        Ok(id) => check(table, id),
        Err(error) => refused(&error),
    }
}

fn many(table: &Table, text: &str) {
    match table.save_many_json(text) {
        Ok((first, count)) => (first.0..first.0 + count as u64).take(4).for_each(|id| check(table, RecordId(id))),
        Err(error) => refused(&error),
    }
}

fn packed(table: &Table, mut feed: Feed<'_>) {
    let layout = table.layout();
    let mut nulls = vec![0; layout.nulls_size];
    nulls.fill_with(|| feed.byte());
    let mut bytes = vec![0; layout.record_size];
    let given = feed.bytes(bytes.len());
    bytes[..given.len()].copy_from_slice(given);
    match table.save(Record { bytes: &bytes, nulls: Some(&nulls) }) {
        Ok(id) => check(table, id),
        Err(error) => refused(&error),
    }
}

/// Its JSON and its bytes both give the same record again.
fn check(table: &Table, id: RecordId) {
    let json = table.fetch_json(id, JsonStyle::default()).expect("it was just saved");
    let (bytes, nulls) = fetch(table, id);
    let by_json = table.save_json(&json).unwrap_or_else(|error| panic!("{json} is not taken back: {error}"));
    assert_eq!(table.fetch_json(by_json, JsonStyle::default()).as_deref(), Ok(json.as_str()));
    let text = table.fetch_json(id, JsonStyle { int64_as_text: true }).expect("it is there");
    let by_text = table.save_json(&text).unwrap_or_else(|error| panic!("{text} is not taken back: {error}"));
    assert_eq!(fetch(table, by_text), fetch(table, by_json), "{text} and {json} are the same record");
    let by_bytes = table.save(Record { bytes: &bytes, nulls: Some(&nulls) }).expect("what was fetched can be saved");
    assert_eq!(fetch(table, by_bytes), (bytes, nulls));
    assert_eq!(table.fetch_json(by_bytes, JsonStyle::default()).as_deref(), Ok(json.as_str()));
}

fn fetch(table: &Table, id: RecordId) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = vec![0xAA; table.layout().record_size];
    let mut nulls = vec![0xAA; table.layout().nulls_size];
    table.fetch(id, RecordMut { bytes: &mut bytes, nulls: Some(&mut nulls) }).expect("it was just saved");
    (bytes, nulls)
}

fn refused(error: &Error) {
    sentence(error);
    assert!(matches!(error, Error::Invalid(_) | Error::TooLarge(_)), "{error:?}");
}
