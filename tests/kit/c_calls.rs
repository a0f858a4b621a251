//! Every function of the header, called by what the header says of it.
//!
//! A call is made of *slots*: its arguments, and the fields of the structs that they point to. [`recipe`] knows each
//! by type and name; one that it does not know ends the test, so that no function is left out. [`World::prepare`]
//! fills all slots with what makes the call succeed; a test then puts something else into one of them.
//!
//! Handles come from the header too: a function whose last parameter is `diamond_x **` opens an x, and
//! `diamond_x_close` closes it.
//!
//! A call with a reply is made where that is alive: within a module's function (`kit/c_modules.rs`). A module that is
//! an argument is given; one in the options of an open only where a test hands it over, since it changes what the
//! database can do.
//!
//! What a call writes lies between guard bytes. What it reads lies in memory of exactly its size, for valgrind and
//! the address sanitizer to see what goes beyond.

#![allow(unsafe_code, reason = "the callers of the C interface")]
#![allow(dead_code, reason = "each test file uses its own part of this one")]

use std::ffi::{CStr, c_void};

use crate::c_header::{Function, Header, Struct, Variable};
use crate::c_modules::{self, Scene};
use crate::kit::Folder;

type Export = unsafe extern "C" fn();

macro_rules! exports {
    ($($name:ident)*) => {
        unsafe extern "C" { $(fn $name();)* }
        const EXPORTS: &[(&str, Export)] = &[$((stringify!($name), $name as Export)),*];
    };
}

// The addresses of all functions. What is called is decided by the header, which is held against this list.
exports! {
    diamond_error_message diamond_free diamond_version diamond_abi_version
    diamond_reply_error diamond_reply_meta diamond_reply_stored diamond_reply_record
    diamond_check_store_module diamond_check_cache_module
    diamond_open diamond_close diamond_flush diamond_checkpoint diamond_step diamond_wait_durable diamond_verify
    diamond_backup diamond_stats
    diamond_table_make diamond_table_open diamond_table_close diamond_table_drop diamond_table_rename
    diamond_table_list diamond_table_name diamond_table_schema diamond_table_layout diamond_table_count
    diamond_table_next_id diamond_table_save diamond_table_fetch diamond_table_replace diamond_table_replace_if
    diamond_table_delete diamond_table_delete_if diamond_table_save_many diamond_table_fetch_many
    diamond_table_replace_many diamond_table_delete_many diamond_table_save_json diamond_table_save_many_json
    diamond_table_fetch_json diamond_table_fetch_many_json diamond_table_replace_json diamond_table_replace_if_json
    diamond_table_replace_many_json diamond_table_save_by diamond_table_fetch_by
    diamond_batch_open diamond_batch_save diamond_batch_save_json diamond_batch_replace diamond_batch_replace_json
    diamond_batch_delete diamond_batch_expect diamond_batch_expect_json diamond_batch_commit diamond_batch_close
    diamond_table_scan diamond_cursor_next diamond_cursor_next_many diamond_cursor_next_json diamond_cursor_close
    diamond_snapshot_open diamond_snapshot_table diamond_snapshot_close
    diamond_pin_open diamond_pin_close
}

pub const OK: i32 = 0;
pub const MISUSE: i32 = 100;
pub const CLOSED: i32 = 101;
pub const FORKED: i32 = 102;
pub const INVALID: i32 = 104;
pub const UNSUPPORTED: i32 = 105;
pub const TOO_LARGE: i32 = 106;
pub const NOT_FOUND: i32 = 200;
pub const OUT_OF_RANGE: i32 = 201;
pub const BUSY: i32 = 300;
pub const TIMEOUT: i32 = 304;
pub const CANCELLED: i32 = 305;
pub const POISONED: i32 = 502;
pub const PANIC: i32 = 601;
pub const MODULE: i32 = 602;

/// What a callback returns that went well.
pub const MODULE_OK: i32 = 0x4F4B;

/// What the callback of a call is to be handed; it never looks there.
const CONTEXT: u64 = 0x00DD_C0DE;

/// The callback of a call that succeeds: goes on, where it is handed what it should be.
extern "C" fn goes_on(context: *mut c_void, done_bytes: u64, total_bytes: u64) -> i32 {
    let context = context as u64;
    if [0, CONTEXT].contains(&context) && done_bytes <= total_bytes { MODULE_OK } else { CANCELLED }
}

/// A callback that answers so.
pub extern "C" fn answers<const ANSWER: i32>(_context: *mut c_void, _done_bytes: u64, _total_bytes: u64) -> i32 {
    ANSWER
}

/// What stands for the reply of a call, until it is made.
const REPLY: u64 = 0x00DD_4E50_0000;

/// The table that every world has, two of its records, and what they are as JSON. `char name[15]`, a double.
pub const SCHEMA: &str = r#"{"name":["string",15,"required"],"age":["number",3]}"#;
pub const JSON: &str = r#"{"name":"Abby","age":29}"#;
pub const RECORD_SIZE: usize = 24;

/// How many records the calls have that take many.
pub const MANY: usize = 2;

/// The id of a record that was deleted.
pub const DELETED_ID: u64 = 2;

/// The first id that was never given.
pub const NEXT_ID: u64 = 4;

pub fn record() -> Vec<u8> {
    let mut record = vec![0; RECORD_SIZE];
    record[..4].copy_from_slice(b"Abby");
    record[16..].copy_from_slice(&29_f64.to_le_bytes());
    record
}

/// What a slot is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// An open handle of this kind.
    Handle(String),
    /// Where a new one goes.
    HandleOut(String),
    /// A struct by pointer; its fields are slots of their own.
    Struct(String),
    StructSize,
    /// A struct by pointer that is filled, as much of it as its struct_size says.
    StructOut(String),
    /// A function that is called during the call.
    Callback,
    /// What the callback is handed.
    Context,
    /// Where the answer of a module's function goes.
    Reply,
    /// A module, of this struct; its fields are slots of their own.
    Module(String),
    ModuleFunction,
    ModuleContext,
    /// Text that ends in NUL, or NULL.
    ModuleName,
    Text,
    Record,
    RecordOut,
    /// Many records, to be read or to be written.
    Records,
    Nulls,
    NullsOut,
    /// The size of the slot before.
    Size,
    /// How many there are of what the slots beside it name.
    Count,
    /// Which of these it is about.
    Index,
    Stride,
    Ids,
    IdsOut,
    Statuses,
    ErrorOut,
    TextOut,
    /// Where a number of so many bytes goes.
    NumberOut(usize),
    Id,
    Lsn,
    Flags,
    /// A constant of an enum.
    Choice,
    /// Any value is fine.
    Number,
    /// NULL, for now.
    Reserved,
}

/// The role of a module's field.
fn module_recipe(module: &str, it: &Variable) -> Role {
    match (it.kind.as_str(), it.name.as_str()) {
        ("size_t", "struct_size") => Role::StructSize,
        ("uint64_t", "flags") => Role::Flags,
        ("void *", "context") => Role::ModuleContext,
        ("const char *", "name") => Role::ModuleName,
        (kind, _) if kind.contains("(*)") => Role::ModuleFunction,
        ("const void *", _) => Role::Reserved,
        (kind, name) => panic!("{module}: no recipe for `{kind} {name}`; tests/kit/c_calls.rs needs one"),
    }
}

/// The role of a parameter or field, by its type and its name.
fn recipe(header: &Header, function: &str, it: &Variable) -> Role {
    let Variable { kind, name } = it;
    let pointee = kind.trim_start_matches("const ").trim_end_matches(['*', ' ']);
    let stars = kind.matches('*').count();
    if pointee == "diamond_slots" {
        return Role::StructOut(pointee.to_owned());
    }
    if pointee.ends_with("_module") {
        return Role::Module(pointee.to_owned());
    }
    if pointee == "diamond_reply" {
        return Role::Reply;
    }
    if header.find_struct(pointee).is_some() {
        return Role::Struct(pointee.to_owned());
    }
    if pointee.starts_with("diamond_") && pointee != "diamond_status" {
        let kind = pointee.to_owned();
        return if stars == 2 { Role::HandleOut(kind) } else { Role::Handle(kind) };
    }
    match (kind.as_str(), name.as_str()) {
        ("size_t", "struct_size") => Role::StructSize,
        ("size_t", "size") => Role::Size,
        ("size_t", "index") => Role::Index,
        ("size_t", name) if name.ends_with("_size") => Role::Size,
        ("size_t", name) if name.ends_with("_stride") => Role::Stride,
        ("size_t", "count" | "capacity" | "ids_count") => Role::Count,
        ("int32_t (*)(void *context, uint64_t done_bytes, uint64_t total_bytes)", _) => Role::Callback,
        ("void *", "context") => Role::Context,
        ("const char *", _) => Role::Text,
        ("const void *", _) => Role::Record,
        ("void *", "record") => Role::RecordOut,
        ("void *", "records") => Role::Records,
        ("const uint8_t *", name) if name.ends_with("nulls") => Role::Nulls,
        ("uint8_t *", "nulls") => Role::NullsOut,
        ("const uint64_t *", "ids") => Role::Ids,
        ("uint64_t *", "ids") => Role::IdsOut,
        ("diamond_status *", "statuses") => Role::Statuses,
        ("char *", "error") => Role::ErrorOut,
        ("char **", _) => Role::TextOut,
        ("uint64_t *" | "size_t *", _) => Role::NumberOut(8),
        ("int32_t *", _) => Role::NumberOut(4),
        ("uint64_t", "id") => Role::Id,
        ("uint64_t", "lsn") => Role::Lsn,
        ("uint64_t" | "uint32_t", "flags") => Role::Flags,
        ("int32_t", _) => Role::Choice,
        ("uint64_t", "first_id" | "end_id" | "dirty_soft" | "dirty_hard" | "cache_bytes") => Role::Number,
        ("uint64_t", "version" | "seal") => Role::Number,
        ("uint32_t", _) => Role::Number,
        _ => panic!("{function}: no recipe for `{kind} {name}`; tests/kit/c_calls.rs needs one"),
    }
}

/// One value that a call is given: an argument, or a field of the struct that one points to.
#[derive(Clone, Debug)]
pub struct Slot {
    pub role: Role,
    pub name: String,
    /// As messages call it: `options`, `request->record`.
    pub label: String,
    /// Of a size: the label of what is so large.
    pub measured: Option<String>,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Argument(usize),
    /// In the struct to which the slot of this label points.
    Field {
        of: String,
        offset: usize,
        size: usize,
    },
}

/// Where a call with a reply is made, and with which.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// Wherever it belongs, one after the other.
    Fitting,
    In(Scene),
    /// In a scene, with the reply of one that is over.
    Stale(Scene),
    /// In none, with the reply of one that is over.
    Outside(Scene),
    /// With a reply that is alive, and another thread's.
    OtherThread(Scene),
}

/// The scenes in which a function of a reply has something to say.
fn scenes(function: &str) -> &'static [Scene] {
    match function {
        "diamond_reply_meta" | "diamond_reply_stored" => &[Scene::Initialize],
        "diamond_reply_record" => &[Scene::StoreFetch, Scene::CacheFetch],
        "diamond_reply_error" => &Scene::ALL,
        _ => panic!("{function}: no scene for it; tests/kit/c_calls.rs needs one"),
    }
}

/// Memory of one slot: `size` bytes, and guards around if a call writes to it.
struct Memory {
    bytes: Vec<u8>,
    start: usize,
    size: usize,
}

const GUARD: u8 = 0xA5;
const GUARD_SIZE: usize = 64;

/// What lies where a handle or a text goes before the call, and after it where nothing was written.
pub const UNTOUCHED: u64 = u64::from_le_bytes([GUARD; 8]);

impl Memory {
    /// Memory for a call to read: not a byte more.
    fn of(bytes: &[u8]) -> Memory {
        Memory { bytes: bytes.to_vec(), start: 0, size: bytes.len() }
    }

    /// Memory for a call to write to, filled with guards.
    fn out(size: usize) -> Memory {
        let mut memory = Memory { bytes: vec![GUARD; 2 * GUARD_SIZE + size + 8], start: GUARD_SIZE, size };
        memory.start += memory.bytes[GUARD_SIZE..].as_ptr().align_offset(8);
        memory
    }

    fn address(&self) -> u64 {
        self.bytes[self.start..].as_ptr() as u64
    }

    fn guards_are_whole(&self) -> bool {
        let (before, after) = (&self.bytes[..self.start], &self.bytes[self.start + self.size..]);
        before.iter().chain(after).all(|&byte| byte == GUARD)
    }

    fn is_untouched(&self) -> bool {
        self.bytes[self.start..][..self.size].iter().all(|&byte| byte == GUARD)
    }
}

/// A call with everything that it needs.
pub struct Call<'a> {
    header: &'a Header,
    pub function: &'a Function,
    pub slots: Vec<Slot>,
    /// For a call with a reply.
    pub stage: Stage,
    /// This thread's sentence after it.
    pub said: String,
    arguments: Vec<u64>,
    /// The memory of slots, by their labels.
    memory: Vec<(String, Memory)>,
    /// What was opened for it, in this order.
    handles: Vec<(String, u64)>,
    /// True once the call has closed the handle that it is about.
    pub is_closed: bool,
    /// Where a path leads, if it takes one.
    folder: Folder,
}

/// A folder with a database in it, open, and a table of four records, of which one is deleted.
pub struct World<'a> {
    header: &'a Header,
    pub folder: Folder,
    db: u64,
    table: u64,
}

impl<'a> World<'a> {
    pub fn new(header: &'a Header) -> World<'a> {
        let mut world = World { header, folder: Folder::in_memory(), db: 0, table: 0 };
        world.open();
        for _ in 0..NEXT_ID {
            assert_eq!(world.run("diamond_table_save"), OK, "{}", message());
        }
        let mut call = world.prepare("diamond_table_delete");
        call.set("id", DELETED_ID);
        assert_eq!(call.run(), OK, "{}", message());
        world.finish(call);
        world
    }

    /// Opens the database and its table; the world keeps these handles.
    pub fn open(&mut self) {
        self.db = self.open_handle("diamond_db", &mut Vec::new());
        self.table = self.open_handle("diamond_table", &mut vec![("diamond_db".into(), self.db)]);
    }

    /// The world's own handle of its database.
    pub fn db(&self) -> u64 {
        self.db
    }

    /// Closes the world's own handles; the status is that of the database's close.
    pub fn close(&mut self) -> i32 {
        assert_eq!(invoke("diamond_table_close", &[self.table]), OK);
        let status = invoke("diamond_close", &[self.db]);
        (self.db, self.table) = (0, 0);
        status
    }

    /// The status of a call of `name` that has all it needs.
    pub fn run(&self, name: &str) -> i32 {
        let mut call = self.prepare(name);
        let status = call.run();
        // Where the database is poisoned, the close of the call's own handle says so as well.
        let closed = self.finish_poisoned(call);
        assert!(closed == OK || status == POISONED, "{name}: {status}, and the close: {}", message());
        status
    }

    /// A call that would succeed: with handles of its own, and a record, text, id or number for every slot.
    pub fn prepare(&self, name: &str) -> Call<'a> {
        self.prepare_with(name, Vec::new())
    }

    /// A call that is not made, for a handle of this kind that is its own.
    pub fn prepare_handle(&self, kind: &str) -> Call<'a> {
        let mut call = self.prepare("diamond_flush");
        self.open_handle(kind, &mut call.handles);
        call
    }

    /// The table of a snapshot of the database that the call works on; it is closed with what the call has.
    pub fn open_snapshot_table(&self, call: &mut Call) -> u64 {
        let snapshot = self.open_handle("diamond_snapshot", &mut call.handles);
        let (name, mut table) = ("people", 0u64);
        let arguments = [snapshot, name.as_ptr() as u64, name.len() as u64, &raw mut table as u64];
        assert_eq!(invoke("diamond_snapshot_table", &arguments), OK, "{}", message());
        call.handles.push(("diamond_table".to_owned(), table));
        table
    }

    fn prepare_with(&self, name: &str, handles: Vec<(String, u64)>) -> Call<'a> {
        let function = self.header.functions.iter().find(|it| it.name == name).expect("the header declares it");
        let slots = slots(self.header, function);
        let arguments = vec![0; function.parameters.len()];
        let mut call = Call {
            header: self.header,
            function,
            slots,
            stage: Stage::Fitting,
            said: String::new(),
            arguments,
            memory: Vec::new(),
            handles,
            is_closed: false,
            folder: Folder::in_memory(),
        };
        for slot in call.slots.clone() {
            let value = self.good_value(&mut call, &slot);
            call.put(&slot, value);
        }
        call
    }

    fn good_value(&self, call: &mut Call, slot: &Slot) -> u64 {
        let records = || record().repeat(MANY);
        let memory = match &slot.role {
            Role::Handle(kind) => return self.open_handle(kind, &mut call.handles),
            Role::Struct(kind) => {
                Memory::of(&vec![0; struct_size(self.header.find_struct(kind).expect("the header has it"))])
            }
            Role::StructOut(kind) => {
                Memory::out(struct_size(self.header.find_struct(kind).expect("the header has it")))
            }
            Role::Callback => return goes_on as *const () as u64,
            Role::Context => return CONTEXT,
            Role::Reply => return REPLY,
            Role::Module(kind) => {
                let size = struct_size(self.header.find_struct(kind).expect("the header has it"));
                let address = call.keep(&slot.label, Memory::of(&vec![0; size]));
                return if slot.label.contains("->") { 0 } else { address };
            }
            Role::ModuleFunction => return c_modules::function(&slot.owner(&call.slots), &slot.name),
            // The second of two stores is one over the same data.
            Role::ModuleContext if slot.label == "again->context" => {
                return c_modules::context_beside(call.value("module->context"));
            }
            Role::ModuleContext => return c_modules::context(),
            Role::ModuleName => Memory::of(b"kept\0"),
            Role::StructSize => {
                let Place::Field { of, .. } = &slot.place else { panic!("{} is in no struct", slot.label) };
                return call.memory_of(of).size as u64;
            }
            Role::Text => Memory::of(good_text(call, &slot.name).as_bytes()),
            // The text or record itself is the slot before.
            Role::Size if slot.name == "error_size" => return 64,
            Role::Size => {
                let measured = slot.measured.as_deref().expect("a size is that of something");
                return call.memory_of(measured).size as u64;
            }
            Role::Record => Memory::of(&record()),
            Role::Records => {
                let mut memory = Memory::out(MANY * RECORD_SIZE);
                memory.bytes[memory.start..][..MANY * RECORD_SIZE].copy_from_slice(&records());
                memory
            }
            Role::RecordOut => Memory::out(RECORD_SIZE),
            Role::Nulls => Memory::of(&[0]),
            // Zeros, since it may be a call that reads them.
            Role::NullsOut => {
                let mut memory = Memory::out(MANY);
                let start = memory.start;
                memory.bytes[start..][..MANY].fill(0);
                memory
            }
            Role::Count => return MANY as u64,
            Role::Ids => Memory::of(&[0u64, 1].map(u64::to_le_bytes).concat()),
            Role::IdsOut => Memory::out(MANY * 8),
            Role::Statuses => Memory::out(MANY * 4),
            Role::ErrorOut => Memory::out(64),
            Role::HandleOut(_) | Role::TextOut => Memory::out(8),
            Role::NumberOut(size) => Memory::out(*size),
            Role::Stride | Role::Index | Role::Id | Role::Lsn | Role::Flags => return 0,
            Role::Choice | Role::Number | Role::Reserved => return 0,
        };
        call.keep(&slot.label, memory)
    }

    /// A handle of this kind, from the list or opened anew; it joins the list, as do those that it needs.
    fn open_handle(&self, kind: &str, handles: &mut Vec<(String, u64)>) -> u64 {
        if let Some((_, handle)) = handles.iter().find(|(found, _)| found == kind) {
            return *handle;
        }
        let goes_out = format!("{kind} **");
        let opens = |it: &&Function| it.parameters.last().is_some_and(|last| last.kind == goes_out);
        let opener = self.header.functions.iter().find(opens);
        let opener = opener.unwrap_or_else(|| panic!("nothing in the header opens a {kind}"));
        let mut call = self.prepare_with(&opener.name, std::mem::take(handles));
        if kind == "diamond_db" {
            let path = self.folder.path().to_str().expect("folders are UTF-8");
            call.set_bytes("path", path.as_bytes());
            call.set("path_size", path.len() as u64);
        }
        assert_eq!(call.run(), OK, "{}: {}", opener.name, message());
        let handle = call.out_handles()[0];
        *handles = call.handles;
        handles.push((kind.to_owned(), handle));
        if kind == "diamond_batch" {
            // One save, so that there is an id to give.
            let table = self.open_handle("diamond_table", handles);
            let json = [handle, table, JSON.as_ptr() as u64, JSON.len() as u64];
            assert_eq!(invoke("diamond_batch_save_json", &json), OK, "{}", message());
        }
        handle
    }

    /// Closes what was opened for a call.
    pub fn finish(&self, call: Call) {
        let (name, status) = (&call.function.name, self.clean_up(call.closes(), call.is_closed, call.handles));
        assert_eq!(status, OK, "{name}: {}", message());
    }

    /// The same, and gives the first status that is not OK.
    pub fn finish_poisoned(&self, call: Call) -> i32 {
        self.clean_up(call.closes(), call.is_closed, call.handles)
    }

    fn clean_up(&self, closes: Option<String>, is_closed: bool, handles: Vec<(String, u64)>) -> i32 {
        let closed = closes.filter(|_| is_closed);
        let left = handles.into_iter().rev().filter(|(kind, _)| closed.as_ref() != Some(kind));
        let statuses: Vec<i32> = left.map(|(kind, handle)| close(&kind, handle)).collect();
        statuses.into_iter().find(|&status| status != OK).unwrap_or(OK)
    }

    /// All that can be read: tables with their counts, and every record of the world's own.
    pub fn content(&self) -> String {
        let ids: Vec<u64> = (0..NEXT_ID).collect();
        let text = |name: &str, before: &[u64], after: &[u64]| {
            let (mut text, mut size) = (std::ptr::null_mut::<std::ffi::c_char>(), 0usize);
            let places = [&raw mut text as u64, &raw mut size as u64];
            let status = invoke(name, &[before, &places, after].concat());
            if text.is_null() {
                return format!("{name}: {status}");
            }
            // SAFETY: a text of the library ends in NUL, and is ours until it is freed.
            let copy = unsafe { CStr::from_ptr(text) }.to_str().expect("texts are UTF-8").to_owned();
            assert_eq!(copy.len(), size);
            invoke("diamond_free", &[text as u64]);
            copy
        };
        let tables = text("diamond_table_list", &[self.db], &[]);
        let many = [self.table, ids.as_ptr() as u64, NEXT_ID, 0];
        tables + &text("diamond_table_fetch_many_json", &many, &[0])
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        if self.db != 0 && !std::thread::panicking() {
            self.close();
        }
    }
}

/// The text that a call is to be given.
fn good_text(call: &Call, name: &str) -> String {
    let function = call.function.name.as_str();
    match name {
        "path" => call.folder.path().to_str().expect("folders are UTF-8").to_owned(),
        "name" => "people".to_owned(),
        "new_name" => "persons".to_owned(),
        "schema" => SCHEMA.to_owned(),
        "json" if function.contains("_many") => format!("[{JSON},{JSON}]"),
        "json" | "expected" => JSON.to_owned(),
        "text" => "it is raining".to_owned(),
        "tables" => "{}".to_owned(),
        _ => panic!("{function}: no text for `{name}`; tests/kit/c_calls.rs needs one"),
    }
}

impl Slot {
    /// The kind of module of which this is a field.
    fn owner(&self, slots: &[Slot]) -> String {
        let of = slots.iter().find(|it| matches!(&self.place, Place::Field { of, .. } if *of == it.label));
        let Some(Slot { role: Role::Module(kind), .. }) = of else { panic!("{} is in no module", self.label) };
        kind.clone()
    }
}

impl Call<'_> {
    /// Calls it.
    pub fn run(&mut self) -> i32 {
        self.run_while(&|_| {})
    }

    /// The same; `around` hears right before the function itself is called, and right after.
    pub fn run_while(&mut self, around: &dyn Fn(bool)) -> i32 {
        self.is_closed = self.closes().is_some();
        if !self.slots.iter().any(|it| it.role == Role::Reply) {
            return self.make(0, around);
        }
        let header = self.header;
        // The reply of a scene that is over.
        let stale = |scene| {
            let mut stale = 0;
            c_modules::play(header, scene, &mut |reply| {
                stale = reply;
                0
            });
            stale
        };
        let mut statuses = Vec::new();
        match self.stage {
            Stage::Fitting => {
                for scene in scenes(&self.function.name) {
                    c_modules::play(header, *scene, &mut |reply| {
                        statuses.push(self.make(reply, around));
                        0
                    });
                }
            }
            Stage::In(scene) => {
                c_modules::play(header, scene, &mut |reply| {
                    statuses.push(self.make(reply, around));
                    0
                });
            }
            Stage::Stale(scene) => {
                let stale = stale(scene);
                c_modules::play(header, scene, &mut |_| {
                    statuses.push(self.make(stale, around));
                    0
                });
            }
            Stage::Outside(scene) => statuses.push(self.make(stale(scene), around)),
            Stage::OtherThread(scene) => {
                c_modules::play(header, scene, &mut |reply| {
                    let status = std::thread::scope(|threads| threads.spawn(|| self.make(reply, &|_| {})).join());
                    statuses.push(status.expect("a call does not panic"));
                    0
                });
            }
        }
        statuses.dedup();
        assert_eq!(statuses.len(), 1, "{}: not the same in all scenes: {statuses:?}", self.function.name);
        statuses[0]
    }

    fn make(&mut self, reply: u64, around: &dyn Fn(bool)) -> i32 {
        let with_reply = |&it: &u64| if it.wrapping_sub(REPLY) < 8 { reply + (it - REPLY) } else { it };
        let arguments: Vec<u64> = self.arguments.iter().map(with_reply).collect();
        around(true);
        let status = invoke(&self.function.name, &arguments);
        around(false);
        self.said = message();
        status
    }

    /// Gives it the module that is prepared for this slot.
    pub fn hand_over(&mut self, label: &str) {
        let address = self.memory_of(label).address();
        self.set(label, address);
    }

    /// The modules that it is given: the context of each, and whether that is to be destroyed.
    pub fn modules(&self) -> Vec<(u64, bool)> {
        let modules = self.slots.iter().filter(|it| matches!(it.role, Role::Module(_)));
        let given = modules.filter(|it| self.value(&it.label) != 0);
        let read = |it: &Slot| {
            let field = |name: &str| self.value(&format!("{}->{name}", it.label));
            let seen = field("struct_size") > self.offset(&format!("{}->destroy", it.label));
            (field("context"), seen && field("destroy") != 0)
        };
        given.map(read).collect()
    }

    /// Where a field lies in its struct.
    pub fn offset(&self, label: &str) -> u64 {
        match self.slot(label).expect("there is such a slot").place {
            Place::Field { offset, .. } => offset as u64,
            Place::Argument(_) => panic!("{label} is in no struct"),
        }
    }

    /// The slot of this label.
    pub fn slot(&self, label: &str) -> Option<Slot> {
        self.slots.iter().find(|it| it.label == label).cloned()
    }

    pub fn value(&self, label: &str) -> u64 {
        match self.slot(label).expect("there is such a slot").place {
            Place::Argument(index) => self.arguments[index],
            Place::Field { of, offset, size } => {
                let mut word = [0; 8];
                let memory = self.memory_of(&of);
                word[..size].copy_from_slice(&memory.bytes[memory.start + offset..][..size]);
                u64::from_le_bytes(word)
            }
        }
    }

    /// Puts another value into a slot.
    pub fn set(&mut self, label: &str, value: u64) {
        let slot = self.slot(label).expect("there is such a slot");
        self.put(&slot, value);
    }

    /// Has a slot point elsewhere.
    pub fn shift(&mut self, label: &str, by: u64) {
        let slot = self.slot(label).expect("there is such a slot");
        let value = self.value(label) + by;
        self.put(&slot, value);
    }

    /// Has a slot point to these bytes.
    pub fn set_bytes(&mut self, label: &str, bytes: &[u8]) {
        let address = self.keep(label, Memory::of(bytes));
        self.set(label, address);
    }

    fn put(&mut self, slot: &Slot, value: u64) {
        match &slot.place {
            Place::Argument(index) => self.arguments[*index] = value,
            Place::Field { of, offset, size } => {
                let (_, memory) = self.memory.iter_mut().find(|(label, _)| label == of).expect("it is a struct");
                memory.bytes[memory.start + offset..][..*size].copy_from_slice(&value.to_le_bytes()[..*size]);
            }
        }
    }

    fn keep(&mut self, label: &str, memory: Memory) -> u64 {
        let address = memory.address();
        self.memory.insert(0, (label.to_owned(), memory));
        address
    }

    fn memory_of(&self, label: &str) -> &Memory {
        let found = self.memory.iter().find(|(found, _)| found == label);
        &found.unwrap_or_else(|| panic!("{}: no memory for {label}", self.function.name)).1
    }

    /// The kind of handle that this function closes.
    pub fn closes(&self) -> Option<String> {
        match self.slots.as_slice() {
            [Slot { role: Role::Handle(kind), .. }] if self.function.name.ends_with("_close") => Some(kind.clone()),
            _ => None,
        }
    }

    /// What came out where handles and texts go, NULL among it.
    pub fn out_handles(&self) -> Vec<u64> {
        let slots = self.slots.iter().filter(|it| matches!(it.role, Role::HandleOut(_) | Role::TextOut));
        let read = |slot: &Slot| {
            let memory = self.memory_of(&slot.label);
            u64::from_le_bytes(memory.bytes[memory.start..][..8].try_into().expect("eight bytes"))
        };
        slots.map(read).collect()
    }

    /// Closes and frees what came out.
    pub fn take_back(&mut self) {
        let slots = self.slots.clone();
        let slots = slots.iter().filter(|it| matches!(it.role, Role::HandleOut(_) | Role::TextOut));
        for (slot, value) in slots.zip(self.out_handles()) {
            match &slot.role {
                _ if value == UNTOUCHED => {}
                Role::HandleOut(kind) => assert_eq!(close(kind, value), OK, "{}", message()),
                _ => drop(invoke("diamond_free", &[value])),
            }
        }
    }

    /// The slots whose memory was written beside where it should be.
    pub fn overwritten(&self) -> Vec<&str> {
        let broken = self.memory.iter().filter(|(_, memory)| memory.start > 0 && !memory.guards_are_whole());
        broken.map(|(label, _)| label.as_str()).collect()
    }

    /// The structs in which a field was not filled.
    pub fn unfilled(&self) -> Vec<&str> {
        let has_gap = |it: &&Slot| {
            let memory = self.memory_of(&it.label);
            memory.bytes[memory.start..][..memory.size].chunks(8).any(|word| word == [GUARD; 8])
        };
        let structs = self.slots.iter().filter(|it| matches!(it.role, Role::StructOut(_)));
        structs.filter(has_gap).map(|it| it.label.as_str()).collect()
    }

    /// The slots of numbers, ids and structs to which something was written.
    pub fn touched(&self) -> Vec<&Slot> {
        let written = |it: &&Slot| match it.role {
            Role::NumberOut(_) | Role::IdsOut | Role::Statuses | Role::ErrorOut => {
                !self.memory_of(&it.label).is_untouched()
            }
            Role::StructOut(_) => {
                let memory = self.memory_of(&it.label);
                memory.bytes[memory.start..][8..memory.size].iter().any(|&byte| byte != GUARD)
            }
            _ => false,
        };
        self.slots.iter().filter(written).collect()
    }

    /// The sizes of texts that were written.
    pub fn text_sizes(&self) -> Vec<u64> {
        let pairs = self.slots.windows(2).filter(|pair| pair[0].role == Role::TextOut && pair[1].name == "size");
        let memory = pairs.map(|pair| self.memory_of(&pair[1].label)).filter(|it| !it.is_untouched());
        memory.map(|it| u64::from_le_bytes(it.bytes[it.start..][..8].try_into().expect("eight bytes"))).collect()
    }

    /// All memory that the call is given to read, the sizes of structs that it fills among it.
    pub fn inputs(&self) -> Vec<Vec<u8>> {
        let sizes = self.slots.iter().filter(|it| it.role == Role::StructSize);
        let sizes = sizes.map(|it| self.value(&it.label).to_le_bytes().to_vec());
        self.memory.iter().filter(|(_, it)| it.start == 0).map(|(_, it)| it.bytes.clone()).chain(sizes).collect()
    }

    /// True if there is something where its path leads.
    pub fn has_made_folder(&self) -> bool {
        self.folder.path().exists()
    }

    /// The handle of this kind that was opened for the call.
    pub fn handle(&self, kind: &str) -> Option<u64> {
        self.handles.iter().find(|(found, _)| found == kind).map(|(_, handle)| *handle)
    }

    /// The same, which the test closes itself.
    pub fn take_handle(&mut self, kind: &str) -> Option<u64> {
        let at = self.handles.iter().position(|(found, _)| found == kind)?;
        Some(self.handles.remove(at).1)
    }
}

/// The arguments of a function, and behind each struct its fields.
pub fn slots(header: &Header, function: &Function) -> Vec<Slot> {
    let mut slots = Vec::new();
    for (argument, it) in function.parameters.iter().enumerate() {
        let role = recipe(header, &function.name, it);
        add_slot(header, function, Place::Argument(argument), it.name.clone(), role, it, &mut slots);
    }
    slots
}

fn add_slot(
    header: &Header,
    function: &Function,
    place: Place,
    label: String,
    role: Role,
    it: &Variable,
    slots: &mut Vec<Slot>,
) {
    let fields = match &role {
        Role::Struct(kind) | Role::Module(kind) => {
            header.find_struct(kind).expect("the header has it").fields.as_slice()
        }
        // All behind the first, its size, is the call's to fill.
        Role::StructOut(kind) => &header.find_struct(kind).expect("the header has it").fields[..1],
        _ => &[],
    };
    let measured = match (&role, label.strip_suffix("_size")) {
        (Role::Size, Some(measured)) => Some(measured.to_owned()),
        (Role::Size, None) => slots.last().map(|before| before.label.clone()),
        _ => None,
    };
    let module = if let Role::Module(kind) = &role { Some(kind.clone()) } else { None };
    slots.push(Slot { role, name: it.name.clone(), label: label.clone(), measured, place });
    let mut offset = 0usize;
    for field in fields {
        let size = size_of_kind(&field.kind);
        offset = offset.next_multiple_of(size);
        // What a request gives back is a number in its struct.
        let gives = function.name.ends_with("save_by") && field.name == "id";
        let role = match &module {
            Some(module) => module_recipe(module, field),
            None if gives => Role::Number,
            None => recipe(header, &function.name, field),
        };
        let place = Place::Field { of: label.clone(), offset, size };
        add_slot(header, function, place, format!("{label}->{}", field.name), role, field, slots);
        offset += size;
    }
}

/// A struct with these fields, and zeros in all others but its size.
pub fn filled(header: &Header, kind: &str, values: &[(&str, u64)]) -> Vec<u64> {
    let it = header.find_struct(kind).expect("the header has it");
    let mut words = vec![0; struct_size(it) / 8];
    words[0] = struct_size(it) as u64;
    for (name, value) in values {
        let before = it.fields.iter().take_while(|field| field.name != *name);
        let offset = before.fold(0, |offset: usize, field| {
            let size = size_of_kind(&field.kind);
            offset.next_multiple_of(size) + size
        });
        words[offset.div_ceil(8)] = *value;
    }
    words
}

pub fn struct_size(it: &Struct) -> usize {
    let end = it.fields.iter().fold(0, |offset: usize, field| {
        let size = size_of_kind(&field.kind);
        offset.next_multiple_of(size) + size
    });
    end.next_multiple_of(8)
}

fn size_of_kind(kind: &str) -> usize {
    match kind {
        "int32_t" | "uint32_t" => 4,
        "uint64_t" | "size_t" => 8,
        _ if kind.ends_with('*') || kind.contains("(*)") => 8,
        _ => panic!("how large is a {kind}? tests/kit/c_calls.rs needs to know"),
    }
}

fn close(kind: &str, handle: u64) -> i32 {
    let name = if kind == "diamond_db" { "diamond_close".to_owned() } else { format!("{kind}_close") };
    invoke(&name, &[handle])
}

/// Calls an export. All arguments are integers or pointers, which the two 64-bit Linux ABIs pass alike, each in a
/// register or a word of the stack; a function does not look at more than it declares.
pub fn invoke(name: &str, arguments: &[u64]) -> i32 {
    word_of(name, arguments) as i32
}

/// The same, and the whole word that comes back.
pub fn word_of(name: &str, arguments: &[u64]) -> u64 {
    let (_, export) = EXPORTS.iter().find(|(found, _)| *found == name).unwrap_or_else(|| {
        panic!("{name} is in the header and not in the list of tests/kit/c_calls.rs");
    });
    type Any = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> u64;
    let mut words = [0; 12];
    words[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f, g, h, i, j, k, l] = words;
    // SAFETY: as said above; what the arguments point to is the tests' business, and they mean to be refused.
    unsafe { std::mem::transmute::<Export, Any>(*export)(a, b, c, d, e, f, g, h, i, j, k, l) }
}

/// The exports that this file can call.
pub fn callable() -> Vec<&'static str> {
    EXPORTS.iter().map(|(name, _)| *name).collect()
}

/// This thread's last sentence.
pub fn message() -> String {
    text_of("diamond_error_message")
}

/// What a function gives that returns a text.
pub fn text_of(name: &str) -> String {
    let text = word_of(name, &[]) as *const std::ffi::c_char;
    assert!(!text.is_null(), "{name} returns NULL");
    // SAFETY: the header says that it ends in NUL and stays.
    unsafe { CStr::from_ptr(text) }.to_str().expect("texts are UTF-8").to_owned()
}
