//! A database as plain maps: what a correct one answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use diamonddb::Schema;

use super::script::{Part, Step};

/// All tables by name. Copies share what did not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub tables: BTreeMap<String, Arc<TableModel>>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableModel {
    pub kind: Kind,
    pub next_id: u64,
    /// The JSON of each record that is there.
    pub records: BTreeMap<u64, String>,
}

/// The two schemas that scripts use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Slots of 32 bytes, two a page, one field sometimes null.
    Small,
    /// Slots of 112 bytes, each a page that no block boundary fits.
    Wide,
}

/// What a step of a correct database answers if it refuses: the status of the error.
pub type Refusal = i32;

pub const NOT_FOUND: Refusal = 200;
pub const OUT_OF_RANGE: Refusal = 201;
pub const SCHEMA_DIFFERS: Refusal = 202;
pub const CONFLICT: Refusal = 203;

impl Kind {
    pub fn schema(self) -> Schema {
        let json = match self {
            Kind::Small => r#"{"n": ["i64"], "t": ["string", 20]}"#,
            Kind::Wide => r#"{"a": ["string", 100], "n": ["u32"]}"#,
        };
        Schema::parse(json).expect("the schema is right")
    }

    /// The kind of a table that was found.
    pub fn of(schema: &Schema) -> Option<Kind> {
        [Kind::Small, Kind::Wide].into_iter().find(|kind| kind.schema().difference(schema).is_none())
    }

    /// The record with number `n`, as a fetch writes it.
    pub fn json(self, n: u64) -> String {
        match (self, text(n)) {
            (Kind::Small, None) => format!(r#"{{"n":{n},"t":null}}"#),
            (Kind::Small, Some(text)) => format!(r#"{{"n":{n},"t":"{text}"}}"#),
            (Kind::Wide, text) => format!(r#"{{"a":"{}","n":{n}}}"#, text.unwrap_or_default().repeat(5)),
        }
    }

    /// The same record packed, with its null bitmap.
    pub fn packed(self, n: u64) -> (Vec<u8>, u8) {
        let text = text(n);
        match self {
            Kind::Small => {
                let mut bytes = n.to_le_bytes().to_vec();
                bytes.extend_from_slice(text.as_deref().unwrap_or_default().as_bytes());
                bytes.resize(32, 0);
                (bytes, if text.is_none() { 2 } else { 0 })
            }
            Kind::Wide => {
                let mut bytes = text.unwrap_or_default().repeat(5).into_bytes();
                bytes.resize(100, 0);
                bytes.extend_from_slice(&(n as u32).to_le_bytes());
                (bytes, 0)
            }
        }
    }
}

/// The text in record `n`; every fifth has none.
fn text(n: u64) -> Option<String> {
    let letters = ["ant", "bee", "cicada", "dragonfly", "earwig", "firefly"];
    (!n.is_multiple_of(5)).then(|| format!("{} {n}", letters[(n % 6) as usize]))
}

impl Model {
    /// The model after a step whose records have the numbers from `n` on; or how the step is refused.
    pub fn after(&self, step: &Step, n: u64) -> Result<Model, Refusal> {
        let mut after = self.clone();
        match step {
            Step::Make(name, kind) => match after.tables.get(name) {
                Some(table) if table.kind != *kind => return Err(SCHEMA_DIFFERS),
                Some(_) => {}
                None => {
                    let table = TableModel { kind: *kind, next_id: 0, records: BTreeMap::new() };
                    after.tables.insert(name.clone(), Arc::new(table));
                }
            },
            Step::Save(name) => after.table(name)?.save(n),
            Step::SaveMany(name, count) => {
                let table = after.table(name)?;
                (0..*count as u64).for_each(|index| table.save(n + index));
            }
            Step::Replace(name, id) => after.table(name)?.replace(*id, n)?,
            Step::ReplaceIf(name, id, right) => {
                let table = after.table(name)?;
                table.replace(*id, n)?;
                if !right {
                    return Err(CONFLICT);
                }
            }
            Step::Delete(name, id) => after.table(name)?.delete(*id)?,
            Step::DeleteMany(name, ids) => {
                let table = after.table(name)?;
                if ids.iter().any(|id| *id >= table.next_id) {
                    return Err(OUT_OF_RANGE);
                }
                ids.iter().try_for_each(|id| table.delete(*id))?;
            }
            Step::Batch(parts) | Step::BatchNoWait(parts) => after.apply_batch(parts, n)?,
            Step::Drop(name) => {
                after.tables.remove(name).ok_or(NOT_FOUND)?;
            }
            Step::Rename(from, to) => {
                if !self.tables.contains_key(from) {
                    return Err(NOT_FOUND);
                }
                if from != to && self.tables.contains_key(to) {
                    return Err(CONFLICT);
                }
                let table = after.tables.remove(from).ok_or(NOT_FOUND)?;
                after.tables.insert(to.clone(), table);
            }
            Step::Checkpoint | Step::Flush | Step::Upkeep | Step::Verify => {}
            Step::During(..) | Step::InFlush(..) | Step::Scanning(..) | Step::Holding(..) => {
                unreachable!("steps with steps inside change nothing themselves")
            }
            Step::Reopen | Step::Kill | Step::PowerCut(..) => unreachable!("these are done by the run"),
        }
        Ok(after)
    }

    /// Refusals come in two rounds: when a part is added, and when all is committed.
    fn apply_batch(&mut self, parts: &[Part], n: u64) -> Result<(), Refusal> {
        let before = self.clone();
        let mut deleted = BTreeSet::new();
        for part in parts {
            let name = part.table();
            let table = before.tables.get(name).ok_or(NOT_FOUND)?;
            if let Part::Replace(_, id) | Part::Delete(_, id) | Part::Expect(_, id, _) = part {
                if *id >= table.next_id {
                    return Err(OUT_OF_RANGE);
                }
                if deleted.contains(&(name, *id)) && !matches!(part, Part::Expect(..)) {
                    return Err(NOT_FOUND);
                }
            }
            if let Part::Delete(_, id) = part {
                deleted.insert((name, *id));
            }
        }
        for part in parts {
            match part {
                Part::Replace(name, id) | Part::Delete(name, id) if !before.has(name, *id) => return Err(NOT_FOUND),
                Part::Expect(name, id, right) if !right || !before.has(name, *id) => return Err(CONFLICT),
                _ => {}
            }
        }
        for (index, part) in parts.iter().enumerate() {
            let n = n + index as u64;
            match part {
                Part::Save(name) => self.table(name)?.save(n),
                Part::Replace(name, id) => self.table(name)?.replace(*id, n)?,
                Part::Delete(name, id) => self.table(name)?.delete(*id)?,
                Part::Expect(..) => {}
            }
        }
        Ok(())
    }

    /// True if the record is there.
    pub fn has(&self, name: &str, id: u64) -> bool {
        self.tables.get(name).is_some_and(|table| table.records.contains_key(&id))
    }

    fn table(&mut self, name: &str) -> Result<&mut TableModel, Refusal> {
        self.tables.get_mut(name).map(Arc::make_mut).ok_or(NOT_FOUND)
    }

    /// In a few words, where two models differ.
    pub fn difference(&self, found: &Model) -> String {
        for (name, table) in &self.tables {
            let Some(other) = found.tables.get(name) else { return format!("table {name} is missing") };
            if table == other {
                continue;
            }
            if (table.kind, table.next_id) != (other.kind, other.next_id) {
                let (kind, next) = (other.kind, other.next_id);
                return format!("table {name} is {kind:?} with next id {next}, not {:?} {}", table.kind, table.next_id);
            }
            let ids: BTreeSet<&u64> = table.records.keys().chain(other.records.keys()).collect();
            for id in ids {
                let (expected, there) = (table.records.get(id), other.records.get(id));
                if expected != there {
                    return format!("record {id} of table {name} is {there:?}, not {expected:?}");
                }
            }
        }
        let strange = found.tables.keys().find(|name| !self.tables.contains_key(*name));
        strange.map_or("nothing".to_owned(), |name| format!("table {name} should not be there"))
    }
}

impl TableModel {
    fn save(&mut self, n: u64) {
        self.records.insert(self.next_id, self.kind.json(n));
        self.next_id += 1;
    }

    fn replace(&mut self, id: u64, n: u64) -> Result<(), Refusal> {
        self.check(id)?;
        self.records.insert(id, self.kind.json(n));
        Ok(())
    }

    fn delete(&mut self, id: u64) -> Result<(), Refusal> {
        self.check(id)?;
        self.records.remove(&id);
        Ok(())
    }

    fn check(&self, id: u64) -> Result<(), Refusal> {
        match self.records.contains_key(&id) {
            true => Ok(()),
            false if id >= self.next_id => Err(OUT_OF_RANGE),
            false => Err(NOT_FOUND),
        }
    }
}
