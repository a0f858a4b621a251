//! Random schemas and records for the tests of this folder: the same ones in every run.

use super::field::{Field, FieldKind};
use super::schema::Schema;
use super::timestamp;

/// A small generator (splitmix64); the state is the seed.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// A schema of 1 to `count_max` fields, of any types.
pub(super) fn random_schema(random: &mut Random, count_max: usize) -> Schema {
    let count = 1 + random.below(count_max);
    let fields: Vec<String> = (0..count).map(|index| random_definition(random, index)).collect();
    Schema::parse(&format!("{{{}}}", fields.join(","))).unwrap()
}

fn random_definition(random: &mut Random, index: usize) -> String {
    let kind = FieldKind::ALL[random.below(FieldKind::ALL.len())];
    let mut items = vec![format!("\"{}\"", kind.name())];
    match kind {
        FieldKind::Number => items.push((1 + random.below(24)).to_string()),
        FieldKind::String | FieldKind::Bytes => items.push((1 + random.below(40)).to_string()),
        _ => {}
    }
    if kind == FieldKind::String && random.one_in(2) {
        items.push("\"characters\"".to_owned());
    }
    if random.one_in(4) {
        items.push("\"required\"".to_owned());
    }
    format!("\"field \\\"{index}\\\" é\":[{}]", items.join(","))
}

/// A valid packed record with garbage in its padding and in its null fields, and its nulls.
pub(super) fn random_record(random: &mut Random, schema: &Schema) -> (Vec<u8>, Vec<u8>) {
    let layout = schema.layout();
    let mut bytes: Vec<u8> = (0..layout.record_size).map(|_| random.next() as u8).collect();
    let mut nulls: Vec<u8> = vec![0; layout.nulls_size];
    for (index, field) in layout.fields.iter().enumerate() {
        if !field.required && random.one_in(4) {
            nulls[index / 8] |= 1 << (index % 8);
        } else {
            fill(random, field, field.of_mut(&mut bytes));
        }
    }
    (bytes, nulls)
}

/// Integers and bytes stay as random as they are.
fn fill(random: &mut Random, field: &Field, bytes: &mut [u8]) {
    match field.kind {
        FieldKind::String => {
            let text = random_text(random, field);
            bytes.fill(0);
            bytes[..text.len()].copy_from_slice(text.as_bytes());
        }
        FieldKind::Number => bytes.copy_from_slice(&random_number(random, field).to_le_bytes()),
        FieldKind::F32 => {
            let value = f32::from_bits(random.next() as u32);
            bytes.copy_from_slice(&(if value.is_finite() { value } else { 0.5 }).to_le_bytes());
        }
        FieldKind::F64 => bytes.copy_from_slice(&random_double(random).to_le_bytes()),
        FieldKind::Bool => bytes[0] = random.below(2) as u8,
        FieldKind::Timestamp => {
            let range = timestamp::MICROS_MIN.abs_diff(timestamp::MICROS_MAX) + 1;
            let mut micros = timestamp::MICROS_MIN.wrapping_add_unsigned(random.next() % range);
            // Whole milliseconds and seconds have shorter texts.
            let unit = [1, 1000, 1_000_000][random.below(3)];
            micros -= micros % unit;
            bytes.copy_from_slice(&micros.to_le_bytes());
        }
        // Small integers are rarer among random bits than among records.
        FieldKind::I64 | FieldKind::U64 if random.one_in(2) => bytes[4..].fill(0),
        _ => {}
    }
}

fn random_text(random: &mut Random, field: &Field) -> String {
    const LETTERS: [char; 10] = ['a', 'Z', ' ', '"', '\\', '\n', '\u{1f}', 'é', '€', '🙂'];
    let wanted = random.below(field.width as usize + 1);
    let mut text = String::new();
    loop {
        let letter = LETTERS[random.below(LETTERS.len())];
        let longer = format!("{text}{letter}");
        let size = if field.characters { longer.encode_utf16().count() } else { longer.len() };
        if size > wanted {
            return text;
        }
        text = longer;
    }
}

fn random_number(random: &mut Random, field: &Field) -> f64 {
    let value = match random.below(3) {
        0 => (random.next() as i64 >> random.below(64)) as f64,
        1 => (random.next() as i32 >> random.below(32)) as f64 / 100.0,
        _ => random_double(random),
    };
    // Written out, so as not to trust the code under test.
    let fits = ryu_js::Buffer::new().format(value).len() <= field.width as usize;
    if fits { value } else { 7.0 }
}

fn random_double(random: &mut Random) -> f64 {
    let value = f64::from_bits(random.next());
    if value.is_finite() { value } else { 0.5 }
}
