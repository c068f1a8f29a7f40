//! Samples, and the table they end up in.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// What was measured several times, all in one unit.
#[derive(Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a duration, in milliseconds.
    pub fn push(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1e3);
    }

    /// Adds the time since `began`, in milliseconds.
    pub fn push_since(&mut self, began: Instant) {
        self.push(began.elapsed());
    }

    /// Adds a number of another unit.
    pub fn push_value(&mut self, value: f64) {
        self.0.push(value);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest value that at least `part` of the samples do not exceed (nearest rank). With
    /// fewer than 100 samples the 99th percentile is therefore the largest.
    fn percentile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    }
}

/// One line of the report.
struct Row {
    what: String,
    aim: &'static str,
    result: Result<Samples, String>,
}

/// Everything measured in one run.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    further: String,
}

impl Report {
    /// Notes a measurement and shows it; `aim` is what we want, empty for a floor.
    pub fn add(&mut self, what: &str, aim: &'static str, result: Result<Samples, String>) {
        let row = Row { what: what.to_owned(), aim, result };
        if self.rows.is_empty() {
            println!("{HEAD}");
        }
        println!("{}", row.text());
        self.rows.push(row);
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a table of another form, which follows this one.
    pub fn append(&mut self, table: String) {
        self.further += "\n";
        self.further += &table;
    }

    /// The report as Markdown tables.
    pub fn markdown(&self) -> String {
        let mut out = String::from("| what | n | min | median | p99 | max | aim |\n");
        out.push_str("|---|---:|---:|---:|---:|---:|---|\n");
        for row in &self.rows {
            let _ = writeln!(out, "{}", row.markdown());
        }
        out + &self.further
    }
}

const HEAD: &str = "what                                             \
                      n        min     median        p99        max  aim";

impl Row {
    fn numbers(samples: &Samples) -> [String; 4] {
        [0.0, 0.5, 0.99, 1.0].map(|part| number(samples.percentile(part)))
    }

    fn text(&self) -> String {
        match &self.result {
            Err(why) => format!("{:<48} not measured: {why}", self.what),
            Ok(samples) => {
                let [min, median, p99, max] = Self::numbers(samples);
                let (what, n, aim) = (&self.what, samples.len(), self.aim);
                format!("{what:<46} {n:>4} {min:>10} {median:>10} {p99:>10} {max:>10}  {aim}")
            }
        }
    }

    fn markdown(&self) -> String {
        let (what, aim) = (&self.what, self.aim);
        match &self.result {
            Err(why) => format!("| {what} | 0 | not measured: {why} | | | | {aim} |"),
            Ok(samples) => {
                let [min, median, p99, max] = Self::numbers(samples);
                let n = samples.len();
                format!("| {what} | {n} | {min} | {median} | {p99} | {max} | {aim} |")
            }
        }
    }
}

/// Three significant digits are what these measurements are good for.
pub fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
