//! Reading a log back: replay the segments in order, find the end, refuse damage.
//!
//! What a crash may leave, and nothing else, is forgiven. The rule:
//!
//! - A segment that is not the last must replay exactly to the end, and to the checksum, which
//!   the next segment's header names (it was synced before that header was written).
//! - In the last segment the records are followed along their chain to the first one that does
//!   not fit. If any record, before or after that point, testifies that bytes beyond it had been
//!   synced, then synced data is damaged: refused. Otherwise it is the tail of writes that were
//!   never acknowledged, in whatever order the device got to them: cut off, back to the end of
//!   the last whole batch.
//! - The cut is made permanent before anything is appended (`repair_tail`).
//!
//! It cannot tell damage from a torn tail when the damage reaches the very last batch and nothing
//! after it survives to testify; no single-copy log can.

use std::collections::VecDeque;

use prost::Message as _;

use super::disk::{Disk, DiskFile};
use super::log::LogError;
use super::marks::Marks;
use super::pool::io_error;
use super::record::{self, EntryHead, Position, Window};
use super::segment::{self, HEADER_BLOCK_BYTES, Header, segment_name};
use crate::core::message::{HardState, TermRuns};
use crate::core::story::tell;
use crate::core::{Index, Term};

/// A log as found on disk.
pub(super) struct Replayed {
    /// All segments, oldest first; never empty.
    pub headers: VecDeque<Header>,
    pub state: State,
    /// The last segment's file, ready for the next record.
    pub file: Box<dyn DiskFile>,
    /// Where the next record goes.
    pub end: u64,
    /// The crc of the record before it.
    pub link: u32,
}

/// What the records add up to.
pub(super) struct State {
    pub hard_state: HardState,
    pub truncated: Position,
    pub last_index: Index,
    pub marks: Marks,
    /// Lowest index from which on all entries were seen.
    held_from: Index,
    runs: Vec<(Index, Term)>,
}

#[derive(Clone, Copy)]
enum Step {
    Entry { head: EntryHead, offset: u64 },
    HardState(HardState),
    Truncate(Position),
    Install(Position),
}

/// How far the chain of a segment goes.
struct Chain {
    /// End of the last whole batch, and the crc there.
    end: u64,
    link: u32,
    /// The first offset without a fitting record.
    broken: u64,
    /// What the records say was durable.
    durable: u64,
}

/// Replays the log on `disk` and makes its end durable; `None` if there is no segment.
pub(super) fn replay(disk: &dyn Disk) -> Result<Option<Replayed>, LogError> {
    let names = disk.list().map_err(|e| io_error("list", &disk.location(), e))?;
    let mut sequences: Vec<u64> = names.iter().filter_map(|n| segment::parse_name(n)).collect();
    sequences.sort_unstable();
    let mut found = VecDeque::new();
    for &sequence in &sequences {
        let name = segment_name(sequence);
        let file = disk.open(&name).map_err(|e| io_error("open", &name, e))?;
        found.push_back(Header::read(&name, file.as_ref())?);
    }
    let Some(&(first, _)) = found.front() else { return Ok(None) };
    let mut state = State::at(&first);
    for (at, (header, crc)) in found.iter().enumerate() {
        let next = found.get(at + 1).map(|(next, _)| next);
        let name = segment_name(header.sequence);
        let mut file = disk.open(&name).map_err(|e| io_error("open", &name, e))?;
        let mut window = Window::new(file.as_ref(), header.capacity);
        let until = next.map_or(header.capacity, |n| n.previous_end.min(header.capacity));
        let chain = state.follow(&name, &mut window, header, *crc, until)?;
        if let Some(next) = next {
            state.check_joint(&name, header, &chain, next)?;
            continue;
        }
        let stale_end = check_tail(&name, &mut window, header, &chain)?;
        repair_tail(&name, file.as_mut(), &chain, stale_end)?;
        tell_repair(&name, &chain, stale_end);
        disk.sync_dir().map_err(|source| LogError::Sync { file: disk.location(), source })?;
        state.finish(&segment_name(first.sequence))?;
        let headers = found.iter().map(|(header, _)| *header).collect();
        return Ok(Some(Replayed { headers, state, file, end: chain.end, link: chain.link }));
    }
    unreachable!("the last segment returns");
}

impl State {
    /// Before the first record of the oldest segment: entries up to its `last_index` lie in
    /// segments that are gone.
    pub fn at(oldest: &Header) -> State {
        State {
            hard_state: oldest.hard_state.unwrap_or_default(),
            truncated: oldest.truncated.unwrap_or_default(),
            last_index: oldest.last_index,
            marks: Marks::default(),
            held_from: oldest.last_index + 1,
            runs: Vec::new(),
        }
    }

    /// Follows the chain of one segment and applies every whole batch.
    fn follow(
        &mut self,
        name: &str,
        window: &mut Window<'_>,
        header: &Header,
        header_crc: u32,
        until: u64,
    ) -> Result<Chain, LogError> {
        let start = HEADER_BLOCK_BYTES;
        let mut chain = Chain { end: start, link: header_crc, broken: start, durable: start };
        let mut link = header_crc;
        let mut batch = Vec::new();
        while chain.broken < until {
            let offset = chain.broken;
            let read = record::read(window, header.salt, offset);
            let record = match read.map_err(|e| io_error("read", name, e))? {
                Some(record) if record.link == link => record,
                _ => break,
            };
            batch.push(Step::read(name, &record, offset)?);
            link = record.crc;
            chain.broken = record.end;
            chain.durable = chain.durable.max(record.durable);
            if record.last {
                for step in batch.drain(..) {
                    self.apply(name, header.sequence, step)?;
                }
                (chain.end, chain.link) = (record.end, link);
            }
        }
        Ok(chain)
    }

    fn apply(&mut self, name: &str, segment: u64, step: Step) -> Result<(), LogError> {
        match step {
            Step::HardState(hard_state) => self.hard_state = hard_state,
            Step::Truncate(position) => {
                self.truncated = position;
                self.marks.compact(position.index, self.last_index);
            }
            Step::Install(position) => {
                self.truncated = position;
                self.last_index = position.index;
                self.held_from = position.index + 1;
                self.runs.clear();
                self.marks.clear();
            }
            Step::Entry { head: EntryHead { term, index }, offset } => {
                if index > self.last_index + 1 || index <= self.truncated.index {
                    let (low, high) = (self.truncated.index + 1, self.last_index + 1);
                    let why = format!("entry {index} where one of {low} to {high} was expected");
                    return Err(corrupt(name, offset, why));
                }
                let supersedes = index <= self.last_index;
                self.marks.note(index, segment, offset, supersedes);
                self.held_from = self.held_from.min(index);
                self.last_index = index;
                while self.runs.last().is_some_and(|&(first, _)| first >= index) {
                    self.runs.pop();
                }
                if self.runs.last().is_none_or(|&(_, last)| last != term) {
                    self.runs.push((index, term));
                }
            }
        }
        Ok(())
    }

    /// A segment must end where the next one's header says, with the state it says.
    fn check_joint(
        &self,
        name: &str,
        header: &Header,
        chain: &Chain,
        next: &Header,
    ) -> Result<(), LogError> {
        if next.sequence != header.sequence + 1 {
            let missing = segment_name(header.sequence + 1);
            let why = format!("the segment {missing:?} that must follow is missing");
            return Err(corrupt(name, chain.end, why));
        }
        if (chain.end, chain.link) != (next.previous_end, next.previous_link) {
            let end = next.previous_end;
            let why = format!("damaged record; synced records went on to offset {end}");
            return Err(corrupt(name, chain.broken, why));
        }
        let theirs = next.hard_state.unwrap_or_default();
        let same_vote = (theirs.term, theirs.vote) == (self.hard_state.term, self.hard_state.vote);
        if next.last_index != self.last_index || !same_vote {
            let why = "the header disagrees with the segment before it".to_owned();
            return Err(corrupt(&segment_name(next.sequence), 0, why));
        }
        Ok(())
    }

    /// Checks and rounds off the state after the last record.
    fn finish(&mut self, oldest: &str) -> Result<(), LogError> {
        let needed = self.truncated.index + 1;
        if self.held_from > needed || self.last_index < self.truncated.index {
            let why = format!("entries {needed} to {} are missing", self.held_from - 1);
            return Err(corrupt(oldest, HEADER_BLOCK_BYTES, why));
        }
        // A hard state whose entries went into a second write may name a commit index that was
        // lost with them; nobody was told. What was truncated had been committed.
        let commit = self.hard_state.commit.min(self.last_index).max(self.truncated.index);
        self.hard_state.commit = commit;
        Ok(())
    }

    /// Terms from the truncated position to the end.
    pub fn terms(&self) -> TermRuns {
        let mut terms = TermRuns::default();
        terms.push(self.truncated.index, self.truncated.term);
        for (at, &(first, term)) in self.runs.iter().enumerate() {
            let end = self.runs.get(at + 1).map_or(self.last_index + 1, |&(next, _)| next);
            if end > self.truncated.index + 1 {
                terms.push(first.max(self.truncated.index + 1), term);
            }
        }
        terms
    }
}

impl Step {
    fn read(name: &str, record: &record::Record<'_>, offset: u64) -> Result<Step, LogError> {
        let payload = record.payload;
        let step = match record.kind {
            record::KIND_ENTRY => {
                EntryHead::decode(payload).map(|head| Step::Entry { head, offset })
            }
            record::KIND_HARD_STATE => HardState::decode(payload).map(Step::HardState),
            record::KIND_TRUNCATE => Position::decode(payload).map(Step::Truncate),
            record::KIND_INSTALL => Position::decode(payload).map(Step::Install),
            kind => {
                let why = format!("record of unknown kind {kind}; a newer version wrote it");
                return Err(corrupt(name, offset, why));
            }
        };
        step.map_err(|error| corrupt(name, offset, format!("unreadable record: {error}")))
    }
}

/// Decides whether what follows the chain is a torn tail; returns where its traces end.
fn check_tail(
    name: &str,
    window: &mut Window<'_>,
    header: &Header,
    chain: &Chain,
) -> Result<u64, LogError> {
    let io = |source| io_error("read", name, source);
    let mut durable = chain.durable;
    let mut stale_end = chain.broken;
    let mut at = chain.broken;
    while let Some(found) = record::find_tag(window, header.salt, at).map_err(io)? {
        at = found + record::ALIGN as u64;
        stale_end = stale_end.max(found + record::HEADER_BYTES as u64);
        if let Some(record) = record::read(window, header.salt, found).map_err(io)? {
            durable = durable.max(record.durable);
            stale_end = stale_end.max(record.end);
            at = record.end;
        }
    }
    if durable > chain.end {
        let why = format!("damaged record, although everything below {durable} had been synced");
        return Err(corrupt(name, chain.broken, why));
    }
    Ok(stale_end.min(header.capacity))
}

/// Makes the end of the log what it was taken for.
///
/// The records after the last known durable offset are written once more: after a failed sync the
/// kernel shows pages that it will never write (Rebello and others, "Can Applications Recover from
/// fsync Failures?", 2020), and they are about to be relied upon. What was cut is zeroed, so that
/// no later recovery finds a record that this one denied.
fn repair_tail(
    name: &str,
    file: &mut dyn DiskFile,
    chain: &Chain,
    stale_end: u64,
) -> Result<(), LogError> {
    let mut buffer = vec![0; record::WINDOW_BYTES];
    let mut at = chain.durable;
    while at < stale_end {
        let is_record = at < chain.end;
        let until = if is_record { chain.end } else { stale_end };
        let part = buffer.len().min(usize::try_from(until - at).unwrap_or(usize::MAX));
        if is_record {
            file.read_at(at, &mut buffer[..part]).map_err(|e| io_error("read", name, e))?;
        } else {
            buffer[..part].fill(0);
        }
        file.write_at(at, &buffer[..part]).map_err(|e| io_error("write", name, e))?;
        at += part as u64;
    }
    file.sync_data().map_err(|source| LogError::Sync { file: name.to_owned(), source })
}

/// Says what was cut off, if anything was.
fn tell_repair(name: &str, chain: &Chain, stale_end: u64) {
    let Some(bytes) = stale_end.checked_sub(chain.end).filter(|&bytes| bytes > 0) else { return };
    let reason = format!("{bytes} bytes after offset {} of {name} were cut off", chain.end);
    tell!(
        LogRepaired, reason = reason.as_str();
        "The end of the log was repaired: {reason}. They had not been acknowledged to anybody."
    );
}

fn corrupt(file: &str, offset: u64, why: String) -> LogError {
    LogError::Corrupt { file: file.to_owned(), offset, why }
}
