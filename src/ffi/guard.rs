//! The border: nothing unwinds past it, and every failure leaves its sentence behind.
//!
//! 1. A success writes neither status nor message anywhere: the hot calls pay for no thread-local.
//! 2. A failure sets this thread's message, and the error buffer of its request if the call has named one.
//! 3. A panic is as a crash is: whatever was under way in the database of the call may be half done. So that
//!    database writes nothing more, until opening it again recovers it; others go on.
//! 4. Nothing in here panics, since it would meet no further guard.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{null, null_mut};
use std::sync::Arc;

use super::status::{anonymous_status::DIAMOND_STATUS_OK, diamond_status};
use crate::database::Session;
use crate::error::{Error, Result};

const _: () = assert!(size_of::<c_int>() == size_of::<diamond_status>());

#[cfg(not(panic = "unwind"))]
compile_error!("diamonddb stops panics at its border, so it is built with panic = \"unwind\"");

/// One call from C: whose name its sentences bear, where they go, and which database it works on.
pub(super) struct Call {
    pub(super) name: &'static str,
    error: Cell<*mut c_char>,
    error_size: Cell<usize>,
    /// That of the handle borrowed last, which stays open for the call.
    session: Cell<*const Session>,
    /// The same, where the handle is made or closed by this call.
    held: Cell<Option<Arc<Session>>>,
}

impl Call {
    /// A failure from here on also writes its sentence to `error`, cut to `error_size` bytes, NUL included.
    ///
    /// # Safety
    /// `error` is NULL or writable for `error_size` bytes until the call returns.
    #[inline]
    pub(super) unsafe fn tell(&self, error: *mut c_char, error_size: usize) {
        self.error.set(error);
        self.error_size.set(error_size);
    }

    /// The call works on this database from here on.
    ///
    /// # Safety
    /// An owner keeps it until the call returns.
    #[inline]
    pub(super) unsafe fn works_on(&self, session: Option<&Arc<Session>>) {
        self.session.set(session.map_or(null(), Arc::as_ptr));
        #[cfg(feature = "simulation")]
        simulated::pass();
    }

    /// The same, and the call itself keeps it.
    pub(super) fn holds(&self, session: Arc<Session>) {
        let kept = Arc::as_ptr(&session);
        self.held.set(Some(session));
        self.session.set(kept);
        #[cfg(feature = "simulation")]
        simulated::pass();
    }

    /// The database that the call works on, if it does.
    pub(super) fn session(&self) -> Option<Arc<Session>> {
        let session = self.session.get();
        if session.is_null() {
            return None;
        }
        // SAFETY: it came from an `Arc`, and the caller of `works_on` promised that an owner is left.
        unsafe {
            Arc::increment_strong_count(session);
            Some(Arc::from_raw(session))
        }
    }
}

/// Runs the body of the export called `name` and turns its end, whichever it is, into a status.
#[inline]
pub(super) fn guard(name: &'static str, body: impl FnOnce(&Call) -> Result<()>) -> diamond_status {
    // What it holds is dropped below, on either way out.
    let call = ManuallyDrop::new(Call {
        name,
        error: Cell::new(null_mut()),
        error_size: Cell::new(0),
        session: Cell::new(null()),
        held: Cell::new(None),
    });
    let ended = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(feature = "simulation")]
        let _inside = simulated::Inside::enter();
        let result = body(&call);
        // In here, since the last owner takes an engine down with it.
        drop(call.held.take());
        result
    }));
    match ended {
        Ok(Ok(())) => DIAMOND_STATUS_OK as diamond_status,
        Ok(Err(error)) => report(&call, &error),
        Err(payload) => report_panic(&call, payload),
    }
}

/// The same for a hot function: `at_once` is what most of its calls need, and where its answer is not true, `body`
/// goes on as if nothing had been tried. Before all that only the others need, and so without a `Call`.
#[inline(always)]
pub(super) fn guard_hot(
    name: &'static str,
    at_once: impl FnOnce() -> Option<bool>,
    body: impl FnOnce(&Call) -> Result<()>,
) -> diamond_status {
    let tried = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(feature = "simulation")]
        let _inside = simulated::Inside::enter();
        #[cfg(feature = "simulation")]
        simulated::pass();
        at_once()
    }));
    match tried {
        Ok(Some(true)) => DIAMOND_STATUS_OK as diamond_status,
        tried => guard_after(name, tried.err(), body),
    }
}

/// A panic of what was tried goes on here, where the call knows its database.
#[cold]
#[inline(never)]
fn guard_after(
    name: &'static str,
    panic: Option<Box<dyn Any + Send>>,
    body: impl FnOnce(&Call) -> Result<()>,
) -> diamond_status {
    guard(name, |call| {
        let result = body(call);
        panic.map_or(result, |panic| resume_unwind(panic))
    })
}

#[cold]
#[inline(never)]
fn report(call: &Call, error: &Error) -> diamond_status {
    let text = error.message();
    // A destructor of this thread may call us after its message is gone: then only the status is left.
    let _ = MESSAGE.try_with(|message| write_message(&mut message.borrow_mut(), text));
    let (buffer, size) = (call.error.get(), call.error_size.get());
    if !buffer.is_null() && size > 0 {
        let size = size.min(text.len() + 1);
        // SAFETY: `Call::tell`'s caller promised these bytes; c_char and u8 have one layout.
        let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), size) };
        write_cut(buffer, text);
    }
    error.status()
}

#[cold]
#[inline(never)]
fn report_panic(call: &Call, payload: Box<dyn Any + Send>) -> diamond_status {
    let reason = match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => match payload.downcast::<&str>() {
            Ok(text) => text.to_string(),
            Err(payload) => {
                std::mem::forget(payload); // Rule 4: its drop is foreign code.
                "no reason given".to_owned()
            }
        },
    };
    let text = format!("{}: a defect of DiamondDB, please report it: {reason}", call.name);
    if let Some(session) = call.session() {
        session.poison(&text); // Rule 3.
    }
    // Rule 4: the last owner takes an engine down, and that could panic again.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(call.held.take()))) {
        std::mem::forget(payload);
    }
    report(call, &Error::Panic(text.into()))
}

/// Panics that tests ask for.
#[cfg(feature = "simulation")]
pub mod simulated {
    use std::cell::Cell;

    thread_local! {
        static LEFT: Cell<u32> = const { Cell::new(0) };
        /// How many calls are under way, one from within the other.
        static DEPTH: Cell<u32> = const { Cell::new(0) };
        /// How many were when a panic was asked for.
        static ASKED_AT: Cell<u32> = const { Cell::new(0) };
    }

    /// Lets this thread panic when its next calls of the C interface pass the point that is `count` points ahead; 0
    /// takes that back. A call passes a point wherever it borrows, takes or hands out a handle, a module or a reply.
    /// What a module calls meanwhile does not count: a panic there is stopped there.
    pub fn panic_at_border_point(count: u32) {
        LEFT.set(count);
        ASKED_AT.set(DEPTH.get());
    }

    pub(in crate::ffi) fn pass() {
        if DEPTH.get() != ASKED_AT.get() + 1 {
            return;
        }
        let left = LEFT.get();
        LEFT.set(left.saturating_sub(1));
        if left == 1 {
            panic!("a test asked for it");
        }
    }

    /// A call that is under way.
    pub(super) struct Inside;

    impl Inside {
        pub(super) fn enter() -> Inside {
            DEPTH.set(DEPTH.get() + 1);
            Inside
        }
    }

    impl Drop for Inside {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
        }
    }
}

thread_local! {
    /// The sentence of this thread's last failure and its NUL; empty before the first.
    static MESSAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// This thread's sentence. It stays where it is until the thread's next failure.
pub(super) fn message() -> *const c_char {
    let set = |message: &RefCell<Vec<u8>>| {
        let message = message.borrow();
        if message.is_empty() { c"".as_ptr() } else { message.as_ptr().cast() }
    };
    MESSAGE.try_with(set).unwrap_or(c"".as_ptr())
}

/// A NUL inside would end the sentence early, so it becomes a space.
fn write_message(message: &mut Vec<u8>, text: &str) {
    message.clear();
    message.extend(text.bytes().map(no_nul));
    message.push(0);
}

/// Writes as much of `text` as fits in whole characters, and a NUL. `buffer` is not empty.
fn write_cut(buffer: &mut [u8], text: &str) {
    let cut = text.floor_char_boundary(buffer.len() - 1);
    for (target, source) in buffer.iter_mut().zip(text[..cut].bytes()) {
        *target = no_nul(source);
    }
    buffer[cut] = 0;
}

fn no_nul(byte: u8) -> u8 {
    if byte == 0 { b' ' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn message_text() -> String {
        // SAFETY: `message` gives a text that ends in NUL and stays until this thread's next failure.
        unsafe { CStr::from_ptr(message()) }.to_str().expect("messages are UTF-8").to_owned()
    }

    #[test]
    fn a_panic_becomes_a_status_and_a_sentence_that_names_the_function() {
        let status = guard("diamond_table_save", |_| panic!("one {}", "two"));
        assert_eq!(status, Error::Panic("".into()).status());
        assert_eq!(message_text(), "diamond_table_save: a defect of DiamondDB, please report it: one two");
    }

    #[test]
    fn a_success_leaves_the_message_alone() {
        guard("diamond_flush", |_| Err(Error::Full("The disk is full.".into())));
        assert_eq!(guard("diamond_flush", |_| Ok(())), 0);
        assert_eq!(message_text(), "The disk is full.");
    }

    #[test]
    fn a_message_belongs_to_its_thread() {
        guard("diamond_flush", |_| Err(Error::Full("The disk is full.".into())));
        let other = std::thread::spawn(message_text).join().expect("the other thread does not panic");
        assert_eq!(other, "");
    }

    #[test]
    fn a_buffer_gets_whole_characters_and_a_nul() {
        for (size, expected) in [(1, ""), (2, "ä"), (3, "ä"), (4, "ä"), (5, "äö"), (6, "äö"), (7, "äöü"), (9, "äöü")]
        {
            let expected = if size == 2 { "" } else { expected };
            let mut buffer = [b'#' as c_char; 9];
            guard("diamond_flush", |call| {
                // SAFETY: the buffer has at least `size` bytes and outlives the call.
                unsafe { call.tell(buffer.as_mut_ptr(), size) };
                Err(Error::Invalid("äöü".into()))
            });
            // SAFETY: the guard has written a NUL.
            assert_eq!(unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_str(), Ok(expected), "size {size}");
            assert!(buffer[size..].iter().all(|&byte| byte == b'#' as c_char), "size {size} is kept");
        }
    }

    #[test]
    fn a_nul_inside_does_not_end_the_sentence() {
        guard("diamond_flush", |_| Err(Error::Invalid("a\0b".into())));
        assert_eq!(message_text(), "a b");
    }
}
