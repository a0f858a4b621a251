//! The border: every function of the header with every argument in turn wrong in every way that fits its type.
//!
//! The calls are made from the header (see `kit/c_calls.rs`): each is prepared so that it would succeed, then one slot
//! is spoilt. Whatever comes of it, the call returns what the conventions of the header say, leaves a sentence behind
//! that names the function and the argument, gives no handle and no text, writes nothing beside the memory that it
//! was given, and leaves the database as it was.
//!
//! The same runs under valgrind, below, and, built for it, under the address sanitizer: `make test-asan`.

#![allow(unsafe_code, reason = "a test forks")]

#[path = "kit/c_calls.rs"]
mod c_calls;
#[path = "kit/c_header.rs"]
mod c_header;
#[path = "kit/c_modules.rs"]
mod c_modules;
mod kit;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use c_calls::*;
use c_header::Header;
use c_modules::{Scene, destroyed, play};

fn header() -> Header {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/diamonddb.h");
    Header::parse(&fs::read_to_string(path).expect("the header is there"))
}

/// Exports that return no status: nothing about them can fail.
const INFALLIBLE: [&str; 4] = ["diamond_error_message", "diamond_free", "diamond_version", "diamond_abi_version"];

fn fallible(header: &Header) -> impl Iterator<Item = &str> {
    header.functions.iter().map(|it| it.name.as_str()).filter(|name| !INFALLIBLE.contains(name))
}

/// Something wrong to put into a slot, and the statuses that may come of it.
struct Wrong {
    what: String,
    put: Put,
    allowed: Vec<i32>,
}

enum Put {
    Value(u64),
    Bytes(Vec<u8>),
    /// What is good, moved by so many bytes.
    Moved(u64),
    /// An open handle of this kind, of the same database.
    OtherKind(String),
    /// The handle of another database.
    Foreign(String),
    /// The database of the handle is closed first.
    ParentClosed,
    /// The table, as a snapshot has it.
    OfSnapshot,
    /// What has this name in the database's own folder.
    InOwnFolder(&'static str),
    /// The value, and NULL as the pointer that it goes with.
    WithNull(u64),
    /// The value, and as large a memory.
    WithMemory(usize),
    /// A call with a reply is made here.
    Staged(Stage),
}

fn wrong(what: &str, put: Put, allowed: &[i32]) -> Wrong {
    Wrong { what: what.to_owned(), put, allowed: allowed.to_vec() }
}

fn values(values: &[u64], allowed: &[i32]) -> Vec<Wrong> {
    values.iter().map(|&value| wrong(&format!("{value:#x}"), Put::Value(value), allowed)).collect()
}

/// Sizes and counts that no memory can have, however small what they count is.
const IMPOSSIBLE: [u64; 5] = [u64::MAX, u64::MAX - 1, 1 << 63, i64::MAX as u64, 1 << 60];

/// All that can be wrong with a slot. `handles`: the kinds that the header knows.
fn wrongs(function: &str, slot: &Slot, slots: &[Slot], handles: &[String]) -> Vec<Wrong> {
    let null = |allowed: &[i32]| wrong("NULL", Put::Value(0), allowed);
    let askew = |allowed: &[i32]| wrong("a misaligned pointer", Put::Moved(1), allowed);
    match &slot.role {
        Role::Handle(kind) => {
            let closes = function.ends_with("_close");
            let mut list = vec![
                null(if closes { &[OK] } else { &[MISUSE] }),
                askew(&[MISUSE]),
                wrong("no handle", Put::Bytes(vec![0; 64]), &[MISUSE]),
                wrong("a closed handle's mark", Put::Bytes(b"closed\0\0".repeat(8)), &[MISUSE]),
            ];
            for other in handles.iter().filter(|other| *other != kind) {
                list.push(wrong(&format!("a {other}"), Put::OtherKind(other.clone()), &[MISUSE]));
            }
            if kind != "diamond_db" {
                let allowed = if closes { [OK] } else { [CLOSED] };
                list.push(wrong("a handle whose database was closed", Put::ParentClosed, &allowed));
            }
            if kind == "diamond_table" && !closes {
                let allowed = if writes(function) { [UNSUPPORTED] } else { [OK] };
                list.push(wrong("a table of a snapshot", Put::OfSnapshot, &allowed));
            }
            if slots.iter().filter(|it| matches!(it.role, Role::Handle(_))).count() > 1 {
                list.push(wrong("a handle of another database", Put::Foreign(kind.clone()), &[MISUSE]));
            }
            list
        }
        Role::HandleOut(_) => vec![null(&[MISUSE]), askew(&[MISUSE])],
        Role::Struct(_) => {
            let optional = slot.name == "options";
            vec![null(if optional { &[OK] } else { &[MISUSE] }), askew(&[MISUSE])]
        }
        Role::StructOut(_) => vec![null(&[MISUSE]), askew(&[MISUSE])],
        Role::Reply => {
            let mut list =
                vec![null(&[MISUSE]), askew(&[MISUSE]), wrong("no reply", Put::Bytes(vec![0; 64]), &[MISUSE])];
            list.extend(values(&[8, 1 << 63, u64::MAX], &[MISUSE]));
            for scene in Scene::ALL {
                for stage in [Stage::Stale(scene), Stage::Outside(scene), Stage::OtherThread(scene)] {
                    list.push(wrong(&format!("{stage:?}"), Put::Staged(stage), &[MISUSE]));
                }
                if !says_something_in(function, scene) {
                    let stage = Stage::In(scene);
                    list.push(wrong(&format!("{stage:?}"), Put::Staged(stage), &[MISUSE]));
                }
            }
            list
        }
        Role::Module(_) => {
            let optional = slot.name == "again" || slot.label.contains("->");
            vec![null(if optional { &[OK] } else { &[MISUSE] }), askew(&[MISUSE]), wrong("given", Put::Moved(0), &[OK])]
        }
        Role::ModuleFunction => vec![null(if slot.name == "destroy" { &[OK] } else { &[UNSUPPORTED] })],
        // A module that is handed something else fails; a cache does so when it is asked.
        Role::ModuleContext => values(&[0, 1, 1 << 63, u64::MAX], &[OK, MODULE]),
        Role::ModuleName => {
            let bytes = |what: &str, bytes: &[u8], allowed: &[i32]| wrong(what, Put::Bytes(bytes.to_vec()), allowed);
            let long = |size: usize| [vec![b'a'; size], vec![0]].concat();
            vec![
                null(&[OK]),
                bytes("an empty name", b"\0", &[OK]),
                bytes("255 bytes", &long(255), &[OK]),
                bytes("256 bytes", &long(256), &[INVALID]),
                bytes("64 KiB", &long(1 << 16), &[INVALID]),
                bytes("no UTF-8", b"gr\xFCn\0", &[INVALID]),
            ]
        }
        Role::StructSize if in_module(slot, slots).is_some() => {
            let required = slots.iter().position(|it| it.label == slot.label.replace("struct_size", "destroy"));
            let first = slots.iter().position(|it| it.label == slot.label).expect("it is one of them");
            // All fields of a module are words.
            let required = 8 * (required.expect("a module has it") - first) as u64;
            let sizes = (0..128).step_by(4).chain([1, 7, 9, u64::MAX]);
            let (enough, less): (Vec<u64>, Vec<u64>) = sizes.partition(|size| size % 8 == 0 && *size >= required);
            let mut list = values(&less, &[MISUSE]);
            list.extend(values(&enough, &[OK]));
            list.extend(values(&[4096, 1 << 63], &[OK]));
            list
        }
        Role::Callback => {
            let other = [answers::<0>, answers::<1>, answers::<-1>, answers::<CANCELLED>, answers::<{ MODULE_OK + 1 }>];
            let mut list = values(&other.map(|it| it as *const () as u64), &[CANCELLED]);
            list.push(null(&[OK]));
            list
        }
        // It calls the backup off when it is handed anything but what was given, or NULL.
        Role::Context => {
            let mut list = values(&[1, 1 << 63, u64::MAX], &[CANCELLED]);
            list.push(null(&[OK]));
            list
        }
        Role::StructSize => {
            let mut list = values(&[0, 8], &[MISUSE]);
            // No version ends amid a field.
            list.extend(values(&[1, 7, 9, 12, 20, 28, 36, 44, 52, 60, u64::MAX], &[MISUSE]));
            // From the first field on an older struct may be enough, and a newer one always is.
            list.extend(values(&[16, 24, 32, 40, 48, 56], &[OK, MISUSE]));
            list.extend(values(&[4096, 1 << 63], &[OK]));
            list
        }
        // What a reply is told is judged where it is used.
        Role::Text if function.starts_with("diamond_reply") => {
            let bytes = |what: &str, bytes: &[u8]| wrong(what, Put::Bytes(bytes.to_vec()), &[OK]);
            let mut list = vec![null(&[MISUSE]), bytes("a NUL inside", b"a\0b"), bytes("no UTF-8", b"gr\xFCn")];
            // Longer than what is kept of a sentence, which ends amid a letter there.
            list.push(bytes("64 KiB", "a\u{FC}".repeat(1 << 15).as_bytes()));
            list
        }
        Role::Text if function == "diamond_backup" => texts(slot).into_iter().chain(no_places_for_a_copy()).collect(),
        Role::Text => texts(slot),
        Role::Record if function.starts_with("diamond_reply") => {
            let other = |size: usize| wrong(&format!("{size} bytes"), Put::Bytes(vec![0; size]), &[INVALID]);
            vec![null(&[MISUSE]), other(1), other(RECORD_SIZE - 1), other(RECORD_SIZE + 1), other(1 << 17)]
        }
        Role::Record => vec![
            null(&[MISUSE]),
            wrong("bytes that the schema refuses", Put::Bytes(vec![0xFF; RECORD_SIZE]), &[INVALID]),
            wrong("zeros, where a field is required", Put::Bytes(vec![0; RECORD_SIZE + 1]), &[OK, INVALID]),
        ],
        Role::RecordOut | Role::Records => vec![null(&[MISUSE])],
        Role::Nulls if function.starts_with("diamond_reply") => {
            vec![null(&[MISUSE]), wrong("two bytes", Put::Bytes(vec![0; 2]), &[INVALID])]
        }
        Role::Nulls => vec![
            null(&[OK]),
            wrong("a null where a field is required", Put::Bytes(vec![1]), &[INVALID]),
            wrong("bits of fields that are not there", Put::Bytes(vec![0xFC]), &[OK, INVALID]),
        ],
        Role::NullsOut | Role::ErrorOut => vec![null(&[OK])],
        Role::Size if function.starts_with("diamond_reply") => {
            let mut list = values(&IMPOSSIBLE, &[MISUSE]);
            let none = if slot.name == "size" { OK } else { INVALID };
            list.extend([wrong("0", Put::Value(0), &[none]), wrong("0 and NULL", Put::WithNull(0), &[none])]);
            list
        }
        Role::Size => sizes(slot),
        Role::Index => values(&[[1, 2, 1 << 32].as_slice(), &IMPOSSIBLE].concat(), &[INVALID]),
        Role::Count => {
            let mut list = values(&IMPOSSIBLE, &[MISUSE]);
            let none: &[i32] = match slot.name.as_str() {
                "capacity" | "ids_count" => &[MISUSE],
                _ if slots.iter().any(|it| it.role == Role::Size) => &[INVALID],
                _ => &[OK],
            };
            list.extend(values(&[0], none));
            list
        }
        Role::Stride => {
            let least = if slot.name == "null_stride" { 1 } else { RECORD_SIZE as u64 };
            let mut list = values(&[u64::MAX, u64::MAX / 2, 1 << 63, 1 << 60], &[MISUSE]);
            list.extend(values(&[least - 1, 1], if least == 1 { &[OK] } else { &[MISUSE] }));
            list.extend(values(&[least], &[OK]));
            list
        }
        Role::Ids => vec![
            null(&[MISUSE]),
            askew(&[MISUSE]),
            wrong("ids never given", Put::Bytes([0, u64::MAX].map(u64::to_le_bytes).concat()), &[OUT_OF_RANGE]),
            wrong("a deleted id", Put::Bytes([0, DELETED_ID].map(u64::to_le_bytes).concat()), &[NOT_FOUND]),
        ],
        Role::IdsOut => vec![
            null(if slot.name == "ids" && function.ends_with("_commit") { &[OK] } else { &[MISUSE] }),
            askew(&[MISUSE]),
        ],
        Role::Statuses | Role::TextOut | Role::NumberOut(_) => vec![null(&[OK]), askew(&[MISUSE])],
        // Whatever a store says that it has.
        Role::Id if function.starts_with("diamond_reply") => values(&[1, 1 << 63, u64::MAX], &[OK]),
        Role::Id => {
            let mut list = values(&[NEXT_ID, u64::MAX, u64::MAX - 1, 1 << 63, i64::MAX as u64], &[OUT_OF_RANGE]);
            // A batch looks at its records when it is committed.
            let deleted = if function.starts_with("diamond_batch") { OK } else { NOT_FOUND };
            list.extend(values(&[DELETED_ID], &[deleted]));
            list
        }
        Role::Lsn => values(&[u64::MAX, 1 << 63, i64::MAX as u64, 1 << 20], &[INVALID]),
        Role::Flags => {
            let mut list = values(&[u32::MAX.into(), 1 << 31, 1 << 30], &[INVALID]);
            if let Some(module) = in_module(slot, slots) {
                list.extend(values(&[16, 1 << 32, 1 << 63, u64::MAX], &[INVALID]));
                list.extend(values(&[1, 2, 3], &[OK]));
                list.extend(values(&[4, 8, 12], if module == "diamond_store_module" { &[OK] } else { &[INVALID] }));
            }
            list
        }
        Role::Choice => values(&[u64::MAX, 3, i32::MAX as u64, i32::MIN as u32 as u64], &[INVALID]),
        Role::Number => values(&[1, u32::MAX.into(), 1 << 63, u64::MAX], &[OK, INVALID]),
        Role::Reserved => values(&[8], &[UNSUPPORTED]),
    }
}

/// The kind of module of which the slot is a field.
fn in_module<'a>(slot: &Slot, slots: &'a [Slot]) -> Option<&'a str> {
    let (of, _) = slot.label.rsplit_once("->")?;
    slots.iter().find_map(|it| match &it.role {
        Role::Module(kind) if it.label == of => Some(kind.as_str()),
        _ => None,
    })
}

fn texts(slot: &Slot) -> Vec<Wrong> {
    let bytes = |what: &str, bytes: &[u8], allowed: &[i32]| wrong(what, Put::Bytes(bytes.to_vec()), allowed);
    let mut list = vec![wrong("NULL", Put::Value(0), &[MISUSE]), bytes("a NUL inside", b"a\0b", &[INVALID])];
    if slot.name == "path" {
        list.push(bytes("a path of 64 KiB", &[b'a'; 1 << 16], &[INVALID]));
        list.push(bytes("a name of 256 bytes", &[b'a'; 256], &[INVALID]));
        return list;
    }
    for bad in [&b"gr\xFCn"[..], b"\xC0\x80", b"\xED\xA0\x80", b"\xF5\x80\x80\x80", b"{\"a\": \"\xE2\x82\"}"] {
        list.push(bytes("no UTF-8", bad, &[INVALID]));
    }
    if slot.name.ends_with("name") {
        list.push(bytes("256 bytes", &[b'a'; 256], &[INVALID]));
        list.push(bytes("64 KiB", &[b'a'; 1 << 16], &[INVALID]));
        list.push(bytes("control characters", b"a\nb", &[INVALID]));
        return list;
    }
    let refused = &[INVALID, TOO_LARGE];
    for bad in [
        "{",
        "[",
        "null",
        "0",
        "\"",
        "{}x",
        "{\"name\": 1}",
        "[{\"name\": 1}]",
        "{\"nobody\": 1}",
        "{\"a\": [\"float\"]}",
    ] {
        list.push(bytes(bad, bad.as_bytes(), refused));
    }
    for deep in ["[", "{\"a\":", "[{\"name\":"] {
        list.push(bytes(&format!("10,000 of {deep}"), deep.repeat(10_000).as_bytes(), refused));
    }
    let digits = "9".repeat(1 << 20);
    for (before, after) in
        [("", ""), ("{\"age\":", "}"), ("[{\"age\":", "}]"), ("{\"a\":[\"string\",", "]}"), ("{\"age\":1e", "}")]
    {
        list.push(bytes("a mebibyte of digits", format!("{before}{digits}{after}").as_bytes(), refused));
    }
    list
}

fn no_places_for_a_copy() -> Vec<Wrong> {
    let own = |name: &'static str| wrong(&format!("its own folder/{name}"), Put::InOwnFolder(name), &[INVALID]);
    let other = |path: &str, allowed: &[i32]| wrong(path, Put::Bytes(path.into()), allowed);
    vec![
        own(""),
        own("."),
        own("data"),
        own("copy"),
        own("data/../copy"),
        other("/proc", &[INVALID]),
        other("/dev/null", &[INVALID]),
    ]
}

/// Whether the function writes to the table that it is given, or prepares to.
fn writes(function: &str) -> bool {
    ["batch", "save", "replace", "delete"].iter().any(|verb| function.contains(verb))
}

fn sizes(slot: &Slot) -> Vec<Wrong> {
    if slot.name == "error_size" {
        return values(&[0, 1], &[OK]);
    }
    let mut list = values(&IMPOSSIBLE, &[MISUSE]);
    list.push(wrong("0", Put::Value(0), &[INVALID]));
    list.push(wrong("0 and NULL", Put::WithNull(0), &[INVALID]));
    if slot.name.ends_with("record_size") || slot.name == "expected_size" {
        list.extend(values(&[1], &[INVALID]));
        for size in [RECORD_SIZE - 1, RECORD_SIZE + 1, 1 << 16] {
            list.push(wrong(&format!("{size} with as much memory"), Put::WithMemory(size), &[INVALID]));
        }
    }
    list
}

#[test]
fn every_function_of_the_header_can_be_called_here() {
    let header = header();
    let mut declared: Vec<&str> = header.functions.iter().map(|it| it.name.as_str()).collect();
    let mut listed = callable();
    declared.sort_unstable();
    listed.sort_unstable();
    assert_eq!(declared, listed, "tests/kit/c_calls.rs lists the functions of the header");
}

#[test]
fn every_call_that_is_spoilt_below_would_succeed() {
    let header = header();
    for name in fallible(&header) {
        let world = World::new(&header);
        let mut call = world.prepare(name);
        assert_eq!(call.run(), OK, "{name}: {}", message());
        assert!(call.overwritten().is_empty(), "{name} writes beside {:?}", call.overwritten());
        assert!(call.unfilled().is_empty(), "{name} leaves gaps in {:?}", call.unfilled());
        call.take_back();
        world.finish(call);
    }
}

#[test]
fn every_wrong_argument_is_refused_with_a_sentence_and_nothing_happens() {
    let header = header();
    let kinds = handle_kinds(&header);
    let (mut world, foreign) = (World::new(&header), World::new(&header));
    let mut content = world.content();
    let mut count = BTreeMap::<i32, usize>::new();
    let mut failures = Vec::new();
    for name in fallible(&header) {
        let function = header.functions.iter().find(|it| it.name == name).expect("it is one of them");
        let slots = slots(&header, function);
        for slot in &slots {
            for wrong in wrongs(name, slot, &slots, &kinds) {
                let status = try_one(&world, &foreign, name, slot, &wrong, &mut failures);
                *count.entry(status / 100).or_default() += 1;
                let now = world.content();
                if now == content {
                    continue;
                }
                if status != OK {
                    failures.push(format!(
                        "{name}: {} in `{}`: {status}, and the database changed",
                        wrong.what, slot.label
                    ));
                }
                world = World::new(&header);
                content = world.content();
            }
        }
    }
    println!("calls by the class of their status: {count:?}");
    assert!(failures.is_empty(), "{} of {count:?}:\n{}", failures.len(), failures.join("\n"));
    assert!(count.values().sum::<usize>() > 1000, "only {count:?} calls were made");
}

/// Opens with a store and a cache, when `spoil` is done with the call: the status, and how often each was destroyed in
/// the end.
fn open_with_modules(world: &World, modules: &[&str], spoil: impl FnOnce(&mut Call)) -> (i32, Vec<u32>) {
    let mut call = world.prepare("diamond_open");
    for module in modules {
        call.hand_over(module);
    }
    spoil(&mut call);
    let contexts = modules.iter().map(|module| call.value(&format!("{module}->context"))).collect::<Vec<_>>();
    let status = call.run();
    if status == OK {
        assert!(contexts.iter().all(|it| destroyed(*it) == 0), "a module was destroyed under an open database");
    }
    call.take_back();
    world.finish(call);
    (status, contexts.into_iter().map(destroyed).collect())
}

#[test]
fn every_module_that_is_taken_is_destroyed_once_and_no_other() {
    let header = header();
    let world = World::new(&header);
    let (store, cache) = ("options->store", "options->cache");
    let both = |spoil: &dyn Fn(&mut Call)| open_with_modules(&world, &[store, cache], spoil);
    assert_eq!(both(&|_| {}), (OK, vec![1, 1]));

    // Refused: both stay the caller's, whichever it was and whatever else is wrong.
    let refused =
        |spoil: &dyn Fn(&mut Call), status: i32| assert_eq!(both(spoil), (status, vec![0, 0]), "{}", message());
    refused(&|call| call.set("options->store->fetch", 0), UNSUPPORTED);
    refused(&|call| call.set("options->cache->fetch", 0), UNSUPPORTED);
    refused(&|call| call.set("options->store->flags", 1 << 40), INVALID);
    refused(&|call| call.set("options->cache->struct_size", 0), MISUSE);
    refused(&|call| call.set("options->flags", 32), INVALID);
    refused(&|call| call.set("options->flags", 1 << 40), INVALID);
    refused(&|call| call.set("options->durability", 3), INVALID);
    refused(&|call| call.set("options->cache_bytes", 1), INVALID);
    refused(&|call| call.set("db", 0), MISUSE);

    // Taken, and the open fails for another reason.
    let taken = |spoil: &dyn Fn(&mut Call), status: i32| assert_eq!(both(spoil), (status, vec![1, 1]), "{}", message());
    taken(&|call| call.set_bytes("path", &vec![0; call.value("path_size") as usize]), INVALID);
    taken(&|call| call.set("path", 0), MISUSE);
    taken(&|call| call.set("options->dirty_soft", u64::MAX), INVALID);
    taken(&|call| call.set("options->flags", 1), NOT_FOUND);
    let fails = c_modules::function("diamond_store_module", "initialize");
    taken(&|call| call.set("options->store->persist_all", fails), OK);
    // It is handed another function's arguments, and so fails at once.
    let fails = answers::<0> as *const () as u64;
    taken(&|call| call.set("options->store->initialize", fails), MODULE);

    // A cache alone, where the folder is none, cannot be opened, or is open with other options.
    let alone = |spoil: &dyn Fn(&mut Call)| open_with_modules(&world, &[cache], spoil);
    let leads_to = |path: &str, call: &mut Call| {
        call.set_bytes("path", path.as_bytes());
        call.set("path_size", path.len() as u64);
    };
    assert_eq!(alone(&|_| {}), (OK, vec![1]));
    assert_eq!(alone(&|call| call.set("options->flags", 32)), (OK, vec![1]));
    assert_eq!(alone(&|call| call.set("path_size", 0)), (INVALID, vec![1]));
    let (status, count) = alone(&|call| leads_to("/proc/nothing", call));
    assert!(status != OK, "there is no such folder");
    assert_eq!(count, [1], "{}", message());
    let own = world.folder.path().to_str().expect("folders are UTF-8").to_owned();
    assert_eq!(alone(&|call| leads_to(&own, call)), (BUSY, vec![1]), "{}", message());

    // The two stores of a check are refused together, too.
    for (spoilt, status, count) in [("", OK, 1), ("module", UNSUPPORTED, 0), ("again", UNSUPPORTED, 0)] {
        let mut call = world.prepare("diamond_check_store_module");
        let contexts = call.modules();
        if !spoilt.is_empty() {
            call.set(&format!("{spoilt}->persist_all"), 0);
        }
        assert_eq!(call.run(), status, "{}", call.said);
        assert!(contexts.iter().all(|(context, _)| destroyed(*context) == count), "{spoilt}");
        call.take_back();
        world.finish(call);
    }
}

/// A call of a reply: its status.
fn tell(name: &str, reply: u64, text: &str) -> i32 {
    invoke(name, &[reply, text.as_ptr() as u64, text.len() as u64])
}

#[test]
fn every_refused_answer_fails_the_call_that_it_answers() {
    let header = header();
    let has_no_stamp = |reply: u64| invoke("diamond_reply_record", &[reply, 0, 0, 0, 0, 0, 0]);
    // The module does not look at what came of it.
    let status = play(&header, Scene::StoreFetch, &mut |reply| {
        assert_eq!(has_no_stamp(reply), MISUSE);
        MODULE_OK
    });
    assert_eq!(status, MODULE, "{}", message());
    assert!(message().contains("diamond_reply_record: `stamp` is NULL"), "{}", message());
    let status = play(&header, Scene::Initialize, &mut |reply| {
        assert_eq!(invoke("diamond_reply_meta", &[reply, 0, 9]), MISUSE);
        MODULE_OK
    });
    assert_eq!(status, MODULE, "{}", message());
    assert!(message().contains("diamond_reply_meta: `tables` is NULL"), "{}", message());
    // A cache is asked no more about this record, and the store is.
    let status = play(&header, Scene::CacheFetch, &mut |reply| {
        assert_eq!(has_no_stamp(reply), MISUSE);
        MODULE_OK
    });
    assert_eq!(status, OK, "{}", message());
    // Where nothing was asked nothing is lost: what was done stays done.
    for scene in Scene::TOLD {
        let status = play(&header, scene, &mut |reply| {
            assert_eq!(has_no_stamp(reply), MISUSE, "{scene:?}");
            assert_eq!(tell("diamond_reply_error", reply, "not needed"), OK, "{scene:?}");
            MODULE_OK
        });
        assert_eq!(status, OK, "{scene:?}: {}", message());
    }
}

#[test]
fn every_reply_is_good_while_its_own_function_runs_whatever_runs_within() {
    let header = header();
    let status = play(&header, Scene::Initialize, &mut |outer| {
        let mut over = 0;
        let status = play(&header, Scene::StoreFetch, &mut |inner| {
            over = inner;
            assert_ne!(inner, outer);
            assert_eq!(tell("diamond_reply_error", outer, "the outer one"), OK);
            assert_eq!(tell("diamond_reply_meta", inner, "{}"), MISUSE);
            assert_eq!(tell("diamond_reply_error", inner, "the inner one"), OK);
            0
        });
        assert_eq!(status, MODULE);
        assert!(message().contains("the inner one"), "{}", message());
        assert_eq!(tell("diamond_reply_error", over, "too late"), MISUSE);
        assert_eq!(tell("diamond_reply_meta", outer, "{}"), OK);
        0
    });
    assert_eq!(status, MODULE);
    assert!(message().contains("the outer one"), "{}", message());
    // A sentence that is too long is cut between letters.
    let long = "\u{FC}".repeat(1 << 20);
    let status = play(&header, Scene::StoreFetch, &mut |reply| {
        assert_eq!(tell("diamond_reply_error", reply, &long), OK);
        0
    });
    assert_eq!(status, MODULE);
    let said = message();
    assert!(said.contains(&long[..4096]) && said.len() < 4500 && !said.contains('\u{FFFD}'), "{} bytes", said.len());
}

#[test]
fn after_a_fork_every_function_answers_so_in_the_child_and_goes_on_in_the_parent() {
    let header = header();
    for name in fallible(&header) {
        let world = World::new(&header);
        let mut call = world.prepare(name);
        if !call.slots.iter().any(|it| matches!(it.role, Role::Handle(_))) {
            world.finish(call);
            continue;
        }
        let closes = call.closes();
        // SAFETY: the child makes one call and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let status = call.run();
            let answered = match &closes {
                // What hangs on a database is closed anywhere; a pin keeps it open, as the database's own handle does.
                Some(kind) if !["diamond_db", "diamond_pin"].contains(&kind.as_str()) => [OK, FORKED].contains(&status),
                _ => status == FORKED,
            };
            // SAFETY: ends the process, without destructors that would be the parent's.
            unsafe { libc::_exit(if answered { 0 } else { status / 100 * 10 + status % 10 }) };
        }
        let mut ended = 0;
        // SAFETY: the child is ours, and `ended` is writable.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut ended, 0) }, child);
        assert_eq!(ended, 0, "{name}: {} x 10 + last digit of the status in the child", ended >> 8);
        assert_eq!(call.run(), OK, "{name}: {}", message());
        call.take_back();
        world.finish(call);
    }
}

#[test]
fn valgrind_finds_nothing_in_all_of_this() {
    // A forked child lacks the threads that own some of its memory: that is lost, and no matter.
    let valgrind = Command::new("valgrind")
        .args(["-q", "--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"])
        .arg("--error-exitcode=9")
        .arg(std::env::current_exe().expect("a test knows itself"))
        .args(["--test-threads=1", "every_", "--skip", "fork", "--skip", "valgrind"])
        .output();
    let Ok(run) = valgrind else {
        eprintln!("valgrind is not installed: left out");
        return;
    };
    let text = [run.stdout, run.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(run.status.success() && text.contains("6 passed"), "{}:\n{text}", run.status);
}

fn handle_kinds(header: &Header) -> Vec<String> {
    let mut kinds = Vec::new();
    for it in header.functions.iter().flat_map(|function| &function.parameters) {
        match it.kind.strip_suffix(" **") {
            Some(kind) if kind.starts_with("diamond_") && !kinds.iter().any(|it| it == kind) => kinds.push(kind.into()),
            _ => {}
        }
    }
    kinds
}

/// Whether a function of a reply has something to say in this scene.
fn says_something_in(function: &str, scene: Scene) -> bool {
    match function {
        "diamond_reply_meta" | "diamond_reply_stored" => scene == Scene::Initialize,
        "diamond_reply_record" => [Scene::StoreFetch, Scene::CacheFetch].contains(&scene),
        _ => true,
    }
}

/// Spoils one slot of one call, calls, and notes whatever is not as the header says.
fn try_one(world: &World, foreign: &World, name: &str, slot: &Slot, wrong: &Wrong, failures: &mut Vec<String>) -> i32 {
    let mut call = world.prepare(name);
    let module = in_module(slot, &call.slots).map(str::to_owned);
    if module.is_some() {
        call.hand_over(slot.label.rsplit_once("->").expect("it is a field").0);
    } else if matches!(slot.role, Role::Module(_)) {
        call.hand_over(&slot.label);
    }
    // Another call for what is to be put in, so that it is cleaned up like any other.
    let mut second = None;
    match &wrong.put {
        Put::Value(value) => call.set(&slot.label, *value),
        Put::Bytes(bytes) => {
            call.set_bytes(&slot.label, bytes);
            let size = call.slots.iter().find(|it| it.measured.as_ref() == Some(&slot.label));
            if let Some(size) = size.map(|it| it.label.clone()) {
                call.set(&size, bytes.len() as u64);
            }
        }
        Put::Moved(by) => call.shift(&slot.label, *by),
        Put::OtherKind(kind) => {
            let other = world.prepare_handle(kind);
            call.set(&slot.label, other.handle(kind).expect("it was asked for"));
            second = Some((world, other));
        }
        Put::Foreign(kind) => {
            let other = foreign.prepare_handle(kind);
            call.set(&slot.label, other.handle(kind).expect("it was asked for"));
            second = Some((foreign, other));
        }
        Put::ParentClosed => {
            let db = call.take_handle("diamond_db").expect("a handle has a database");
            assert_eq!(invoke("diamond_close", &[db]), OK, "{}", message());
        }
        Put::OfSnapshot => {
            let table = world.open_snapshot_table(&mut call);
            call.set(&slot.label, table);
        }
        Put::InOwnFolder(path) => {
            let path = world.folder.path().join(path);
            let path = path.to_str().expect("folders are UTF-8");
            call.set_bytes(&slot.label, path.as_bytes());
            call.set(&format!("{}_size", slot.label), path.len() as u64);
        }
        Put::WithNull(value) => {
            call.set(&slot.label, *value);
            call.set(slot.measured.as_ref().expect("a size is that of something"), 0);
        }
        Put::WithMemory(size) => {
            call.set(&slot.label, *size as u64);
            call.set_bytes(slot.measured.as_ref().expect("a size is that of something"), &vec![0; *size]);
        }
        Put::Staged(stage) => call.stage = *stage,
    }
    let inputs = call.inputs();
    let modules = call.modules();
    let before: Vec<u32> = modules.iter().map(|(context, _)| destroyed(*context)).collect();
    let status = call.run();
    let said = call.said.clone();
    let mut note = |text: String| failures.push(format!("{name}: {} in `{}`: {text}", wrong.what, slot.label));
    if !wrong.allowed.contains(&status) {
        note(format!("{status} where {:?} was expected: {said}", wrong.allowed));
    }
    if status != OK {
        if said.len() < 10 {
            note(format!("{status} with no sentence: {said:?}"));
        }
        let named = status == MISUSE && !matches!(wrong.put, Put::Foreign(_)) || status != MODULE && module.is_some();
        if named && !names_what_is_wrong(&said, &call, slot) {
            note(format!("the sentence does not name function and argument: {said}"));
        }
        // The header knows two texts that come out beside a failure.
        let partial = name == "diamond_table_fetch_many_json" && status / 100 == 2
            || name.starts_with("diamond_check") && status == MODULE;
        let elsewhere = matches!(slot.role, Role::HandleOut(_) | Role::TextOut) || slot.name == "size";
        if !partial && call.out_handles().iter().any(|&it| it != 0 && !(elsewhere && it == UNTOUCHED)) {
            note(format!("{status}, and something came out"));
        }
        if !partial && call.text_sizes().iter().any(|&size| size != 0) {
            note(format!("{status}, and the size of a text that did not come out is not 0"));
        }
        // The error buffer is for failures; all else that a failure writes to, the header names.
        let may_write = |it: &Slot| match it.role {
            Role::ErrorOut => true,
            Role::Statuses => partial || name == "diamond_table_fetch_many",
            _ => it.name == "size" || (name, it.name.as_str()) == ("diamond_cursor_next_many", "count"),
        };
        if name == "diamond_backup" && call.has_made_folder() {
            note(format!("{status}, and the folder of the copy was made"));
        }
        for slot in call.touched().into_iter().filter(|it| !may_write(it)) {
            note(format!("{status}, and something was written to {}", slot.label));
        }
    }
    if inputs != call.inputs() && !(status == OK && name == "diamond_table_save_by") {
        note(format!("{status}, and what was only to be read has changed"));
    }
    let beside = call.overwritten().join(", ");
    if !beside.is_empty() {
        note(format!("{status}, and bytes beside {beside} were written"));
    }
    call.take_back();
    // One module that is refused leaves all to the caller; those that were taken end with what they were taken for.
    for ((context, is_destroyed), before) in modules.into_iter().zip(before) {
        let (is_taken, count) = ([OK, MODULE].contains(&status), destroyed(context) - before);
        if count != u32::from(is_taken && is_destroyed) {
            note(format!("{status}, and a module was destroyed {count} times"));
        }
    }
    // A close that was refused has closed nothing.
    call.is_closed = call.closes().is_some() && status == OK && !matches!(wrong.put, Put::Value(0));
    world.finish(call);
    if let Some((world, other)) = second {
        world.finish(other);
    }
    status
}

/// "function: `argument` ...": the very one, or, where a number is too much for what it measures, either.
fn names_what_is_wrong(said: &str, call: &Call, slot: &Slot) -> bool {
    let rest = said.strip_prefix(&format!("{}: `", call.function.name));
    let Some(named) = rest.and_then(|rest| rest.split('`').next()) else { return false };
    match slot.role {
        Role::StructSize => slot.label.rsplit_once("->").is_some_and(|it| it.0 == named),
        Role::Size => slot.measured.as_deref() == Some(named),
        Role::Count | Role::Stride => call.slot(named).is_some(),
        _ => slot.label == named,
    }
}
