//! What comes from C, made into what Rust can hold: the one file that reads a caller's memory.
//!
//! 1. Whatever can be told to be wrong is an error with a sentence that names the function and the argument: NULL,
//!    a size beyond memory, a struct or integer at a misaligned address, a handle of another kind or closed.
//! 2. What cannot be told is the caller's promise (the conventions): that memory is as large as said, stays so for
//!    the call, and that what is written to overlaps nothing else. Every `unsafe fn` here leans on it.
//! 3. An out-pointer of a handle or a text is NULL from its borrowing on, and is written once more on success.
//!
//! A handle is a pointer to a `Marked`: a number of its kind, its database, then the value.

use std::ffi::{c_char, c_void};
use std::ptr::{NonNull, addr_of};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use super::guard::Call;
use super::table::diamond_records;
use crate::database::Session;
use crate::error::{Error, Result};
use crate::memory;
use crate::table::{Record, RecordId, RecordMut, Records, RecordsMut};

/// The public name of a kind of handle, and what lies behind it. Every handle crosses threads.
pub(super) trait Handle {
    type Value: Send + Sync;
    const NAME: &'static str;
    const MARK: u64;
}

/// `mark` first, so that it lies at the same place in every kind.
#[repr(C)]
struct Marked<T> {
    mark: AtomicU64,
    /// What a panic poisons. A handle has that of the handle it was opened with.
    session: Option<Arc<Session>>,
    value: T,
}

/// The mark of a closed handle, until its memory serves another.
const CLOSED: u64 = u64::from_le_bytes(*b"closed\0\0");

/// Behind all addresses that a program can have: 56 bits are the most that a machine of today gives it.
const MEMORY_END: usize = 1 << 56;

/// A struct that travels by pointer.
///
/// # Safety
/// `repr(C)`, opens with `struct_size: usize`, and all zeros are a value of it.
pub(super) unsafe trait Struct: Copy {
    const NAME: &'static str;
    /// The end of the last field that a caller cannot leave away.
    const REQUIRED_SIZE: usize;
}

/// What the sizes of a table's packed records are.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) record_size: usize,
    pub(super) nulls_size: usize,
}

impl Shape {
    pub(super) fn of(table: &crate::database::Table) -> Shape {
        let layout = table.layout();
        Shape { record_size: layout.record_size, nulls_size: layout.nulls_size }
    }
}

/// Handles.
impl Call {
    /// The value behind an open handle.
    #[inline]
    pub(super) unsafe fn handle<'a, H: Handle>(&self, handle: *mut H, argument: &str) -> Result<&'a H::Value> {
        // SAFETY: the caller's promise is ours.
        let Some(marked) = (unsafe { open(handle) }) else {
            // SAFETY: the same.
            return Err(unsafe { self.bad_handle(handle, argument) });
        };
        // SAFETY: rule 2: nobody closes the handle during the call, and it keeps its session.
        unsafe { self.works_on(marked.session.as_ref()) };
        Ok(&marked.value)
    }

    /// What is wrong with a handle that is not open.
    #[cold]
    unsafe fn bad_handle<H: Handle>(&self, handle: *mut H, argument: &str) -> Error {
        let marked = handle.cast::<Marked<H::Value>>();
        if marked.is_null() || !marked.is_aligned() {
            return self.bad_pointer(marked.is_null(), argument);
        }
        // SAFETY: rule 2, as in `open`.
        let mark = unsafe { (*addr_of!((*marked).mark)).load(Ordering::Relaxed) };
        self.bad_mark(mark, argument, H::NAME)
    }

    /// The value behind a handle that one thread at a time may use.
    #[inline]
    pub(super) unsafe fn alone<'a, H, T>(&self, handle: *mut H, argument: &str) -> Result<MutexGuard<'a, T>>
    where
        H: Handle<Value = Mutex<T>>,
        T: 'a,
    {
        // SAFETY: the caller's promise is ours.
        match unsafe { self.handle(handle, argument) }?.try_lock() {
            Ok(value) => Ok(value),
            Err(TryLockError::WouldBlock) => {
                Err(self.misuse(argument, "is in use by another thread, and works for one at a time"))
            }
            Err(TryLockError::Poisoned(_)) => {
                Err(self.misuse(argument, "was left half-done by a call that ended in PANIC: close it"))
            }
        }
    }

    /// Takes the value out of a handle and frees the handle. None for NULL.
    pub(super) unsafe fn take<H: Handle>(&self, handle: *mut H, argument: &str) -> Result<Option<H::Value>> {
        // SAFETY: the caller's promise is ours.
        unsafe { self.take_if(handle, argument, |_| Ok(())) }
    }

    /// The same, unless `check` refuses it: then the handle stays open.
    pub(super) unsafe fn take_if<H: Handle>(
        &self,
        handle: *mut H,
        argument: &str,
        check: impl FnOnce(&H::Value) -> Result<()>,
    ) -> Result<Option<H::Value>> {
        let marked = handle.cast::<Marked<H::Value>>();
        if marked.is_null() {
            return Ok(None);
        }
        if !marked.is_aligned() {
            return Err(self.bad_pointer(marked.is_null(), argument));
        }
        // SAFETY: rule 2, as in `handle`.
        let mark = unsafe { &*addr_of!((*marked).mark) };
        if mark.load(Ordering::Relaxed) == H::MARK {
            // SAFETY: the mark says which kind it is.
            check(unsafe { &*addr_of!((*marked).value) })?;
        }
        // Of two threads that close one handle, one wins.
        if let Err(mark) = mark.compare_exchange(H::MARK, CLOSED, Ordering::AcqRel, Ordering::Relaxed) {
            return Err(self.bad_mark(mark, argument, H::NAME));
        }
        // SAFETY: `HandleOut::put` made it from a box of this kind, and the exchange above happens once.
        let Marked { session, value, .. } = *unsafe { Box::from_raw(marked) };
        if let Some(session) = session {
            self.holds(session);
        }
        Ok(Some(value))
    }

    /// Where a new handle goes.
    pub(super) unsafe fn handle_out<H: Handle>(&self, out: *mut *mut H, argument: &str) -> Result<HandleOut<'_, H>> {
        let Some(place) = NonNull::new(out).filter(|out| out.is_aligned()) else {
            return Err(self.bad_pointer(out.is_null(), argument));
        };
        // SAFETY: rule 2: writable for a pointer.
        unsafe { place.write(std::ptr::null_mut()) };
        Ok(HandleOut { place, call: self })
    }
}

/// What an open handle points to; none for any other.
#[inline(always)]
unsafe fn open<'a, H: Handle>(handle: *mut H) -> Option<&'a Marked<H::Value>> {
    let marked = handle.cast::<Marked<H::Value>>();
    if marked.is_null() || !marked.is_aligned() {
        return None;
    }
    // SAFETY: rule 2: a handle points to a `Marked` of some kind, whose mark comes first.
    let mark = unsafe { (*addr_of!((*marked).mark)).load(Ordering::Relaxed) };
    // SAFETY: the mark says which kind it is; rule 2: nobody closes it during the call.
    (mark == H::MARK).then(|| unsafe { &*marked })
}

/// The value behind a handle, for a call that has nothing to say about one that is not open.
#[inline(always)]
pub(super) unsafe fn peek<'a, H: Handle>(handle: *mut H) -> Option<&'a H::Value> {
    // SAFETY: the caller's promise is ours.
    unsafe { open(handle) }.map(|marked| &marked.value)
}

/// A place for one record of this shape; none for one of another size.
#[inline(always)]
pub(super) unsafe fn place_for<'a>(
    shape: Shape,
    record: *mut c_void,
    size: usize,
    nulls: *mut u8,
) -> Option<RecordMut<'a>> {
    if record.is_null() || size != shape.record_size {
        return None;
    }
    // SAFETY: rule 2; a null bitmap has the size that the table's schema says.
    let nulls = (!nulls.is_null()).then(|| unsafe { std::slice::from_raw_parts_mut(nulls, shape.nulls_size) });
    // SAFETY: rule 2, and a record's size is one that memory can have.
    Some(RecordMut { bytes: unsafe { std::slice::from_raw_parts_mut(record.cast(), size) }, nulls })
}

pub(super) struct HandleOut<'a, H> {
    place: NonNull<*mut H>,
    call: &'a Call,
}

impl<H: Handle> HandleOut<'_, H> {
    pub(super) fn put(self, value: H::Value) {
        #[cfg(feature = "simulation")]
        super::guard::simulated::pass();
        let (mark, session) = (AtomicU64::new(H::MARK), self.call.session());
        let marked = Box::new(Marked { mark, session, value });
        // SAFETY: `handle_out`'s caller promised the place for the call.
        unsafe { self.place.write(Box::into_raw(marked).cast()) };
    }
}

/// Bytes, text, ids, structs.
impl Call {
    #[inline]
    pub(super) unsafe fn bytes<'a>(&self, bytes: *const c_void, size: usize, argument: &str) -> Result<&'a [u8]> {
        // SAFETY: the caller's promise is ours.
        unsafe { self.slice(bytes.cast(), size, argument) }
    }

    pub(super) unsafe fn text<'a>(&self, text: *const c_char, size: usize, argument: &str) -> Result<&'a str> {
        // SAFETY: the caller's promise is ours.
        let bytes = unsafe { self.slice(text.cast::<u8>(), size, argument) }?;
        std::str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            Error::Invalid(format!("{}: `{argument}` is not UTF-8 at byte {at} of {size}.", self.name).into())
        })
    }

    pub(super) unsafe fn ids<'a>(&self, ids: *const u64, count: usize, argument: &str) -> Result<&'a [RecordId]> {
        // SAFETY: the caller's promise is ours; a RecordId is a transparent u64.
        unsafe { self.slice(ids.cast(), count, argument) }
    }

    /// `count` things at `start`; NULL is fine where there are none.
    #[inline]
    pub(super) unsafe fn slice<'a, T>(&self, start: *const T, count: usize, argument: &str) -> Result<&'a [T]> {
        let start = self.array(start.cast_mut(), count, argument)?;
        // SAFETY: `array` has checked what can be; rule 2 says the rest.
        Ok(unsafe { std::slice::from_raw_parts(start, count) })
    }

    #[inline]
    pub(super) unsafe fn slice_mut<'a, T>(&self, start: *mut T, count: usize, argument: &str) -> Result<&'a mut [T]> {
        let start = self.array(start, count, argument)?;
        // SAFETY: `array` has checked what can be; rule 2 says the rest.
        Ok(unsafe { std::slice::from_raw_parts_mut(start, count) })
    }

    /// Like `slice_mut`, and NULL says "not wanted".
    pub(super) unsafe fn wanted<'a, T>(
        &self,
        start: *mut T,
        count: usize,
        argument: &str,
    ) -> Result<Option<&'a mut [T]>> {
        if start.is_null() {
            return Ok(None);
        }
        // SAFETY: the caller's promise is ours.
        unsafe { self.slice_mut(start, count, argument) }.map(Some)
    }

    /// Where an array may begin: never NULL, aligned, and not longer than memory can be.
    #[inline]
    fn array<T>(&self, start: *mut T, count: usize, argument: &str) -> Result<*mut T> {
        if start.is_null() && count == 0 {
            return Ok(NonNull::dangling().as_ptr());
        }
        if start.is_null() || !start.is_aligned() {
            return Err(self.bad_pointer(start.is_null(), argument));
        }
        let end = count.checked_mul(size_of::<T>()).and_then(|size| size.checked_add(start.addr()));
        if end.is_none_or(|end| end > MEMORY_END) {
            return Err(self.misuse(argument, "has a size that no memory can have"));
        }
        Ok(start)
    }

    /// A copy of the struct, with zeros where the caller's ends earlier.
    #[inline]
    pub(super) unsafe fn read<S: Struct>(&self, from: *const S, argument: &str) -> Result<S> {
        if from.is_null() || !from.is_aligned() {
            return Err(self.bad_pointer(from.is_null(), argument));
        }
        // SAFETY: a `Struct` opens with its size, which is readable by rule 2.
        let size = unsafe { from.cast::<usize>().read() };
        // No version of a struct ends amid a field.
        if !size.is_multiple_of(align_of::<S>()) {
            return Err(self.misuse(argument, &format!("has struct_size {size}, and no {} ends there", S::NAME)));
        }
        if size >= size_of::<S>() {
            // SAFETY: rule 2: the struct is as large as it says.
            return Ok(unsafe { from.read() });
        }
        if size < S::REQUIRED_SIZE {
            return Err(self.bad_struct_size(size, argument, S::NAME, S::REQUIRED_SIZE));
        }
        // SAFETY: a `Struct` may be all zeros, and the copy is shorter than it.
        unsafe {
            let mut copy = std::mem::zeroed::<S>();
            from.cast::<u8>().copy_to_nonoverlapping((&raw mut copy).cast(), size);
            Ok(copy)
        }
    }
}

/// Where a struct goes, as much of it as the caller knows.
pub(super) struct StructOut<S> {
    out: *mut S,
    size: usize,
}

impl Call {
    /// Where a struct of the caller's is filled, whose `struct_size` says how much of it there is.
    pub(super) unsafe fn struct_out<S: Struct>(&self, out: *mut S, argument: &str) -> Result<StructOut<S>> {
        // SAFETY: the caller's promise is ours.
        unsafe { self.read(out.cast_const(), argument) }?;
        // SAFETY: a `Struct` opens with its size, which was just read.
        let size = unsafe { out.cast::<usize>().read() };
        Ok(StructOut { out, size: size.min(size_of::<S>()) })
    }
}

impl<S: Struct> StructOut<S> {
    /// Fills it, but for its `struct_size`, which stays the caller's.
    pub(super) fn put(self, value: S) {
        let rest = size_of::<usize>()..self.size;
        // SAFETY: `struct_out`'s caller promised so many bytes for the call; a `Struct` has at least its size.
        unsafe {
            let source = (&raw const value).cast::<u8>().add(rest.start);
            source.copy_to_nonoverlapping(self.out.cast::<u8>().add(rest.start), rest.len());
        }
    }
}

/// Packed records.
impl Call {
    #[inline]
    pub(super) unsafe fn record<'a>(
        &self,
        shape: Shape,
        record: *const c_void,
        record_size: usize,
        nulls: *const u8,
        argument: &str,
    ) -> Result<Record<'a>> {
        // SAFETY: the caller's promise is ours; a null bitmap has the size that the table's schema says.
        unsafe {
            let bytes = self.bytes(record, record_size, argument)?;
            let nulls = if nulls.is_null() { None } else { Some(self.slice(nulls, shape.nulls_size, "nulls")?) };
            Ok(Record { bytes, nulls })
        }
    }

    #[inline]
    pub(super) unsafe fn record_mut<'a>(
        &self,
        shape: Shape,
        record: *mut c_void,
        record_size: usize,
        nulls: *mut u8,
        argument: &str,
    ) -> Result<RecordMut<'a>> {
        // SAFETY: the caller's promise is ours; a null bitmap has the size that the table's schema says.
        unsafe {
            let bytes = self.slice_mut(record.cast(), record_size, argument)?;
            let nulls = if nulls.is_null() { None } else { Some(self.slice_mut(nulls, shape.nulls_size, "nulls")?) };
            Ok(RecordMut { bytes, nulls })
        }
    }

    pub(super) unsafe fn records<'a>(
        &self,
        shape: Shape,
        records: *const diamond_records,
        count: usize,
    ) -> Result<Records<'a>> {
        // SAFETY: the caller's promise is ours.
        let places = unsafe { self.places(shape, records, count) }?;
        // SAFETY: the same, for the memory that the struct names.
        unsafe {
            let bytes = self.slice(places.records, places.records_size, "records->records")?;
            let nulls = match places.nulls.is_null() {
                true => None,
                false => Some(self.slice(places.nulls, places.nulls_size, "records->nulls")?),
            };
            Ok(Records { bytes, stride: places.stride, nulls, null_stride: places.null_stride, count })
        }
    }

    pub(super) unsafe fn records_mut<'a>(
        &self,
        shape: Shape,
        records: *const diamond_records,
        count: usize,
    ) -> Result<RecordsMut<'a>> {
        // SAFETY: the caller's promise is ours.
        let places = unsafe { self.places(shape, records, count) }?;
        // SAFETY: the same, for the memory that the struct names.
        unsafe {
            let bytes = self.slice_mut(places.records, places.records_size, "records->records")?;
            let nulls = self.wanted(places.nulls, places.nulls_size, "records->nulls")?;
            Ok(RecordsMut { bytes, stride: places.stride, nulls, null_stride: places.null_stride })
        }
    }

    unsafe fn places(&self, shape: Shape, records: *const diamond_records, count: usize) -> Result<Places> {
        if count == 0 && records.is_null() {
            return Ok(Places::default());
        }
        // SAFETY: the caller's promise is ours.
        let given = unsafe { self.read(records, "records") }?;
        let (stride, records_size) = self.span(shape.record_size, given.record_stride, count, "record_stride")?;
        let (null_stride, nulls_size) = self.span(shape.nulls_size, given.null_stride, count, "null_stride")?;
        Ok(Places { records: given.records.cast(), records_size, stride, nulls: given.nulls, nulls_size, null_stride })
    }

    /// The stride and the bytes that `count` items take. The last needs no full stride.
    fn span(&self, item_size: usize, stride: usize, count: usize, field: &str) -> Result<(usize, usize)> {
        let stride = if stride == 0 { item_size } else { stride };
        if stride < item_size {
            let text = format!("{}: `records->{field}` is {stride}, less than the {item_size} of one.", self.name);
            return Err(Error::Misuse(text.into()));
        }
        let Some(last) = count.checked_sub(1) else {
            return Ok((stride, 0));
        };
        match last.checked_mul(stride).and_then(|start| start.checked_add(item_size)) {
            Some(size) => Ok((stride, size)),
            None => Err(self.misuse("count", "takes more than any memory, at this stride")),
        }
    }
}

/// A `diamond_records` with every size known.
struct Places {
    records: *mut u8,
    records_size: usize,
    stride: usize,
    nulls: *mut u8,
    nulls_size: usize,
    null_stride: usize,
}

impl Default for Places {
    fn default() -> Places {
        let none = std::ptr::null_mut();
        Places { records: none, records_size: 0, stride: 0, nulls: none, nulls_size: 0, null_stride: 0 }
    }
}

/// Results.
impl Call {
    /// Where a number goes; NULL says "not wanted".
    #[inline]
    pub(super) unsafe fn out<T: Copy>(&self, out: *mut T, argument: &str) -> Result<Out<T>> {
        if !out.is_aligned() {
            return Err(self.bad_pointer(false, argument));
        }
        Ok(Out(out))
    }

    /// Where a text and its size go; NULL says "not wanted".
    pub(super) unsafe fn text_out(&self, text: *mut *mut c_char, size: *mut usize, argument: &str) -> Result<TextOut> {
        // SAFETY: the caller's promise is ours.
        let (text, size) = unsafe { (self.out(text, argument)?, self.out(size, "size")?) };
        text.put(std::ptr::null_mut());
        size.put(0);
        Ok(TextOut { text, size })
    }
}

#[derive(Clone, Copy)]
pub(super) struct Out<T>(*mut T);

impl<T: Copy> Out<T> {
    #[inline]
    pub(super) fn put(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: `out` has checked the alignment; its caller promised the place for the call.
            unsafe { self.0.write(value) };
        }
    }
}

pub(super) struct TextOut {
    text: Out<*mut c_char>,
    size: Out<usize>,
}

impl TextOut {
    /// Gives the text away, with a NUL behind it, in memory that `diamond_free` frees.
    pub(super) fn put(self, text: &str) -> Result<()> {
        self.size.put(text.len());
        if self.text.0.is_null() {
            return Ok(());
        }
        // SAFETY: malloc may be called with any size.
        let copy = unsafe { libc::malloc(text.len() + 1) }.cast::<u8>();
        if copy.is_null() {
            self.size.put(0);
            return Err(Error::NoMemory(format!("No memory for a text of {} bytes.", text.len()).into()));
        }
        // SAFETY: `copy` is new and has room for the text and one byte more.
        unsafe {
            copy.copy_from_nonoverlapping(text.as_ptr(), text.len());
            copy.add(text.len()).write(0);
        }
        self.text.put(copy.cast());
        Ok(())
    }
}

/// A JSON array of values, of which there may be more than memory holds.
pub(super) fn array_json(values: impl Iterator<Item = serde_json::Value>) -> Result<String> {
    let mut text = String::from("[");
    for (index, value) in values.enumerate() {
        let value = value.to_string();
        text.try_reserve(value.len() + 2).map_err(memory::refused("the text of a list"))?;
        text.push_str(if index == 0 { "" } else { "," });
        text.push_str(&value);
    }
    text.push(']');
    Ok(text)
}

/// Sentences.
impl Call {
    #[cold]
    pub(super) fn misuse(&self, argument: &str, what: &str) -> Error {
        Error::Misuse(format!("{}: `{argument}` {what}.", self.name).into())
    }

    /// Refuses bits of `flags` that are not among `known`.
    #[inline]
    pub(super) fn check_flags(&self, flags: u64, known: u64, argument: &str) -> Result<()> {
        match flags & !known {
            0 => Ok(()),
            unknown => Err(Error::Invalid(
                format!("{}: `{argument}` has bits that this version does not know: {unknown:#x}.", self.name).into(),
            )),
        }
    }

    #[cold]
    fn bad_pointer(&self, is_null: bool, argument: &str) -> Error {
        self.misuse(argument, if is_null { "is NULL" } else { "is not aligned as its type asks" })
    }

    #[cold]
    fn bad_mark(&self, mark: u64, argument: &str, expected: &str) -> Error {
        self.misuse(
            argument,
            &match mark {
                CLOSED => format!("is a {expected} that was closed"),
                _ => format!("is not an open {expected}"),
            },
        )
    }

    #[cold]
    fn bad_struct_size(&self, size: usize, argument: &str, name: &str, required: usize) -> Error {
        let what = match size {
            0 => format!("has struct_size 0: set it to sizeof({name})"),
            _ => format!("has struct_size {size}, and a {name} has at least {required} bytes"),
        };
        self.misuse(argument, &what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::guard::guard;
    use std::mem::offset_of;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Grown {
        struct_size: usize,
        first: u64,
        later: u64,
    }

    // SAFETY: as the trait asks.
    unsafe impl Struct for Grown {
        const NAME: &'static str = "grown";
        const REQUIRED_SIZE: usize = offset_of!(Grown, later);
    }

    struct Kind;

    impl Handle for Kind {
        type Value = String;
        const NAME: &'static str = "kind";
        const MARK: u64 = 7;
    }

    /// The status with which `body` ends inside a guard.
    fn status(body: impl FnOnce(&Call) -> Result<()>) -> i32 {
        guard("diamond_test", body)
    }

    #[test]
    fn an_older_struct_is_read_as_far_as_it_goes() {
        let given = Grown { struct_size: 16, first: 1, later: 2 };
        status(|call| {
            // SAFETY: the struct is larger than it says.
            assert_eq!(unsafe { call.read(&given, "given") }?, Grown { later: 0, ..given });
            Ok(())
        });
    }

    #[test]
    fn a_struct_without_size_or_with_too_little_is_misuse() {
        for struct_size in [0, 8, 15, 17, 20] {
            let given = Grown { struct_size, first: 1, later: 2 };
            // SAFETY: the struct is larger than it says.
            assert_eq!(status(|call| unsafe { call.read(&given, "given") }.map(drop)), 100);
        }
    }

    #[test]
    fn a_newer_struct_is_read_as_far_as_known() {
        let given = [Grown { struct_size: 48, first: 1, later: 2 }; 2];
        status(|call| {
            // SAFETY: the two together are as large as the first says.
            assert_eq!(unsafe { call.read(given.as_ptr(), "given") }?.later, 2);
            Ok(())
        });
    }

    #[test]
    fn a_struct_that_goes_out_is_filled_as_far_as_the_caller_knows_it() {
        for (struct_size, later) in [(16, 7), (24, 3), (48, 3)] {
            let mut places = [Grown { struct_size, first: 0, later: 7 }; 2];
            let value = Grown { struct_size: 0, first: 2, later: 3 };
            let ended = status(|call| {
                // SAFETY: the two together are as large as the first says.
                unsafe { call.struct_out(places.as_mut_ptr(), "out") }?.put(value);
                Ok(())
            });
            assert_eq!(ended, 0);
            assert_eq!(places, [Grown { struct_size, first: 2, later }, Grown { struct_size, first: 0, later: 7 }]);
        }
        let mut small = Grown { struct_size: 8, first: 1, later: 2 };
        // SAFETY: the struct is larger than it says.
        assert_eq!(status(|call| unsafe { call.struct_out(&mut small, "out") }.map(drop)), 100);
        // SAFETY: refused before anything is read.
        assert_eq!(status(|call| unsafe { call.struct_out::<Grown>(std::ptr::null_mut(), "out") }.map(drop)), 100);
    }

    #[test]
    fn null_is_empty_and_nothing_else() {
        assert_eq!(
            status(|call| {
                // SAFETY: nothing is read.
                assert!(unsafe { call.bytes(std::ptr::null(), 0, "bytes") }?.is_empty());
                Ok(())
            }),
            0
        );
        // SAFETY: nothing is read.
        assert_eq!(status(|call| unsafe { call.bytes(std::ptr::null(), 1, "bytes") }.map(drop)), 100);
    }

    #[test]
    fn sizes_beyond_memory_are_misuse() {
        let byte = [0u64; 1];
        for count in [usize::MAX, isize::MAX as usize, isize::MAX as usize / 8 + 1] {
            // SAFETY: refused before anything is read.
            assert_eq!(status(|call| unsafe { call.ids(byte.as_ptr(), count, "ids") }.map(drop)), 100);
        }
        let shape = Shape { record_size: 16, nulls_size: 1 };
        let records = diamond_records {
            struct_size: size_of::<diamond_records>(),
            records: byte.as_ptr().cast_mut().cast(),
            record_stride: 1 << 40,
            nulls: std::ptr::null_mut(),
            null_stride: 0,
        };
        for count in [(1 << 23) + 1, 1 << 24, usize::MAX] {
            // SAFETY: refused before anything is read.
            assert_eq!(status(|call| unsafe { call.records(shape, &records, count) }.map(drop)), 100, "{count}");
        }
    }

    #[test]
    fn the_last_record_needs_no_full_stride() {
        let memory = [0u8; 24 + 16];
        let shape = Shape { record_size: 16, nulls_size: 1 };
        let records = diamond_records {
            struct_size: size_of::<diamond_records>(),
            records: memory.as_ptr().cast_mut().cast(),
            record_stride: 24,
            nulls: std::ptr::null_mut(),
            null_stride: 0,
        };
        let ended = status(|call| {
            // SAFETY: the memory holds two at this stride.
            assert_eq!(unsafe { call.records(shape, &records, 2) }?.bytes.len(), 40);
            Ok(())
        });
        assert_eq!(ended, 0);
    }

    #[test]
    fn a_misaligned_pointer_is_misuse() {
        let memory = [0u64; 2];
        let askew = memory.as_ptr().cast::<u8>().wrapping_add(1);
        // SAFETY: refused before anything is read.
        unsafe {
            assert_eq!(status(|call| call.ids(askew.cast(), 1, "ids").map(drop)), 100);
            assert_eq!(status(|call| call.read::<Grown>(askew.cast(), "given").map(drop)), 100);
            assert_eq!(status(|call| call.handle::<Kind>(askew.cast_mut().cast(), "kind").map(drop)), 100);
            assert_eq!(status(|call| call.out::<u64>(askew.cast_mut().cast(), "id").map(drop)), 100);
        }
    }

    #[test]
    fn a_handle_is_open_until_it_is_taken() {
        let mut handle = std::ptr::dangling_mut::<Kind>();
        let ended = status(|call| {
            // SAFETY: the place and the handle in it are ours.
            unsafe {
                call.handle_out(&mut handle, "kind")?.put("here".into());
                assert_eq!(call.handle(handle, "kind")?, "here");
                assert_eq!(call.take(handle, "kind")?.as_deref(), Some("here"));
                assert_eq!(call.take::<Kind>(std::ptr::null_mut(), "kind")?, None);
            }
            Ok(())
        });
        assert_eq!(ended, 0);
    }

    struct Single;

    impl Handle for Single {
        type Value = Mutex<u32>;
        const NAME: &'static str = "single";
        const MARK: u64 = 8;
    }

    #[test]
    fn a_handle_for_one_thread_at_a_time_is_misuse_while_another_is_inside_or_was_stopped_there() {
        let single = Marked { mark: AtomicU64::new(8), session: None, value: Mutex::new(1) };
        let handle = (&raw const single).cast_mut().cast::<Single>();
        // SAFETY: the handle is ours and stays.
        let enter = || status(|call| unsafe { call.alone(handle, "single") }.map(drop));
        assert_eq!(enter(), 0);
        let inside = single.value.lock().expect("nobody was stopped yet");
        assert_eq!(enter(), 100);
        drop(inside);
        // SAFETY: the same.
        let stopped = status(|call| unsafe { call.alone(handle, "single") }.map(|_inside| panic!("stopped inside")));
        assert_eq!(stopped, 601);
        assert_eq!(enter(), 100);
    }

    #[test]
    fn another_mark_is_misuse() {
        let closed = Marked { mark: AtomicU64::new(CLOSED), session: None, value: String::new() };
        let handle = (&raw const closed).cast_mut().cast::<Kind>();
        // SAFETY: the mark is refused before the value is used.
        unsafe {
            assert_eq!(status(|call| call.handle(handle, "kind").map(drop)), 100);
            assert_eq!(status(|call| call.take(handle, "kind").map(drop)), 100);
        }
    }

    #[test]
    fn a_text_that_goes_out_ends_in_nul() {
        let (mut text, mut size) = (std::ptr::null_mut(), 9);
        // SAFETY: the places are ours; the text is ours after the call.
        unsafe {
            assert_eq!(status(|call| call.text_out(&mut text, &mut size, "json")?.put("[1]")), 0);
            assert_eq!(std::ffi::CStr::from_ptr(text), c"[1]");
            libc::free(text.cast());
        }
        assert_eq!(size, 3);
    }
}
