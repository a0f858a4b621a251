//! What a table promises its users: every verb, every type, every refusal.
//!
//! A refusal is half of a verb. So each is asked twice: what error it is, with the words a user needs in it, and
//! whether really nothing changed.

mod kit;

use diamonddb::{Error, JsonStyle, Record, RecordId, RecordMut, Records, RecordsMut, ScanRange, Table};
use kit::{assert_error, database, fetch, json, many, numbers, packed, replace, save, save_many, scanned, schema};

const NEVER: RecordId = RecordId(u64::MAX);

/// The database closed and opened again, so that what is seen is what the files hold.
fn reopened(folder: &kit::Folder, db: diamonddb::Database) -> diamonddb::Database {
    db.close().unwrap();
    let db = diamonddb::Database::open(folder.path(), &kit::quick()).unwrap();
    assert_eq!(db.verify().unwrap().findings, []);
    db
}

const ALL_TYPES: &str = r#"{
    "text": ["string", 5], "chars": ["string", 3, "characters"], "raw": ["bytes", 3], "digits": ["number", 4],
    "i8": ["i8"], "i16": ["i16"], "i32": ["i32"], "i64": ["i64"],
    "u8": ["u8"], "u16": ["u16"], "u32": ["u32"], "u64": ["u64"],
    "f32": ["f32"], "f64": ["f64"], "yes": ["bool"], "when": ["timestamp"]
}"#;

const ALL_VALUES: &str = concat!(
    r#"{"text":"abcde","chars":"€🙂","raw":"AAEC","digits":-1.5,"#,
    r#""i8":-128,"i16":-32768,"i32":-2147483648,"i64":"-9223372036854775808","#,
    r#""u8":255,"u16":65535,"u32":4294967295,"u64":"18446744073709551615","#,
    r#""f32":0.1,"f64":1.7976931348623157e+308,"yes":true,"when":"2024-02-29T12:30:00.000001Z"}"#
);

#[test]
fn every_type_comes_out_as_it_went_in_packed_and_as_json() {
    let (folder, db) = database();
    let table = db.make_table("all", &schema(ALL_TYPES)).unwrap();
    let first = table.save_json(ALL_VALUES).unwrap();
    assert_eq!(json(&table, first).unwrap(), ALL_VALUES);

    let layout = table.layout().clone();
    let (mut bytes, mut nulls) = (vec![0xEE; layout.record_size], vec![0xEE; layout.nulls_size]);
    table.fetch(first, RecordMut { bytes: &mut bytes, nulls: Some(&mut nulls) }).unwrap();
    assert!(nulls.iter().all(|byte| *byte == 0));
    let second = table.save(Record { bytes: &bytes, nulls: Some(&nulls) }).unwrap();
    let third = table.save(Record { bytes: &bytes, nulls: None }).unwrap();
    for id in [second, third] {
        assert_eq!(json(&table, id).unwrap(), ALL_VALUES);
    }
    let at = |name: &str| layout.fields.iter().find(|field| field.name == name).unwrap().offset;
    assert_eq!(&bytes[at("text")..][..5], b"abcde");
    assert_eq!(bytes[at("i32")..][..4], i32::MIN.to_le_bytes());
    assert_eq!(bytes[at("f32")..][..4], 0.1_f32.to_le_bytes());
    assert_eq!(bytes[at("u64")..][..8], u64::MAX.to_le_bytes());
    assert_eq!(bytes[at("when")..][..8], 1_709_209_800_000_001_i64.to_le_bytes());

    let db = reopened(&folder, db);
    let table = db.table("all").unwrap();
    for id in [first, second, third] {
        assert_eq!(json(&table, id).unwrap(), ALL_VALUES);
    }
    let style = JsonStyle { int64_as_text: true };
    let small = table.save_json(r#"{"i64": 5, "u64": 6}"#).unwrap();
    let text = table.fetch_json(small, style).unwrap();
    assert!(text.contains(r#""i64":"5""#), "{text}");
    assert!(text.contains(r#""u64":"6""#), "{text}");
}

#[test]
fn each_type_takes_what_it_says_and_refuses_the_next_value_with_field_and_table_in_the_sentence() {
    // Type, values taken with the text they come back as, values refused.
    type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);
    let cases: &[Case] = &[
        (
            r#"["string", 3]"#,
            &[(r#""""#, r#""""#), (r#""abc""#, r#""abc""#), (r#""\u00e9a""#, r#""éa""#)],
            &[r#""abcd""#, r#""éé""#, "1", "true", "[]", "{}", r#""a\u0000""#],
        ),
        (
            r#"["string", 2, "characters"]"#,
            &[(r#""€€""#, r#""€€""#), (r#""🙂""#, r#""🙂""#)],
            &[r#""abc""#, r#""🙂a""#],
        ),
        (r#"["bytes", 2]"#, &[(r#""AAE=""#, r#""AAE=""#)], &[r#""AAEC""#, r#""AA==""#, r#""AAE""#, r#""""#, "1"]),
        (
            r#"["number", 3]"#,
            &[("999", "999"), ("-99", "-99"), ("0.1", "0.1"), ("1e2", "100"), ("-0.0", "0")],
            &["1000", "-100", "0.12", "1e21", r#""9""#, "false"],
        ),
        (r#"["i8"]"#, &[("127", "127"), (r#""-128""#, "-128")], &["128", "-129", "1.5", r#""1.5""#, r#""x""#, "true"]),
        (r#"["i16"]"#, &[("-32768", "-32768")], &["32768", "-32769"]),
        (r#"["i32"]"#, &[("2147483647", "2147483647")], &["2147483648"]),
        (
            r#"["i64"]"#,
            &[("9007199254740991", "9007199254740991"), ("9007199254740993", r#""9007199254740993""#)],
            &["9223372036854775808", "-9223372036854775809", r#""""#, r#"" 1""#],
        ),
        (r#"["u8"]"#, &[("255", "255"), ("0", "0")], &["256", "-1"]),
        (r#"["u16"]"#, &[("65535", "65535")], &["65536", "-1"]),
        (r#"["u32"]"#, &[("4294967295", "4294967295")], &["4294967296", "-1"]),
        (
            r#"["u64"]"#,
            &[("18446744073709551615", r#""18446744073709551615""#)],
            &["18446744073709551616", "-1", "1e30"],
        ),
        (r#"["f32"]"#, &[("1.5", "1.5"), ("16777216", "16777216")], &["1e39", "-1e39", r#""1""#]),
        (r#"["f64"]"#, &[("1e300", "1e+300"), ("-2", "-2")], &[r#""1""#, "true"]),
        (r#"["bool"]"#, &[("true", "true"), ("false", "false")], &["0", "1", r#""true""#]),
        (
            r#"["timestamp"]"#,
            &[
                ("0", r#""1970-01-01T00:00:00Z""#),
                (r#""1970-01-01T01:00:00+01:00""#, r#""1970-01-01T00:00:00Z""#),
                (r#""9999-12-31T23:59:59.999999Z""#, r#""9999-12-31T23:59:59.999999Z""#),
            ],
            &[r#""1970-01-01""#, r#""1970-01-01T00:00:00""#, r#""2023-02-29T00:00:00Z""#, "253402300800000000", "1.5"],
        ),
    ];
    let (_folder, db) = database();
    for (number, (kind, taken, refused)) in cases.iter().enumerate() {
        let name = format!("table{number}");
        let table = db.make_table(&name, &schema(&format!(r#"{{"field": {kind}}}"#))).unwrap();
        for (given, expected) in *taken {
            let id = table.save_json(&format!(r#"{{"field": {given}}}"#));
            let id = id.unwrap_or_else(|error| panic!("{kind} refuses {given}: {error}"));
            assert_eq!(json(&table, id).unwrap(), format!(r#"{{"field":{expected}}}"#), "{kind} {given}");
        }
        let next = table.next_id().unwrap();
        for given in *refused {
            let record = format!(r#"{{"field": {given}}}"#);
            match table.save_json(&record) {
                Err(Error::Invalid(text)) => {
                    assert!(text.contains(r#""field""#), "{kind} {given}: {text}");
                    assert!(text.contains(&name), "{kind} {given}: {text}");
                }
                other => panic!("{kind} takes {given}: {other:?}"),
            }
            assert_error(table.replace_json(RecordId(0), &record), Error::Invalid, &["field"]);
        }
        assert_eq!(table.next_id().unwrap(), next, "a refused save takes no id");
        let (given, expected) = taken[0];
        assert_eq!(json(&table, RecordId(0)).unwrap(), format!(r#"{{"field":{expected}}}"#), "{given} is still there");
    }
}

#[test]
fn packed_records_keep_the_same_rules_as_json() {
    let (_folder, db) = database();
    let refuses = |name: &str, kind: &str, bytes: &[u8]| {
        let table = db.make_table(name, &schema(&format!(r#"{{"field": {kind}}}"#))).unwrap();
        assert_error(table.save(Record { bytes, nulls: None }), Error::Invalid, &["field", name]);
        assert_eq!((table.next_id().unwrap().0, table.count().unwrap()), (0, 0));
    };
    refuses("utf8", r#"["string", 2]"#, b"\xFF\0");
    refuses("units", r#"["string", 1, "characters"]"#, b"ab\0");
    refuses("infinite", r#"["f64"]"#, &f64::INFINITY.to_le_bytes());
    refuses("nan", r#"["f32"]"#, &f32::NAN.to_le_bytes());
    refuses("long", r#"["number", 2]"#, &100.0_f64.to_le_bytes());
    refuses("two", r#"["bool"]"#, &[2]);
    refuses("late", r#"["timestamp"]"#, &i64::MAX.to_le_bytes());
    let table = numbers(&db, "numbers");
    for size in [0, 7, 9, 16] {
        let bytes = vec![0; size];
        assert_error(table.save(Record { bytes: &bytes, nulls: None }), Error::Invalid, &["numbers", "8"]);
        let mut bytes = vec![0; size];
        save(&table, 1).unwrap();
        let into = RecordMut { bytes: &mut bytes, nulls: None };
        assert_error(table.fetch(RecordId(0), into), Error::Invalid, &["numbers", "8"]);
    }
    let none: &[u8] = &[];
    assert_error(table.save(Record { bytes: &[0; 8], nulls: Some(none) }), Error::Invalid, &["numbers"]);
    let into = RecordMut { bytes: &mut [0; 8], nulls: Some(&mut []) };
    assert_error(table.fetch(RecordId(0), into), Error::Invalid, &["numbers"]);
}

#[test]
fn what_is_left_out_is_null_and_null_is_not_zero() {
    let (_folder, db) = database();
    let table = db.make_table("t", &schema(r#"{"a": ["i32"], "b": ["string", 4]}"#)).unwrap();
    let empty = table.save_json("{}").unwrap();
    assert_eq!(json(&table, empty).unwrap(), r#"{"a":null,"b":null}"#);
    let zero = table.save_json(r#"{"a": 0, "b": ""}"#).unwrap();
    assert_eq!(json(&table, zero).unwrap(), r#"{"a":0,"b":""}"#);
    // Garbage in a null field, and in bits past the last field, is not kept.
    let garbage = table.save(Record { bytes: &[0xFF; 8], nulls: Some(&[0xFF]) }).unwrap();
    assert_eq!(json(&table, garbage).unwrap(), r#"{"a":null,"b":null}"#);
    let (mut bytes, mut nulls) = ([1; 8], [0; 1]);
    table.fetch(garbage, RecordMut { bytes: &mut bytes, nulls: Some(&mut nulls) }).unwrap();
    assert_eq!((bytes, nulls), ([0; 8], [0b11]));
    assert_error(table.replace_if_json(empty, r#"{"a": 0, "b": ""}"#, "{}"), Error::Conflict, &["t"]);
    table.replace_if_json(empty, r#"{"b": null}"#, r#"{"a": 1}"#).unwrap();
    assert_eq!(json(&table, empty).unwrap(), r#"{"a":1,"b":null}"#);
}

#[test]
fn a_required_field_refuses_to_be_null_by_every_way_in() {
    let (_folder, db) = database();
    let table = db.make_table("people", &schema(r#"{"name": ["string", 8, "required"], "age": ["u8"]}"#)).unwrap();
    let id = table.save_json(r#"{"name": "Abby"}"#).unwrap();
    let words = &["name", "people", "required"];
    assert_error(table.save_json("{}"), Error::Invalid, words);
    assert_error(table.save_json(r#"{"name": null}"#), Error::Invalid, words);
    assert_error(table.replace_json(id, r#"{"age": 3}"#), Error::Invalid, words);
    assert_error(table.save_many_json(r#"[{"name": "a"}, {"age": 3}]"#), Error::Invalid, words);
    assert_error(table.save(Record { bytes: &[b'x'; 9], nulls: Some(&[1]) }), Error::Invalid, words);
    assert_error(table.replace(id, Record { bytes: &[b'x'; 9], nulls: Some(&[1]) }), Error::Invalid, words);
    assert_eq!(scan_json(&table), [(0, r#"{"name":"Abby","age":null}"#.to_owned())]);
}

#[test]
fn a_short_text_cannot_ask_for_more_memory_than_there_is() {
    let (_folder, db) = database();
    let table = db.make_table("large", &schema(r#"{"bytes": ["bytes", 60000]}"#)).unwrap();
    let array = format!("[{}{{}}]", "{},".repeat(9_999));
    let why = ["records of table large, which take 60008 bytes each", "at most 4473 of them"];
    assert_error(table.save_many_json(&array), Error::TooLarge, &why);
    assert_eq!(table.next_id().unwrap(), RecordId(0));
}

fn scan_json(table: &Table) -> Vec<(u64, String)> {
    let mut cursor = table.scan(ScanRange::default()).unwrap();
    let next = || cursor.next_json(JsonStyle::default()).unwrap().map(|(id, text)| (id.0, text));
    std::iter::from_fn(next).collect()
}

#[test]
fn json_that_is_not_a_record_is_refused_and_says_of_which_table() {
    let (_folder, db) = database();
    let table = db.make_table("people", &schema(r#"{"age": ["u8"]}"#)).unwrap();
    for text in ["", "[]", "3", "{", r#"{"age": 1} x"#, r#"{"age": 1,}"#, r#"{"age": 1, "age": 1}"#, "null"] {
        assert_error(table.save_json(text), Error::Invalid, &["people"]);
    }
    assert_error(table.save_json(r#"{"size": 1}"#), Error::Invalid, &["size", "people"]);
    for text in ["", "{}", "[{}", "[1]", r#"[{"age": 1}, 2]"#] {
        assert_error(table.save_many_json(text), Error::Invalid, &["people"]);
    }
    assert_error(table.save_many_json(r#"[{}, {"age": 256}]"#), Error::Invalid, &["people", "age", "256", "1"]);
    assert_eq!(table.next_id().unwrap(), RecordId(0));
}

#[test]
fn every_verb_tells_an_id_never_given_from_one_deleted() {
    let (_folder, db) = database();
    let table = numbers(&db, "numbers");
    let (kept, gone) = (save(&table, 1).unwrap(), save(&table, 2).unwrap());
    table.delete(gone).unwrap();
    let one = 1_i64.to_le_bytes();
    let text = r#"{"value": 1}"#;
    type Verb<'a> = Box<dyn Fn(RecordId) -> Result<(), Error> + 'a>;
    let verbs: Vec<(&str, Verb<'_>)> = vec![
        ("fetch", Box::new(|id| fetch(&table, id).map(|_| ()))),
        ("fetch_json", Box::new(|id| json(&table, id).map(|_| ()))),
        ("replace", Box::new(|id| replace(&table, id, 3))),
        ("replace_json", Box::new(|id| table.replace_json(id, text))),
        ("replace_if", Box::new(|id| table.replace_if(id, packed(&one), packed(&one)))),
        ("replace_if_json", Box::new(|id| table.replace_if_json(id, text, text))),
        ("replace_many", Box::new(|id| table.replace_many(&[kept, id], many(&[one, one].concat())))),
        ("replace_many_json", Box::new(|id| table.replace_many_json(&[kept, id], &format!("[{text}, {text}]")))),
        ("delete", Box::new(|id| table.delete(id))),
        ("delete_if", Box::new(|id| table.delete_if(id, packed(&one)))),
        ("delete_many", Box::new(|id| table.delete_many(&[kept, id]))),
        (
            "fetch_many",
            Box::new(|id| {
                let room = RecordsMut { bytes: &mut [0; 16], stride: 8, nulls: None, null_stride: 0 };
                table.fetch_many(&[kept, id], room, None)
            }),
        ),
        ("fetch_many_json", Box::new(|id| table.fetch_many_json(&[kept, id], JsonStyle::default(), None).1)),
    ];
    for (name, verb) in &verbs {
        for never in [RecordId(2), RecordId(1 << 40), NEVER] {
            let number = never.0.to_string();
            match verb(never) {
                Err(Error::OutOfRange(text)) => {
                    assert!(text.contains("numbers"), "{name}: {text}");
                    assert!(text.contains(&number), "{name}: {text}");
                }
                other => panic!("{name} {never:?}: {other:?}"),
            }
        }
        match verb(gone) {
            Err(Error::NotFound(text)) => {
                assert!(text.contains("numbers"), "{name}: {text}");
                assert!(text.contains(" 1 "), "{name}: {text}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(scanned(&table).unwrap(), [(0, 1)], "{name} changed something");
    }
    assert_eq!((table.count().unwrap(), table.next_id().unwrap().0), (1, 2));
}

#[test]
fn a_record_replaced_or_deleted_on_condition_must_be_what_the_caller_read() {
    let (_folder, db) = database();
    let table = numbers(&db, "numbers");
    let id = save(&table, 1).unwrap();
    let (one, two) = (1_i64.to_le_bytes(), 2_i64.to_le_bytes());
    assert_error(table.replace_if(id, packed(&two), packed(&one)), Error::Conflict, &["numbers", "0"]);
    assert_error(table.delete_if(id, packed(&two)), Error::Conflict, &["numbers", "0"]);
    assert_error(table.replace_if_json(id, r#"{"value": 2}"#, "{}"), Error::Conflict, &["numbers", "0"]);
    assert_error(table.replace_if_json(id, "{}", "{}"), Error::Conflict, &["numbers", "0"]);
    assert_eq!(fetch(&table, id).unwrap(), 1);
    table.replace_if(id, packed(&one), packed(&two)).unwrap();
    assert_error(table.replace_if(id, packed(&one), packed(&two)), Error::Conflict, &[]);
    assert_eq!(fetch(&table, id).unwrap(), 2);
    table.delete_if(id, packed(&two)).unwrap();
    assert_error(table.delete_if(id, packed(&two)), Error::NotFound, &[]);
    assert_eq!(table.count().unwrap(), 0);
}

#[test]
fn one_bad_item_refuses_all_of_a_call_and_takes_no_id() {
    let (_folder, db) = database();
    let table = db.make_table("flags", &schema(r#"{"flag": ["bool"]}"#)).unwrap();
    let records = |bytes| Records { bytes, stride: 1, nulls: None, null_stride: 0, count: bytes.len() };
    assert_eq!(table.save_many(records(&[0, 1, 1])).unwrap(), RecordId(0));
    let before = scan_json(&table);
    let ids = [RecordId(0), RecordId(1), RecordId(2)];
    assert_error(table.save_many(records(&[0, 1, 2])), Error::Invalid, &["flag", "flags", "2"]);
    let array = r#"[{"flag": true}, {"flag": 3}]"#;
    assert_error(table.save_many_json(array), Error::Invalid, &["flag", "flags", "1"]);
    assert_error(table.replace_many(&ids, records(&[1, 0, 9])), Error::Invalid, &["flag", "2"]);
    assert_error(table.replace_many_json(&ids[..2], array), Error::Invalid, &["flag"]);
    assert_error(table.replace_many(&ids, records(&[1, 0])), Error::Invalid, &["3", "2"]);
    assert_error(table.replace_many_json(&ids, "[{}]"), Error::Invalid, &["3", "1"]);
    assert_error(table.delete_many(&[RecordId(0), RecordId(3)]), Error::OutOfRange, &["flags", "3"]);
    assert_error(table.delete_many(&[RecordId(0), RecordId(1), RecordId(0)]), Error::Invalid, &["0", "twice"]);
    assert_eq!(scan_json(&table), before);
    assert_eq!((table.count().unwrap(), table.next_id().unwrap().0), (3, 3));
    // And the many forms of nothing do nothing.
    assert_eq!(table.save_many(records(&[])).unwrap(), RecordId(3));
    assert_eq!(table.save_many_json("[]").unwrap(), (RecordId(3), 0));
    table.replace_many(&[], records(&[])).unwrap();
    table.delete_many(&[]).unwrap();
    assert_eq!(scan_json(&table), before);
}

#[test]
fn many_records_are_fetched_at_once_and_each_has_its_own_status() {
    let (_folder, db) = database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..100).unwrap();
    table.delete(RecordId(50)).unwrap();
    let ids: Vec<RecordId> = (0..110).rev().map(RecordId).collect();
    let (mut bytes, mut nulls, mut statuses) = (vec![0xEE; 110 * 24], vec![0xEE; 110 * 3], vec![-1; 110]);
    let room = RecordsMut { bytes: &mut bytes, stride: 24, nulls: Some(&mut nulls), null_stride: 3 };
    let result = table.fetch_many(&ids, room, Some(&mut statuses));
    assert_error(result, Error::OutOfRange, &["109"]);
    for (index, id) in ids.iter().enumerate() {
        let expected = match id.0 {
            50 => Error::NotFound("".into()).status(),
            100.. => Error::OutOfRange("".into()).status(),
            _ => 0,
        };
        assert_eq!(statuses[index], expected, "{id:?}");
        if expected == 0 {
            assert_eq!(bytes[index * 24..][..8], (id.0 as i64).to_le_bytes());
            assert_eq!(nulls[index * 3], 0);
        }
        assert!(bytes[index * 24..][8..24].iter().all(|byte| *byte == 0xEE), "bytes between records are the caller's");
        assert_eq!(nulls[index * 3 + 1..][..2], [0xEE; 2]);
    }
    let (text, result) = table.fetch_many_json(&[RecordId(1), RecordId(50), RecordId(2)], JsonStyle::default(), None);
    assert_eq!(text, r#"[{"value":1},null,{"value":2}]"#);
    assert_error(result, Error::NotFound, &["50"]);
}

#[test]
fn of_two_replacements_of_one_record_in_a_call_the_last_one_stays() {
    let (_folder, db) = database();
    let table = numbers(&db, "numbers");
    let id = save(&table, 1).unwrap();
    table.replace_many(&[id, id], many(&[2_i64.to_le_bytes(), 3_i64.to_le_bytes()].concat())).unwrap();
    assert_eq!(fetch(&table, id).unwrap(), 3);
}

#[test]
fn large_saves_are_whole_wherever_in_a_page_they_begin() {
    let (folder, db) = database();
    let table = numbers(&db, "numbers");
    let mut next = 0_i64;
    // Slots have 16 bytes: these are over the 512 KiB from which pages are written straight to the file.
    for (singles, bulk) in [(0, 40_000), (3, 33_000), (1023, 32_769), (1, 100_000), (0, 32_768)] {
        for _ in 0..singles {
            assert_eq!(save(&table, next).unwrap().0 as i64, next);
            next += 1;
        }
        assert_eq!(save_many(&table, next..next + bulk).unwrap().0 as i64, next);
        next += bulk;
        assert_eq!((table.next_id().unwrap().0, table.count().unwrap()), (next as u64, next as u64));
        // What was just saved can be changed at once, at its first, inner and last record.
        for id in [next - bulk, next - bulk / 2, next - 1] {
            replace(&table, RecordId(id as u64), -id).unwrap();
            assert_eq!(fetch(&table, RecordId(id as u64)).unwrap(), -id);
            replace(&table, RecordId(id as u64), id).unwrap();
        }
    }
    let is_right = |table: &Table| {
        let found = scanned(table).unwrap();
        assert_eq!(found.len() as i64, next);
        assert!(found.iter().enumerate().all(|(index, (id, value))| (index as u64, index as i64) == (*id, *value)));
    };
    is_right(&table);
    let killed = folder.copy();
    let db = reopened(&folder, db);
    is_right(&db.table("numbers").unwrap());
    // And a kill before any checkpoint keeps them as well.
    let db = diamonddb::Database::open(killed.path(), &kit::quick()).unwrap();
    is_right(&db.table("numbers").unwrap());
    assert_eq!(db.verify().unwrap().findings, []);
}

#[test]
fn a_bad_item_at_the_end_of_a_large_save_refuses_all_of_it() {
    let (folder, db) = database();
    let table = db.make_table("flags", &schema(r#"{"flag": ["bool"]}"#)).unwrap();
    let mut bytes = vec![1; 200_000];
    bytes[199_999] = 2;
    fn records(bytes: &[u8]) -> Records<'_> {
        Records { bytes, stride: 1, nulls: None, null_stride: 0, count: bytes.len() }
    }
    for _ in 0..2 {
        assert_error(table.save_many(records(&bytes)), Error::Invalid, &["199999", "flag", "flags"]);
        assert_eq!((table.next_id().unwrap().0, table.count().unwrap()), (0, 0));
    }
    table.save_json(r#"{"flag": false}"#).unwrap();
    // What the refused save left beyond the end is never seen.
    assert_eq!(scan_json(&table).len(), 1);
    bytes[199_999] = 1;
    assert_eq!(table.save_many(records(&bytes)).unwrap(), RecordId(1));
    let db = reopened(&folder, db);
    let table = db.table("flags").unwrap();
    assert_eq!(table.count().unwrap(), 200_001);
    assert_eq!(scan_json(&table)[..2], [(0, r#"{"flag":false}"#.to_owned()), (1, r#"{"flag":true}"#.to_owned())]);
}

#[test]
fn single_saves_beside_large_ones_get_ids_of_their_own() {
    let (folder, db) = database();
    let table = numbers(&db, "numbers");
    const BULK: i64 = 40_000;
    let firsts: Vec<u64> = std::thread::scope(|scope| {
        let bulks: Vec<_> = (1..=2)
            .map(|number| {
                let table = &table;
                let value = number * 1_000_000;
                scope.spawn(move || save_many(table, value..value + BULK).unwrap().0)
            })
            .collect();
        for number in 0..2 {
            let table = &table;
            scope.spawn(move || (0..500).for_each(|index| assert!(save(table, -1 - number * 500 - index).is_ok())));
        }
        bulks.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let db = reopened(&folder, db);
    let found = scanned(&db.table("numbers").unwrap()).unwrap();
    assert_eq!(found.len() as i64, 2 * BULK + 1000);
    for (first, value) in firsts.iter().zip([1_000_000, 2_000_000]) {
        let here = &found[*first as usize..][..BULK as usize];
        assert!(here.iter().zip(value..).all(|((_, found), expected)| *found == expected), "a large save has its ids");
    }
    let mut singles: Vec<i64> = found.iter().map(|(_, value)| *value).filter(|value| *value < 0).collect();
    singles.sort_unstable();
    assert_eq!(singles, (-1000..0).collect::<Vec<_>>());
}

#[test]
fn ids_are_dense_and_not_used_again_even_after_reopening() {
    let (folder, db) = database();
    let table = numbers(&db, "numbers");
    for value in 0..10 {
        assert_eq!(save(&table, value).unwrap(), RecordId(value as u64));
    }
    table.delete_many(&(0..10).map(RecordId).collect::<Vec<_>>()).unwrap();
    assert_eq!((table.count().unwrap(), table.next_id().unwrap().0), (0, 10));
    let db = reopened(&folder, db);
    let table = db.table("numbers").unwrap();
    assert_eq!((table.count().unwrap(), table.next_id().unwrap().0), (0, 10));
    assert_eq!(save(&table, 10).unwrap(), RecordId(10));
    assert_error(fetch(&table, RecordId(9)), Error::NotFound, &["9", "numbers"]);
}

#[test]
fn making_a_table_twice_opens_it_and_with_another_schema_says_how_it_differs() {
    let (folder, db) = database();
    let people = schema(r#"{"name": ["string", 15], "age": ["number", 3]}"#);
    let table = db.make_table("people", &people).unwrap();
    table.save_json(r#"{"name": "Abby", "age": 29}"#).unwrap();
    let again = db.make_table("people", &people).unwrap();
    assert_eq!(json(&again, RecordId(0)).unwrap(), r#"{"name":"Abby","age":29}"#);
    let db = reopened(&folder, db);
    for (other, words) in [
        (r#"{"name": ["string", 16], "age": ["number", 3]}"#, &["people", "name", "15", "16"][..]),
        (r#"{"name": ["string", 15, "required"], "age": ["number", 3]}"#, &["people", "name", "required"]),
        (r#"{"age": ["number", 3], "name": ["string", 15]}"#, &["people", "order"]),
        (r#"{"name": ["string", 15]}"#, &["people", "age", "missing"]),
        (r#"{"name": ["string", 15], "age": ["number", 3], "x": ["u8"]}"#, &["people", "\"x\"", "not in the table"]),
    ] {
        assert_error(db.make_table("people", &schema(other)), Error::SchemaDiffers, words);
    }
    assert_eq!(db.make_table("people", &people).unwrap().count().unwrap(), 1);
}

#[test]
fn tables_are_listed_by_name_with_their_figures() {
    let (folder, db) = database();
    for name in ["zebra", "ant", "Ä", "a b", "../up", "/", "."] {
        save(&numbers(&db, name), 1).unwrap();
    }
    let zebra = db.table("zebra").unwrap();
    save(&zebra, 2).unwrap();
    zebra.delete(RecordId(0)).unwrap();
    let db = reopened(&folder, db);
    let list = db.tables().unwrap();
    let names: Vec<&str> = list.iter().map(|info| info.name.as_str()).collect();
    assert_eq!(names, [".", "../up", "/", "a b", "ant", "zebra", "Ä"]);
    let zebra = &list[5];
    assert_eq!((zebra.next_id, zebra.count, zebra.record_size, zebra.slot_size), (2, 1, 8, 16));
    // A table's name is never a path.
    assert!(!folder.path().parent().unwrap().join("up").exists());
}

#[test]
fn a_dropped_table_is_gone_and_its_name_is_free() {
    let (folder, db) = database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..1000).unwrap();
    let mut cursor = table.scan(ScanRange::default()).unwrap();
    db.drop_table("numbers").unwrap();
    assert_error(db.drop_table("numbers"), Error::NotFound, &["numbers"]);
    assert_error(db.table("numbers"), Error::NotFound, &["numbers"]);
    assert_error(fetch(&table, RecordId(0)), Error::NotFound, &["numbers", "dropped"]);
    assert_error(save(&table, 1), Error::NotFound, &["numbers", "dropped"]);
    assert_error(table.delete(RecordId(0)), Error::NotFound, &["numbers", "dropped"]);
    assert_error(save_many(&table, 0..40_000), Error::NotFound, &["numbers", "dropped"]);
    assert_error(table.count(), Error::NotFound, &["numbers", "dropped"]);
    assert_error(table.scan(ScanRange::default()).map(|_| ()), Error::NotFound, &["numbers", "dropped"]);
    assert_error(cursor.next_json(JsonStyle::default()), Error::NotFound, &["numbers", "dropped"]);
    let again = numbers(&db, "numbers");
    assert_eq!((again.next_id().unwrap().0, again.count().unwrap()), (0, 0));
    save(&again, 7).unwrap();
    assert_error(fetch(&table, RecordId(0)), Error::NotFound, &["numbers", "dropped"]);
    let db = reopened(&folder, db);
    assert_eq!(scanned(&db.table("numbers").unwrap()).unwrap(), [(0, 7)]);
}

#[test]
#[cfg(feature = "simulation")]
fn a_fetch_in_whose_midst_its_table_is_dropped_names_it() {
    let (_folder, db) = database();
    let db = std::sync::Arc::new(db);
    let fetch_packed = |table: &Table| fetch(table, RecordId(0)).map(drop);
    let fetch_json = |table: &Table| json(table, RecordId(0)).map(drop);
    for fetch in [fetch_packed, fetch_json] {
        let table = numbers(&db, "numbers");
        save(&table, 1).unwrap();
        let other = std::sync::Arc::clone(&db);
        diamonddb::mutant::interrupt_next_read(move || other.drop_table("numbers").unwrap());
        assert_error(fetch(&table), Error::NotFound, &["numbers", "dropped"]);
    }
}

#[test]
fn a_renamed_table_keeps_its_records_and_its_handles() {
    let (folder, db) = database();
    let (one, _two) = (numbers(&db, "one"), numbers(&db, "two"));
    save(&one, 1).unwrap();
    assert_error(db.rename_table("one", "two"), Error::Conflict, &["one", "two"]);
    assert_error(db.rename_table("none", "x"), Error::NotFound, &["none"]);
    assert_error(db.rename_table("one", ""), Error::Invalid, &["name"]);
    db.rename_table("one", "one").unwrap();
    db.rename_table("one", "three").unwrap();
    assert_eq!(one.name(), "three");
    assert_eq!(save(&one, 2).unwrap(), RecordId(1));
    assert_error(db.table("one"), Error::NotFound, &["one"]);
    assert_error(fetch(&one, RecordId(9)), Error::OutOfRange, &["three"]);
    numbers(&db, "one");
    let killed = folder.copy();
    for db in [reopened(&folder, db), diamonddb::Database::open(killed.path(), &kit::quick()).unwrap()] {
        assert_eq!(scanned(&db.table("three").unwrap()).unwrap(), [(0, 1), (1, 2)]);
        assert_eq!(scanned(&db.table("one").unwrap()).unwrap(), []);
        assert_eq!(db.tables().unwrap().len(), 3);
    }
}

#[test]
fn a_tables_name_has_1_to_255_bytes_and_no_control_characters() {
    let (_folder, db) = database();
    for name in ["", "a\nb", "a\0b", "\u{85}", &"é".repeat(128)] {
        assert_error(db.make_table(name, &schema(r#"{"a": ["i8"]}"#)), Error::Invalid, &["name"]);
        assert_error(db.table(name), Error::Invalid, &["name"]);
        assert_error(db.drop_table(name), Error::Invalid, &["name"]);
    }
    for name in ["é".repeat(127), " ".to_owned(), "\"".to_owned(), "a/b\\c".to_owned()] {
        numbers(&db, &name);
        assert_eq!(db.table(&name).unwrap().name(), name);
    }
}

#[test]
fn the_layout_is_what_a_c_compiler_would_make_and_lies_in_the_file_as_it_says() {
    let (folder, db) = database();
    let table = db.make_table("t", &schema(r#"{"a": ["u8"], "b": ["i64"], "c": ["u16"]}"#)).unwrap();
    let layout = table.layout().clone();
    assert_eq!((layout.record_size, layout.alignment, layout.slot_size), (24, 8, 24));
    assert_eq!((layout.state_offset, layout.nulls_offset, layout.nulls_size), (18, 19, 1));
    let offsets: Vec<usize> = layout.fields.iter().map(|field| field.offset).collect();
    assert_eq!(offsets, [0, 8, 16]);
    for index in 0..5 {
        table.save_json(&format!(r#"{{"a": {index}, "b": -{index}, "c": 500}}"#)).unwrap();
    }
    db.close().unwrap();
    // Record `id` lies at 4096 + id × slot size.
    let data = std::fs::read(folder.path().join("data/2")).unwrap();
    for index in 0..5_usize {
        let slot = &data[4096 + index * layout.slot_size..][..layout.slot_size];
        assert_eq!(slot[0], index as u8);
        assert_eq!(slot[8..16], (-(index as i64)).to_le_bytes());
        assert_eq!(slot[16..18], 500_u16.to_le_bytes());
        assert_eq!(slot[layout.state_offset], 1);
    }
}

#[test]
fn records_of_every_size_fit_up_to_64_kib() {
    let (folder, db) = database();
    let sizes = [1, 7, 8, 9, 511, 1023, 1024, 4096, 5000, 16_383, 16_384, 40_000, 65_536];
    for size in sizes {
        let table = db.make_table(&format!("b{size}"), &schema(&format!(r#"{{"b": ["bytes", {size}]}}"#))).unwrap();
        for value in 0..5 {
            table.save(Record { bytes: &vec![value; size], nulls: None }).unwrap();
        }
        table.delete(RecordId(3)).unwrap();
    }
    let db = reopened(&folder, db);
    for size in sizes {
        let table = db.table(&format!("b{size}")).unwrap();
        for value in [0, 1, 2, 4] {
            let mut bytes = vec![0xEE; size];
            table.fetch(RecordId(value), RecordMut { bytes: &mut bytes, nulls: None }).unwrap();
            assert!(bytes.iter().all(|byte| u64::from(*byte) == value), "size {size}");
        }
        assert_error(table.fetch_json(RecordId(3), JsonStyle::default()), Error::NotFound, &[]);
    }
    let result = diamonddb::Schema::parse(r#"{"b": ["bytes", 65536], "c": ["u8"]}"#);
    assert_error(result, Error::TooLarge, &["65536"]);
}
