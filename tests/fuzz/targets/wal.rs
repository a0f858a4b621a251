//! The wal: a segment is overwritten by any bytes, or a new one is written whose frames are whole, follow each other as
//! they should and say anything, so that what reads their payload is reached.
#![no_main]

use diamonddb_fuzz::folder::{Folder, names, read, write};
use diamonddb_fuzz::forge::{
    BLOCK, CHECKPOINT, Segment, UUID, WAL_SALT, WAL_SEGMENT, get, put_frame, seal, set, slot_in_force,
};
use diamonddb_fuzz::{Feed, visit};
use libfuzzer_sys::fuzz_target;

const DESCRIPTION: &[u8] = br#"____forged{"n":["i64"],"t":["string",20]}"#;

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed(data);
    let (folder, flags) = (Folder::pick(&mut feed), feed.byte());
    let disk = folder.disk();
    let segments: Vec<String> = names(&disk).into_iter().filter(|name| name.starts_with("wal/")).collect();
    if flags & 1 == 0 && !segments.is_empty() {
        while !feed.is_empty() {
            let name = &segments[feed.below(segments.len())];
            let (mut segment, at, size) = (read(&disk, name), feed.below(16384), feed.below(256));
            for (byte, new) in segment.iter_mut().skip(at).zip(feed.bytes(size)) {
                *byte ^= new;
            }
            write(&disk, name, &segment);
        }
        return visit::damaged(&disk, flags & 2 != 0, &folder.states);
    }

    // Where the wal starts is as the manifest says; what it says from there on is new.
    let mut manifest = read(&disk, "MANIFEST");
    let place = slot_in_force(&manifest);
    let slot = &mut manifest[place..][..BLOCK];
    set(slot, 12..16, 0);
    let checkpoint = get(slot, CHECKPOINT);
    let (number, salt) = (get(slot, WAL_SEGMENT), get(slot, WAL_SALT));
    let uuid = slot[UUID].to_vec();
    seal(slot);
    write(&disk, "MANIFEST", &manifest);
    let start = Segment { uuid: &uuid, number, salt, previous: (0, checkpoint, 0), durable: checkpoint };
    let mut bytes = start.block();
    let (mut lsn, mut names) = (checkpoint, vec![number]);
    while !feed.is_empty() {
        lsn += 1;
        let durable = lsn.saturating_sub(1 + feed.below(4) as u64);
        let (kind, mut payload) = frame(&mut feed, checkpoint);
        if kind == 3 {
            // The frame that ends a segment names the next.
            let next = names[names.len() - 1] + 1;
            payload = [next, salt, BLOCK as u64].into_iter().flat_map(u64::to_le_bytes).collect();
        }
        let crc = put_frame(&mut bytes, lsn, durable, salt, kind, &payload);
        if kind == 3 && names.len() < 4 {
            let last = names[names.len() - 1];
            write(&disk, &format!("wal/{last}"), &bytes);
            let header = Segment { uuid: &uuid, number: last + 1, salt, previous: (last, lsn, crc), durable };
            bytes = header.block();
            names.push(last + 1);
        }
    }
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    write(&disk, &format!("wal/{}", names[names.len() - 1]), &bytes);
    visit::forged(&disk, flags & 2 != 0);
});

/// A frame's kind and what it says: any bytes, or entries as `src/pages/redo.rs` draws them.
fn frame(feed: &mut Feed<'_>, checkpoint: u64) -> (u32, Vec<u8>) {
    let kind = match feed.below(16) {
        0..10 => 1,
        kind => kind as u32 - 9,
    };
    let mut payload = Vec::new();
    if kind == 2 {
        payload.extend_from_slice(&(checkpoint + feed.below(4) as u64).to_le_bytes());
    }
    if kind == 3 {
        return (kind, payload);
    }
    for _ in 0..feed.below(6) {
        put_entry(&mut payload, feed);
    }
    let rest = feed.below(64).saturating_sub(56);
    payload.extend_from_slice(feed.bytes(rest));
    (kind, payload)
}

fn put_entry(payload: &mut Vec<u8>, feed: &mut Feed<'_>) {
    let (what, file) = (feed.below(8) as u32, feed.below(8) as u32);
    payload.extend_from_slice(&what.to_le_bytes());
    payload.extend_from_slice(&file.to_le_bytes());
    match what {
        1 => {
            payload.extend_from_slice(&feed.number().to_le_bytes());
            let size = feed.below(256);
            put_bytes(payload, feed.bytes(size));
        }
        2 | 7 => payload.extend_from_slice(&feed.number().to_le_bytes()),
        3 => {
            payload.extend_from_slice(&(feed.number() as u32).to_le_bytes());
            payload.extend_from_slice(&(feed.number() as u32).to_le_bytes());
            put_description(payload, feed);
        }
        4 => put_description(payload, feed),
        6 => {
            payload.extend_from_slice(&feed.number().to_le_bytes());
            let count = feed.below(8);
            payload.extend_from_slice(&(count as u64).to_le_bytes());
            for _ in 0..count {
                payload.extend_from_slice(&feed.number().to_le_bytes());
            }
        }
        _ => {}
    }
}

/// Name and schema of a table, right or any bytes.
fn put_description(payload: &mut Vec<u8>, feed: &mut Feed<'_>) {
    match feed.below(64) {
        0..48 => {
            let mut description = DESCRIPTION.to_vec();
            description[..4].copy_from_slice(&6_u32.to_le_bytes());
            description[4] = feed.byte();
            put_bytes(payload, &description);
        }
        size => put_bytes(payload, feed.bytes(size)),
    }
}

fn put_bytes(payload: &mut Vec<u8>, bytes: &[u8]) {
    payload.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    payload.extend_from_slice(bytes);
    payload.resize(payload.len().next_multiple_of(8), 0);
}
