//! Legacy authentication, both roles (protocol.md 5.1), without the secret: that is asked of the authenticator.

use std::time::Instant;

use crate::id::{AuthState, DataId};
use crate::message::Json;
use crate::session::budget::Earliest;
use crate::session::event::{AuthQuestion, CallKey};
use crate::session::requests::Origin;

/// Length of a seed in hex digits.
const SEED_DIGITS: usize = 64;

/// How the seeds of a server end that knows secure mode, in hex digits: `SPv2`, 0, `DWN` (protocol.md 5.1). No client of this
/// project answers one, so that two of them never meet at the lower level, whoever stands between them.
pub(crate) const SENTINEL: &str = "535076320044574e";

/// The authentication of one connection.
#[derive(Debug, Default)]
pub(super) struct Auth {
    pub(super) state: AuthState,
    /// Server: the seed that is open; it serves once.
    seed: Option<String>,
    /// Server: the request whose answer is with the authenticator. Frames behind it wait.
    asking: Option<Origin>,
    /// Client: when the exchange has failed.
    deadline: Option<Instant>,
    /// Client: who waits for its end, each up to a time of its own.
    waiting: Vec<(CallKey, Instant)>,
    earliest: Earliest,
}

impl Auth {
    pub(super) fn is_trusted(&self) -> bool {
        self.state == AuthState::Trusted
    }

    /// The peer has shown by other means who it is.
    pub(super) fn trust(&mut self) {
        self.state = AuthState::Trusted;
    }

    pub(super) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    // Server

    /// A client asks for a seed: the old one is dead from now on.
    pub(super) fn seed_requested(&mut self, origin: Origin) -> AuthQuestion {
        self.seed = None;
        self.asking = Some(origin);
        AuthQuestion::Seed
    }

    /// The seed to send, and to whom.
    pub(super) fn open_seed(&mut self, seed: String) -> Option<Origin> {
        let origin = self.asking.take()?;
        self.seed = Some(seed);
        if !self.is_trusted() {
            self.state = AuthState::SeedTransferred;
        }
        Some(origin)
    }

    /// The authenticator could not give what was asked.
    pub(super) fn abandon(&mut self) -> Option<Origin> {
        self.asking.take()
    }

    /// A client sent a key; none where no seed is open. Right or wrong, the key consumes the seed.
    pub(super) fn key_received(&mut self, data: &Json, origin: Origin) -> Option<AuthQuestion> {
        let seed = self.seed.take()?;
        self.asking = Some(origin);
        Some(AuthQuestion::Verify { seed, key: data.decode().ok() })
    }

    /// The verdict decides, also where the peer was trusted before.
    pub(super) fn judge(&mut self, right: bool) -> Option<Origin> {
        let origin = self.asking.take()?;
        self.state = if right { AuthState::Trusted } else { AuthState::Untrusted };
        Some(origin)
    }

    // Client

    /// Begins the exchange: a seed is to be asked for. False where there is one already.
    pub(super) fn begin(&mut self, deadline: Instant) -> bool {
        if self.deadline.is_some() {
            return false;
        }
        self.state = AuthState::SeedRequested;
        self.deadline = Some(deadline);
        true
    }

    /// Somebody waits for the end of the exchange.
    pub(super) fn wait(&mut self, call: CallKey, deadline: Instant) {
        self.earliest.add(deadline);
        self.waiting.push((call, deadline));
    }

    /// Until when somebody waits, at the longest.
    pub(super) fn longest_wait(&self) -> Option<Instant> {
        self.waiting.iter().map(|(_, deadline)| *deadline).max()
    }

    /// Forgets one who waits.
    pub(super) fn cancel(&mut self, call: CallKey) {
        self.waiting.retain(|(waiting, _)| *waiting != call);
    }

    /// Those who have waited long enough.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<CallKey> {
        let mut expired = Vec::new();
        if self.earliest.is_due(now) {
            expired
                .extend(self.waiting.extract_if(.., |(_, deadline)| *deadline <= now).map(|(call, _)| call));
            self.waiting.iter().for_each(|(_, deadline)| self.earliest.add(*deadline));
        }
        expired
    }

    /// Ends all who wait.
    pub(super) fn end_waiting(&mut self) -> Vec<CallKey> {
        self.waiting.drain(..).map(|(call, _)| call).collect()
    }

    /// When the first of them has waited long enough.
    pub(super) fn waiting_deadline(&self) -> Option<Instant> {
        self.earliest.get()
    }

    /// The line has ended; those who wait for the next go on waiting.
    pub(super) fn restart(&mut self) {
        let mut ended = std::mem::take(self);
        self.take_waiting(&mut ended);
    }

    /// Takes over those who wait.
    pub(super) fn take_waiting(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.waiting, &mut other.waiting);
        std::mem::swap(&mut self.earliest, &mut other.earliest);
    }

    /// Whether the next answer of the exchange is one of this datum.
    pub(super) fn awaits(&self, data_id: DataId) -> bool {
        match self.state {
            AuthState::SeedRequested => data_id == DataId::AUTH_SEED,
            AuthState::KeyTransferred => data_id == DataId::AUTH_KEY,
            AuthState::Untrusted | AuthState::SeedTransferred | AuthState::Trusted => false,
        }
    }

    /// Takes the server's seed; none where it was not asked for or is no seed.
    pub(super) fn seed_received(&mut self, data: &Json, ignore_sentinel: bool) -> SeedOutcome {
        if self.state != AuthState::SeedRequested {
            return SeedOutcome::NotAsked;
        }
        match data.decode::<String>() {
            Ok(seed) if seed.len() == SEED_DIGITS && seed.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                let ends_so = seed.to_ascii_lowercase().ends_with(SENTINEL);
                if ends_so && !ignore_sentinel {
                    self.fail();
                    return SeedOutcome::Sentinel;
                }
                self.state = AuthState::SeedTransferred;
                SeedOutcome::Question(AuthQuestion::Prove { seed })
            }
            _ => {
                self.fail();
                SeedOutcome::Failed
            }
        }
    }

    /// The key is on its way.
    pub(super) fn key_sent(&mut self) -> bool {
        let expected = self.state == AuthState::SeedTransferred;
        if expected {
            self.state = AuthState::KeyTransferred;
        }
        expected
    }

    /// Takes the server's verdict; only JSON `true` is true. None where no key was sent.
    pub(super) fn verdict_received(&mut self, data: &Json) -> Option<bool> {
        if self.state != AuthState::KeyTransferred {
            return None;
        }
        let right = data.as_str() == "true";
        self.deadline = None;
        self.state = if right { AuthState::Trusted } else { AuthState::Untrusted };
        Some(right)
    }

    /// Ends the attempt; the connection stays. False where there was none: then nothing changes.
    pub(super) fn fail(&mut self) -> bool {
        let begun = self.deadline.take().is_some();
        if begun {
            self.state = AuthState::Untrusted;
        }
        begun
    }
}

/// What became of a seed.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum SeedOutcome {
    NotAsked,
    Failed,
    /// It is of a server that knows secure mode.
    Sentinel,
    Question(AuthQuestion),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Format;

    const SEED: &str = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";

    fn origin() -> Origin {
        Origin { response: 1.into(), data_id: 0.into(), message_id: None, format: Format::Json }
    }

    fn json(text: &str) -> Json {
        Json::from_text(text).unwrap()
    }

    fn client_after(seed: &str) -> (Auth, SeedOutcome) {
        let mut auth = Auth::default();
        auth.begin(Instant::now());
        let outcome = auth.seed_received(&json(seed), false);
        (auth, outcome)
    }

    #[test]
    fn a_client_answers_only_a_seed_of_64_hex_digits() {
        let (auth, outcome) = client_after(&format!("\"{SEED}\""));
        assert_eq!(outcome, SeedOutcome::Question(AuthQuestion::Prove { seed: SEED.into() }));
        assert_eq!(auth.state, AuthState::SeedTransferred);
        let long = format!("\"{SEED}0\"");
        let odd = format!("\"g{}\"", &SEED[1..]);
        for bad in ["\"\"", "null", "1", "true", "[]", "{}", "\"0011\"", &long, &odd] {
            let (auth, outcome) = client_after(bad);
            assert_eq!(outcome, SeedOutcome::Failed, "{bad}");
            assert_eq!(auth.state, AuthState::Untrusted, "{bad}");
        }
    }

    #[test]
    fn only_json_true_is_true() {
        for (data, right) in
            [("true", true), ("false", false), ("1", false), ("\"true\"", false), ("[true]", false)]
        {
            let (mut auth, _) = client_after(&format!("\"{SEED}\""));
            assert!(auth.key_sent());
            assert_eq!(auth.verdict_received(&json(data)), Some(right), "{data}");
            assert_eq!(auth.is_trusted(), right);
        }
    }

    #[test]
    fn an_answer_nobody_asked_for_changes_nothing() {
        let mut auth = Auth::default();
        assert_eq!(auth.seed_received(&json(&format!("\"{SEED}\"")), false), SeedOutcome::NotAsked);
        assert_eq!(auth.verdict_received(&json("true")), None);
        assert!(!auth.key_sent());
        assert_eq!(auth.state, AuthState::Untrusted);
    }

    #[test]
    fn a_seed_serves_once() {
        let mut auth = Auth::default();
        assert_eq!(auth.key_received(&Json::NULL, origin()), None);
        assert_eq!(auth.seed_requested(origin()), AuthQuestion::Seed);
        auth.open_seed(SEED.into());
        assert_eq!(auth.state, AuthState::SeedTransferred);
        let question = auth.key_received(&json("\"ab\""), origin());
        assert_eq!(question, Some(AuthQuestion::Verify { seed: SEED.into(), key: Some("ab".into()) }));
        auth.judge(false);
        assert_eq!(auth.key_received(&json("\"ab\""), origin()), None);
    }

    #[test]
    fn a_trusted_peer_that_asks_again_stays_trusted_until_its_key_is_judged() {
        let mut auth = Auth { state: AuthState::Trusted, ..Auth::default() };
        auth.seed_requested(origin());
        auth.open_seed(SEED.into());
        assert!(auth.is_trusted());
        auth.key_received(&json("1"), origin());
        auth.judge(false);
        assert_eq!(auth.state, AuthState::Untrusted);
    }
}
