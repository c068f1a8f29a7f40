//! Lines that arrive from somebody else, and waiting for one of them.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::DEADLINE;

/// What was read so far; grows while somebody writes.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Read_>, Condvar)>);

#[derive(Default)]
struct Read_ {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Reads `source` to its end in a thread of its own.
    pub fn read(source: impl Read + Send + 'static) -> Lines {
        let lines = Lines::default();
        let theirs = lines.clone();
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut bytes = Vec::new();
            while source.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
                let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                theirs.change(|read| read.lines.push(line));
                bytes.clear();
            }
            theirs.change(|read| read.ended = true);
        });
        lines
    }

    /// Nothing, and no more will come.
    pub fn none() -> Lines {
        let lines = Lines::default();
        lines.change(|read| read.ended = true);
        lines
    }

    fn change(&self, change: impl FnOnce(&mut Read_)) {
        let (read, changed) = &*self.0;
        change(&mut read.lock().unwrap());
        changed.notify_all();
    }

    /// How many there are now.
    pub fn count(&self) -> usize {
        self.0.0.lock().unwrap().lines.len()
    }

    /// All there are now.
    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// Waits for a line, the `from`th or later, that `fits`; `None` if there will be none.
    pub fn find(&self, from: usize, fits: impl Fn(&str) -> bool) -> Option<String> {
        self.find_within(DEADLINE, from, fits)
    }

    /// Waits for such a line for at most `time`.
    pub fn find_within(
        &self,
        time: Duration,
        from: usize,
        fits: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let deadline = Instant::now() + time;
        let (read, changed) = &*self.0;
        let mut read = read.lock().unwrap();
        let mut next = from;
        loop {
            if let Some(line) = read.lines.iter().skip(next).find(|line| fits(line)) {
                return Some(line.clone());
            }
            next = next.max(read.lines.len());
            let left = deadline.saturating_duration_since(Instant::now());
            if read.ended || left.is_zero() {
                return None;
            }
            read = changed.wait_timeout(read, left).unwrap().0;
        }
    }

    /// Waits for a line, the `from`th or later, that contains `what`.
    pub fn wait_from(&self, from: usize, what: &str) -> String {
        let found = self.find(from, |line| line.contains(what));
        found.unwrap_or_else(|| panic!("no line with {what:?} in {:#?}", self.all()))
    }

    /// Waits for a line that contains `what`.
    pub fn wait(&self, what: &str) -> String {
        self.wait_from(0, what)
    }

    /// Waits until nobody writes any more; everything there was.
    pub fn to_end(&self) -> Vec<String> {
        let nothing = self.find(usize::MAX, |_| false);
        assert!(nothing.is_none() && self.0.0.lock().unwrap().ended, "somebody still writes");
        self.all()
    }
}
