//! The root: the manifest and the catalog's image, from which everything else is found.
//!
//! The catalog is written whole by each checkpoint, into file 1, beside the image that the manifest still names; the
//! manifest then names the new one. So it is always exactly as of the checkpoint, and never half written.
//!
//! ```text
//! data/1:  | header, 4 KiB | ... image ... | ... the other image ... |
//! image:   | magic | xxh3 of all that follows u64 | size of the rest u64 | checkpoint's lsn u64 | file count u64 |
//!          then for each file
//!          | number u32 | kind u32 | page size u32 | zero u32 | length u64 | tally i64 | meta size u64 | meta |
//! ```
//!
//! The numbers ascend. An image tells what it is, so that a salvage finds it where no manifest leads to it any more.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::BLOCK_SIZE;
use crate::format::bytes::{Put, Take};
use crate::format::checksum::xxh3;
use crate::format::header::{Contents, Header};
use crate::format::manifest::Manifest;
use crate::memory;
use crate::mutant::{Mutant, broken};
use crate::os::sync::Mutex;
use crate::os::{Disk, DiskFile, Open, read_exact_at, retry, write_all_at};

use super::file::{FileId, FileImage};

/// The name of the manifest.
pub(super) const MANIFEST: &str = "MANIFEST";

/// The file that holds the catalog's images.
pub(super) const CATALOG: FileId = FileId(1);

const MAGIC: &[u8; 8] = b"DIAMONDC";

/// The size of an image's head: all before the count.
const HEAD_SIZE: usize = 32;

/// Catalogs larger than this were not written by us: 65,536 tables with the longest schemas are far smaller.
const CATALOG_SIZE_LIMIT: u64 = 8 << 30;

/// The manifest in force.
pub(super) struct Root {
    disk: Arc<dyn Disk>,
    /// The manifest's file, open from the first look on: a checkpoint is not to fail for want of a descriptor.
    file: Arc<dyn DiskFile>,
    state: Mutex<State>,
}

struct State {
    manifest: Manifest,
    /// The slot in force was written by this process, or written again, so that the disk surely has it.
    certain: bool,
}

impl Root {
    /// Reads both slots and takes the newer one that verifies.
    pub fn read(disk: Arc<dyn Disk>, how: Open) -> Result<Root> {
        let file = disk.open(MANIFEST, how).map_err(|error| Error::io("open", MANIFEST, &error))?;
        let size = file.size().map_err(|error| Error::io("ask the size of", MANIFEST, &error))?;
        if size < 2 * BLOCK_SIZE {
            return Err(Error::Format(format!("MANIFEST has {size} bytes; a database's has 8192").into()));
        }
        let mut blocks = memory::zeros(2 * BLOCK_SIZE as usize, "the manifest")?;
        read_exact_at(&*file, &mut blocks, 0).map_err(|error| Error::io("read", MANIFEST, &error))?;
        let rank = |manifest: &Manifest| match broken(Mutant::OlderManifestTaken) {
            true => u64::MAX - manifest.generation,
            false => manifest.generation,
        };
        match slots(&blocks).max_by_key(rank) {
            Some(manifest) if !manifest.is_possible() => Err(Error::corrupt(MANIFEST, "it breaks its format")),
            Some(manifest) => Ok(Root { disk, file, state: Mutex::new(State { manifest, certain: false }) }),
            None => Err(Error::corrupt(MANIFEST, "neither of its two slots matches its checksum")),
        }
    }

    /// The manifest in force.
    pub fn manifest(&self) -> Manifest {
        self.state.lock().manifest.clone()
    }

    /// Makes sure that the disk has the slot in force, byte for byte, before the other is touched: after a failed
    /// sync the cache can show what the disk does not have.
    pub fn make_certain(&self) -> std::io::Result<()> {
        let mut state = self.state.lock();
        if !state.certain {
            if !broken(Mutant::ManifestNotWrittenAgain) {
                self.write(&state.manifest)?;
            }
            state.certain = true;
        }
        Ok(())
    }

    /// Writes the next manifest into the other slot and syncs it.
    pub fn advance(&self, change: impl FnOnce(&mut Manifest)) -> std::io::Result<()> {
        self.make_certain()?;
        let mut state = self.state.lock();
        let mut manifest = state.manifest.clone();
        manifest.generation += if broken(Mutant::ManifestOverOneInForce) { 2 } else { 1 };
        change(&mut manifest);
        self.write(&manifest)?;
        state.manifest = manifest;
        Ok(())
    }

    fn write(&self, manifest: &Manifest) -> std::io::Result<()> {
        write_all_at(&*self.file, &manifest.encode(), manifest.generation % 2 * BLOCK_SIZE)?;
        if broken(Mutant::ManifestNotSynced) { Ok(()) } else { retry(|| self.file.sync()) }
    }

    /// The files as of the manifest's checkpoint.
    pub fn read_catalog(&self) -> Result<Vec<FileImage>> {
        let manifest = self.manifest();
        if manifest.catalog_size == 0 {
            return Ok(Vec::new());
        }
        let name = CATALOG.name();
        let damaged = |what: &str| Err(Error::corrupt(&name, what));
        if manifest.catalog_size > CATALOG_SIZE_LIMIT {
            return damaged("the catalog is larger than any can be");
        }
        let file = self.disk.open(&name, Open::Read).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::corrupt(&name, "it is missing"),
            _ => Error::io("open", &name, &error),
        })?;
        let size = file.size().map_err(|error| Error::io("ask the size of", &name, &error))?;
        if manifest.catalog_offset.checked_add(manifest.catalog_size).is_none_or(|end| end > size) {
            return damaged("it ends before the catalog does");
        }
        let mut bytes = memory::zeros(manifest.catalog_size as usize, "the catalog")?;
        read_exact_at(&*file, &mut bytes, manifest.catalog_offset).map_err(|error| Error::io("read", &name, &error))?;
        if xxh3(&bytes) != manifest.catalog_sum && !broken(Mutant::CatalogSumNotCompared) {
            return damaged("the catalog does not match its checksum");
        }
        match open_image(&bytes)? {
            Some((_, files)) => Ok(files),
            None => damaged("the catalog breaks its format"),
        }
    }

    /// Reads the slot in force and the catalog again, and compares them with what is in force. What the other slot
    /// holds does not matter: where a write or a sync of it failed, it may be torn, or newer.
    pub fn verify(&self) -> Result<()> {
        let manifest = self.manifest();
        let file = self.disk.open(MANIFEST, Open::Read).map_err(|error| Error::io("open", MANIFEST, &error))?;
        let mut block = [0; BLOCK_SIZE as usize];
        match read_exact_at(&*file, &mut block, manifest.generation % 2 * BLOCK_SIZE) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(Error::corrupt(MANIFEST, "it ends before the slot in force does"));
            }
            other => other.map_err(|error| Error::io("read", MANIFEST, &error))?,
        }
        if Manifest::decode(&block).is_none_or(|found| found != manifest) {
            return Err(Error::corrupt(MANIFEST, "the slot in force does not match its checksum"));
        }
        self.read_catalog().map(|_| ())
    }

    /// The file of the catalog. Made for the first image, and then `write` is asked to put a header into it.
    pub fn open_catalog(
        &self,
        uuid: [u8; 16],
        write: impl FnOnce(&dyn DiskFile, &[u8]) -> Result<()>,
    ) -> Result<Arc<dyn DiskFile>> {
        let name = CATALOG.name();
        if self.manifest().catalog_size > 0 {
            return self.disk.open(&name, Open::Write).map_err(|error| Error::io("open", &name, &error));
        }
        let file = self.disk.open(&name, Open::Create);
        let file = file.map_err(|error| Error::allocation("make", &name, &error))?;
        let header = Header { contents: Contents::Data, page_size: BLOCK_SIZE as u32, file: CATALOG.0, uuid };
        write(&*file, &header.encode())?;
        Ok(file)
    }

    /// Takes disk space for an image of this size, away from the one in force. Returns its offset.
    pub fn allocate_catalog(&self, file: &dyn DiskFile, size: u64) -> Result<u64> {
        let manifest = self.manifest();
        let in_force = manifest.catalog_offset..manifest.catalog_offset + manifest.catalog_size;
        let fits_before = manifest.catalog_size == 0 || BLOCK_SIZE + size <= in_force.start;
        let offset = if fits_before || broken(Mutant::CatalogOverOneInForce) {
            BLOCK_SIZE
        } else {
            in_force.end.next_multiple_of(BLOCK_SIZE)
        };
        let allocated = retry(|| file.allocate(offset, size));
        allocated.map_err(|error| Error::allocation("make room in", &CATALOG.name(), &error))?;
        Ok(offset)
    }
}

/// Writes and syncs an image.
pub(super) fn write_catalog(file: &dyn DiskFile, image: &[u8], offset: u64) -> std::io::Result<()> {
    write_all_at(file, image, offset)?;
    if broken(Mutant::CatalogNotSynced) { Ok(()) } else { retry(|| file.sync()) }
}

/// The slots of a manifest that verify, each in its own place.
pub(super) fn slots(blocks: &[u8]) -> impl Iterator<Item = Manifest> + '_ {
    let decoded = blocks.chunks(BLOCK_SIZE as usize).take(2).map(Manifest::decode);
    (0..).zip(decoded).filter_map(|(slot, manifest)| manifest.filter(|manifest| manifest.generation % 2 == slot))
}

/// The catalog as of a checkpoint, as it lies on disk.
pub(super) fn encode(files: &[FileImage], checkpoint: u64) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let size = HEAD_SIZE + 8 + files.iter().map(|file| 40 + file.meta.len()).sum::<usize>();
    memory::reserve(&mut out, size, "the catalog")?;
    out.put(MAGIC);
    out.put_u64(0);
    out.put_u64((size - HEAD_SIZE) as u64);
    out.put_u64(checkpoint);
    out.put_u64(files.len() as u64);
    debug_assert!(files.is_sorted_by(|file, next| file.id < next.id));
    for file in files {
        out.put_u32(file.id.0);
        out.put_u32(file.kind);
        out.put_u32(file.page_size);
        out.put_u32(0);
        out.put_u64(file.length);
        out.put_u64(file.tally as u64);
        out.put_u64(file.meta.len() as u64);
        out.put(&file.meta);
    }
    let sum = xxh3(&out[16..]);
    out[8..16].copy_from_slice(&sum.to_le_bytes());
    Ok(out)
}

/// How many bytes the image has that starts here, if one seems to. The head is enough for that.
pub(super) fn size_of_image(head: &[u8]) -> Option<u64> {
    let mut take = Take(head.get(..HEAD_SIZE)?);
    let (magic, _, rest) = (take.bytes(8)?, take.u64()?, take.u64()?);
    let size = rest.checked_add(HEAD_SIZE as u64)?;
    (magic == MAGIC && size <= CATALOG_SIZE_LIMIT).then_some(size)
}

/// The LSN of its checkpoint and the files, if this is an image that verifies.
pub(super) fn open_image(bytes: &[u8]) -> Result<Option<(u64, Vec<FileImage>)>> {
    let mut take = Take(bytes);
    let head = (take.u64(), take.u64(), take.u64(), take.u64());
    let (Some(_), Some(sum), Some(_), Some(checkpoint)) = head else { return Ok(None) };
    let verifies = sum == xxh3(&bytes[16..]) || broken(Mutant::CatalogSumNotCompared);
    if size_of_image(bytes) != Some(bytes.len() as u64) || !verifies {
        return Ok(None);
    }
    Ok(decode(take)?.map(|files| (checkpoint, files)))
}

/// The files of an image; `None` if it breaks the format.
fn decode(mut take: Take<'_>) -> Result<Option<Vec<FileImage>>> {
    let Some(count) = take.u64() else { return Ok(None) };
    let mut files: Vec<FileImage> = Vec::new();
    for _ in 0..count {
        let Some((file, meta)) = take_file(&mut take) else { return Ok(None) };
        let is_next = files.last().is_none_or(|last| last.id < file.id);
        if !file.is_possible() || !is_next {
            return Ok(None);
        }
        let meta = memory::collect(meta.len(), meta.iter().copied(), "the catalog")?;
        memory::reserve(&mut files, 1, "the catalog")?;
        files.push(FileImage { meta: Arc::new(meta), ..file });
    }
    Ok(take.is_empty().then_some(files))
}

/// One file of an image, and what the floor above remembers of it.
fn take_file<'a>(take: &mut Take<'a>) -> Option<(FileImage, &'a [u8])> {
    let (id, kind, page_size, _) = (FileId(take.u32()?), take.u32()?, take.u32()?, take.u32()?);
    let (length, tally) = (take.u64()?, take.u64()? as i64);
    let size = usize::try_from(take.u64()?).ok()?;
    Some((FileImage { id, kind, page_size, length, tally, meta: Arc::default() }, take.bytes(size)?))
}
