//! All that a simulated machine holds: files and folders, each as the running machine sees it and as the device
//! has it, and the events that lead from one state to the next.
//!
//! What always holds here:
//!
//! 1. A world follows from the one before and the event, and from nothing else: the live disk and the replay of
//!    its recording go through the same `apply`.
//! 2. A world is cheap to copy: files, folders and their bytes are shared until they change.
//! 3. `pending` is what the device may or may not have of a file or folder since its last sync, in order.

use super::content::Content;
use super::{Rng, mix};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The contents of so many removed files are remembered.
const REMOVED_COUNT_MAX: usize = 6;

pub(super) type InodeId = u64;
pub(super) type Names = BTreeMap<Arc<str>, Entry>;

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) inodes: BTreeMap<InodeId, Arc<Inode>>,
    /// By path; `""` is always there. A folder comes before those inside it.
    pub(super) folders: BTreeMap<Arc<str>, Arc<Folder>>,
    /// What the files that were last removed, replaced or emptied held, the newest last.
    pub(super) removed: Vec<Arc<Content>>,
    /// The events so far, also before a kill, so that all pending changes have one order.
    clock: u64,
    next_inode: InodeId,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What reads see.
    pub(super) cache: Content,
    /// What the device has for certain.
    pub(super) durable: Content,
    pub(super) pending: Vec<Pending>,
    /// A sync has failed and dropped changes, which only the cache still shows.
    lost: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) clock: u64,
    pub(super) change: FileChange,
    /// A write that makes the file longer.
    pub(super) grows: bool,
}

#[derive(Clone, Debug)]
pub(super) enum FileChange {
    Write { offset: u64, bytes: Arc<[u8]> },
    Allocate { offset: u64, size: u64 },
    Punch { offset: u64, size: u64 },
    SetSize { size: u64 },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Folder {
    pub(super) cache: Arc<Names>,
    pub(super) durable: Arc<Names>,
    pub(super) pending: Vec<(u64, NameChange)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    File(InodeId),
    Folder,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Add { name: Arc<str>, entry: Entry },
    Remove { name: Arc<str> },
    Move { from: Arc<str>, to: Arc<str>, entry: Entry },
}

/// One step of a world. Paths are whole, from the database folder.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Create { path: Arc<str>, inode: InodeId },
    Change { inode: InodeId, change: FileChange },
    Sync { inode: InodeId },
    LoseSync { inode: InodeId },
    Rename { from: Arc<str>, to: Arc<str> },
    Remove { path: Arc<str> },
    MakeFolder { path: Arc<str> },
    SyncFolder { path: Arc<str> },
    Lock { exclusive: bool },
}

impl World {
    pub(super) fn new() -> World {
        let folders = BTreeMap::from([("".into(), Arc::default())]);
        World { inodes: BTreeMap::new(), folders, removed: Vec::new(), clock: 0, next_inode: 0 }
    }

    /// A world of the given files and folders, all durable.
    pub(super) fn after_crash(
        &self,
        inodes: BTreeMap<InodeId, Arc<Inode>>,
        folders: BTreeMap<Arc<str>, Arc<Folder>>,
    ) -> World {
        World { inodes, folders, removed: self.removed.clone(), clock: 0, next_inode: self.next_inode }
    }

    pub(super) fn next_inode(&self) -> InodeId {
        self.next_inode
    }

    /// What a path leads to on the running machine.
    pub(super) fn find(&self, path: &str) -> Option<Entry> {
        let (folder, name) = split(path);
        self.folders.get(folder)?.cache.get(name).copied()
    }

    /// Rule 1. The live disk has checked that the event can happen.
    pub(super) fn apply(&mut self, event: &Event) {
        self.clock += 1;
        match event {
            Event::Create { path, inode } => {
                self.next_inode = inode + 1;
                self.inodes.insert(*inode, Arc::default());
                self.change_names(path, |name| NameChange::Add { name, entry: Entry::File(*inode) });
            }
            Event::Change { inode, change } => self.change_file(*inode, change),
            Event::Sync { inode } => self.inode(*inode).sync(),
            Event::LoseSync { inode } => self.inode(*inode).lose(),
            Event::Rename { from, to } => self.rename(from, to),
            Event::Remove { path } => {
                self.remember_removed(self.find(path));
                self.change_names(path, |name| NameChange::Remove { name });
            }
            Event::MakeFolder { path } => {
                self.folders.insert(path.clone(), Arc::default());
                self.change_names(path, |name| NameChange::Add { name, entry: Entry::Folder });
            }
            Event::SyncFolder { path } => {
                let folder = self.folder(path);
                folder.durable = folder.cache.clone();
                folder.pending.clear();
            }
            Event::Lock { .. } => {}
        }
    }

    /// Forgets the files that no name leads to, now or after any crash, and that `held` does not hold.
    pub(super) fn prune(&mut self, held: impl Fn(InodeId) -> bool) {
        let mut named = std::collections::BTreeSet::new();
        for folder in self.folders.values() {
            named.extend(folder.entries().filter_map(Entry::file));
        }
        self.inodes.retain(|id, _| named.contains(id) || held(*id));
    }

    /// A hash of names and bytes, on the device and as seen. The order in which files were made is not in it.
    pub(super) fn hash(&self) -> u64 {
        let mut sum = 0;
        for (path, folder) in &self.folders {
            sum = mix(sum ^ hash_text(path));
            for (name, entry) in folder.cache.iter() {
                sum = mix(sum ^ hash_text(name) ^ self.hash_entry(*entry));
            }
            if folder.cache != folder.durable {
                for (name, entry) in folder.durable.iter() {
                    sum = mix(sum ^ !hash_text(name) ^ self.hash_entry(*entry));
                }
            }
        }
        sum
    }

    fn hash_entry(&self, entry: Entry) -> u64 {
        let Some(inode) = entry.file().and_then(|id| self.inodes.get(&id)) else { return 1 };
        let seen = inode.cache.hash();
        match inode.is_settled() {
            true => seen,
            false => mix(seen ^ inode.durable.hash().rotate_left(1)),
        }
    }

    fn change_file(&mut self, id: InodeId, change: &FileChange) {
        if matches!(change, FileChange::SetSize { size: 0 }) {
            self.remember_removed(Some(Entry::File(id)));
        }
        let clock = self.clock;
        let inode = self.inode(id);
        // After a lost sync the device's size is not the one seen, so any write may have to carry its own.
        let grows = match change {
            FileChange::Write { offset, bytes } => inode.lost || offset + bytes.len() as u64 > inode.cache.size,
            _ => false,
        };
        change.apply(&mut inode.cache, false);
        inode.pending.push(Pending { clock, change: change.clone(), grows });
    }

    fn rename(&mut self, from: &Arc<str>, to: &Arc<str>) {
        let Some(entry) = self.find(from) else { return };
        if from == to {
            return;
        }
        self.remember_removed(self.find(to));
        if split(from).0 == split(to).0 {
            let to: Arc<str> = split(to).1.into();
            self.change_names(from, |from| NameChange::Move { from, to, entry });
        } else {
            // Two folders are two changes: a crash may leave either, both or none.
            self.change_names(to, |name| NameChange::Add { name, entry });
            self.change_names(from, |name| NameChange::Remove { name });
        }
    }

    fn change_names(&mut self, path: &str, change: impl FnOnce(Arc<str>) -> NameChange) {
        let (folder, name) = split(path);
        let (clock, change) = (self.clock, change(name.into()));
        let folder = self.folder(folder);
        change.apply(Arc::make_mut(&mut folder.cache));
        folder.pending.push((clock, change));
    }

    fn remember_removed(&mut self, entry: Option<Entry>) {
        let inode = entry.and_then(Entry::file).and_then(|id| self.inodes.get(&id));
        if let Some(inode) = inode.filter(|inode| inode.cache.size > 0) {
            let content = Arc::new(inode.cache.clone());
            if self.removed.len() == REMOVED_COUNT_MAX {
                self.removed.remove(0);
            }
            self.removed.push(content);
        }
    }

    fn inode(&mut self, id: InodeId) -> &mut Inode {
        // A replay prunes files that the live disk held open; what still happens to them is seen by nobody.
        Arc::make_mut(self.inodes.entry(id).or_default())
    }

    fn folder(&mut self, path: &str) -> &mut Folder {
        Arc::make_mut(self.folders.get_mut(path).expect("the live disk looked for the folder"))
    }
}

impl Inode {
    pub(super) fn settled(content: Content) -> Inode {
        Inode { cache: content.clone(), durable: content, pending: Vec::new(), lost: false }
    }

    /// True if the device has what is seen.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty() && !self.lost
    }

    fn sync(&mut self) {
        if self.lost {
            // What an earlier sync lost stays lost: only what was done since reaches the device.
            for pending in &self.pending {
                pending.change.apply(&mut self.durable, true);
            }
        } else {
            self.durable = self.cache.clone();
        }
        self.pending.clear();
    }

    fn lose(&mut self) {
        self.lost |= !self.pending.is_empty();
        self.pending.clear();
    }
}

impl FileChange {
    /// Does the whole change. What lies between the old end and the new one becomes zeros, or raw.
    fn apply(&self, content: &mut Content, raw: bool) {
        match self {
            FileChange::Write { offset, bytes } => {
                if !bytes.is_empty() {
                    content.grow(offset + bytes.len() as u64, raw);
                    content.put(*offset, bytes);
                }
            }
            FileChange::Allocate { offset, size } => content.allocate(*offset..offset + size),
            FileChange::Punch { offset, size } => content.punch(*offset..(offset + size).min(content.size)),
            FileChange::SetSize { size } => {
                content.cut(*size);
                content.grow(*size, raw);
            }
        }
    }
}

impl Folder {
    pub(super) fn settled(names: Arc<Names>) -> Folder {
        Folder { cache: names.clone(), durable: names, pending: Vec::new() }
    }

    /// All that a name may lead to after some crash, or does now.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        let added = self.pending.iter().filter_map(|(_, change)| match change {
            NameChange::Add { entry, .. } | NameChange::Move { entry, .. } => Some(*entry),
            NameChange::Remove { .. } => None,
        });
        self.durable.values().copied().chain(added)
    }
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            NameChange::Add { name, entry } => {
                names.insert(name.clone(), *entry);
            }
            NameChange::Remove { name } => {
                names.remove(name);
            }
            NameChange::Move { from, to, entry } => {
                names.remove(from);
                names.insert(to.clone(), *entry);
            }
        }
    }
}

impl Entry {
    pub(super) fn file(self) -> Option<InodeId> {
        match self {
            Entry::File(id) => Some(id),
            Entry::Folder => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Create { path, inode } => write!(f, "create {path} as file {inode}"),
            Event::Change { inode, change } => match change {
                FileChange::Write { offset, bytes } => {
                    write!(f, "write {} bytes at {offset} of file {inode}", bytes.len())
                }
                FileChange::Allocate { offset, size } => {
                    write!(f, "allocate {size} bytes at {offset} of file {inode}")
                }
                FileChange::Punch { offset, size } => write!(f, "punch {size} bytes at {offset} of file {inode}"),
                FileChange::SetSize { size } => write!(f, "set the size of file {inode} to {size}"),
            },
            Event::Sync { inode } => write!(f, "sync file {inode}"),
            Event::LoseSync { inode } => write!(f, "fail to sync file {inode} and drop its changes"),
            Event::Rename { from, to } => write!(f, "rename {from} to {to}"),
            Event::Remove { path } => write!(f, "remove {path}"),
            Event::MakeFolder { path } => write!(f, "make folder {path}"),
            Event::SyncFolder { path } => write!(f, "sync folder '{path}'"),
            Event::Lock { exclusive: true } => write!(f, "lock"),
            Event::Lock { exclusive: false } => write!(f, "lock shared"),
        }
    }
}

/// A path's folder and its last part.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn hash_text(text: &str) -> u64 {
    text.bytes().fold(text.len() as u64, |sum, byte| Rng::new(sum ^ u64::from(byte)).next())
}
