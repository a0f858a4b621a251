//! What the command-line tool promises, checked on the built tool as a script would use it.

#![cfg(feature = "cli")]

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const TOOL: &str = env!("CARGO_BIN_EXE_diamonddb");
const PEOPLE: &str = "name,age,height,member,since\n\
    Abby,29,1.70,true,2013-01-01T10:00:00Z\n\
    Bob,NA,,false,NA\n\
    Çelik,007,1e0,true,2013-01-01T10:00:00.5+02:00\n";

/// A folder of its own for each test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("diamonddb-cli-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(TOOL);
        command.current_dir(&self.0).args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Answer { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn run_with_input(&self, arguments: &[&str], input: &str) -> Answer {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Answer { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// A database `db` with a table `rows` of whole numbers: the ids, and their squares.
    fn with_squares(count: u64) -> Scratch {
        let scratch = Scratch::new();
        scratch.write("rows.csv", squares(count));
        scratch.run(&["import", "rows.csv", "db", "rows"]).succeeds();
        scratch
    }

    fn table_names(&self) -> Vec<String> {
        let answer = self.run(&["tables", "db", "--format", "csv"]).succeeds();
        answer.out.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn squares(count: u64) -> String {
    let rows: String = (0..count).map(|number| format!("{number},{}\n", number * number)).collect();
    format!("number,square\n{rows}")
}

/// What the tool said and how it left.
#[derive(Debug)]
struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Answer {
    #[track_caller]
    fn succeeds(self) -> Answer {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Left with this code, one sentence of its own on standard error, and nothing on standard output.
    #[track_caller]
    fn fails(self, code: i32) -> Answer {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        assert!(self.err.starts_with("diamonddb: "), "{self:?}");
        self
    }

    #[track_caller]
    fn says(self, words: &str) -> Answer {
        assert!(self.err.contains(words), "{words:?} is missing in {self:?}");
        self
    }

    /// The line of standard error that is JSON.
    fn shown_schema(&self) -> &str {
        self.err.lines().find(|line| line.starts_with('{')).expect("a schema is shown")
    }
}

#[test]
fn an_import_guesses_the_schema_from_the_data_and_shows_it() {
    let scratch = Scratch::new();
    scratch.write("people.csv", PEOPLE);
    let answer =
        scratch.run(&["import", "people.csv", "db", "people"]).succeeds().says("Imported 3 rows as ids 0 to 2");
    assert_eq!(answer.out, "");
    let schema: serde_json::Value = serde_json::from_str(answer.shown_schema()).unwrap();
    let wanted = serde_json::json!({
        "name": ["string", 8], "age": ["string", 8], "height": ["f64"], "member": ["bool"], "since": ["timestamp"],
    });
    assert_eq!(schema, wanted);
    assert_eq!(schema.as_object().unwrap().keys().collect::<Vec<_>>(), ["name", "age", "height", "member", "since"]);
    let stored = scratch.run(&["schema", "db", "people"]).succeeds().out;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stored).unwrap(), wanted);
}

#[test]
fn na_and_empty_are_null_and_other_values_are_kept() {
    let scratch = Scratch::new();
    scratch.write("people.csv", PEOPLE);
    scratch.run(&["import", "people.csv", "db", "people"]).succeeds().says(r#""NA" was taken for null 1 times"#);
    let rows = scratch.run(&["scan", "db", "people", "--format", "csv"]).succeeds().out;
    let wanted = "id,name,age,height,member,since\n\
        0,Abby,29,1.7,true,2013-01-01T10:00:00Z\n\
        1,Bob,,,false,\n\
        2,Çelik,007,1,true,2013-01-01T08:00:00.5Z\n";
    assert_eq!(rows, wanted);
}

#[test]
fn widths_are_rounded_up_and_a_column_of_nulls_says_so() {
    let scratch = Scratch::new();
    scratch.write("words.csv", format!("word,gap\n{},\n", "x".repeat(57)));
    let answer = scratch.run(&["import", "words.csv", "db", "words"]).succeeds().says("\"gap\" is null in every row");
    let schema: serde_json::Value = serde_json::from_str(answer.shown_schema()).unwrap();
    assert_eq!(schema, serde_json::json!({"word": ["string", 72], "gap": ["string", 8]}));
}

#[test]
fn the_schema_that_was_shown_can_be_given_as_text_or_as_a_file() {
    let scratch = Scratch::new();
    scratch.write("people.csv", PEOPLE);
    let shown = scratch.run(&["import", "people.csv", "db", "guessed"]).succeeds().shown_schema().to_owned();
    scratch.write("schema.json", &shown);
    scratch.run(&["import", "people.csv", "db", "given", "--schema", &shown]).succeeds();
    scratch.run(&["import", "people.csv", "db", "filed", "--schema", "@schema.json"]).succeeds();
    let rows_of = |table| scratch.run(&["scan", "db", table]).succeeds().out;
    assert_eq!(rows_of("given"), rows_of("guessed"));
    assert_eq!(rows_of("filed"), rows_of("guessed"));
}

#[test]
fn a_given_schema_decides_over_the_data() {
    let scratch = Scratch::new();
    scratch.write("people.csv", "name,age\nAbby,29\n");
    let schema = r#"{"age": ["u8"], "name": ["string", 15], "nick": ["string", 4]}"#;
    scratch.run(&["import", "people.csv", "db", "people", "--schema", schema]).succeeds();
    let rows = scratch.run(&["scan", "db", "people", "--format", "csv"]).succeeds().out;
    assert_eq!(rows, "id,age,name,nick\n0,29,Abby,\n");

    scratch.run(&["import", "people.csv", "db", "other", "--schema", "{\"name\": 7}"]).fails(2);
    scratch.run(&["import", "people.csv", "db", "other", "--schema", "@missing.json"]).fails(2).says("missing.json");
    assert_eq!(scratch.table_names(), ["people"]);
}

#[test]
fn a_bad_row_stops_the_import_and_a_new_table_is_not_there_at_all() {
    let scratch = Scratch::with_squares(3);
    // The bad row comes after two whole commits.
    let rows: String = (0..25_000).map(|number| format!("{number}\r\n")).collect();
    scratch.write("bad.csv", format!("number\r\n{rows}many\r\n"));
    let answer = scratch.run(&["import", "bad.csv", "db", "new", "--schema", r#"{"number": ["i64"]}"#]).fails(3);
    answer
        .says("bad.csv, line 25002, column \"number\": \"many\" is not a whole number")
        .says("there is no table \"new\"");
    assert_eq!(scratch.table_names(), ["rows"]);
    scratch.run(&["scan", "db", "new"]).fails(1);
}

#[test]
fn a_row_of_another_length_is_a_bad_row_found_before_anything_is_made() {
    let scratch = Scratch::new();
    scratch.write("bad.csv", "a,b\n1,2\n\n3\n");
    scratch.run(&["import", "bad.csv", "db", "new"]).fails(3).says("line 4, column \"b\": is missing");
    scratch.write("bad.csv", "a,b\n1,2,3\n");
    scratch.run(&["import", "bad.csv", "db", "new"]).fails(3).says("line 2, column 3: is one too many");
    scratch.write("bad.csv", b"a,b\n1,\xff\n");
    scratch.run(&["import", "bad.csv", "db", "new"]).fails(3).says("line 2, column \"b\": the text is not UTF-8");
    assert!(!scratch.path("db").exists());
}

#[test]
fn an_existing_table_is_told_exactly_where_the_import_stopped_and_can_go_on_there() {
    let scratch = Scratch::with_squares(10);
    scratch.write("more.csv", "square,number\n100,10\n121,11\nmany,12\n169,13\n");
    let answer = scratch.run(&["import", "more.csv", "db", "rows"]).fails(3);
    answer
        .says("more.csv, line 4, column \"square\": \"many\"")
        .says("Saved 2 rows as ids 10 to 11.")
        .says("--from-line 4");
    let answer = scratch.run(&["import", "more.csv", "db", "rows", "--from-line", "4"]).fails(3);
    answer.says("Saved 0 rows.").says("--from-line 4");

    scratch.write("more.csv", "square,number\n100,10\n121,11\n144,12\n169,13\n");
    let answer = scratch.run(&["import", "more.csv", "db", "rows", "--from-line", "4"]).succeeds();
    answer.says("Imported 2 rows as ids 12 to 13");
    let rows = scratch.run(&["export", "db", "rows"]).succeeds().out;
    assert_eq!(rows, squares(14));
}

#[test]
fn rows_before_a_bad_one_are_saved_in_commits_and_counted_together() {
    let scratch = Scratch::with_squares(1);
    let rows: String = (0..25_000).map(|number| format!("{number}\n")).collect();
    scratch.write("more.csv", format!("number\n{rows}many\n"));
    let answer = scratch.run(&["import", "more.csv", "db", "rows"]).fails(3);
    answer.says("Saved 25000 rows as ids 1 to 25000.").says("--from-line 25002");
}

#[test]
fn bad_rows_are_counted_and_skipped_when_asked() {
    let scratch = Scratch::new();
    let bad = "x\n".repeat(7);
    scratch.write("some.csv", format!("number,square\n1,1\n{bad}2,many\n3,9\n"));
    let schema = r#"{"number": ["i64"], "square": ["i64"]}"#;
    let answer = scratch.run(&["import", "some.csv", "db", "rows", "--skip-bad", "--schema", schema]).succeeds();
    assert_eq!(answer.err.matches("Skipped some.csv, line").count(), 5);
    answer.says("line 3, column \"square\"").says("Skipped 8 bad rows in all").says("Imported 2 rows as ids 0 to 1");

    // Rows that are no rows have no say in the guess either.
    let answer = scratch.run(&["import", "some.csv", "db", "guessed", "--skip-bad"]).succeeds();
    answer.says("Skipped 7 bad rows in all").says("Imported 3 rows");
}

#[test]
fn an_import_killed_in_the_middle_leaves_no_table_and_the_next_one_clears_up() {
    let scratch = Scratch::with_squares(1);
    let schema = r#"{"number": ["i64"], "square": ["i64"]}"#;
    let mut command = scratch.command(&["import", "-", "db", "new", "--schema", schema]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // A pipe holds 64 KiB, so when all is written, the tool has read enough for several commits; and it waits for more.
    child.stdin.as_mut().unwrap().write_all(squares(50_000).as_bytes()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    scratch.run(&["schema", "db", "new"]).fails(1);
    let names = scratch.table_names();
    assert!(names.iter().any(|name| name.starts_with("new.importing-")), "{names:?}");
    scratch.run(&["import", "rows.csv", "db", "new"]).succeeds().says("left by an import that did not finish");
    assert_eq!(scratch.table_names(), ["new", "rows"]);
}

#[test]
fn columns_match_fields_by_name_and_extra_ones_are_named() {
    let scratch = Scratch::with_squares(1);
    scratch.write("more.csv", "square\n49\n");
    scratch.run(&["import", "more.csv", "db", "rows"]).succeeds();
    let rows = scratch.run(&["scan", "db", "rows", "--format", "csv"]).succeeds().out;
    assert_eq!(rows, "id,number,square\n0,0,0\n1,,49\n");
    scratch.write("more.csv", "square,cube,root\n49,343,2.6\n");
    scratch.run(&["import", "more.csv", "db", "rows"]).fails(3).says("\"cube\", \"root\"");
    let other = r#"{"square": ["i64"]}"#;
    scratch.run(&["import", "more.csv", "db", "rows", "--schema", other]).fails(2).says("exists with another schema");
}

#[test]
fn a_required_field_needs_its_column_and_a_value() {
    let scratch = Scratch::new();
    let schema = r#"{"name": ["string", 8, "required"], "age": ["u8"]}"#;
    scratch.write("people.csv", "age\n7\n");
    scratch.run(&["import", "people.csv", "db", "people", "--schema", schema]).fails(3).says("requires");
    assert!(!scratch.path("db").exists());
    scratch.write("people.csv", "age,name\n7,Abby\n8,NA\n");
    let answer = scratch.run(&["import", "people.csv", "db", "people", "--schema", schema]).fails(3);
    answer.says("line 3, column \"name\": is null");
}

#[test]
fn a_header_that_does_not_name_every_column_once_is_refused() {
    let scratch = Scratch::new();
    for (header, words) in
        [("a,,c\n", "no name for column 2"), ("a,b,a\n", "both column 1 and column 3"), ("", "empty")]
    {
        scratch.write("bad.csv", header);
        scratch.run(&["import", "bad.csv", "db", "new"]).fails(3).says(words);
    }
    scratch.run(&["import", "missing.csv", "db", "new"]).fails(3).says("missing.csv");
    assert!(!scratch.path("db").exists());
}

#[test]
fn the_texts_for_null_and_the_delimiter_can_be_chosen() {
    let scratch = Scratch::new();
    scratch.write("codes.csv", "code\tcount\nNA\t-\n\t?\nDE\t7\n");
    let options = ["--delimiter", "\\t", "--null", "-", "--null", "?"];
    scratch.run(&[&["import", "codes.csv", "db", "codes"][..], &options].concat()).succeeds();
    let rows = scratch.run(&["scan", "db", "codes", "--format", "json"]).succeeds().out;
    let rows: Vec<serde_json::Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows[0]["code"].as_str(), rows[0]["count"].as_i64()), (Some("NA"), None));
    assert_eq!((rows[1]["code"].as_str(), rows[1]["count"].as_i64()), (Some(""), None));
    assert_eq!((rows[2]["code"].as_str(), rows[2]["count"].as_i64()), (Some("DE"), Some(7)));
}

#[test]
fn standard_input_is_a_file_too_and_quiet_says_nothing() {
    let scratch = Scratch::with_squares(100);
    let answer = scratch.run_with_input(&["import", "-", "db", "copy", "--quiet"], &squares(100)).succeeds();
    assert_eq!((answer.out.as_str(), answer.err.as_str()), ("", ""));
    let rows_of = |table| scratch.run(&["export", "db", table]).succeeds().out;
    assert_eq!(rows_of("copy"), rows_of("rows"));
    let answer = scratch.run_with_input(&["import", "-", "db", "other"], "a,b\n1\n").fails(3);
    answer.says("standard input, line 2, column \"b\"");
}

#[test]
fn an_import_draws_no_bar_where_there_is_no_terminal() {
    let scratch = Scratch::new();
    scratch.write("rows.csv", squares(30_000));
    let answer = scratch.run(&["import", "rows.csv", "db", "rows"]).succeeds();
    assert!(!answer.err.contains('\r'), "{answer:?}");
    assert!(!answer.err.contains('\u{1b}'), "{answer:?}");
}

#[test]
fn get_prints_one_record_in_the_form_asked_for() {
    let scratch = Scratch::with_squares(10);
    let get = |more: &[&str]| scratch.run(&[&["get", "db", "rows", "7"][..], more].concat()).succeeds().out;
    let record: serde_json::Value = serde_json::from_str(&get(&[])).unwrap();
    assert_eq!(record, serde_json::json!({"_id": 7, "number": 7, "square": 49}));
    assert_eq!(get(&["--format", "csv"]), "id,number,square\n7,7,49\n");
    assert_eq!(get(&["--format", "table"]), "id  number  square\n--  ------  ------\n 7       7      49\n");
}

#[test]
fn what_is_not_there_has_the_exit_code_1() {
    let scratch = Scratch::with_squares(10);
    scratch.run(&["get", "db", "rows", "10"]).fails(1);
    scratch.run(&["get", "db", "rows", "10", "--format", "csv"]).fails(1);
    scratch.run(&["get", "db", "other", "0"]).fails(1).says("other");
    scratch.run(&["scan", "db", "other"]).fails(1).says("other");
}

#[test]
fn a_database_that_does_not_exist_is_an_error_and_is_not_made() {
    let scratch = Scratch::new();
    for arguments in [
        &["get", "nowhere", "rows", "0"][..],
        &["scan", "nowhere", "rows"],
        &["schema", "nowhere", "rows"],
        &["tables", "nowhere"],
        &["stats", "nowhere"],
        &["verify", "nowhere"],
        &["export", "nowhere", "rows"],
        &["export", "nowhere", "rows", "out.csv"],
    ] {
        scratch.run(arguments).fails(1).says("nowhere");
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 0, "{arguments:?}");
    }
}

#[test]
fn scan_takes_a_range_a_limit_and_a_direction() {
    let scratch = Scratch::with_squares(5_000);
    let ids = |more: &[&str]| -> Vec<u64> {
        let arguments = [&["scan", "db", "rows", "--format", "csv"][..], more].concat();
        let out = scratch.run(&arguments).succeeds().out;
        out.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect()
    };
    assert_eq!(ids(&[]), (0..5_000).collect::<Vec<_>>());
    assert_eq!(ids(&["--from", "3", "--to", "6"]), [3, 4, 5]);
    assert_eq!(ids(&["--from", "4998"]), [4_998, 4_999]);
    assert_eq!(ids(&["--limit", "3"]), [0, 1, 2]);
    assert_eq!(ids(&["--limit", "2000"]), (0..2_000).collect::<Vec<_>>());
    assert_eq!(ids(&["--reverse", "--to", "10", "--limit", "2"]), [9, 8]);
    assert!(ids(&["--limit", "0"]).is_empty());
    assert!(ids(&["--from", "9000"]).is_empty());
}

#[test]
fn scan_prints_a_table_csv_or_json() {
    let scratch = Scratch::with_squares(11);
    let scan = |format| scratch.run(&["scan", "db", "rows", "--from", "9", "--format", format]).succeeds().out;
    assert_eq!(scan("csv"), "id,number,square\n9,9,81\n10,10,100\n");
    assert_eq!(scan("table"), "id  number  square\n--  ------  ------\n 9       9      81\n10      10     100\n");
    assert_eq!(scan("table"), scratch.run(&["scan", "db", "rows", "--from", "9"]).succeeds().out);
    let json = scan("json");
    assert!(json.starts_with("{\"_id\":9,"), "{json}");
    assert_eq!(json.lines().count(), 2);
}

#[test]
fn an_id_makes_way_for_a_field_of_the_same_name() {
    let scratch = Scratch::new();
    scratch.write("rows.csv", "id,_id\n7,8\n");
    scratch.run(&["import", "rows.csv", "db", "rows"]).succeeds();
    let csv = scratch.run(&["scan", "db", "rows", "--format", "csv"]).succeeds().out;
    assert_eq!(csv, "__id,id,_id\n0,7,8\n");
    let json = scratch.run(&["get", "db", "rows", "0"]).succeeds().out;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["__id"], 0);
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_scan_quietly() {
    let scratch = Scratch::with_squares(50_000);
    for arguments in [
        &["scan", "db", "rows"][..],
        &["scan", "db", "rows", "--format", "csv"],
        &["scan", "db", "rows", "--format", "json"],
        &["export", "db", "rows"],
    ] {
        let mut child = scratch.command(arguments).spawn().unwrap();
        let mut start = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut start).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{arguments:?}");
    }
}

#[test]
fn an_export_imports_as_the_same_table() {
    let scratch = Scratch::new();
    scratch.write("people.csv", PEOPLE.replace("Abby", "\"Abby, \"\"A\"\"\nof old\""));
    scratch.run(&["import", "people.csv", "db", "people"]).succeeds();
    scratch.run(&["export", "db", "people", "out.csv"]).succeeds();
    let schema = scratch.run(&["schema", "db", "people"]).succeeds().out;
    scratch.run(&["import", "out.csv", "db", "copy", "--schema", &schema]).succeeds();
    let rows_of = |table| scratch.run(&["scan", "db", table, "--format", "json"]).succeeds().out;
    assert_eq!(rows_of("copy"), rows_of("people"));
}

#[test]
fn an_export_writes_ids_json_and_other_nulls_when_asked() {
    let scratch = Scratch::new();
    scratch.write("rows.csv", "a,b\n1,\n2,x\n");
    scratch.run(&["import", "rows.csv", "db", "rows"]).succeeds();
    let export = |more: &[&str]| scratch.run(&[&["export", "db", "rows", "-"][..], more].concat()).succeeds().out;
    assert_eq!(export(&[]), "a,b\n1,\n2,x\n");
    assert_eq!(export(&["--with-ids", "--delimiter", ";"]), "id;a;b\n0;1;\n1;2;x\n");
    assert_eq!(export(&["--null", "\\N"]), "a,b\n1,\\N\n2,x\n");
    let json = export(&["--format", "json"]);
    assert!(!json.contains("_id"), "{json}");
    assert!(export(&["--format", "json", "--with-ids"]).starts_with("{\"_id\":0,"));
}

#[test]
fn an_export_says_when_a_value_would_come_back_as_null() {
    let scratch = Scratch::new();
    scratch.write("codes.csv", "code,more\nNA,x\n-,x\n,y\n");
    scratch.run(&["import", "codes.csv", "db", "codes", "--null", "-"]).succeeds();
    scratch.run(&["export", "db", "codes", "a.csv"]).succeeds().says("1 values read \"\", as null does here");
    scratch.run(&["export", "db", "codes", "b.csv", "--null", "-"]).succeeds().says("tell import by --null");
    scratch.run(&["import", "b.csv", "db", "copy", "--null", "-"]).succeeds();
    let rows_of = |table| scratch.run(&["scan", "db", table, "--format", "json"]).succeeds().out;
    assert_eq!(rows_of("copy"), rows_of("codes"));
}

#[test]
fn an_export_that_fails_leaves_no_half_file_and_an_old_one_as_it_was() {
    let scratch = Scratch::with_squares(10);
    scratch.write("out.csv", "old");
    scratch.run(&["export", "db", "other", "out.csv"]).fails(1);
    assert_eq!(scratch.read("out.csv"), "old");
    scratch.run(&["export", "db", "rows", "nowhere/out.csv"]).fails(4).says("nowhere/out.csv");
    scratch.run(&["export", "db", "rows", "/dev/full"]).fails(4);
    scratch.run(&["export", "db", "rows", "out.csv"]).succeeds();
    assert_eq!(scratch.read("out.csv"), squares(10));
    let mut names: Vec<_> = fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["db", "out.csv", "rows.csv"]);
}

#[test]
fn schema_layout_tables_and_stats_say_what_is_there() {
    let scratch = Scratch::with_squares(10);
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&scratch.run(arguments).succeeds().out).unwrap()
    };
    assert_eq!(json(&["schema", "db", "rows"]), serde_json::json!({"number": ["i64"], "square": ["i64"]}));
    assert!(json(&["stats", "db"]).is_object());
    let tables = json(&["tables", "db", "--format", "json"]);
    assert_eq!(tables, serde_json::json!({"name": "rows", "records": 10, "next_id": 10, "record_size": 16}));
    let layout = scratch.run(&["schema", "db", "rows", "--layout"]).succeeds().out;
    assert!(layout.contains("     8     8  i64   no        square\n"), "{layout}");
    assert!(layout.contains("record size 16, alignment 8, slot size 24"), "{layout}");
    let tables = scratch.run(&["tables", "db"]).succeeds().out;
    assert!(tables.ends_with("rows       10       10           16\n"), "{tables}");
}

#[test]
fn verify_finds_nothing_in_a_sound_database() {
    let scratch = Scratch::with_squares(10);
    let out = scratch.run(&["verify", "db"]).succeeds().out;
    assert!(out.contains("records 10, findings 0"), "{out}");
}

#[test]
fn damage_has_the_exit_code_5() {
    let scratch = Scratch::with_squares(5_000);
    let files = fs::read_dir(scratch.path("db/data")).unwrap().map(|entry| entry.unwrap().path());
    let plain = files.filter(|path| path.extension().is_none());
    let largest = plain.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    // The header takes the first 4,096 bytes; records follow.
    flip_byte(&largest, 4_096 + 1_000);
    let answer = scratch.run(&["verify", "db"]);
    assert_eq!(answer.code, Some(5), "{answer:?}");
    answer.says("diamonddb: ");
    let answer = scratch.run(&["scan", "db", "rows", "--format", "csv"]);
    assert_eq!(answer.code, Some(5), "{answer:?}");
}

#[test]
fn a_salvage_takes_what_verifies_and_lists_what_is_lost() {
    let scratch = Scratch::with_squares(5_000);
    scratch.run(&["import", "rows.csv", "db", "others"]).succeeds();
    let answer = scratch.run(&["salvage", "db", "whole"]).succeeds();
    assert!(answer.out.contains("rows       5000           0         0"), "{answer:?}");
    assert_eq!(answer.err, "");

    // The third page of 256 slots of 24 bytes, in the first table's file.
    flip_byte(&scratch.path("db/data/2"), 4_096 + 512 * 24 + 42 * 24);
    let before = files_with_times(&scratch.path("db"));
    let answer = scratch.run(&["salvage", "db", "new", "--report", "lost.json"]);
    assert_eq!(answer.code, Some(5), "{answer:?}");
    answer.says("ids 512 to 767 of table \"rows\"");
    let lost: serde_json::Value = serde_json::from_str(scratch.read("lost.json").trim()).unwrap();
    assert_eq!((lost["first_id"].as_u64(), lost["last_id"].as_u64()), (Some(512), Some(767)));
    assert_eq!((lost["table"].as_str(), lost["file"].as_str()), (Some("rows"), Some("data/2")));
    assert_eq!(files_with_times(&scratch.path("db")), before, "the source is only read");

    let out = scratch.run(&["verify", "new"]).succeeds().out;
    assert!(out.contains("tables 2, "), "{out}");
    scratch.run(&["get", "new", "rows", "511"]).succeeds();
    scratch.run(&["get", "new", "rows", "512"]).fails(1);
    scratch.run(&["get", "new", "rows", "768"]).succeeds();
    scratch.run(&["get", "new", "others", "512"]).succeeds();
    scratch.run(&["salvage", "db", "new"]).fails(2);
    scratch.run(&["salvage", "db", "again", "--report", "lost.json"]).fails(2);
    let answer = scratch.run(&["salvage", "db", "bold", "--unverified"]).succeeds();
    assert!(answer.out.contains("rows       5000         256         0"), "{answer:?}");
}

/// Names, bytes and times of all files of a database.
fn files_with_times(folder: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let folders = ["", "wal", "data"].map(|name| folder.join(name));
    let paths = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let times = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let mut files: Vec<_> =
        paths.map(|path| (path.clone(), fs::read(&path).unwrap_or_default(), times(&path))).collect();
    files.sort();
    files
}

fn flip_byte(path: &Path, offset: u64) {
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&[!byte[0]]).unwrap();
}

#[test]
fn a_database_that_another_process_writes_to_has_the_exit_code_4() {
    let scratch = Scratch::with_squares(10);
    let _held = diamonddb::Database::open(scratch.path("db"), &diamonddb::OpenOptions::default()).unwrap();
    scratch.run(&["import", "rows.csv", "db", "rows"]).fails(4);
}

#[test]
fn a_backup_is_a_database_like_the_first_which_is_not_written_to() {
    let scratch = Scratch::with_squares(100_000);
    // As a kill leaves it, with all to recover.
    let open = diamonddb::Database::open(scratch.path("db"), &diamonddb::OpenOptions::default()).unwrap();
    open.table("rows").unwrap().save_json(r#"{"number": 7, "square": 50}"#).unwrap();
    let copied = Command::new("cp").arg("-r").args([scratch.path("db"), scratch.path("killed")]).status().unwrap();
    assert!(copied.success());
    drop(open);
    for (source, target) in [("db", "one"), ("killed", "two"), ("one", "three")] {
        let before = files(&scratch.path(source));
        let answer = scratch.run(&["backup", source, target]).succeeds().says("Backed up 1 table, ");
        assert_eq!(answer.out, "");
        assert!(answer.err.trim_end().ends_with(&format!(" to {target}.")), "{answer:?}");
        assert!(files(&scratch.path(source)) == before, "{source} is as it was");
        let rows = scratch.run(&["scan", target, "rows", "--format", "csv"]).succeeds().out;
        assert_eq!(rows.lines().count(), 100_002);
        assert!(rows.ends_with("100000,7,50\n"), "{}", &rows[rows.len() - 40..]);
        scratch.run(&["verify", target]).succeeds();
    }
    assert_eq!(scratch.run(&["backup", "db", "quiet", "--quiet"]).succeeds().err, "");
}

/// Names and bytes of all files below a folder.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn a_backup_that_cannot_be_says_why_and_leaves_nothing() {
    let scratch = Scratch::with_squares(20_000);
    scratch.run(&["backup", "nowhere", "copy"]).fails(1).says("no database nowhere");
    scratch.run(&["backup", "db", "nowhere/copy"]).fails(1).says("does not exist");
    scratch.run(&["backup", "db", "db/copy"]).fails(2).says("lies in it");
    scratch.run(&["backup", "db", "."]).fails(2).says("not empty");
    scratch.run(&["backup", "db", "rows.csv"]).fails(2).says("not a folder");
    scratch.run(&["backup", "db"]).fails(2).says("DEST");
    let held = diamonddb::Database::open(scratch.path("db"), &diamonddb::OpenOptions::default()).unwrap();
    let holder = format!("db is held by process {}", std::process::id());
    scratch.run(&["backup", "db", "copy"]).fails(4).says(&holder);
    held.close().unwrap();
    let mut file = File::options().read(true).write(true).open(scratch.path("db/data/2")).unwrap();
    file.seek(SeekFrom::Start(5000)).unwrap();
    let mut byte = [0];
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(5000)).unwrap();
    file.write_all(&[!byte[0]]).unwrap();
    scratch.run(&["backup", "db", "copy"]).fails(5).says("page 0");
    assert!(!scratch.path("copy").exists());
}

#[test]
fn a_wrong_command_line_has_the_exit_code_2_and_help_lists_the_codes() {
    let scratch = Scratch::new();
    for arguments in [
        &[][..],
        &["fly"],
        &["get", "db", "rows"],
        &["get", "db", "rows", "seven"],
        &["scan", "db", "rows", "--format", "xml"],
        &["import", "a.csv", "db", "rows", "--delimiter", "ab"],
    ] {
        scratch.run(arguments).fails(2);
    }
    let help = scratch.run(&["--help"]).succeeds();
    assert_eq!(help.err, "");
    assert!(help.out.contains("Exit codes:"), "{help:?}");
    assert!(scratch.run(&["--version"]).succeeds().out.contains(diamonddb::VERSION));
}

/// A file that lies beside the tests, if it does.
fn data(name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    path.exists().then(|| path.display().to_string())
}

#[test]
fn the_cities_of_the_world_go_in_and_come_out_again() {
    let Some(cities) = data("cities.csv") else { return };
    let scratch = Scratch::new();
    // NA is the code of Namibia here.
    let answer = scratch.run(&["import", &cities, "db", "cities", "--null", ""]).succeeds();
    let answer = answer.says("Imported 34006 rows as ids 0 to 34005");
    let wanted = serde_json::json!({
        "geonameid": ["i64"], "name": ["string", 72], "country": ["string", 8], "latitude": ["f64"],
        "longitude": ["f64"], "population": ["i64"], "timezone": ["string", 40],
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(answer.shown_schema()).unwrap(), wanted);
    scratch.run(&["export", "db", "cities", "out.csv"]).succeeds().says("which import takes for null");
    assert_eq!(scratch.read("out.csv").lines().count(), 34_007);
    scratch.run(&["import", "out.csv", "db", "copy", "--null", "", "--quiet"]).succeeds();
    let rows_of = |table| scratch.run(&["scan", "db", table, "--format", "csv"]).succeeds().out;
    assert_eq!(rows_of("copy"), rows_of("cities"));
}

#[test]
fn the_flights_of_a_month_come_out_as_they_went_in() {
    let Some(flights) = data("flights-2013-01.csv") else { return };
    let scratch = Scratch::new();
    scratch.run(&["import", &flights, "db", "flights"]).succeeds().says("Imported 27004 rows as ids 0 to 27003");
    scratch.run(&["export", "db", "flights", "out.csv", "--null", "NA"]).succeeds();
    assert!(scratch.read("out.csv") == fs::read_to_string(flights).unwrap(), "the export differs from the import");
}
