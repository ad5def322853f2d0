//! The one actor that knows the secret. It is asked once or twice for each connection, never for a message.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use actix::{Actor, Context, Handler, Message, Recipient};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

use crate::actor::keys::Keys;
use crate::error::Result;
use crate::mailbox::{Bounded, Mailbox};
use crate::secret::{Secret, random_hex};
use crate::session::{AuthAnswer, AuthQuestion, SENTINEL};

/// Random bytes of a seed, before those that say what this server knows (protocol.md 5.1).
const SEED_BYTES: usize = 24;
/// What else it has where there is nothing to say.
const FURTHER_SEED_BYTES: usize = 8;
/// Bytes of a SHA-512 digest.
const KEY_BYTES: usize = 64;

/// A question of a connection.
pub(crate) struct Ask {
    pub(crate) question: AuthQuestion,
    pub(crate) answer_to: Recipient<Answer>,
}

impl Message for Ask {
    type Result = ();
}

/// One for each connection: its session reads nothing more until it has the answer.
impl Bounded for Ask {}

/// The answer to a connection.
pub(crate) struct Answer(pub(crate) AuthAnswer);

impl Message for Answer {
    type Result = ();
}

/// One for each [`Ask`].
impl Bounded for Answer {}

/// The actor.
pub(crate) struct Authenticator {
    /// What old peers prove.
    legacy: Secret,
    /// What is derived for secure mode.
    keys: Keys,
}

impl Authenticator {
    pub(crate) fn new(legacy: Secret, keys: Keys) -> Self {
        Self { legacy, keys }
    }

    fn answer(&self, question: AuthQuestion) -> AuthAnswer {
        match question {
            AuthQuestion::Seed => AuthAnswer::Seed(self.seed().ok()),
            AuthQuestion::Verify { seed, key } => AuthAnswer::Verdict(self.is_right(&seed, key.as_deref())),
            AuthQuestion::Prove { seed } => AuthAnswer::Key(hex::encode(self.key(&seed))),
            AuthQuestion::Offer => AuthAnswer::Offered(self.keys.offer().map(Box::new)),
            AuthQuestion::Accept(offer) => AuthAnswer::Accepted(self.keys.accept(&offer)),
        }
    }

    fn seed(&self) -> Result<String> {
        let mut seed = random_hex::<SEED_BYTES>()?;
        if self.keys.is_empty() {
            seed.push_str(&random_hex::<FURTHER_SEED_BYTES>()?);
        } else {
            seed.push_str(SENTINEL);
        }
        Ok(seed)
    }

    /// The key of a seed: SHA-512 of its characters, then the secret's bytes.
    fn key(&self, seed: &str) -> [u8; KEY_BYTES] {
        Sha512::new().chain_update(seed).chain_update(self.legacy.legacy_bytes()).finalize().into()
    }

    /// Takes the same time for every key: the digest is made and compared whatever was sent.
    fn is_right(&self, seed: &str, key: Option<&str>) -> bool {
        let mut sent = [0; KEY_BYTES];
        let well_formed = hex::decode_to_slice(key.unwrap_or_default(), &mut sent).is_ok();
        bool::from(self.key(seed).ct_eq(&sent)) && well_formed
    }
}

impl Actor for Authenticator {
    type Context = Context<Self>;
}

impl Handler<Ask> for Authenticator {
    type Result = ();

    fn handle(&mut self, ask: Ask, _: &mut Context<Self>) {
        ask.answer_to.tell(Answer(self.answer(ask.question)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn authenticator() -> Authenticator {
        Authenticator::new(Secret::from_text("a shared secret").unwrap(), Keys::default())
    }

    fn verdict(key: Option<&str>) -> bool {
        let question = AuthQuestion::Verify { seed: SEED.into(), key: key.map(Into::into) };
        matches!(authenticator().answer(question), AuthAnswer::Verdict(true))
    }

    #[test]
    fn a_key_made_from_the_secret_is_right() {
        let AuthAnswer::Key(key) = authenticator().answer(AuthQuestion::Prove { seed: SEED.into() }) else {
            panic!("no key");
        };
        assert!(verdict(Some(&key)));
        assert!(verdict(Some(&key.to_uppercase())));
    }

    #[test]
    fn anything_else_is_wrong() {
        let zeros = "0".repeat(128);
        for key in [None, Some(""), Some("ab"), Some("zz"), Some(zeros.as_str()), Some(SEED)] {
            assert!(!verdict(key), "{key:?}");
        }
    }

    #[test]
    fn no_two_seeds_are_equal() {
        let seeds: std::collections::HashSet<_> = (0..10_000)
            .map(|_| match authenticator().answer(AuthQuestion::Seed) {
                AuthAnswer::Seed(Some(seed)) => seed,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(seeds.len(), 10_000);
        assert!(seeds.iter().all(|seed| seed.len() == 64));
    }
}
