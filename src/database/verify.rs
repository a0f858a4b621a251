//! Reading everything, to see whether it is as it should be.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory;
use crate::modules::Controller;
use crate::table::{ScanRange, TableFile, TableScan};

use super::native::NativeEngine;

/// Findings beyond this many are counted, not listed.
const FINDING_COUNT_MAX: usize = 10_000;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, or the table, where it was found.
    pub file: String,
    /// What it is, in a sentence.
    pub message: String,
}

/// What a verification read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Tables read.
    pub tables: u64,
    /// Pages whose sums were compared.
    pub pages: u64,
    /// Records whose contents were checked.
    pub records: u64,
    /// What is wrong; empty if all is well.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    fn add(&mut self, file: &str, message: String) -> Result<()> {
        if self.findings.len() < FINDING_COUNT_MAX {
            memory::reserve(&mut self.findings, 1, "what is wrong")?;
            self.findings.push(Finding { file: file.to_owned(), message });
        }
        Ok(())
    }

    /// Damage is a finding; anything else stops the verification.
    fn take<T>(&mut self, file: &str, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Corrupt(message)) => {
                self.add(file, message.into_owned())?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Verifies every page's sum and every record of every table.
pub fn verify(engine: &NativeEngine) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let root = engine.files.verify_root();
    report.take("MANIFEST", root)?;
    for table in engine.tables()? {
        report.tables += 1;
        let file = table.file();
        let name = file.id.name();
        let mut page = 0;
        loop {
            // A few pages at a time, so that a checkpoint never waits long.
            let found = engine.files.verify_pages(file, page, |number, result| {
                report.pages += 1;
                let _ = number;
                report.take(&name, result).map(|_| ())
            });
            match found {
                Ok(Some(next)) => page = next,
                Ok(None) => break,
                Err(Error::NotFound(_)) if file.is_dropped() => break,
                Err(error) => {
                    report.take(&name, Err::<(), Error>(error))?;
                    break;
                }
            }
        }
        verify_records(&table, &mut report)?;
    }
    Ok(report)
}

/// Reads every record of every table that a store has.
pub fn verify_kept(controller: &Arc<Controller>) -> Result<VerifyReport> {
    let mut report = VerifyReport { tables: controller.tables()?.len() as u64, ..VerifyReport::default() };
    controller.verify(|name, found| {
        report.records += 1;
        match found {
            None => Ok(()),
            Some(Error::Corrupt(what) | Error::Module(what)) => report.add(name, what.into_owned()),
            Some(error) => Err(error),
        }
    })?;
    Ok(report)
}

fn verify_records(table: &Arc<TableFile>, report: &mut VerifyReport) -> Result<()> {
    let name = format!("table {}", table.name());
    // What the file lost is in the report already, and may be more than one could ever go through.
    let lost = table.lost_from()?;
    let mut scan = TableScan::new(table, ScanRange { to: lost.unwrap_or(u64::MAX), ..ScanRange::default() })?;
    let mut live = 0;
    let mut unreadable = lost.is_some();
    loop {
        match scan.next_slot() {
            Ok(None) => break,
            Ok(Some((id, slot))) => {
                let checked = table.check_slot(slot);
                live += u64::from(slot[table.layout().state_offset] != 0);
                report.records += 1;
                if let Err(what) = checked {
                    report.add(&name, format!("record {}: {what}", id.0))?;
                }
            }
            // The page is in the report already; its records are skipped.
            Err(Error::Corrupt(_)) => {
                unreadable = true;
                scan.skip_page();
            }
            Err(Error::NotFound(_)) if table.file().is_dropped() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    if !unreadable && live != scan.count_at_start() {
        let counted = scan.count_at_start();
        report.add(&name, format!("the catalog counts {counted} records, and {live} are there"))?;
    }
    Ok(())
}
