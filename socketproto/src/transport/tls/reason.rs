//! Why TLS failed, in one sentence with its remedy.

use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

use crate::transport::tls::line::Side;

/// The reason, and whether it stays until somebody changes a certificate.
pub(super) fn reason(error: &Error, side: Side) -> (String, bool) {
    let peer = side.peer();
    match error {
        Error::InvalidCertificate(error) => (bad_certificate(error, side), true),
        Error::NoCertificatesPresented => {
            (format!("the {peer} has shown no certificate, and cannot be told from others without"), true)
        }
        Error::AlertReceived(alert) => alerted(*alert, side),
        Error::InvalidMessage(_) if side == Side::Client => (
            "what the server answers is no TLS; where it listens without TLS, connect with tcp:// or ws://"
                .into(),
            false,
        ),
        Error::InvalidMessage(_) => ("what the client sends is no TLS".into(), false),
        Error::PeerIncompatible(_) => {
            (format!("no TLS version or cipher in common with the {peer}: {error}"), false)
        }
        _ => (format!("TLS with the {peer} failed: {error}"), false),
    }
}

/// This side does not take the peer's certificate.
fn bad_certificate(error: &CertificateError, side: Side) -> String {
    let its = format!("the {}'s certificate", side.peer());
    match error {
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = distance(*not_after, *time);
            format!("{its} expired {ago} ago: renew it there, or set the clock here if that is wrong")
        }
        CertificateError::Expired => format!("{its} has expired: renew it there"),
        CertificateError::NotValidYetContext { time, not_before } => {
            let ahead = distance(*time, *not_before);
            format!("{its} is not valid yet, but in {ahead}: is the clock here or where it was made wrong?")
        }
        CertificateError::NotValidYet => format!("{its} is not valid yet: is a clock wrong?"),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            let presented: Vec<&str> = presented.iter().map(|name| plain(name)).collect();
            let presented = if presented.is_empty() { "none".into() } else { presented.join(", ") };
            format!(
                "{its} is not for {expected}; the names it has: {presented}. Connect to one of them, or say which to \
                 expect with `ClientTls::server_name(..)`"
            )
        }
        CertificateError::NotValidForName => format!("{its} is for another name"),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let remedy = match side {
                Side::Client => "`ClientTls::ca_file(..)`",
                Side::Server => "`ServerTls::client_ca_file(..)`",
            };
            if *error == CertificateError::BadSignature {
                return format!(
                    "{its} was signed with another key than that of the authority this side trusts under the same \
                     name: give the right one with {remedy}"
                );
            }
            format!(
                "{its} was issued by nobody this side trusts, or by itself: give its authority, or itself, with {remedy}"
            )
        }
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => {
            format!("{its} was issued for another purpose than that of a {}", side.peer())
        }
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => format!(
            "{its} is that of an authority, as `openssl req -x509` makes it: make it anew with \
             `-addext basicConstraints=critical,CA:FALSE`"
        ),
        other => format!("{its} is not taken: {other}"),
    }
}

/// The name in text like `DnsName("device.example")`, as rustls gives it.
fn plain(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.map_or(name, |inner| inner.trim_matches('"'))
}

/// The peer says why it does not go on.
fn alerted(alert: AlertDescription, side: Side) -> (String, bool) {
    let peer = side.peer();
    let refused = match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            return (
                format!(
                    "the {peer} requires a certificate, and this side has shown none: set one with \
                     `ClientTls::identity_files(..)`"
                ),
                true,
            );
        }
        AlertDescription::ProtocolVersion => {
            return (format!("the {peer} speaks neither TLS 1.2 nor TLS 1.3"), false);
        }
        AlertDescription::UnrecognisedName => {
            return (format!("the {peer} has no certificate for the name that was asked for"), true);
        }
        AlertDescription::CertificateExpired => "it has expired or is not valid yet, by the clock there",
        AlertDescription::UnknownCA => "it was issued by nobody that is trusted there",
        AlertDescription::BadCertificate => "it is for another name, or broken",
        AlertDescription::CertificateRevoked => "it has been revoked",
        AlertDescription::UnsupportedCertificate => {
            "it was issued for another purpose, or is of an unknown kind"
        }
        AlertDescription::CertificateUnknown | AlertDescription::AccessDenied => "why, it does not say",
        other => return (format!("the {peer} ended TLS with the alert {other:?}"), false),
    };
    (format!("the {peer} does not take this side's certificate: {refused}"), true)
}

/// The time from one to the other, as a reader says it.
fn distance(from: UnixTime, to: UnixTime) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "days"), (3_600, "hours"), (60, "minutes")];

    let seconds = to.as_secs().saturating_sub(from.as_secs());
    for (size, unit) in UNITS {
        if seconds >= 2 * size {
            return format!("{} {unit}", seconds / size);
        }
    }
    format!("{seconds} seconds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_said_in_units_of_a_size_one_can_grasp() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        for (seconds, expected) in [
            (0, "0 seconds"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7_200, "2 hours"),
            (172_799, "47 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(distance(at(5), at(5 + seconds)), expected);
        }
        assert_eq!(distance(at(5), at(0)), "0 seconds");
    }
}
