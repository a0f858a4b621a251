//! Figures about an open engine, as JSON.

use serde::Serialize;

use super::native::NativeEngine;

#[derive(Serialize)]
struct Stats {
    tables: usize,
    commits: u64,
    groups: u64,
    group_commits_mean: f64,
    group_commits_max: u64,
    syncs: u64,
    sync_us_mean: f64,
    sync_us_max: u64,
    wal_bytes: u64,
    wal_live_bytes: u64,
    dirty_bytes: u64,
    dirty_bytes_soft: u64,
    dirty_bytes_hard: u64,
    old_image_bytes: u64,
    snapshots: usize,
    oldest_snapshot_age_ms: Option<u64>,
    oldest_snapshot_lsn: Option<u64>,
    pins: u64,
    pin_bytes_kept: u64,
    pin_bytes_mapped: u64,
    writers_slowed: u64,
    checkpoints: u64,
    checkpoint_us_mean: f64,
    checkpoint_us_max: u64,
    checkpoint_pages: u64,
    page_loads: u64,
    cache_hit_rate: Option<f64>,
    recovered_frames: u64,
    poisoned: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<serde_json::Value>,
}

/// All figures since opening. Sizes are in bytes, times in microseconds where the name does not say otherwise. Scans
/// count as snapshots.
pub fn json(engine: &NativeEngine) -> String {
    let figures = engine.files.figures();
    let options = engine.files.options();
    let mean = |total: u64, count: u64| if count == 0 { 0.0 } else { total as f64 / count as f64 };
    let touched = figures.page_writes + figures.page_loads;
    let stats = Stats {
        tables: engine.table_count(),
        commits: figures.wal.commits,
        groups: figures.wal.groups,
        group_commits_mean: mean(figures.wal.commits, figures.wal.groups),
        group_commits_max: figures.wal.group_commits_max,
        syncs: figures.wal.syncs,
        sync_us_mean: mean(figures.wal.sync_us_total, figures.wal.syncs),
        sync_us_max: figures.wal.sync_us_max,
        wal_bytes: figures.wal.bytes,
        wal_live_bytes: figures.wal.live_bytes,
        dirty_bytes: figures.dirty_bytes,
        dirty_bytes_soft: options.dirty_soft,
        dirty_bytes_hard: options.dirty_hard,
        old_image_bytes: figures.old_bytes,
        snapshots: figures.snapshots,
        oldest_snapshot_age_ms: figures.oldest.map(|reader| reader.since.elapsed().as_millis() as u64),
        oldest_snapshot_lsn: figures.oldest.map(|reader| reader.lsn),
        pins: figures.pins.count,
        pin_bytes_kept: figures.pins.kept,
        pin_bytes_mapped: figures.pins.mapped,
        writers_slowed: figures.throttled,
        checkpoints: figures.checkpoints,
        checkpoint_us_mean: mean(figures.checkpoint_us_total, figures.checkpoints),
        checkpoint_us_max: figures.checkpoint_us_max,
        checkpoint_pages: figures.checkpoint_pages,
        page_loads: figures.page_loads,
        cache_hit_rate: (touched > 0).then(|| figures.page_writes as f64 / touched as f64),
        recovered_frames: figures.recovered_frames,
        poisoned: engine.files.failure().map(|error| error.to_string()),
        cache: engine.front.as_ref().and_then(|front| front.figures()).map(|figures| figures.json()),
    };
    serde_json::to_string(&stats).expect("figures are plain JSON")
}
