//! What a handler answers when it cannot do what was asked.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Status;

/// A refusal that crosses the wire: a status other than okay, and a text for people.
///
/// A handler returns `Err(fault)`; the caller gets an equal fault back in its error. The status okay cannot be written.
///
/// ```
/// use socketproto::{Fault, Status};
///
/// let fault = Fault::not_permitted("5 to 30 degrees");
/// assert_eq!(fault.status(), Status::OPERATION_NOT_PERMITTED);
/// assert_eq!(fault.to_string(), "operation not permitted (6): 5 to 30 degrees");
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Fault {
    status: Status,
    message: Box<str>,
}

impl Fault {
    /// The longest text that travels, in bytes; longer ones are cut at a character (protocol.md section 1).
    pub const MAX_MESSAGE: usize = 1024;

    /// Status 1: nobody handles the request; it was buffered.
    pub fn buffering_unhandled_request(message: impl Into<String>) -> Self {
        Self::with_status(Status::BUFFERING_UNHANDLED_REQUEST, message)
    }

    /// Status 2: the handler failed.
    pub fn callback_error(message: impl Into<String>) -> Self {
        Self::with_status(Status::CALLBACK_ERROR, message)
    }

    /// Status 3: the peer has to authenticate first.
    pub fn authentication_required(message: impl Into<String>) -> Self {
        Self::with_status(Status::AUTHENTICATION_REQUIRED, message)
    }

    /// Status 4: no such service or datum.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::with_status(Status::SERVICE_OR_DATA_UNKNOWN, message)
    }

    /// Status 5: the request arrived damaged.
    pub fn checksum_error(message: impl Into<String>) -> Self {
        Self::with_status(Status::CHECKSUM_ERROR, message)
    }

    /// Status 6: the operation is not permitted on this datum.
    pub fn not_permitted(message: impl Into<String>) -> Self {
        Self::with_status(Status::OPERATION_NOT_PERMITTED, message)
    }

    /// A status of the application: 7 up to [`Status::MAX`].
    ///
    /// A number outside that range becomes status 2, and its text says so: a fault can never be read as okay.
    ///
    /// ```
    /// use socketproto::{Fault, Status};
    ///
    /// assert_eq!(Fault::custom(7, "out of paper").status().value(), 7);
    /// assert_eq!(Fault::custom(0, "oops").status(), Status::CALLBACK_ERROR);
    /// ```
    pub fn custom(status: u32, message: impl Into<String>) -> Self {
        match Status::new(status) {
            Some(known) if known >= Status::APPLICATION => Self::with_status(known, message),
            _ => Self::callback_error(format!(
                "{} (the handler named status {status}; the application's are 7 to {})",
                message.into(),
                Status::MAX.value()
            )),
        }
    }

    /// The fault that a response with these data stands for; none where it says okay.
    pub(crate) fn from_response(status: Status, data: &str) -> Option<Self> {
        // serde would take a list of the fields as well.
        let object = data.starts_with('{').then_some(data);
        let message = || object.and_then(|data| serde_json::from_str::<FaultData<'_>>(data).ok());
        let message = || message().map(|data| data.error.into_owned()).unwrap_or_default();
        (!status.is_okay()).then(|| Self::with_status(status, message()))
    }

    /// The data of its response: null where there is no text.
    pub(crate) fn data(&self) -> String {
        const NULL: &str = "null";
        if self.message.is_empty() {
            return NULL.to_owned();
        }
        let data = FaultData { error: Cow::Borrowed(&self.message) };
        serde_json::to_string(&data).unwrap_or_else(|_| NULL.to_owned())
    }

    /// The status.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// The text; empty where the peer sent none.
    pub fn message(&self) -> &str {
        &self.message
    }

    fn with_status(status: Status, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary_at(Self::MAX_MESSAGE));
        Self { status, message: message.into_boxed_str() }
    }
}

/// The data of an error outcome (protocol.md section 1).
#[derive(Deserialize, Serialize)]
struct FaultData<'a> {
    error: Cow<'a, str>,
}

/// `str::floor_char_boundary` is newer than the minimum Rust version.
pub(crate) trait FloorCharBoundary {
    fn floor_char_boundary_at(&self, limit: usize) -> usize;
}

impl FloorCharBoundary for str {
    fn floor_char_boundary_at(&self, limit: usize) -> usize {
        if self.len() <= limit {
            return self.len();
        }
        (0..=limit).rev().find(|at| self.is_char_boundary(*at)).unwrap_or(0)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            write!(f, "{}", self.status)
        } else {
            write!(f, "{}: {}", self.status, self.message)
        }
    }
}

impl std::error::Error for Fault {}

/// A text alone is a failure of the handler: status 2.
impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self::callback_error(message)
    }
}

/// A text alone is a failure of the handler: status 2.
impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        Self::callback_error(message)
    }
}

/// A reply that cannot be written, or data that cannot be read, are a failure of the handler: status 2.
impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::callback_error(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let fault = Fault::callback_error("é".repeat(600));
        assert_eq!(fault.message().len(), 1024);
        let fault = Fault::callback_error(format!("x{}", "é".repeat(600)));
        assert_eq!(fault.message().len(), 1023);
    }

    #[test]
    fn a_fault_is_the_same_on_the_other_side() {
        for message in ["", "5 to 30 °C", "a \"quoted\"\n\u{1} text"] {
            let fault = Fault::custom(7, message);
            assert_eq!(Fault::from_response(fault.status(), &fault.data()), Some(fault));
        }
        assert_eq!(Fault::unknown("").data(), "null");
        assert_eq!(Fault::unknown("no").data(), r#"{"error":"no"}"#);
    }

    #[test]
    fn data_that_are_no_text_are_a_fault_without_one() {
        for data in ["null", "5", "{}", r#"{"error":5}"#, r#"["no"]"#] {
            let fault = Fault::from_response(Status::CALLBACK_ERROR, data).unwrap();
            assert_eq!(fault.message(), "", "{data}");
        }
    }

    #[test]
    fn okay_cannot_be_a_fault() {
        assert!(Fault::from_response(Status::OKAY, "null").is_none());
        for status in [0, 1, 6, 1 << 24, u32::MAX] {
            assert_eq!(Fault::custom(status, "x").status(), Status::CALLBACK_ERROR);
        }
    }
}
