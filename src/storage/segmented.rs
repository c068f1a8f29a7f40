//! The Raft log on disk: preallocated segments, one write and one sync per batch.
//!
//! Guarantees: what was appended with `sync` survives every crash; a batch is there whole or not
//! at all (unless it is larger than a segment); nothing that was never appended appears; entries
//! are superseded by later records, never overwritten; damage to synced data is refused with file
//! and offset. Hard state lives in the same records, so a vote costs one sync, too. No file grows
//! in the hot path: segments are allocated, zeroed and synced ahead of time, and recycled.
//!
//! The format is described in `record` and `segment`, its recovery in `recovery`.

use std::collections::VecDeque;

use prost::Message as _;

use super::disk::{Disk, DiskFile};
use super::log::{Batch, LogError, LogOptions, LogStore, RecoveredLog};
use super::marks::Marks;
use super::pool::{Pool, io_error};
use super::record::{self, Body, Place, Position, Window};
use super::recovery;
use super::segment::{self, HEADER_BLOCK_BYTES, Header, segment_name};
use crate::core::message::{Entry, HardState};
use crate::core::{Index, Term};
use crate::limits;

/// The log in a directory of preallocated segment files.
pub struct SegmentedLog {
    disk: Box<dyn Disk>,
    options: LogOptions,
    /// All segments, oldest first; the last one is `active`.
    segments: VecDeque<Header>,
    active: Active,
    pool: Pool,
    marks: Marks,
    hard_state: HardState,
    truncated: Position,
    last_index: Index,
    /// An older segment kept open for readers.
    reading: Option<(u64, Box<dyn DiskFile>)>,
    buffer: Vec<u8>,
    poisoned: bool,
}

/// The segment that is written to.
struct Active {
    file: Box<dyn DiskFile>,
    /// Where the next record goes.
    end: u64,
    /// Crc of the record before it.
    link: u32,
    /// Everything below is durable.
    durable: u64,
}

impl SegmentedLog {
    /// Opens the log in `disk`, or starts one if there is no segment.
    pub fn open(
        disk: Box<dyn Disk>,
        options: LogOptions,
    ) -> Result<(SegmentedLog, RecoveredLog), LogError> {
        let fits = HEADER_BLOCK_BYTES + 1024..u64::from(u32::MAX);
        assert!(fits.contains(&options.segment_bytes), "{} bytes", options.segment_bytes);
        let replayed = recovery::replay(disk.as_ref())?;
        let (segments, active, state) = match replayed {
            Some(recovery::Replayed { headers, state, file, end, link }) => {
                (headers, Active { file, end, link, durable: end }, state)
            }
            None => {
                // A small first segment makes the first start of a cluster fast.
                let capacity = options.segment_bytes.min(limits::LOG_FIRST_SEGMENT_BYTES);
                let mut pool = Pool::open(disk.as_ref(), capacity)?;
                pool.fill(disk.as_ref())?;
                let header = Header {
                    sequence: 1,
                    salt: segment::salt(options.secret, 1),
                    capacity,
                    ..Header::default()
                };
                let active = start_segment(disk.as_ref(), &mut pool, header)?;
                (VecDeque::from([header]), active, recovery::State::at(&header))
            }
        };
        let pool = Pool::open(disk.as_ref(), options.segment_bytes)?;
        let recovered = RecoveredLog {
            hard_state: state.hard_state,
            truncated: (state.truncated.index, state.truncated.term),
            last_index: state.last_index,
            terms: state.terms(),
        };
        let mut log = SegmentedLog {
            disk,
            options,
            segments,
            active,
            pool,
            marks: state.marks,
            hard_state: state.hard_state,
            truncated: state.truncated,
            last_index: state.last_index,
            reading: None,
            buffer: Vec::new(),
            poisoned: false,
        };
        // A crash may have come between a compaction and its last step.
        log.drop_segments()?;
        Ok((log, recovered))
    }

    /// Segment files in use.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    fn check_open(&self) -> Result<(), LogError> {
        if self.poisoned { Err(LogError::Poisoned) } else { Ok(()) }
    }

    fn current(&self) -> &Header {
        self.segments.back().expect("there is always a segment")
    }

    fn room(&self) -> u64 {
        self.current().capacity - self.active.end
    }

    /// Writes records: all in one write unless they are more than a segment holds.
    fn write(&mut self, mut bodies: &[Body<'_>]) -> Result<(), LogError> {
        let most = self.options.segment_bytes - HEADER_BLOCK_BYTES;
        for body in bodies {
            if let Body::Entry(entry) = body
                && body.record_bytes() > most
            {
                let (index, bytes) = (entry.index, body.record_bytes());
                return Err(LogError::EntryTooLarge { index, bytes, max: most });
            }
        }
        let all = bodies.len();
        while !bodies.is_empty() {
            let (mut count, mut bytes) = (0, 0);
            for body in bodies {
                if bytes + body.record_bytes() > most {
                    break;
                }
                bytes += body.record_bytes();
                count += 1;
            }
            if bytes > self.room() {
                // Half a batch is not as if nothing had happened.
                let partly_written = bodies.len() < all;
                self.roll().inspect_err(|_| self.poisoned |= partly_written)?;
            }
            let (now, later) = bodies.split_at(count);
            self.write_in_place(now)?;
            bodies = later;
        }
        Ok(())
    }

    /// Writes records that fit, and notes what they change.
    fn write_in_place(&mut self, bodies: &[Body<'_>]) -> Result<(), LogError> {
        let Header { salt, sequence, .. } = *self.current();
        let start = self.active.end;
        self.buffer.clear();
        let mut link = self.active.link;
        for (at, body) in bodies.iter().enumerate() {
            let offset = start + self.buffer.len() as u64;
            let last = at + 1 == bodies.len();
            let place = Place { salt, offset, link, durable: self.active.durable, last };
            link = record::encode(body, &place, &mut self.buffer);
            self.note(body, sequence, offset);
        }
        if let Err(source) = self.active.file.write_at(start, &self.buffer) {
            self.poisoned = true;
            return Err(io_error("write", &segment_name(sequence), source));
        }
        self.active.end += self.buffer.len() as u64;
        self.active.link = link;
        // One large batch must not keep its memory.
        self.buffer.shrink_to(limits::LOG_MARK_BYTES as usize);
        Ok(())
    }

    fn note(&mut self, body: &Body<'_>, sequence: u64, offset: u64) {
        match *body {
            Body::Entry(entry) => {
                let supersedes = entry.index <= self.last_index;
                self.marks.note(entry.index, sequence, offset, supersedes);
                self.last_index = entry.index;
            }
            Body::HardState(hard_state) => self.hard_state = hard_state,
            Body::Truncate(position) => {
                self.truncated = position;
                self.marks.compact(position.index, self.last_index);
            }
            Body::Install(position) => {
                self.truncated = position;
                self.last_index = position.index;
                self.marks.clear();
            }
        }
    }

    fn sync(&mut self) -> Result<(), LogError> {
        if self.active.durable == self.active.end {
            return Ok(());
        }
        if let Err(source) = self.active.file.sync_data() {
            self.poisoned = true;
            return Err(LogError::Sync { file: segment_name(self.current().sequence), source });
        }
        self.active.durable = self.active.end;
        Ok(())
    }

    /// Goes on to the next segment. Two syncs of data and one of the directory; on top of that
    /// the allocation, if no spare is ready.
    fn roll(&mut self) -> Result<(), LogError> {
        // First, because it is the only step that may fail without consequences.
        self.pool.fill(self.disk.as_ref())?;
        // The next header testifies that everything before it is durable.
        self.sync()?;
        let sequence = self.current().sequence + 1;
        let header = Header {
            sequence,
            salt: segment::salt(self.options.secret, sequence),
            capacity: self.options.segment_bytes,
            previous_end: self.active.end,
            previous_link: self.active.link,
            last_index: self.last_index,
            hard_state: Some(self.hard_state),
            truncated: Some(self.truncated),
        };
        let started = start_segment(self.disk.as_ref(), &mut self.pool, header);
        self.active = started.inspect_err(|_| self.poisoned = true)?;
        self.segments.push_back(header);
        Ok(())
    }

    /// Gives up segments at the old end that hold nothing needed.
    fn drop_segments(&mut self) -> Result<(), LogError> {
        let newest = self.current().sequence;
        let oldest_needed = self.marks.oldest_segment().unwrap_or(newest);
        if self.segments[0].sequence >= oldest_needed {
            return Ok(());
        }
        // The record that makes them unnecessary comes first.
        self.sync()?;
        self.reading = None;
        while self.segments[0].sequence < oldest_needed {
            let Header { sequence, capacity, .. } = self.segments[0];
            let recycled = self.pool.recycle(self.disk.as_ref(), sequence, capacity);
            recycled.inspect_err(|_| self.poisoned = true)?;
            self.segments.pop_front();
        }
        Ok(())
    }

    /// Reads entries of one span, from `low` on and below `high`, as far as `left` bytes go;
    /// `false` when they did not reach.
    fn read_span(
        &mut self,
        low: Index,
        high: Index,
        left: &mut u64,
        into: &mut Vec<Entry>,
    ) -> Result<bool, LogError> {
        let (mark, _) = self.marks.find(low).expect("every entry of the log has a mark");
        let name = segment_name(mark.segment);
        let oldest = self.segments[0].sequence;
        let Header { salt, capacity, sequence, .. } =
            self.segments[(mark.segment - oldest) as usize];
        let is_active = sequence == self.current().sequence;
        if !is_active && self.reading.as_ref().is_none_or(|(held, _)| *held != sequence) {
            let file = self.disk.open(&name).map_err(|e| io_error("open", &name, e))?;
            self.reading = Some((sequence, file));
        }
        let file = match &self.reading {
            Some((_, file)) if !is_active => file,
            _ => &self.active.file,
        };
        let len = if is_active { self.active.end } else { capacity };
        let mut window = Window::new(file.as_ref(), len);
        let corrupt = |offset, why: String| LogError::Corrupt { file: name.clone(), offset, why };
        let (mut offset, mut index) = (mark.offset, mark.index);
        while index < high {
            let read = record::read(&mut window, salt, offset);
            let Some(found) = read.map_err(|e| io_error("read", &name, e))? else {
                return Err(corrupt(offset, format!("no valid record, looking for {index}")));
            };
            if found.kind == record::KIND_ENTRY && index >= low {
                let entry = Entry::decode(found.payload)
                    .map_err(|error| corrupt(offset, format!("unreadable entry: {error}")))?;
                if entry.index != index {
                    return Err(corrupt(offset, format!("entry {} is not {index}", entry.index)));
                }
                let bytes = entry.encoded_len() as u64;
                if bytes > *left && !into.is_empty() {
                    return Ok(false);
                }
                *left = left.saturating_sub(bytes);
                into.push(entry);
            }
            index += u64::from(found.kind == record::KIND_ENTRY);
            offset = found.end;
        }
        Ok(true)
    }
}

impl LogStore for SegmentedLog {
    fn append(&mut self, batch: &Batch<'_>, sync: bool) -> Result<(), LogError> {
        self.check_open()?;
        if let Some(first) = batch.entries.first() {
            let expected = self.truncated.index + 1..=self.last_index + 1;
            assert!(expected.contains(&first.index), "entry {} not in {expected:?}", first.index);
        }
        for pair in batch.entries.windows(2) {
            assert_eq!(pair[0].index + 1, pair[1].index, "entries are consecutive");
        }
        // The hard state comes first, so that no entry survives without the term it belongs to.
        let bodies: Vec<Body<'_>> = batch
            .hard_state
            .iter()
            .map(|&hard_state| Body::HardState(hard_state))
            .chain(batch.entries.iter().map(Body::Entry))
            .collect();
        self.write(&bodies)?;
        if sync { self.sync() } else { Ok(()) }
    }

    fn read(&mut self, low: Index, high: Index, max_bytes: u64) -> Result<Vec<Entry>, LogError> {
        self.check_open()?;
        let (first, last) = (self.first_index(), self.last_index);
        if low < first || low >= high || high > last + 1 {
            return Err(LogError::OutOfRange { low, high, first, last });
        }
        let mut entries = Vec::new();
        let (mut at, mut left) = (low, max_bytes);
        while at < high {
            let end = self.marks.find(at).and_then(|(_, end)| end).unwrap_or(high).min(high);
            if !self.read_span(at, end, &mut left, &mut entries)? {
                break;
            }
            at = end;
        }
        Ok(entries)
    }

    fn compact(&mut self, index: Index, term: Term) -> Result<(), LogError> {
        self.check_open()?;
        assert!(index <= self.last_index, "cannot compact {index} of {}", self.last_index);
        if index <= self.truncated.index {
            return Ok(());
        }
        self.write(&[Body::Truncate(Position { index, term })])?;
        self.drop_segments()
    }

    fn install(&mut self, index: Index, term: Term, hs: HardState) -> Result<(), LogError> {
        self.check_open()?;
        assert!(index >= self.truncated.index, "snapshot at {index} lies in the compacted part");
        self.write(&[Body::HardState(hs), Body::Install(Position { index, term })])?;
        self.sync()?;
        self.drop_segments()
    }

    fn first_index(&self) -> Index {
        self.truncated.index + 1
    }

    fn last_index(&self) -> Index {
        self.last_index
    }

    /// Works on the spare segment once the active one is half full: what never fills a segment
    /// never takes the space of a second one, and the first start has better things to do.
    fn prepare(&mut self) -> Result<bool, LogError> {
        self.check_open()?;
        if self.room() > self.current().capacity / 2 {
            return Ok(false);
        }
        self.pool.fill_step(self.disk.as_ref())
    }
}

/// Makes the spare a segment: header, sync, name, sync.
fn start_segment(disk: &dyn Disk, pool: &mut Pool, header: Header) -> Result<Active, LogError> {
    let name = segment_name(header.sequence);
    let (spare, mut file) = pool.peek(disk)?;
    let (block, crc) = header.to_block();
    file.write_at(0, &block).map_err(|e| io_error("write", &spare, e))?;
    file.sync_data().map_err(|source| LogError::Sync { file: spare.clone(), source })?;
    disk.rename(&spare, &name).map_err(|e| io_error("rename", &spare, e))?;
    disk.sync_dir().map_err(|source| LogError::Sync { file: disk.location(), source })?;
    pool.taken();
    Ok(Active { file, end: HEADER_BLOCK_BYTES, link: crc, durable: HEADER_BLOCK_BYTES })
}
