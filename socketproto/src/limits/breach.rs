//! A limit that was exceeded, with what was found.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::limits::Limit;

/// What is limited: a number of things or bytes, or a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Amount {
    Number(u64),
    Time(Duration),
}

impl From<usize> for Amount {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl From<u32> for Amount {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<Duration> for Amount {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Time(time) => write!(f, "{time:?}"),
        }
    }
}

/// A limit was exceeded, once or several times.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Breach {
    pub(crate) limit: Limit,
    /// How much there was, the first time; absent where the limit is a time, which has just gone by.
    pub(crate) found: Option<Amount>,
    pub(crate) allowed: Option<Amount>,
    /// What else is known of the first time, for people.
    pub(crate) detail: Cow<'static, str>,
    pub(crate) times: u64,
}

impl Breach {
    /// There was more than is allowed.
    pub(crate) fn new(limit: Limit, found: impl Into<Amount>, allowed: impl Into<Amount>) -> Self {
        Self { found: Some(found.into()), allowed: Some(allowed.into()), ..Self::bare(limit) }
    }

    /// A time has gone by.
    pub(crate) fn late(limit: Limit, allowed: Duration) -> Self {
        Self { allowed: Some(allowed.into()), ..Self::bare(limit) }
    }

    /// Something of a kind that is counted, and as such not limited.
    pub(crate) fn bare(limit: Limit) -> Self {
        Self { limit, found: None, allowed: None, detail: Cow::Borrowed(""), times: 1 }
    }

    pub(crate) fn with_detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    pub(crate) fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }
}
