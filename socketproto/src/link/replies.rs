//! Outcomes of requests on their way to the connection.

use crate::fault::Fault;
use crate::id::Status;
use crate::session::RequestId;

/// Buffers above this are given back after use.
const RETAINED: usize = 64 * 1024;

/// The outcomes of requests, gathered.
#[derive(Default)]
pub(crate) struct Replies {
    list: Vec<Reply>,
    /// What they say, one behind the other.
    text: Vec<u8>,
}

struct Reply {
    request: RequestId,
    status: Status,
    /// Bytes of the text.
    length: usize,
}

impl Replies {
    /// Adds an outcome: `write` appends the reply as JSON, or fails; what it had written is then taken back and the
    /// fault's message stands in its place.
    pub(crate) fn add(&mut self, request: RequestId, write: impl FnOnce(&mut Vec<u8>) -> Result<(), Fault>) {
        self.add_some(request, |text| Some(write(text)));
    }

    /// The same, unless `write` says that there is no outcome yet.
    #[inline]
    pub(crate) fn add_some(
        &mut self,
        request: RequestId,
        write: impl FnOnce(&mut Vec<u8>) -> Option<Result<(), Fault>>,
    ) {
        let start = self.text.len();
        let outcome = write(&mut self.text);
        if !matches!(outcome, Some(Ok(()))) {
            self.text.truncate(start);
        }
        let status = match outcome {
            Some(Ok(())) => Status::OKAY,
            Some(Err(fault)) => {
                self.text.extend_from_slice(fault.message().as_bytes());
                fault.status()
            }
            None => return,
        };
        self.list.push(Reply { request, status, length: self.text.len() - start });
    }

    /// The outcomes in order, with the reply as JSON or the fault's message, which are UTF-8.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RequestId, Status, &[u8])> {
        let mut rest = &*self.text;
        self.list.iter().map(move |reply| {
            let (text, behind) = rest.split_at(reply.length.min(rest.len()));
            rest = behind;
            (reply.request, reply.status, text)
        })
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Bytes that they say.
    pub(crate) fn size(&self) -> usize {
        self.text.len()
    }

    /// Moves all of them behind those of another.
    pub(super) fn append_to(&mut self, other: &mut Self) {
        if other.list.is_empty() {
            std::mem::swap(self, other);
        } else {
            other.list.append(&mut self.list);
            other.text.append(&mut self.text);
        }
    }

    /// Keeps no room for outcomes to come.
    pub(super) fn shrink(&mut self) {
        self.list.shrink_to_fit();
        self.text.shrink_to_fit();
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.text.clear();
        self.text.shrink_to(RETAINED);
    }
}
