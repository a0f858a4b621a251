//! A CSV file, as the tool's import reads it: rows, the guess of a schema, packed records, and their texts again.
#![no_main]

/// The parts of the tool that stand between a file and a table.
#[allow(dead_code, reason = "import uses more of them")]
#[path = "../../../src/cli"]
mod cli {
    pub mod failure;
    pub mod guess;
    pub mod input;
    pub mod pack;
    pub mod progress;
    pub mod unpack;
}

use std::cell::OnceCell;

use cli::failure::Failure;
use cli::input::{Dialect, Lines, Row, Rows};
use cli::pack::Packer;
use cli::progress::Progress;
use diamonddb::os::simulated::SimulatedDisk;
use diamonddb::{Database, Durability, FieldKind, OpenOptions, Record, Schema, Table};
use diamonddb_fuzz::Feed;
use diamonddb_fuzz::support::small_sizes;
use libfuzzer_sys::fuzz_target;

/// For files whose first row names such columns.
const SCHEMA: &str = r#"{"s":["string",9],"c":["string",4,"characters"],"b":["bytes",3],"n":["number",5],"i":["i8"],
    "l":["i64"],"u":["u8"],"x":["u64"],"f":["f32"],"g":["f64"],"o":["bool"],"t":["timestamp"]}"#;

thread_local! {
    static PROGRESS: OnceCell<Progress> = const { OnceCell::new() };
}

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed(data);
    let flags = feed.byte();
    let delimiter = b",;\t|"[usize::from(flags & 3)];
    let nulls = if flags & 4 == 0 { vec![] } else { vec!["-".to_owned(), "0".to_owned()] };
    let dialect = Dialect::new(delimiter, &nulls, if flags & 8 == 0 { 0 } else { 3 });
    let Ok(mut rows) = rows(feed.0, &dialect).map_err(said) else { return };
    let guessed = flags & 16 == 0;
    let schema = match guessed {
        false => Schema::parse(SCHEMA).expect("a schema of ours"),
        true => {
            let guess = PROGRESS.with(|progress| {
                let progress = progress.get_or_init(|| Progress::of_bytes("", Some(0), true));
                cli::guess::guess(&mut rows, &dialect, flags & 32 != 0, progress)
            });
            let Ok((schema, _)) = guess.map_err(said) else { return };
            schema
        }
    };
    import(feed.0, &dialect, &schema, guessed, flags & 192 == 192);
});

fn rows<'a>(data: &'a [u8], dialect: &Dialect) -> Result<Rows<&'a [u8]>, Failure> {
    Rows::new("file".to_owned(), Lines::new(data), dialect)
}

fn import(data: &[u8], dialect: &Dialect, schema: &Schema, guessed: bool, saved: bool) {
    let mut rows = rows(data, dialect).unwrap_or_else(|_| panic!("it was read before"));
    let Ok(packer) = Packer::new(schema.layout(), dialect, rows.columns()).map_err(said) else { return };
    let layout = schema.layout();
    let table = saved.then(|| table(schema));
    let mut last = 0;
    loop {
        let row = match rows.next() {
            Ok(Some(Ok(row))) => row,
            Ok(Some(Err(bad))) => {
                assert!(last < bad.line, "rows come in the order of their lines");
                last = bad.line;
                continue;
            }
            Ok(None) => return,
            Err(failure) => panic!("memory can be read: {}", failure.message),
        };
        assert!(last < row.line, "rows come in the order of their lines");
        last = row.line;
        let (mut record, mut nulls) = (vec![0; layout.record_size], vec![0; packer.nulls_size()]);
        if let Err(bad) = packer.pack(row, &mut record, &mut nulls) {
            let has_nul = row.texts.iter().any(|text| text.contains('\0'));
            assert!(!guessed || has_nul, "a schema that was guessed from a row takes it: {bad}");
            assert!(bad.to_string().contains(' '));
            continue;
        }
        check(layout, dialect, &record, &nulls);
        if let Some((_, table)) = &table {
            let record = Record { bytes: &record, nulls: Some(&nulls) };
            table.save(record).unwrap_or_else(|error| panic!("the library refuses what was packed: {error}"));
        }
    }
}

/// The texts of a packed record, packed, are that record.
fn check(layout: &diamonddb::Layout, dialect: &Dialect, record: &[u8], nulls: &[u8]) {
    let texts = cli::unpack::unpack(layout, record, nulls);
    // A text that is a null's mark stands for null, so it can be no value's.
    if texts.iter().flatten().any(|text| dialect.is_null(text)) {
        return;
    }
    let null = dialect.nulls[0].as_str();
    let texts = texts.iter().map(|text| text.as_deref().unwrap_or(null)).collect();
    let names: Vec<String> = layout.fields.iter().map(|field| field.name.clone()).collect();
    let packer = Packer::new(layout, dialect, &names).unwrap_or_else(|failure| panic!("{}", failure.message));
    let (mut again, mut again_nulls) = (vec![0; record.len()], vec![0; nulls.len()]);
    let packed = packer.pack(Row { line: 1, texts: &texts }, &mut again, &mut again_nulls);
    packed.unwrap_or_else(|bad| panic!("{texts:?}: {bad}"));
    // A `number` has one text, ECMAScript's, and that of -0 has no sign.
    let mut record = record.to_vec();
    for field in layout.fields.iter().filter(|field| field.kind == FieldKind::Number) {
        let place = &mut record[field.offset..field.offset + field.size];
        if *place == (-0.0_f64).to_le_bytes() {
            place.fill(0);
        }
    }
    assert_eq!((&record[..], nulls), (&again[..], &again_nulls[..]), "{texts:?}");
}

fn table(schema: &Schema) -> (Database, Table) {
    let options = OpenOptions { ..small_sizes(Durability::Async) };
    let db = Database::open_on(SimulatedDisk::new(1), &options).expect("an empty folder opens");
    let table = db.make_table("t", schema).expect("a schema is a table's");
    (db, table)
}

fn said(failure: Failure) {
    assert!(failure.message.contains(' '), "{:?} is no sentence", failure.message);
}
