//! The link: what the driver has been told about one peer.
//!
//! A pure state machine over the observations of all connections with that peer. It decides which
//! of them are news, so that the driver hears each change once: an end of a connection that belongs
//! to an earlier process of the peer says nothing about the present one.

use crate::core::Incarnation;

/// News about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Connected { incarnation: Incarnation, process: u64 },
    Lost,
    Silent,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Link {
    /// No connection yet.
    #[default]
    Unknown,
    /// A process of the peer has passed the handshake and no connection with it has ended since.
    Connected { process: u64 },
    /// A connection has ended and a new dial has not been answered yet.
    Lost { process: u64 },
    /// That dial was not answered in time.
    Silent { process: u64 },
}

impl Link {
    /// A control connection has passed the handshake.
    pub(super) fn connected(&mut self, incarnation: Incarnation, process: u64) -> Option<News> {
        let before = std::mem::replace(self, Link::Connected { process });
        (before != *self).then_some(News::Connected { incarnation, process })
    }

    /// A control connection with `process` has ended.
    pub(super) fn closed(&mut self, process: u64) -> Option<News> {
        let current = *self == Link::Connected { process };
        current.then(|| {
            *self = Link::Lost { process };
            News::Lost
        })
    }

    /// All connections with the peer are given up, whoever is at their other end.
    pub(super) fn discarded(&mut self) -> Option<News> {
        let Link::Connected { process } = *self else { return None };
        self.closed(process)
    }

    /// The dial that followed a loss was refused or not answered in time.
    pub(super) fn unanswered(&mut self) -> Option<News> {
        let Link::Lost { process } = *self else { return None };
        *self = Link::Silent { process };
        Some(News::Silent)
    }

    /// Whether a dial must show if the peer is still there.
    pub(super) fn is_lost(self) -> bool {
        matches!(self, Link::Lost { .. })
    }

    /// Whether the last process heard of may be another one than `process`.
    pub(super) fn is_other_than(self, process: u64) -> bool {
        match self {
            Link::Unknown => true,
            Link::Connected { process: known }
            | Link::Lost { process: known }
            | Link::Silent { process: known } => known != process,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const I: Incarnation = Incarnation([1; 16]);

    #[test]
    fn each_change_is_news_once() {
        let mut link = Link::default();
        assert_eq!(link.unanswered(), None);
        assert_eq!(link.closed(7), None);
        assert_eq!(link.connected(I, 7), Some(News::Connected { incarnation: I, process: 7 }));
        assert_eq!(link.connected(I, 7), None);
        assert_eq!(link.unanswered(), None);
        assert_eq!(link.closed(7), Some(News::Lost));
        assert_eq!(link.closed(7), None);
        assert_eq!(link.unanswered(), Some(News::Silent));
        assert_eq!(link.unanswered(), None);
        assert_eq!(link.closed(7), None);
        assert!(link.connected(I, 7).is_some());
    }

    #[test]
    fn the_end_of_an_earlier_process_says_nothing_about_the_present_one() {
        let mut link = Link::default();
        link.connected(I, 7);
        assert_eq!(link.connected(I, 8), Some(News::Connected { incarnation: I, process: 8 }));
        assert_eq!(link.closed(7), None);
        assert_eq!(link, Link::Connected { process: 8 });
        assert!(link.is_other_than(7) && !link.is_other_than(8));
        assert_eq!(link.discarded(), Some(News::Lost));
        assert_eq!(link.discarded(), None);
    }
}
