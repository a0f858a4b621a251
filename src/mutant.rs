//! Mutants: each breaks one step of what keeps the promises, while it is switched on, so that a test can show that
//! the step is needed and that the tests would miss it (`tests/mutants.rs`).
//!
//! A step that has a mutant asks [`broken`] at the place where it is done. Without the feature `simulation` the
//! answer is the constant `false`: a released library has no trace of this. With it there is one switch for the whole
//! process, so a test that uses it has its process to itself.
//!
//! What only another thread could do in the midst of a read, a test does by [`interrupt_next_read`].

#[cfg(feature = "simulation")]
use std::cell::RefCell;
#[cfg(feature = "simulation")]
use std::sync::atomic::{AtomicUsize, Ordering};

macro_rules! mutants {
    ($($(#[doc = $what:literal])+ $name:ident,)+) => {
        /// A step that can be broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Mutant {
            $($(#[doc = $what])+ $name,)+
        }

        #[cfg(feature = "simulation")]
        impl Mutant {
            /// All of them.
            pub const ALL: &[Mutant] = &[$(Mutant::$name),+];

            /// What is broken, in a sentence.
            pub fn what(self) -> &'static str {
                match self {
                    $(Mutant::$name => concat!($($what),+).trim(),)+
                }
            }
        }
    };
}

mutants! {
    // The wal: writing.
    /// A commit is acknowledged when it is written, before it is synced.
    AcknowledgedEarly,
    /// The leader syncs nothing.
    WalNotSynced,
    /// Of two segments with new frames only the newer is synced.
    OnlyNewestSegmentSynced,
    /// A sync by the leader also counts for frames that were appended while it ran.
    SyncCoversWhatFollows,
    /// A sync behind the writers also counts for frames that were written while it ran.
    SyncBehindCoversWhatFollows,
    /// A flush waits for the write only.
    FlushNotSynced,
    /// A failed write of the wal is not noticed.
    WalWriteErrorIgnored,
    /// A failed sync of the wal is not noticed.
    WalSyncErrorIgnored,
    /// A failed sync of the wal is tried once more.
    WalSyncTriedAgain,
    /// Whoever waits for another's sync hears nothing of its failure.
    FollowerHearsNothing,
    /// A short write is taken for a whole one.
    ShortWriteTakenForWhole,
    /// The name of a new segment is not synced before it is used.
    SegmentNameNotSynced,
    /// The first segment is not synced before the manifest names it.
    FirstSegmentNotSynced,
    /// The mark of a clean close is not withdrawn before the first frame.
    CleanMarkNotWithdrawn,
    /// All segments have the same salt.
    SaltNeverChanges,
    /// A frame says of the frame before it that it is synced, whether it is or not.
    FramesVouchTooMuch,
    /// No watermark follows the last sync.
    WatermarkOmitted,
    /// No room is kept in the wal for the sums of dirty pages.
    SumsSpaceNotKept,
    /// A commit may begin the last segment that is ready.
    LastSegmentTaken,

    // The wal: reading.
    /// A frame's checksum is not compared.
    FrameSumNotCompared,
    /// A frame's salt is not compared.
    FrameSaltNotCompared,
    /// A frame's LSN is not compared with the one before.
    FrameOrderNotCompared,
    /// Damage to a synced frame is taken for a torn tail.
    DamageTakenForTornTail,
    /// A torn tail with a whole frame behind it is taken for damage.
    TornTailTakenForDamage,
    /// A read error ends the wal.
    ReadErrorEndsWal,
    /// A wal that is missing counts as empty.
    MissingWalIsEmpty,
    /// A segment that is shorter than it was made counts as whole.
    CutSegmentTaken,
    /// A segment that another names as the next, and that is missing or was emptied, ends the wal.
    MissingSegmentEndsWal,

    // Commits.
    /// The new length of a file is not logged.
    LengthNotLogged,
    /// The change of a file's tally is not logged.
    TallyNotLogged,
    /// A page that a checkpoint still has to write is changed without leaving a copy.
    CheckpointCopyOmitted,
    /// A page that a scan still has to read is changed without leaving a copy.
    ScanCopyOmitted,
    /// Old images are thrown away although a scan needs them.
    OldImagesThrownAway,
    /// A page that changes again after a checkpoint is not listed for the next one.
    DirtyPageNotListedAgain,
    /// Pages that were appended in bulk are not synced before their frame is.
    BulkDataNotSynced,
    /// The frame of a bulk append is synced before its pages are.
    BulkFrameBeforeData,
    /// The name of a file that a bulk append made is not synced before its frame is.
    BulkNameNotSynced,
    /// The sums of pages appended in bulk are not kept for the checkpoint.
    BulkSumsNotKept,
    /// The version of a page does not move when its frame is taken away.
    VersionKeptOnRetirement,
    /// A reader does not look at a page's version again after it has copied from the page.
    ReadVersionNotCompared,
    /// A scan does not look at a page's version again after it has read the page.
    ScanVersionNotCompared,
    /// The making of a table is not waited for.
    MakeNotWaitedFor,
    /// The dropping of a table is not waited for.
    DropNotWaitedFor,
    /// The renaming of a table is not waited for.
    RenameNotWaitedFor,

    // Checkpoints.
    /// The sums of pages are not logged before they are written.
    SumsNotLogged,
    /// The logged sums are not synced before the pages are written.
    LoggedSumsNotSynced,
    /// A page is written as it is now, and not as of the cut.
    NewestImageWritten,
    /// A failed write of a page is not noticed.
    PageWriteErrorIgnored,
    /// Data files are not synced.
    DataNotSynced,
    /// Sum files are not synced.
    SumFileNotSynced,
    /// A sync of a file also counts for what is written while it runs.
    DataSyncCoversWhatFollows,
    /// A failed sync of a data file is not noticed.
    DataSyncErrorIgnored,
    /// A checkpoint goes on though somebody else's sync of its files failed.
    OthersFailureIgnored,
    /// After a failed write or sync of a checkpoint writing goes on.
    PoisonForgotten,
    /// The catalog is written over the one in force.
    CatalogOverOneInForce,
    /// The catalog is not synced before the manifest names it.
    CatalogNotSynced,
    /// The names of new files are not synced before the manifest's catalog names them.
    DataFolderNotSynced,
    /// The manifest is written before the files that it stands for are synced.
    ManifestBeforeData,
    /// The manifest is written over the slot in force.
    ManifestOverOneInForce,
    /// The manifest is not synced.
    ManifestNotSynced,
    /// A failed write or sync of the manifest is not noticed.
    ManifestErrorIgnored,
    /// Segments before the cut are used again before the manifest is written.
    SegmentsFreedBeforeManifest,
    /// A frame is freed although the page has changed since the cut.
    ChangedFrameFreed,
    /// The files of tables dropped since the cut are removed too.
    DroppedFilesRemovedAtOnce,
    /// The files of tables made since the cut are removed as strays.
    NewFilesRemoved,
    /// A checkpoint that found no room forgets which pages are dirty.
    PutBackOmitted,

    // Opening and closing.
    /// A new database's manifest is not synced before it is renamed into place.
    DraftNotSynced,
    /// A new database's manifest gets its name before the other names are synced.
    ManifestNamedFirst,
    /// What an interrupted making left is used without syncing its names.
    RootNamesNotMadeCertain,
    /// The older of the manifest's slots is taken.
    OlderManifestTaken,
    /// The manifest that was found is not written again before it is built on.
    ManifestNotWrittenAgain,
    /// The end of the wal is not written again before it is built on.
    WalNotWrittenAgain,
    /// What is written again of the wal is not synced.
    WalWrittenAgainNotSynced,
    /// Replay passes over a change that the page seems to have already.
    ReplaySkipsWhatIsThere,
    /// A page that matches no sum is replayed on all the same.
    SuspectsForgiven,
    /// What lies in a file beyond its length counts as a page.
    PagesPastLengthRead,
    /// A clean close leaves out its checkpoint.
    ClosedWithoutCheckpoint,

    // Checksums.
    /// The checksum of a manifest slot, or of another sealed block, is not compared.
    BlockSumNotCompared,
    /// The catalog's checksum is not compared.
    CatalogSumNotCompared,
    /// A page's checksum is not compared.
    PageSumNotCompared,
    /// A page's checksum does not depend on the page's place.
    PageSumNotKeyed,
    /// The header of a data or sum file is not compared.
    FileHeaderNotCompared,
}

#[cfg(feature = "simulation")]
static ACTIVE: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Switches a mutant on for the whole process, or with `None` all off.
#[cfg(feature = "simulation")]
pub fn switch(mutant: Option<Mutant>) {
    ACTIVE.store(mutant.map_or(usize::MAX, |mutant| mutant as usize), Ordering::SeqCst);
}

/// True while this mutant is switched on.
#[cfg(feature = "simulation")]
#[inline]
pub fn broken(mutant: Mutant) -> bool {
    ACTIVE.load(Ordering::Relaxed) == mutant as usize
}

/// True while this mutant is switched on: never, in this build.
#[cfg(not(feature = "simulation"))]
#[inline(always)]
pub const fn broken(_mutant: Mutant) -> bool {
    false
}

/// The result of a step whose failure a mutant does not notice.
#[inline(always)]
pub fn heard_unless<T: Default, E>(mutant: Mutant, result: Result<T, E>) -> Result<T, E> {
    result.or_else(|error| if broken(mutant) { Ok(T::default()) } else { Err(error) })
}

#[cfg(feature = "simulation")]
thread_local! {
    static INTERRUPTION: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Does this in the midst of the next read of a page by this thread: after it found where the page is, and before it
/// copies.
#[cfg(feature = "simulation")]
pub fn interrupt_next_read(act: impl FnOnce() + 'static) {
    INTERRUPTION.set(Some(Box::new(act)));
}

/// The midst of a read.
#[cfg(feature = "simulation")]
#[inline]
pub fn midst_of_read() {
    if let Some(act) = INTERRUPTION.take() {
        act();
    }
}

/// The midst of a read: nothing happens there, in this build.
#[cfg(not(feature = "simulation"))]
#[inline(always)]
pub const fn midst_of_read() {}
