//! What nodes say to each other about the store, beside the log.

/// Writes for the leader, and a question for an index or its answer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct KvFrame {
    /// Writes that the receiver shall propose if it leads: payloads of entries. Sent again until
    /// their sender sees them in the log, where they are applied once.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub writes: Vec<Vec<u8>>,
    /// The sender wants to know up to where it must have applied the log to read what is true.
    #[prost(message, optional, tag = "2")]
    pub question: Option<IndexQuestion>,
    /// Answers to such questions of the receiver.
    #[prost(message, repeated, tag = "3")]
    pub answers: Vec<IndexAnswer>,
}

/// A question for an index (thesis 6.4).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct IndexQuestion {
    /// Random number of this run of the asking agent.
    #[prost(fixed64, tag = "1")]
    pub run: u64,
    /// Rises with each question of that run.
    #[prost(uint64, tag = "2")]
    pub number: u64,
}

/// Its answer.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct IndexAnswer {
    /// Run of the question.
    #[prost(fixed64, tag = "1")]
    pub run: u64,
    /// Number of the question.
    #[prost(uint64, tag = "2")]
    pub number: u64,
    /// Everything acknowledged before the question stands at or below this index; it was confirmed
    /// by a quorum AFTER the question.
    #[prost(uint64, tag = "3")]
    pub index: u64,
}
