//! SHA-512, the digest of legacy logins: every short and long message of NIST's validation program.

use sha2::{Digest, Sha512};

/// `data/sha512.bin` is, message by message: its length in 4 bytes, the message, its digest.
#[test]
fn every_message_of_the_validation_program_has_its_digest() {
    let file = crate::read("sha512.bin");
    let mut rest = &file[..];
    let mut lengths = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (message, behind) = behind.split_at(length);
        let (digest, behind) = behind.split_at(64);
        assert_eq!(Sha512::digest(message)[..], *digest, "the message of {length} bytes");
        // What comes in pieces has the digest of the whole: as a seed and a secret do.
        let (one, two) = message.split_at(length / 2);
        let pieces = Sha512::new().chain_update(one).chain_update(two).finalize();
        assert_eq!(pieces[..], *digest, "the message of {length} bytes, in two pieces");
        lengths.push(length);
        rest = behind;
    }
    assert_eq!(lengths.len(), 129 + 128);
    assert_eq!(lengths[..129], (0..129).collect::<Vec<_>>(), "each length up to a block");
}
