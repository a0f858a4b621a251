//! Records that tell who wrote them and when, so that one which is torn, stale or of another place shows.
//!
//! Each record has one owner, who numbers its commits. A record holds its owner, the number of the commit that wrote
//! it, and words that follow from the two. So a record is right as it stands or not at all; it must not be older than
//! what was acknowledged before it was read; and one cut shows, of each owner, exactly some first commits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use diamonddb::{Error, Record, RecordId, RecordMut, ScanRange, Schema, Table};

const WORDS: usize = 8;
const SIZE: usize = WORDS * 8;

/// What one commit did: to these ids, and whether it took them away.
#[derive(Clone, Debug)]
pub struct Deed {
    pub ids: Vec<u64>,
    pub deletes: bool,
}

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub owner: u64,
    pub number: u64,
}

/// What is acknowledged of one table's records, for all threads to see.
pub struct Board {
    /// For each owner, the number of the commit that it has begun.
    begun: Vec<AtomicU64>,
    /// For each id, the owner and the number of the newest commit that was acknowledged, and whether it deleted.
    newest: Vec<AtomicU64>,
}

const DELETED: u64 = 1 << 63;

impl Board {
    pub fn new(owners: usize, ids: usize) -> Board {
        let zeros = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Board { begun: zeros(owners), newest: zeros(ids) }
    }

    pub fn begin(&self, owner: u64, number: u64) {
        self.begun[owner as usize].store(number, Ordering::SeqCst);
    }

    pub fn acknowledge(&self, owner: u64, number: u64, deed: &Deed) {
        let word = owner << 48 | number | if deed.deletes { DELETED } else { 0 };
        deed.ids.iter().for_each(|id| self.newest[*id as usize].store(word, Ordering::SeqCst));
    }

    /// Fetches a record, and insists that it may be there so. Returns what was found.
    pub fn fetch(&self, table: &Table, id: u64) -> Option<Seen> {
        let word = self.newest[id as usize].load(Ordering::SeqCst);
        let floor = Seen { owner: (word & !DELETED) >> 48, number: word & ((1 << 48) - 1) };
        let mut bytes = [0; SIZE];
        match table.fetch(RecordId(id), RecordMut { bytes: &mut bytes, nulls: None }) {
            Ok(()) => {
                let seen = read(&bytes);
                if word != 0 {
                    assert!(word & DELETED == 0, "record {id} was deleted by {floor:?} and is back: {seen:?}");
                    assert_eq!(seen.owner, floor.owner, "record {id} has changed hands");
                    assert!(seen.number >= floor.number, "record {id} is stale: {seen:?}, not {floor:?}");
                }
                let begun = self.begun[seen.owner as usize].load(Ordering::SeqCst);
                assert!(seen.number <= begun, "record {id} comes from a commit that was not begun: {seen:?}");
                Some(seen)
            }
            Err(Error::NotFound(_)) => {
                let may_be_deleted = word & DELETED != 0
                    || word != 0 && self.begun[floor.owner as usize].load(Ordering::SeqCst) > floor.number;
                assert!(may_be_deleted, "record {id} is gone: {floor:?} was acknowledged");
                None
            }
            // Below the next id, which moves before the record can be seen.
            Err(error) => panic!("record {id}: {error:?}"),
        }
    }

    /// Of each owner, the newest number that is acknowledged of any record.
    pub fn floors(&self) -> Vec<u64> {
        let mut floors = vec![0; self.begun.len()];
        for word in &self.newest {
            let word = word.load(Ordering::SeqCst) & !DELETED;
            let (owner, number) = ((word >> 48) as usize, word & ((1 << 48) - 1));
            floors[owner] = floors[owner].max(number);
        }
        floors
    }
}

pub fn schema() -> Schema {
    let fields: Vec<String> = (0..WORDS).map(|word| format!(r#""w{word}": ["u64"]"#)).collect();
    Schema::parse(&format!("{{{}}}", fields.join(", "))).unwrap()
}

/// The record of this owner's commit.
pub fn record(owner: u64, number: u64) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    let words = [owner, number].into_iter().chain((2..).map(|word| mix(owner << 48 | number, word)));
    bytes.chunks_exact_mut(8).zip(words).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
    bytes
}

pub fn packed(bytes: &[u8; SIZE]) -> Record<'_> {
    Record { bytes, nulls: None }
}

fn read(bytes: &[u8; SIZE]) -> Seen {
    let word = |at: usize| u64::from_le_bytes(bytes[at * 8..][..8].try_into().unwrap());
    let seen = Seen { owner: word(0), number: word(1) };
    assert!(*bytes == record(seen.owner, seen.number), "a record is torn: {bytes:?}");
    seen
}

fn mix(one: u64, other: u64) -> u64 {
    let mixed = (one ^ other.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ mixed >> 29
}

/// All records of one cut.
pub fn scan(table: &Table, reverse: bool) -> BTreeMap<u64, Seen> {
    let mut cursor = table.scan(ScanRange { reverse, ..ScanRange::default() }).unwrap();
    let (mut found, mut bytes) = (BTreeMap::new(), [0; SIZE]);
    while let Some(id) = cursor.next(RecordMut { bytes: &mut bytes, nulls: None }).unwrap() {
        assert!(found.insert(id.0, read(&bytes)).is_none(), "record {} comes twice", id.0);
    }
    found
}

/// Insists that a cut shows, of each owner, exactly some first deeds, and at least so many. `deeds[owner][number - 1]`.
pub fn assert_is_cut(found: &BTreeMap<u64, Seen>, deeds: &[Vec<Deed>], floors: &[u64]) {
    for (owner, deeds) in deeds.iter().enumerate() {
        let of_owner = found.iter().filter(|(_, seen)| seen.owner == owner as u64);
        let found: BTreeMap<u64, u64> = of_owner.map(|(id, seen)| (*id, seen.number)).collect();
        let newest = found.values().copied().max().unwrap_or(0).max(floors[owner]);
        let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
        let mut is_right = false;
        for (number, deed) in (1..).zip(deeds) {
            for id in &deed.ids {
                if deed.deletes {
                    expected.remove(id)
                } else {
                    expected.insert(*id, number)
                };
            }
            // What comes after the newest that can be seen are deletes, if anything.
            if number >= newest && expected == found {
                is_right = true;
                break;
            }
            if number > newest && !deed.deletes {
                break;
            }
        }
        assert!(is_right || newest == 0 && found.is_empty(), "owner {owner}: the cut at about {newest} is none");
    }
}
