//! The two messages of `Noise_NNpsk0_25519_ChaChaPoly_SHA256`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use zeroize::Zeroizing;

use crate::secure::channel::Channel;
use crate::secure::{Accepted, Offer, Psk, RANDOM, Refused, SUITE, TAG};

/// The suite as the Noise Protocol Framework names it.
const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";

/// What the prologue begins with: it binds both sides to this protocol and version.
const PROTOCOL: &str = "socketproto/2";

/// Bytes of either message: a public key, and the tag of an empty payload.
const MESSAGE: usize = 32 + TAG;

/// A client's handshake between the two messages.
pub(crate) struct Initiator(HandshakeState);

/// Begins a handshake as the client. `random` serves this one alone.
///
/// # Errors
/// None that a peer can cause.
pub(crate) fn initiate(psk: &Psk, kid: &str, random: Random32) -> Result<(Initiator, Offer), Refused> {
    let mut offer = Offer { suites: vec![SUITE.to_owned()], kid: kid.to_owned(), m: String::new() };
    let mut state = build(psk, &offer, random, true)?;
    offer.m = STANDARD.encode(write(&mut state)?);
    Ok((Initiator(state), offer))
}

impl Initiator {
    /// Takes the server's answer, and gives what follows it.
    ///
    /// # Errors
    /// Where it does not prove the secret, or is not for this offer.
    pub(crate) fn finish(mut self, accepted: &Accepted) -> Result<Channel, Refused> {
        self.take(accepted)?;
        self.into_channel()
    }

    /// Takes the server's answer. After one that is refused another can be taken.
    ///
    /// # Errors
    /// Where it does not prove the secret, or is not for this offer.
    pub(crate) fn take(&mut self, accepted: &Accepted) -> Result<(), Refused> {
        if accepted.suite != SUITE {
            return Err(Refused);
        }
        read(&mut self.0, &accepted.m)
    }

    /// What follows the answer that was taken.
    ///
    /// # Errors
    /// Where none was.
    pub(crate) fn into_channel(self) -> Result<Channel, Refused> {
        Channel::new(self.0)
    }
}

/// Answers a client's offer as the server. `random` serves this one alone.
///
/// # Errors
/// Where it does not prove the secret.
pub(crate) fn respond(psk: &Psk, offer: &Offer, random: Random32) -> Result<(Channel, Accepted), Refused> {
    let mut state = build(psk, offer, random, false)?;
    read(&mut state, &offer.m)?;
    let m = STANDARD.encode(write(&mut state)?);
    Ok((Channel::new(state)?, Accepted { suite: SUITE.to_owned(), m }))
}

fn build(psk: &Psk, offer: &Offer, random: Random32, initiator: bool) -> Result<HandshakeState, Refused> {
    let prologue = prologue(offer);
    let params = PATTERN.parse().map_err(refused)?;
    let builder = Builder::with_resolver(params, Box::new(Resolver(random)))
        .psk(0, psk)
        .and_then(|builder| builder.prologue(&prologue))
        .map_err(refused)?;
    if initiator { builder.build_initiator() } else { builder.build_responder() }.map_err(refused)
}

/// What both sides have to agree on: an offer that was changed on its way does not open.
fn prologue(offer: &Offer) -> Vec<u8> {
    [PROTOCOL.as_bytes(), offer.suites.join(",").as_bytes(), offer.kid.as_bytes()].join(&0)
}

fn write(state: &mut HandshakeState) -> Result<[u8; MESSAGE], Refused> {
    let mut message = [0; MESSAGE];
    let length = state.write_message(&[], &mut message).map_err(refused)?;
    if length == MESSAGE { Ok(message) } else { Err(Refused) }
}

fn read(state: &mut HandshakeState, message: &str) -> Result<(), Refused> {
    let message = STANDARD.decode(message).map_err(|_| Refused)?;
    // Payloads are empty, so there is nowhere to put one.
    if message.len() != MESSAGE {
        return Err(Refused);
    }
    state.read_message(&message, &mut []).map(drop).map_err(refused)
}

fn refused(_: snow::Error) -> Refused {
    Refused
}

/// Random bytes for one handshake.
pub(crate) type Random32 = Zeroizing<[u8; RANDOM]>;

/// The primitives of the `snow` crate, over random bytes from outside.
struct Resolver(Random32);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Once(Some(self.0.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// Gives its bytes once, as one private key.
struct Once(Option<Random32>);

impl Random for Once {
    fn try_fill_bytes(&mut self, key: &mut [u8]) -> Result<(), snow::Error> {
        let random = self.0.take().filter(|random| random.len() == key.len()).ok_or(snow::Error::Rng)?;
        key.copy_from_slice(random.as_slice());
        Ok(())
    }
}

impl std::fmt::Debug for Initiator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Initiator(..)")
    }
}
