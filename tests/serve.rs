//! What `diamonddb serve` promises, checked on the built tool: by raw HTTP, by curl, and by clients that mean no good.
//!
//! `DIAMOND_SECONDS` is how long the load lasts around its `kill -9` (3 if not given), `DIAMOND_SEED` the seed of the
//! random requests, `DIAMOND_ROUNDS` how many there are (10,000).

#![cfg(feature = "cli")]

mod kit;

use diamonddb::{Database, OpenOptions, Schema};
use kit::Folder;
use kit::writer::Random;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const TOOL: &str = env!("CARGO_BIN_EXE_diamonddb");
/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder in which servers and commands of one test run, with the database `db`.
struct Place(Folder);

impl Place {
    fn new() -> Place {
        let folder = Folder::new();
        fs::create_dir_all(folder.path()).unwrap();
        Place(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(TOOL);
        command.current_dir(self.0.path()).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        command.env_remove("PORT").env_remove("DIAMOND_TOKEN");
        command
    }

    /// A server of `db` on a port of its own, when it serves.
    fn serve(&self, options: &[&str]) -> Server {
        Server::start(self, &[&["serve", "db", "--port", "0"], options].concat(), &[])
    }

    /// The code with which a command leaves that is to fail, and its sentence.
    #[track_caller]
    fn fails(&self, arguments: &[&str], variables: &[(&str, &str)], code: i32, words: &str) {
        let output = self.command(arguments).envs(variables.iter().copied()).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.starts_with("diamonddb: ") && said.contains(words), "{words:?} is missing in {said}");
        assert!(output.stdout.is_empty());
    }
}

/// A running server. It is killed when dropped.
struct Server {
    child: Child,
    address: String,
    log: PathBuf,
}

impl Server {
    fn start(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Server {
        Server::run(place, place.command(arguments).envs(variables.iter().copied()))
    }

    fn run(place: &Place, command: &mut Command) -> Server {
        // In a file, so that a full pipe stops nobody.
        let log = place.path("log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut child = command.current_dir(place.0.path()).stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap_or_else(|| {
            panic!("the server did not start: {}", fs::read_to_string(&log).unwrap());
        });
        Server { address: address.to_owned(), child, log }
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { host: self.address.clone(), stream: BufReader::new(stream) }
    }

    fn port(&self) -> &str {
        self.address.rsplit_once(':').unwrap().1
    }

    fn query(&self, message: &Value) -> String {
        let reply = self.client().post("/query", &message.to_string());
        assert_eq!(reply.status, 200);
        reply.body
    }

    fn make(&self, name: &str, schema: Value) {
        let message = json!({"operation": "TABLE_CREATE", "data": {"name": name, "schema": schema}});
        assert_eq!(self.query(&message), "1");
    }

    fn save(&self, table: &str, record: Value) -> String {
        self.query(&json!({"operation": "SAVE", "data": {"table": table, "body": record}}))
    }

    fn fetch(&self, table: &str, id: u64) -> Value {
        let record = self.query(&json!({"operation": "FETCH", "data": {"table": table, "id": id}}));
        serde_json::from_str(&record).unwrap()
    }

    /// The sentence of a message that fails, which is the same in either style of reply.
    #[track_caller]
    fn fails(&self, message: &Value) -> String {
        let texts = ["/query", "/query?reply=message"].map(|path| self.client().post(path, &message.to_string()));
        assert_eq!(texts[0].body, texts[1].body);
        assert_eq!((texts[0].status, texts[1].status), (200, 200));
        let reply = texts[0].json();
        assert_eq!(reply["operation"], "FAILURE", "{reply}");
        reply["data"].as_str().unwrap().to_owned()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it as a service manager does; it must leave by itself.
    #[track_caller]
    fn stop(mut self) {
        self.signal("TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log());
        let log = self.log();
        assert!(log.ends_with("diamonddb: Stopped; everything is on disk.\n"), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection.
struct Client {
    host: String,
    stream: BufReader<TcpStream>,
}

impl Client {
    fn get(&mut self, path: &str) -> Reply {
        self.request("GET", path, &[], "")
    }

    fn post(&mut self, path: &str, body: &str) -> Reply {
        self.request("POST", path, &[], body)
    }

    fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.send(self.head(method, path, headers, body.len()));
        self.send(body);
        self.reply(method).expect("the server answers")
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], size: usize) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        let mut add = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
        if !headers.iter().any(|(name, _)| *name == "Host") {
            add("Host", &self.host);
        }
        if size > 0 {
            add("Content-Length", &size.to_string());
        }
        headers.iter().for_each(|(name, value)| add(name, value));
        head + "\r\n"
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// The next reply, or none if the connection ends before one.
    fn reply(&mut self, method: &str) -> Option<Reply> {
        let line = self.line()?;
        let mut reply =
            Reply { status: line.split(' ').nth(1)?.parse().ok()?, headers: Vec::new(), body: String::new() };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            reply.headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let size = reply.header("content-length").map_or(0, |size| size.parse().unwrap());
        let mut body = vec![0; if method == "HEAD" { 0 } else { size }];
        self.stream.read_exact(&mut body).ok()?;
        reply.body = String::from_utf8(body).expect("a body is UTF-8");
        Some(reply)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no reply: {error}"),
        }
    }

    /// That the server ends the connection, and says nothing more.
    #[track_caller]
    fn ends(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(String::from_utf8_lossy(&rest), ""),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

/// What the server answered.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Reply {
    fn header(&self, wanted: &str) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// That it is an error of this status with a sentence that has these words.
    #[track_caller]
    fn says(self, status: u16, words: &str) -> Reply {
        assert_eq!(self.status, status, "{self:?}");
        let sentence = self.json()["error"].as_str().unwrap().to_owned();
        assert!(sentence.contains(words), "{words:?} is missing in {sentence:?}");
        self
    }
}

fn people() -> Value {
    json!({"name": ["string", 15], "age": ["number", 3]})
}

// The first version's server ------------------------------------------------------------------------------------------

#[test]
fn the_messages_of_the_first_version_get_the_replies_of_its_manual() {
    let place = Place::new();
    let server = place.serve(&[]);
    let create = json!({"operation": "TABLE_CREATE", "data": {"name": "people", "schema": people()}});
    assert_eq!(server.query(&create), "1");
    let save = |key: &str, name: &str| {
        server.query(&json!({"operation": "SAVE", "data": {"table": "people", key: {"name": name, "age": 29}}}))
    };
    assert_eq!(save("body", "Abby"), "0");
    assert_eq!(save("record", "Bob"), "1");
    let fetch = |id: u64| server.query(&json!({"operation": "FETCH", "data": {"table": "people", "id": id}}));
    assert_eq!(fetch(0), r#"{"_id":0,"name":"Abby","age":29}"#);
    assert_eq!(fetch(1), r#"{"_id":1,"name":"Bob","age":29}"#);
    server.stop();
}

#[test]
fn the_messages_of_the_first_version_get_messages_where_they_are_asked_for() {
    let place = Place::new();
    let server = place.serve(&[]);
    let query = |message: Value| {
        let reply = server.client().post("/query?reply=message", &message.to_string());
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
        reply.json()
    };
    let create = json!({"operation": "TABLE_CREATE", "data": {"name": "people", "schema": people()}});
    assert_eq!(query(create), json!({"operation": "SUCCESS"}));
    let save = json!({"operation": "SAVE", "data": {"table": "people", "record": {"name": "Abby", "age": 29}}});
    let record = json!({"operation": "SUCCESS", "data": {"_id": 0, "name": "Abby", "age": 29}});
    assert_eq!(query(save), record);
    assert_eq!(query(json!({"operation": "FETCH", "data": {"table": "people", "id": 0}})), record);
}

#[test]
fn what_the_first_version_refused_is_refused_in_its_words() {
    let place = Place::new();
    let server = place.serve(&[]);
    server.make("people", json!({"name": ["string", 20], "age": ["number", 3], "p": ["string", 8]}));
    let save = |record: Value| server.fails(&json!({"operation": "SAVE", "data": {"table": "people", "body": record}}));
    assert_eq!(save(json!({"name": "Abby", "agg": 29})), "No key \"agg\" in schema.");
    assert_eq!(save(json!({"p": "030719861"})), "Value \"030719861\" too large for property \"p\".");
    assert_eq!(save(json!({"age": 1234})), "Value \"1234\" too large for property \"age\".");
    // A refused record takes no id.
    assert_eq!(server.save("people", json!({"name": "Abby"})), "0");
    let fetch = |id: Value| server.fails(&json!({"operation": "FETCH", "data": {"table": "people", "id": id}}));
    assert_eq!(fetch(json!(6)), "ERROR: no record at index 6 in table people");
    assert_eq!(fetch(json!(-1)), "ERROR: no record at index -1 in table people");
    assert_eq!(fetch(json!("99999999999999999999")), "ERROR: no record at index 99999999999999999999 in table people");
}

#[test]
fn what_crashed_or_hung_the_first_server_is_a_failure_that_names_what_was_wrong() {
    let place = Place::new();
    let server = place.serve(&[]);
    server.make("people", people());
    let mut client = server.client();
    for (body, words) in [
        (r#"{"operation": "SAVE", "data": {"table": "nobody", "body": {}}}"#, "there is no table nobody"),
        (r#"{"operation": "FETCH", "data": {"table": "nobody", "id": 0}}"#, "there is no table nobody"),
        (r#"{"operation": "FETCH", "data": {"table": "people", "id": 1.5}}"#, "The id is 1.5; an id is an integer"),
        (r#"{"operation": "FETCH", "data": {"table": "people", "id": {"a": 1}}}"#, "an id is an integer"),
        (r#"{"operation": "FETCH", "data": {"table": "people"}}"#, "FETCH needs data.id"),
        (r#"{"operation": "FETCH", "data": {"id": 0}}"#, "FETCH needs data.table"),
        (r#"{"operation": "FETCH"}"#, "FETCH needs data.table"),
        (r#"{"operation": "SAVE", "data": {"table": "people"}}"#, "SAVE needs data.body"),
        (r#"{"operation": "SAVE", "data": {"table": "people", "body": {}, "record": {}}}"#, "not both"),
        (r#"{"operation": "SAVE", "data": {"table": "people", "body": [1]}}"#, "a JSON object"),
        (r#"{"operation": "SAVE", "data": {"table": "people", "body": {"age": "old"}}}"#, "field \"age\""),
        (r#"{"operation": "SAVE", "data": {"table": "people", "body": {"age": 1, "age": 2}}}"#, "twice"),
        (r#"{"operation": "TABLE_CREATE", "data": {"name": "people"}}"#, "TABLE_CREATE needs data.schema"),
        (r#"{"operation": "TABLE_CREATE", "data": {"schema": {"a": ["number", 1]}}}"#, "TABLE_CREATE needs data.name"),
        (r#"{"operation": "TABLE_CREATE", "data": {"name": "x", "schema": []}}"#, "A schema is a JSON object"),
        (r#"{"operation": "TABLE_CREATE", "data": {"name": "x", "schema": {}}}"#, "at least one field"),
        (r#"{"operation": "TABLE_CREATE", "data": {"name": "x", "schema": {"a": ["text", 3]}}}"#, "unknown type"),
        (
            r#"{"operation": "TABLE_CREATE", "data": {"name": "x", "schema": {"a": ["number", 3], "a": ["bool"]}}}"#,
            "twice",
        ),
        (r#"{"operation": "TABLE_CREATE", "data": {"name": "", "schema": {"a": ["number", 3]}}}"#, "name has 1 to"),
        (r#"{"operation": "DROP"}"#, "There is no operation \"DROP\"; the operations are TABLE_CREATE, SAVE and FETCH"),
        ("{}", "A message has an operation"),
        ("{\"operation\": ", "A message is JSON"),
        ("people", "A message is JSON"),
        ("3", "A message is JSON"),
        ("", "A message is JSON"),
    ] {
        let reply = client.post("/query", body);
        assert_eq!(reply.status, 200, "{body}");
        let reply = reply.json();
        assert_eq!(reply["operation"], "FAILURE", "{body}");
        assert!(reply["data"].as_str().unwrap().contains(words), "{words:?} is missing in {reply} to {body}");
    }
    assert_eq!(server.save("people", json!({"name": "Abby"})), "0");
    server.stop();
}

#[test]
fn records_come_back_as_they_were_saved_in_any_order_of_keys_with_gaps_nulls_and_fractions() {
    let place = Place::new();
    let server = place.serve(&[]);
    server.make("people", json!({"name": ["string", 15], "age": ["number", 8], "born": ["string", 8]}));
    let records = [
        json!({"name": "Çelik", "age": 0.125, "born": "03071986"}),
        json!({"born": "03071986", "age": -1.5, "name": "Abby"}),
        json!({"age": 12}),
        json!({"name": null, "age": null, "born": "x"}),
        json!({}),
        json!({"name": "", "age": 0, "born": "  a  b "}),
    ];
    let check = |server: &Server| {
        for (id, record) in records.iter().enumerate() {
            let mut wanted = json!({"_id": id, "name": null, "age": null, "born": null});
            for (key, value) in record.as_object().unwrap() {
                wanted[key] = value.clone();
            }
            assert_eq!(server.fetch("people", id as u64), wanted);
        }
    };
    for (id, record) in records.iter().enumerate() {
        assert_eq!(server.save("people", record.clone()), id.to_string());
    }
    check(&server);
    server.stop();
    let again = place.serve(&[]);
    check(&again);
    assert_eq!(again.save("people", json!({})), "6");
}

#[test]
fn lengths_count_characters_as_they_did() {
    let place = Place::new();
    let server = place.serve(&[]);
    server.make("names", json!({"name": ["string", 4], "note": ["string", 4, "required"], "n": ["number", 99]}));
    assert_eq!(server.save("names", json!({"name": "éèêë", "note": "four", "n": 0.1})), "0");
    assert!(server.save("names", json!({"name": "éèêëé", "note": "four"})).contains("too large for property"));
    let schema = server.client().get("/tables/names").json()["schema"].clone();
    let wanted = json!({"name": ["string", 4, "characters"], "note": ["string", 4, "required"], "n": ["f64"]});
    assert_eq!(schema, wanted);
}

#[test]
fn a_text_that_is_a_number_is_as_good_as_the_number_and_the_other_way_round() {
    let place = Place::new();
    let server = place.serve(&[]);
    server.make("people", json!({"name": ["string", 8], "age": ["number", 5], "big": ["number", 30]}));
    assert_eq!(server.save("people", json!({"name": 3071986, "age": " 12.5", "big": "-1.2345678901234567e-6"})), "0");
    let wanted = json!({"_id": 0, "name": "3071986", "age": 12.5, "big": -1.2345678901234567e-6});
    assert_eq!(server.fetch("people", 0), wanted);
    assert!(server.save("people", json!({"name": 123456789})).contains("Value \\\"123456789\\\" too large"));
    for record in [json!({"age": "inf"}), json!({"age": ""}), json!({"name": [1]}), json!({"age": true})] {
        assert!(server.save("people", record).contains("is not valid for field"));
    }
    let twice = r#"{"operation": "SAVE", "data": {"table": "people", "body": {"age": "1", "name": "a", "age": "2"}}}"#;
    assert!(server.client().post("/query", twice).body.contains("twice"));
    assert_eq!(server.save("people", json!({"name": true})), "1");
}

#[test]
fn a_table_made_twice_is_the_same_and_with_another_schema_a_failure_that_says_how_they_differ() {
    let place = Place::new();
    let database = Database::open(place.path("db"), &OpenOptions::default()).unwrap();
    let bytes = Schema::parse(r#"{"word": ["string", 4]}"#).unwrap();
    database.make_table("words", &bytes).unwrap();
    database.close().unwrap();
    let server = place.serve(&[]);
    server.make("people", people());
    assert_eq!(server.save("people", json!({"name": "Abby"})), "0");
    server.make("people", json!({"age": ["number", 3], "name": ["string", 15]}));
    assert_eq!(server.save("people", json!({"name": "Bob"})), "1");
    assert_eq!(server.fetch("people", 0)["name"], "Abby");
    let other = json!({"name": ["string", 15], "age": ["number", 4]});
    let said = server.fails(&json!({"operation": "TABLE_CREATE", "data": {"name": "people", "schema": other}}));
    assert!(said.contains(r#"Field "age" is ["number",3] in the table and ["number",4]"#), "{said}");
    // Made by another program, in bytes.
    server.make("words", json!({"word": ["string", 4]}));
    // What a server says of a schema, it takes.
    let schema = server.client().get("/tables/people").json()["schema"].clone();
    server.make("people", schema);
    server.make("days", json!({"day": ["timestamp", "required"], "warm": ["bool"], "code": ["bytes", 2]}));
}

#[test]
fn names_that_broke_the_meta_file_are_names_like_others() {
    let place = Place::new();
    let names = ["a__b", "a.b;c", "../etc", "é ü/%", "__", "{\"a\":1}"];
    let server = place.serve(&[]);
    for name in names {
        server.make(name, json!({"x__.;y": ["number", 3]}));
        assert_eq!(server.save(name, json!({"x__.;y": 7})), "0");
    }
    server.stop();
    let server = place.serve(&[]);
    for name in names {
        assert_eq!(server.fetch(name, 0), json!({"_id": 0, "x__.;y": 7}));
        let path: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(server.client().get(&format!("/tables/{path}/0")).json()["_id"], 0);
    }
}

#[test]
fn the_examples_run_by_curl() {
    if Command::new("curl").arg("--version").output().is_err() {
        return;
    }
    let place = Place::new();
    let server = place.serve(&[]);
    let curl = |arguments: &[&str], path: &str| {
        let url = format!("http://localhost:{}{path}", server.port());
        let output = Command::new("curl").args(["-sS", "--max-time", "20"]).args(arguments).arg(url).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let create = r#"{"operation": "TABLE_CREATE", "data": {"name": "people", "schema":
        {"name": ["string", 15], "age": ["number", 3]}}}"#;
    assert_eq!(curl(&["-d", create], "/query"), "1");
    let save = r#"{"operation": "SAVE", "data": {"table": "people", "body": {"name": "Abby", "age": 29}}}"#;
    assert_eq!(curl(&["-d", save], "/query"), "0");
    let fetch = r#"{"operation": "FETCH", "data": {"table": "people", "id": 0}}"#;
    assert_eq!(curl(&["-d", fetch], "/query"), r#"{"_id":0,"name":"Abby","age":29}"#);
    assert_eq!(curl(&["-d", r#"[{"name": "Bob"}, {"age": 31}]"#], "/tables/people"), r#"{"ids":[1,2]}"#);
    assert_eq!(curl(&[], "/tables/people/2"), r#"{"_id":2,"name":null,"age":31}"#);
    // More than curl sends without asking first.
    fs::write(place.path("large"), vec![b' '; 9 << 20]).unwrap();
    let large = place.path("large").display().to_string();
    let answer = curl(&["--data-binary", &format!("@{large}"), "-w", " %{http_code}"], "/query");
    assert!(answer.ends_with(" 413") && answer.contains("larger than 8388608 bytes"), "{answer}");
}

// What people expect of a server --------------------------------------------------------------------------------------

#[test]
fn records_are_saved_alone_and_in_arrays_and_read_by_their_paths() {
    let place = Place::new();
    let server = place.serve(&[]);
    server.make("people", people());
    let mut client = server.client();
    let reply = client.post("/tables/people", r#" {"name": "Abby", "age": 29}"#);
    assert_eq!((reply.status, reply.body.as_str()), (201, r#"{"id":0}"#));
    assert_eq!(reply.header("location"), Some("/tables/people/0"));
    let reply = client.post("/tables/people", r#"[{"name": "Bob"}, {"age": 31}]"#);
    assert_eq!((reply.status, reply.body.as_str()), (201, r#"{"ids":[1,2]}"#));
    assert_eq!(client.post("/tables/people", "[]").body, r#"{"ids":[]}"#);
    let reply = client.get("/tables/people/1");
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"_id":1,"name":"Bob","age":null}"#));
    assert_eq!(reply.header("content-type"), Some("application/json"));

    // All or none.
    client.post("/tables/people", r#"[{"name": "Cleo"}, {"agg": 31}]"#).says(422, "Record 1 of the array: No key");
    let tables = json!([{"name": "people", "records": 3, "next_id": 3, "record_size": 56}]);
    assert_eq!(client.get("/tables").json(), tables);
    let table = client.get("/tables/people").json();
    assert_eq!((&table["next_id"], &table["schema"]["age"]), (&json!(3), &json!(["number", 3])));
}

#[test]
fn what_cannot_be_has_its_status_and_a_sentence() {
    let place = Place::new();
    let server = place.serve(&[]);
    server.make("people", people());
    server.make("wide", json!({"text": ["bytes", 60_000]}));
    let mut client = server.client();
    client.get("/").says(404, "There is nothing at /; there are /query, /tables,");
    client.get("/tables/").says(422, "a table's name has 1 to");
    client.get("/tables/nobody").says(404, "there is no table nobody");
    client.get("/tables/nobody/0").says(404, "there is no table nobody");
    client.get("/tables/people/0").says(404, "no record 0 in table people: the table is empty");
    client.get("/tables/people/first").says(400, "\"first\" is no id; an id is an integer from 0");
    client.get("/tables/people/0/name").says(404, "There is nothing at /tables/people/0/name");
    client.get("/tables/a%ff").says(400, "is not UTF-8");
    client.post("/tables/nobody", "{}").says(404, "there is no table nobody");
    client.post("/tables/people", "{").says(400, "The body is not valid JSON: EOF");
    client.post("/tables/people", "[{}, ").says(400, "The body is not valid JSON: EOF");
    client.post("/tables/people", "").says(400, "The body is not valid JSON: EOF");
    client.post("/tables/people", "7").says(422, "a JSON object");
    client.post("/tables/people", r#"{"age": 1234}"#).says(422, "Value 1234 is too large for field \"age\"");
    client.post("/query?reply=xml", "{}").says(400, "reply=message");
    let crowd = format!("[{}]", vec!["{}"; 2_000].join(","));
    client.post("/tables/wide", &crowd).says(413, "2000 records of table wide take more than");
    for (method, path, allowed) in [
        ("GET", "/query", "POST, OPTIONS"),
        ("DELETE", "/tables/people", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/tables", "GET, HEAD, OPTIONS"),
        ("PUT", "/tables/people/0", "GET, HEAD, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("BREW", "/stats", "GET, HEAD, OPTIONS"),
    ] {
        let words = format!("{path} does not take {method}; it takes {allowed}.");
        let reply = client.request(method, path, &[], "").says(405, &words);
        assert_eq!(reply.header("allow"), Some(allowed));
    }
    let reply = client.request("OPTIONS", "/tables/people", &[], "");
    assert_eq!((reply.status, reply.header("allow")), (204, Some("GET, HEAD, POST, OPTIONS")));
    let reply = client.request("HEAD", "/tables", &[], "");
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    let zipped = client.request("POST", "/query", &[("Content-Encoding", "gzip")], "{}");
    zipped.says(415, "this server takes it as it is");
    // All this on one connection: a refusal does not end it.
    assert_eq!(client.get("/health").status, 200);
    // Who asks before sending a body is told at once.
    client.send("POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let reply = client.reply("POST").unwrap().says(404, "There is nothing at /nowhere");
    assert_eq!(reply.header("connection"), Some("close"));
    client.ends();
}

#[test]
fn a_body_has_at_most_8_mib() {
    let place = Place::new();
    let server = place.serve(&[]);
    server.make("people", people());
    let largest = format!("{{}}{}", " ".repeat((8 << 20) - 2));
    assert_eq!(server.client().post("/tables/people", &largest).status, 201);
    let mut client = server.client();
    client.post("/tables/people", &format!("{largest} ")).says(413, "The body is larger than 8388608 bytes");
    client.ends();
    // One that says how large it is need not be sent.
    let mut client = server.client();
    client.send(client.head("POST", "/query", &[], 1 << 40));
    client.reply("POST").unwrap().says(413, "send it in parts");
    // In chunks, a body has no size before it ends.
    let mut client = server.client();
    client.send(client.head("POST", "/query", &[("Transfer-Encoding", "chunked")], 0));
    for _ in 0..9 {
        client.send(format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20)));
    }
    client.send("0\r\n\r\n");
    client.reply("POST").unwrap().says(413, "send it in parts");
}

#[test]
fn health_and_figures_are_told() {
    let place = Place::new();
    let server = place.serve(&[]);
    let mut client = server.client();
    assert_eq!(client.get("/tables").json(), json!([]));
    assert_eq!(client.get("/health").json(), json!({"status": "ok", "version": diamonddb::VERSION}));
    let stats = client.get("/stats").json();
    assert_eq!(stats["database"]["tables"], 0);
    assert_eq!((&stats["server"]["requests"], &stats["server"]["connections_max"]), (&json!(2), &json!(256)));
    assert_eq!(stats["server"]["connections"], 1);
}

#[test]
fn each_request_is_a_line_of_the_log() {
    let place = Place::new();
    let server = place.serve(&[]);
    let mut client = server.client();
    let size = client.get("/tables/a%20b/0?x=1").body.len().to_string();
    client.get(&format!("/{}", "long".repeat(1000)));
    client.get("/tables");
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with("diamonddb: ")).collect();
    assert_eq!(lines.len(), 3, "{log}");
    let words: Vec<&str> = lines[0].split(' ').collect();
    assert_eq!(words[1..6], ["GET", "/tables/a%20b/0?x=1", "404", &size, "B"], "{log}");
    assert!(words[6].parse::<f64>().is_ok() && words[7] == "ms", "{log}");
    assert!(lines[1].len() < 300 && lines[1].contains("… 404"), "{log}");
    assert!(lines[2].contains(" GET /tables 200 2 B "), "{log}");
    server.stop();

    let quiet = place.serve(&["--quiet"]);
    quiet.client().get("/health");
    assert!(!quiet.log().contains("/health"));
}

#[test]
fn requests_of_many_connections_are_served_side_by_side() {
    let place = Place::new();
    let server = place.serve(&[]);
    server.make("people", people());
    // A request under way on each, before any of them is finished.
    let mut clients: Vec<Client> = (0..100).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send(client.head("POST", "/tables/people", &[], 2));
        client.send("{");
    }
    clients.iter_mut().rev().for_each(|client| client.send("}"));
    let mut ids: Vec<u64> =
        clients.iter_mut().map(|client| client.reply("POST").unwrap().json()["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..100).collect::<Vec<u64>>());
}

// Who may come in -----------------------------------------------------------------------------------------------------

#[test]
fn nothing_is_served_to_other_machines_without_a_token() {
    let place = Place::new();
    for address in ["0.0.0.0", "::", "192.0.2.1"] {
        let words = format!("Other machines may reach {address}, so serving there needs a token");
        place.fails(&["serve", "db", "--port", "0", "--address", address], &[], 2, &words);
    }
    fs::write(place.path("empty"), "\n").unwrap();
    let with_file = |file| ["serve", "db", "--port", "0", "--address", "0.0.0.0", "--token-file", file];
    place.fails(&with_file("empty"), &[], 2, "The token file empty holds no token");
    place.fails(&with_file("missing"), &[], 2, "The token file missing cannot be read");
    place.fails(&["serve", "db"], &[("DIAMOND_TOKEN", "")], 2, "The token variable DIAMOND_TOKEN holds no token");
    assert!(!place.path("db").exists());

    fs::write(place.path("token"), "open-sesame\n").unwrap();
    let server = place.serve(&["--address", "0.0.0.0", "--token-file", "token"]);
    let mut client = server.client();
    client.get("/health").says(401, "wants a token");
    let with = |token: &'static str| [("Authorization", token), ("Host", "db.example.org")];
    assert_eq!(client.request("GET", "/health", &with("Bearer open-sesame"), "").status, 200);
}

#[test]
fn a_token_is_wanted_from_every_request_once_there_is_one() {
    let place = Place::new();
    let variables = [("DIAMOND_TOKEN", "open-sesame")];
    let server = Server::start(&place, &["serve", "db", "--port", "0"], &variables);
    let mut client = server.client();
    for path in ["/health", "/tables", "/stats", "/nowhere"] {
        let reply = client.get(path).says(401, "Authorization: Bearer TOKEN");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    let wrong = ["Bearer open-sesam", "Bearer open-sesame2", "Bearer ", "Bearer", "Basic b3Blbi1zZXNhbWU=", "é"];
    for token in wrong {
        assert_eq!(client.request("GET", "/tables", &[("Authorization", token)], "").status, 401, "{token}");
    }
    let right = [("Authorization", "bearer open-sesame")];
    assert_eq!(client.request("GET", "/tables", &right, "").body, "[]");
    // It is in no log.
    assert!(!server.log().contains("sesam"));
}

#[test]
fn a_page_that_has_its_name_resolved_to_this_machine_is_refused() {
    let place = Place::new();
    let server = place.serve(&[]);
    let mut client = server.client();
    for host in ["evil.example", "evil.example:2020", "127.0.0.1.evil.example", "192.0.2.1:2020"] {
        client.request("GET", "/tables", &[("Host", host)], "").says(421, "called 127.0.0.1 or localhost, not");
    }
    client.request("GET", "http://evil.example/tables", &[], "").says(421, "evil.example");
    client.request("GET", "/tables", &[("Host", "a b")], "").says(400, "The Host header is no host");
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:2020", "[::1]:2020", "app.localhost"] {
        assert_eq!(client.request("GET", "/tables", &[("Host", host)], "").status, 200, "{host}");
    }
    client.send("GET /tables HTTP/1.1\r\n\r\n");
    client.reply("GET").unwrap().says(400, "has a Host header");
    let mut client = server.client();
    client.send("GET /tables HTTP/1.0\r\n\r\n");
    assert_eq!(client.reply("GET").unwrap().status, 200);
    client.ends();
}

#[test]
fn pages_of_other_origins_come_in_only_where_the_option_names_them() {
    let place = Place::new();
    let server = place.serve(&["--cors", "http://localhost:3000", "--cors", "https://App.example.org"]);
    server.make("people", people());
    let mut client = server.client();
    for origin in ["http://evil.example", "null", "http://localhost:3001", "https://localhost:3000"] {
        let reply = client.request("POST", "/tables/people", &[("Origin", origin)], "{}");
        let reply = reply.says(403, "are not let in; the option --cors");
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
    assert_eq!(client.get("/tables/people").json()["records"], 0);
    for origin in ["http://localhost:3000", "https://app.example.org"] {
        let reply = client.request("POST", "/tables/people", &[("Origin", origin)], "{}");
        assert_eq!(reply.status, 201);
        assert_eq!((reply.header("access-control-allow-origin"), reply.header("vary")), (Some(origin), Some("origin")));
        let asking = [("Origin", origin), ("Access-Control-Request-Method", "POST")];
        let reply = client.request("OPTIONS", "/tables/people", &asking, "");
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some(origin)));
        assert_eq!(reply.header("access-control-allow-methods"), Some("GET, HEAD, POST, OPTIONS"));
        assert!(reply.header("access-control-allow-headers").unwrap().contains("authorization"));
    }
    // What names no origin is no page of another one, and gets no such header.
    assert_eq!(client.get("/tables").header("access-control-allow-origin"), None);
    let own = format!("http://{}", server.address);
    assert_eq!(client.request("GET", "/tables", &[("Origin", &own)], "").status, 200);
    place.fails(&["serve", "db", "--cors", "*"], &[], 2, "name each origin");
    place.fails(&["serve", "db", "--cors", "http://localhost/"], &[], 2, "without a path");
}

// Starts and stops ----------------------------------------------------------------------------------------------------

#[test]
fn what_keeps_a_server_from_starting_is_said_in_a_sentence() {
    let place = Place::new();
    let server = place.serve(&[]);
    let holder = format!("db is held by process {}", server.child.id());
    place.fails(&["serve", "db", "--port", "0"], &[], 4, &holder);
    place.fails(&["tables", "db"], &[], 4, &holder);
    let words = format!("Port {} of 127.0.0.1 is in use; --port takes another.", server.port());
    place.fails(&["serve", "other", "--port", server.port()], &[], 4, &words);
    place.fails(&["serve", "other"], &[("PORT", server.port())], 4, &words);
    assert!(!place.path("other").exists());
    place.fails(&["serve", "nowhere/db", "--port", "0"], &[], 1, "nowhere/db does not exist");
    fs::create_dir(place.path("full")).unwrap();
    fs::write(place.path("full/file"), "x").unwrap();
    place.fails(&["serve", "full", "--port", "0"], &[], 4, "full is no database and not empty");
    place.fails(&["serve", "full/file", "--port", "0"], &[], 4, "full/file");
    place.fails(&["serve", "db", "--port", "65536"], &[], 2, "65536");
    place.fails(&["serve", "db"], &[("PORT", "http")], 2, "PORT in the environment is \"http\"");
    place.fails(&["serve", "db", "--address", "localhost"], &[], 2, "localhost");
    place.fails(&["serve", "db", "--durability", "never"], &[], 2, "sync, os, async");
    place.fails(&["serve", "db", "--deadline", "0"], &[], 2, "1..=3600");
}

#[test]
fn a_full_disk_is_told_with_its_status_and_the_server_goes_on() {
    let place = Place::new();
    // No file gets larger than 4 MiB, and what is refused is refused as on a full disk.
    let limited = format!("ulimit -f 4096 && exec {TOOL} serve db --port 0");
    let server = Server::run(&place, Command::new("bash").args(["-c", &limited]));
    server.make("wide", json!({"text": ["bytes", 60_000]}));
    let mut client = server.client();
    let many = format!("[{}]", vec!["{}"; 30].join(","));
    let refusal = (0..10).map(|_| client.post("/tables/wide", &many)).find(|reply| reply.status != 201).unwrap();
    refusal.says(507, "free some space and try again");
    assert_eq!(client.get("/tables/wide/29").json()["_id"], 29);
    assert_eq!(client.get("/health").status, 200);
    server.stop();
}

#[test]
fn the_port_is_that_of_the_option_then_that_of_the_environment() {
    let place = Place::new();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (one, other) = (free(), free());
    let server = Server::start(&place, &["serve", "db"], &[("PORT", &one)]);
    assert_eq!(server.address, format!("127.0.0.1:{one}"));
    server.stop();
    let server = Server::start(&place, &["serve", "db", "--port", &other], &[("PORT", &one)]);
    assert_eq!(server.address, format!("127.0.0.1:{other}"));
}

#[test]
fn a_stop_lets_requests_end_and_leaves_everything_on_disk() {
    for (durability, signal) in [("sync", "TERM"), ("os", "INT"), ("async", "TERM")] {
        let place = Place::new();
        let mut server = place.serve(&["--durability", durability]);
        server.make("people", people());
        let mut idle = server.client();
        idle.get("/health");
        let mut busy = server.client();
        busy.send(busy.head("POST", "/tables/people", &[("Expect", "100-continue")], 17));
        // So the server has the head, and waits for the body.
        assert_eq!(busy.reply("POST").unwrap().status, 100);
        busy.send(r#"{"name": "#);
        server.signal(signal);
        idle.ends();
        busy.send(r#" "Abby"}"#);
        let reply = busy.reply("POST").unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (201, r#"{"id":0}"#));
        busy.ends();
        assert_eq!(server.child.wait().unwrap().code(), Some(0));
        assert!(server.log().contains(&format!("Stopping, as SIG{signal} says.")), "{}", server.log());
        assert!(TcpStream::connect(&server.address).is_err());
        assert_eq!(place.serve(&[]).fetch("people", 0)["name"], "Abby");
    }
}

#[test]
fn a_stop_does_not_wait_for_ever_for_who_never_finishes() {
    let place = Place::new();
    let server = place.serve(&[]);
    let mut clients: Vec<Client> = (0..3).map(|_| server.client()).collect();
    clients[1].send("GET /tables HTT");
    clients[2].send("POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{");
    server.client().get("/health");
    server.stop();
    clients.iter_mut().for_each(Client::ends);
}

/// What one connection was told until the server died.
struct Told {
    /// The id and the number of each record that was answered.
    saved: Vec<(u64, u64)>,
    fetches: u64,
}

/// Saves and fetches in turn on one connection until the server dies or time is up.
fn load(server: &Server, who: u64, over: &AtomicBool) -> Told {
    let mut client = server.client();
    let mut told = Told { saved: Vec::new(), fetches: 0 };
    let mut random = Random::new(who);
    let mut query = |message: Value| {
        let body = message.to_string();
        let request = client.head("POST", "/query", &[], body.len()) + &body;
        client.stream.get_mut().write_all(request.as_bytes()).ok()?;
        client.reply("POST").map(|reply| reply.body)
    };
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let record = json!({"who": who, "number": number, "text": "x".repeat(380)});
        let save = json!({"operation": "SAVE", "data": {"table": "load", "body": record}});
        let Some(id) = query(save) else { break };
        told.saved.push((id.parse().unwrap_or_else(|_| panic!("{id}")), number));
        let (id, number) = told.saved[random.below(told.saved.len() as u64) as usize];
        let Some(found) = query(json!({"operation": "FETCH", "data": {"table": "load", "id": id}})) else { break };
        assert!(found.starts_with(&format!("{{\"_id\":{id},\"who\":{who},\"number\":{number},")), "{found}");
        told.fetches += 1;
    }
    told
}

#[test]
fn every_id_that_was_answered_is_there_after_a_kill_in_the_midst_of_a_load() {
    let seconds = std::env::var("DIAMOND_SECONDS").map_or(3.0, |text| text.parse().unwrap());
    let place = Place::new();
    let mut told: Vec<(u64, Told)> = Vec::new();
    for half in 0..2 {
        let mut server = place.serve(&["--quiet"]);
        server.make("load", json!({"who": ["number", 2], "number": ["number", 9], "text": ["string", 380]}));
        let over = AtomicBool::new(false);
        let begin = Instant::now();
        let answers: Vec<(u64, Told)> = thread::scope(|scope| {
            let (server_then, over_then) = (&server, &over);
            let threads: Vec<_> = (half * 8..half * 8 + 8)
                .map(|who| scope.spawn(move || (who, load(server_then, who, over_then))))
                .collect();
            thread::sleep(Duration::from_secs_f64(seconds / 2.0));
            match half {
                0 => server.signal("KILL"),
                _ => over.store(true, Ordering::Relaxed),
            }
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let elapsed = begin.elapsed().as_secs_f64();
        let (saves, fetches): (usize, u64) =
            answers.iter().fold((0, 0), |sum, (_, told)| (sum.0 + told.saved.len(), sum.1 + told.fetches));
        let rates = (saves as f64 / elapsed, fetches as f64 / elapsed);
        println!("8 connections, records of 400 B: {:.0} saves/s and {:.0} fetches/s", rates.0, rates.1);
        assert!(answers.iter().all(|(_, told)| !told.saved.is_empty()));
        told.extend(answers);
        match half {
            0 => drop(server.child.wait().unwrap()),
            _ => server.stop(),
        }
    }
    let database = Database::open(place.path("db"), &OpenOptions::default()).unwrap();
    let table = database.table("load").unwrap();
    let mut ids: Vec<u64> = Vec::new();
    for (who, told) in &told {
        for (id, number) in &told.saved {
            let record = table.fetch_json(diamonddb::RecordId(*id), Default::default()).unwrap();
            assert!(record.starts_with(&format!("{{\"who\":{who},\"number\":{number},")), "{id}: {record}");
            ids.push(*id);
        }
    }
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count, "no id is given twice");
    assert_eq!(database.verify().unwrap().findings, []);
    println!("{count} ids were answered, and all are there");
}

// Clients that mean no good -------------------------------------------------------------------------------------------

#[test]
fn slow_and_half_open_connections_end_at_the_deadline_and_keep_nobody_waiting() {
    let place = Place::new();
    let server = place.serve(&["--deadline", "1"]);
    server.make("people", people());
    let start = |first: &str| {
        let mut client = server.client();
        client.send(first);
        client
    };
    let half_a_body = "POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{";
    let mut silent = [start(""), start("GET /tables HTTP/1.1\r\nHost: loc"), start("\r\n")];
    let mut unfinished = start(half_a_body);
    let mut idle = start("GET /tables HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(idle.reply("GET").unwrap().status, 200);
    // A byte now and then is no progress either.
    let mut trickles = [start("GET /tables HTTP/1.1\r\nX: "), start(half_a_body)];
    thread::scope(|scope| {
        for client in &mut trickles {
            let mut stream = client.stream.get_ref().try_clone().unwrap();
            scope.spawn(move || {
                while stream.write_all(b"x").is_ok() {
                    thread::sleep(Duration::from_millis(200));
                }
            });
        }
        assert_eq!(server.save("people", json!({"name": "Abby"})), "0");
        unfinished.reply("POST").unwrap().says(408, "The body was not there within 1 s.");
        unfinished.ends();
        silent.iter_mut().for_each(Client::ends);
        idle.ends();
    });
    assert_eq!(server.fetch("people", 0)["name"], "Abby");
    server.stop();
}

#[test]
fn who_closes_its_sending_half_still_gets_its_answer() {
    let place = Place::new();
    let server = place.serve(&[]);
    let mut client = server.client();
    client.send("GET /tables HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.reply("GET").unwrap().body, "[]");
    client.ends();
}

#[test]
fn who_never_reads_its_answers_loses_its_connection() {
    let place = Place::new();
    let server = place.serve(&["--deadline", "1", "--quiet"]);
    server.make("wide", json!({"text": ["string", 20_000]}));
    server.save("wide", json!({"text": "x".repeat(20_000)}));
    let client = server.client();
    let mut stream = client.stream.get_ref();
    let request = "GET /tables/wide/0 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    // The server stops to read when its answers pile up, and after the deadline it is gone.
    let error = loop {
        if let Err(error) = stream.write_all(request.as_bytes()) {
            break error;
        }
    };
    assert!([ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()), "{error}");
    assert_eq!(server.client().get("/health").status, 200);
    server.stop();
}

#[test]
fn more_than_256_connections_wait_until_there_is_a_seat() {
    let place = Place::new();
    let server = place.serve(&["--deadline", "2"]);
    let mut crowd: Vec<Client> = (0..300).map(|_| server.client()).collect();
    let mut late = server.client();
    assert_eq!(late.get("/health").status, 200, "those who say nothing lose their seats");
    let stats = late.get("/stats").json();
    assert!(stats["server"]["connections"].as_u64().unwrap() <= 256);
    crowd.iter_mut().for_each(Client::ends);
    server.stop();
}

/// A body or a part of a path, from nearly right to noise.
fn random_text(random: &mut Random) -> Vec<u8> {
    const PARTS: &str = "{~}~[~]~:~,~\"~\\u0000~null~true~1~-1~1e999~0.1~9223372036854775808~\"operation\":~\"data\":~\
        \"table\":~\"body\":~\"record\":~\"schema\":~\"name\":~\"id\":~\"SAVE\"~\"FETCH\"~\"TABLE_CREATE\"~\"people\"~\
        \"age\"~[\"string\",15]~[\"number\",3]~{\"name\":\"Bob\",\"age\":29}~é~\u{1F600}~ ~\n~\0~\\ud800~[[[[~%~people";
    const MESSAGES: [&str; 4] = [
        r#"{"operation":"TABLE_CREATE","data":{"name":"people","schema":{"name":["string",15],"age":["number",3]}}}"#,
        r#"{"operation":"SAVE","data":{"table":"people","body":{"name":"Abby","age":29}}}"#,
        r#"{"operation":"FETCH","data":{"table":"people","id":0}}"#,
        r#"[{"name":"Abby","age":29},{"name":"Bob"}]"#,
    ];
    let parts: Vec<&str> = PARTS.split('~').collect();
    let mut pick = |limit: usize| random.below(limit as u64) as usize;
    match pick(4) {
        0 => (0..pick(200)).map(|_| pick(256) as u8).collect(),
        1 => (0..pick(30)).flat_map(|_| parts[pick(parts.len())].bytes()).collect(),
        2 => parts[pick(parts.len())].repeat(pick(20_000)).into_bytes(),
        _ => {
            let mut text = MESSAGES[pick(MESSAGES.len())].as_bytes().to_vec();
            for _ in 0..pick(4) {
                let at = pick(text.len());
                match pick(3) {
                    0 => text[at] = pick(256) as u8,
                    1 => drop(text.remove(at)),
                    _ => drop(text.splice(at..at, parts[pick(parts.len())].bytes())),
                }
            }
            text
        }
    }
}

fn random_path(random: &mut Random) -> String {
    const PARTS: &str = "/query~/tables~/tables/people~/health~/stats~/~//~people~0~1~-1~..~%2e~%2F~%00~%ff~%C3%A9~%~\
        ?reply=message~?reply=~18446744073709551616~é";
    let parts: Vec<&str> = PARTS.split('~').collect();
    let mut path: String = (0..1 + random.below(4)).map(|_| parts[random.below(22) as usize]).collect();
    if random.below(20) == 0 {
        path = path.repeat(1000);
    }
    if path.starts_with('/') { path } else { format!("/{path}") }
}

#[test]
fn random_bodies_and_paths_never_crash_it_hang_it_or_get_a_5xx() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (seed, rounds) = (number("DIAMOND_SEED", 1), number("DIAMOND_ROUNDS", 10_000));
    const METHODS: [&str; 8] = ["POST", "POST", "POST", "POST", "GET", "HEAD", "OPTIONS", "WHAT"];
    let place = Place::new();
    let server = place.serve(&["--deadline", "5"]);
    server.make("people", people());
    let (mut statuses, mut unanswered) = (std::collections::BTreeMap::<u16, u64>::new(), 0);
    let mut client = server.client();
    for round in 0..rounds {
        let mut random = Random::new(seed * 1_000_000 + round);
        let random = &mut random;
        if random.below(50) == 0 {
            // No HTTP at all: an answer or an end, and the next one comes in.
            let _ = client.stream.get_mut().write_all(&random_text(random));
            let _ = client.stream.get_ref().shutdown(Shutdown::Write);
            let mut rest = Vec::new();
            let _ = client.stream.read_to_end(&mut rest);
            assert!(!rest.starts_with(b"HTTP/1.1 5"), "round {round}: {}", String::from_utf8_lossy(&rest));
            client = server.client();
            continue;
        }
        let (method, body) = (METHODS[random.below(8) as usize], random_text(random));
        let path = match random.below(6) {
            0 | 1 => "/query".to_owned(),
            2 => "/query?reply=message".to_owned(),
            3 | 4 => "/tables/people".to_owned(),
            _ => random_path(random),
        };
        let head = client.head(method, &path, &[], body.len());
        // A refusal may come, and the connection end, before all is sent.
        let _ = client.stream.get_mut().write_all(&[head.as_bytes(), &body].concat());
        let Some(reply) = client.reply(method) else {
            unanswered += 1;
            client = server.client();
            continue;
        };
        assert!(reply.status < 500, "round {round}: {method} {path} got {reply:?}");
        if !reply.body.is_empty() {
            reply.json();
        }
        *statuses.entry(reply.status).or_default() += 1;
        if reply.header("connection") == Some("close") || reply.body.is_empty() {
            client = server.client();
        }
    }
    println!("{statuses:?}, unanswered: {unanswered}");
    for status in [200, 201, 204, 400, 404, 405, 422] {
        assert!(statuses.contains_key(&status), "no round got {status}: {statuses:?}");
    }
    assert_eq!(server.client().get("/health").status, 200);
    server.stop();
    let database = Database::open(place.path("db"), &OpenOptions::default()).unwrap();
    assert_eq!(database.verify().unwrap().findings, []);
}
