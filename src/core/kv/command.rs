//! What can be asked of the store, and what it answers; both travel in the log or on the wire.

/// One write.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct KvCommand {
    /// Who asks: chosen at random by whoever sends it again if need be. At most 32 bytes; empty: it
    /// is never sent again.
    #[prost(bytes = "vec", tag = "1")]
    pub client: Vec<u8>,
    /// Rises with each command of the client, which has one under way at a time.
    #[prost(uint64, tag = "2")]
    pub sequence: u64,
    /// The commit index that was known when it was sent for the first time: it was not applied
    /// before.
    #[prost(uint64, tag = "3")]
    pub since: u64,
    /// Refused unless this is the token of the activation in force.
    #[prost(uint64, optional, tag = "4")]
    pub token: Option<u64>,
    /// Bytes that the store may hold; a write that grows it beyond them is refused.
    #[prost(uint64, tag = "5")]
    pub quota_bytes: u64,
    /// Clients that are remembered.
    #[prost(uint32, tag = "6")]
    pub clients_max: u32,
    /// What to do.
    #[prost(oneof = "Operation", tags = "7, 8, 9, 10")]
    pub operation: Option<Operation>,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Operation {
    /// Writes one key.
    #[prost(message, tag = "7")]
    Put(Put),
    /// Removes one key.
    #[prost(message, tag = "8")]
    Delete(Delete),
    /// Removes keys by their beginning.
    #[prost(message, tag = "9")]
    DeletePrefix(DeletePrefix),
    /// Compares, then does one of two lists.
    #[prost(message, tag = "10")]
    Txn(Txn),
}

/// Writes one key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Put {
    /// Key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Value.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// Removes one key; no error if it is not there.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Delete {
    /// Key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
}

/// Removes keys that begin with `prefix`, the smallest first.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeletePrefix {
    /// How they begin.
    #[prost(bytes = "vec", tag = "1")]
    pub prefix: Vec<u8>,
    /// At most so many; the answer says whether there are more.
    #[prost(uint32, tag = "2")]
    pub most: u32,
}

/// Reads one key, inside a transaction.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Get {
    /// Key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
}

/// Compares, then does one of two lists, all or nothing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Txn {
    /// All must hold. None: they do.
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    /// What is done if so, in order.
    #[prost(message, repeated, tag = "2")]
    pub then: Vec<Step>,
    /// What is done if not.
    #[prost(message, repeated, tag = "3")]
    pub otherwise: Vec<Step>,
}

/// One comparison.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Compare {
    /// Key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// What must be true of it.
    #[prost(oneof = "Condition", tags = "2, 3, 4")]
    pub condition: Option<Condition>,
}

/// What must be true of a key.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Condition {
    /// It has this value.
    #[prost(bytes, tag = "2")]
    Value(Vec<u8>),
    /// It was last written at this revision; 0: it does not exist.
    #[prost(uint64, tag = "3")]
    Revision(u64),
    /// It exists, or does not.
    #[prost(bool, tag = "4")]
    Exists(bool),
}

/// One step of a transaction.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Step {
    /// What to do.
    #[prost(oneof = "Change", tags = "1, 2, 3, 4")]
    pub change: Option<Change>,
}

/// What one step does.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Change {
    /// Reads.
    #[prost(message, tag = "1")]
    Get(Get),
    /// Writes.
    #[prost(message, tag = "2")]
    Put(Put),
    /// Removes.
    #[prost(message, tag = "3")]
    Delete(Delete),
    /// Removes many.
    #[prost(message, tag = "4")]
    DeletePrefix(DeletePrefix),
}

/// A read outside of a transaction.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Query {
    /// The one key; or where a range begins.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// A range of all keys that begin with `key`.
    #[prost(bool, tag = "2")]
    pub is_prefix: bool,
    /// Go on after this key.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub after: Option<Vec<u8>>,
    /// At most so many rows; 0: as many as fit.
    #[prost(uint32, tag = "4")]
    pub most: u32,
    /// Without their values.
    #[prost(bool, tag = "5")]
    pub keys_only: bool,
}

/// The answer to a command.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Outcome {
    /// What became of it.
    #[prost(oneof = "Response", tags = "1, 2")]
    pub response: Option<Response>,
}

/// What became of a command.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Response {
    /// It was applied.
    #[prost(message, tag = "1")]
    Written(Written),
    /// Nothing was changed, for this reason.
    #[prost(enumeration = "Refusal", tag = "2")]
    Refused(i32),
}

/// What an applied command did.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Written {
    /// Index of its entry.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// Of a transaction: whether its comparisons held.
    #[prost(bool, tag = "2")]
    pub succeeded: bool,
    /// Keys that were removed.
    #[prost(uint64, tag = "3")]
    pub deleted: u64,
    /// Whether a removal stopped at its limit.
    #[prost(bool, tag = "4")]
    pub more: bool,
    /// What the reads of a transaction found, in order.
    #[prost(message, repeated, tag = "5")]
    pub reads: Vec<Rows>,
    /// It was applied before, and what its reads found is no longer known.
    #[prost(bool, tag = "6")]
    pub reads_forgotten: bool,
}

/// Rows that a read found.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Rows {
    /// Key of the read.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Whether it exists.
    #[prost(bool, tag = "2")]
    pub exists: bool,
    /// Its value.
    #[prost(bytes = "vec", tag = "3")]
    pub value: Vec<u8>,
    /// Its revision.
    #[prost(uint64, tag = "4")]
    pub revision: u64,
    /// When it was made.
    #[prost(uint64, tag = "5")]
    pub created: u64,
}

/// Why nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Refusal {
    /// Not a command of this version.
    Malformed = 0,
    /// The token is not that of the activation in force.
    Token = 1,
    /// The store is full.
    Quota = 2,
    /// The client has sent a later command: it does not wait for this one any more.
    Superseded = 3,
    /// The client was forgotten: whether it was applied before is not known.
    Forgotten = 4,
}

impl Outcome {
    /// It was applied.
    pub fn written(written: Written) -> Outcome {
        Outcome { response: Some(Response::Written(written)) }
    }

    /// Nothing was changed.
    pub fn refused(why: Refusal) -> Outcome {
        Outcome { response: Some(Response::Refused(why as i32)) }
    }

    /// What it did, or why it did nothing.
    pub fn result(&self) -> Result<&Written, Refusal> {
        match &self.response {
            Some(Response::Written(written)) => Ok(written),
            Some(Response::Refused(why)) => Err(Refusal::try_from(*why).unwrap_or_default()),
            None => Err(Refusal::Malformed),
        }
    }

    /// What it did, or why it did nothing, without a copy.
    pub fn into_result(self) -> Result<Written, Refusal> {
        match self.response {
            Some(Response::Written(written)) => Ok(written),
            Some(Response::Refused(why)) => Err(Refusal::try_from(why).unwrap_or_default()),
            None => Err(Refusal::Malformed),
        }
    }
}
