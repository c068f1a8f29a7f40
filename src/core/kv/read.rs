//! Reads: one key, or a page of a range.

use std::ops::{Bound, ControlFlow};

use super::command::Query;
use super::table::{Row, Table, after_prefix};
use crate::limits;

/// What a query asks for, once checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    most: usize,
    keys_only: bool,
}

/// Rows that a range found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order of their keys.
    pub rows: Vec<(Vec<u8>, Row)>,
    /// Whether there are more after the last one.
    pub more: bool,
}

impl From<&Query> for Range {
    fn from(query: &Query) -> Range {
        let most = match query.most as usize {
            0 => limits::KV_PAGE_ROWS_MAX,
            most => most.min(limits::KV_PAGE_ROWS_MAX),
        };
        let (prefix, after) = (query.key.clone(), query.after.clone());
        Range { prefix, after, most, keys_only: query.keys_only }
    }
}

/// The row of one key.
pub fn get<T: Table>(table: &T, key: &[u8]) -> Result<Option<Row>, T::Error> {
    table.get(key)
}

/// The next page of a range: at most as many rows as were asked for, and at most
/// [`limits::KV_PAGE_MAX_BYTES`] of them; one row at least, if there is one.
pub fn page<T: Table>(table: &T, range: &Range) -> Result<Page, T::Error> {
    let end = after_prefix(&range.prefix);
    let from = match &range.after {
        Some(after) if *after >= range.prefix => Bound::Excluded(after.as_slice()),
        _ => Bound::Included(range.prefix.as_slice()),
    };
    let mut page = Page::default();
    let mut bytes = 0;
    table.scan(from, end.as_deref(), &mut |key, mut row| {
        if range.keys_only {
            row.value = Vec::new();
        }
        bytes += row.size(key);
        let is_full = page.rows.len() == range.most || bytes > limits::KV_PAGE_MAX_BYTES;
        if is_full && !page.rows.is_empty() {
            page.more = true;
            return ControlFlow::Break(());
        }
        page.rows.push((key.to_vec(), row));
        ControlFlow::Continue(())
    })?;
    Ok(page)
}
