//! The handshake of secure mode, `Noise_NNpsk0_25519_ChaChaPoly_SHA256`, by vectors of another implementation.

use serde::Deserialize;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, Error, HandshakeState};

/// Octets that a file gives as hex digits.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Octets(#[serde(deserialize_with = "hex::deserialize")] Vec<u8>);

#[derive(Debug, Deserialize)]
struct Vector {
    protocol_name: String,
    init_prologue: Octets,
    init_psks: Vec<Octets>,
    init_ephemeral: Octets,
    resp_prologue: Octets,
    resp_psks: Vec<Octets>,
    resp_ephemeral: Octets,
    handshake_hash: Octets,
    messages: Vec<Message>,
}

#[derive(Debug, Deserialize)]
struct Message {
    payload: Octets,
    ciphertext: Octets,
}

/// The crate's own primitives without its source of randomness, which the library leaves out too. Ephemeral keys are given.
struct Primitives;

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Self))
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

impl Random for Primitives {
    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Error> {
        Err(Error::Rng)
    }
}

fn build(
    name: &str,
    prologue: &Octets,
    psks: &[Octets],
    ephemeral: &Octets,
    initiator: bool,
) -> HandshakeState {
    let psk = psks[0].0.as_slice().try_into().expect("32 bytes");
    let builder = Builder::with_resolver(name.parse().expect("a known name"), Box::new(Primitives))
        .prologue(&prologue.0)
        .and_then(|builder| builder.psk(0, psk))
        .expect("each is set once")
        .fixed_ephemeral_key_for_testing_only(&ephemeral.0);
    if initiator { builder.build_initiator() } else { builder.build_responder() }.expect("all is given")
}

impl Vector {
    fn sides(&self) -> (HandshakeState, HandshakeState) {
        let name = &self.protocol_name;
        (
            build(name, &self.init_prologue, &self.init_psks, &self.init_ephemeral, true),
            build(name, &self.resp_prologue, &self.resp_psks, &self.resp_ephemeral, false),
        )
    }
}

/// One message: what is written and what is read of it are to be what the vector says.
fn exchange(
    message: &Message,
    write: impl FnOnce(&[u8], &mut [u8]) -> Result<usize, Error>,
    read: impl FnOnce(&[u8], &mut [u8]) -> Result<usize, Error>,
) {
    let mut buffer = [0; 1024];
    let written = write(&message.payload.0, &mut buffer).expect("there is room");
    assert_eq!(buffer[..written], message.ciphertext.0);
    let opened = read(&message.ciphertext.0, &mut buffer).expect("it opens");
    assert_eq!(buffer[..opened], message.payload.0);
}

fn vectors() -> Vec<Vector> {
    let vectors: Vec<Vector> = serde_json::from_slice(&crate::read("noise.json")).expect("a list of vectors");
    assert_eq!(vectors.len(), 1);
    vectors
}

#[test]
fn handshake_and_messages_are_what_another_implementation_makes_of_them() {
    for vector in vectors() {
        assert_eq!(vector.protocol_name, "Noise_NNpsk0_25519_ChaChaPoly_SHA256");
        let (mut initiator, mut responder) = vector.sides();
        let (handshake, transport) = vector.messages.split_at(2);
        let (first, second) = (&handshake[0], &handshake[1]);
        exchange(first, |p, m| initiator.write_message(p, m), |m, p| responder.read_message(m, p));
        exchange(second, |p, m| responder.write_message(p, m), |m, p| initiator.read_message(m, p));
        for side in [&initiator, &responder] {
            assert!(side.is_handshake_finished());
            assert_eq!(side.get_handshake_hash(), vector.handshake_hash.0);
        }

        let mut initiator = initiator.into_transport_mode().expect("the handshake is over");
        let mut responder = responder.into_transport_mode().expect("the handshake is over");
        assert_eq!(transport.len(), 4);
        for pair in transport.chunks(2) {
            exchange(&pair[0], |p, m| initiator.write_message(p, m), |m, p| responder.read_message(m, p));
            exchange(&pair[1], |p, m| responder.write_message(p, m), |m, p| initiator.read_message(m, p));
        }
    }
}

#[test]
fn a_first_message_opens_under_its_own_psk_prologue_and_bits_alone() {
    for mut vector in vectors() {
        let mut payload = [0; 1024];
        let message = &vector.messages[0].ciphertext.0;
        for bit in 0..message.len() * 8 {
            // The highest bit of a public key means nothing to X25519, but the transcript has it.
            let mut changed = message.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                vector.sides().1.read_message(&changed, &mut payload),
                Err(Error::Decrypt),
                "bit {bit}"
            );
        }
        vector.resp_psks[0].0[31] ^= 1;
        assert_eq!(
            vector.sides().1.read_message(&vector.messages[0].ciphertext.0, &mut payload),
            Err(Error::Decrypt)
        );
        vector.resp_psks[0].0[31] ^= 1;
        vector.resp_prologue.0.push(0);
        assert_eq!(
            vector.sides().1.read_message(&vector.messages[0].ciphertext.0, &mut payload),
            Err(Error::Decrypt)
        );
    }
}
