//! From a secret to the 32 bytes that Noise takes for one.

use argon2::{Algorithm, Argon2, Params, Version};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secure::Refused;

/// The key that both sides derive.
pub(crate) type Psk = Zeroizing<[u8; 32]>;

/// What keeps this key apart from every other that is made of the same secret.
const INFO: &[u8] = b"socketproto psk v2";

/// The cost of one guess at a passphrase: KiB, passes, lanes (the least that OWASP advises; RFC 9106). It is nobody's
/// choice but ours, least of all the peer's.
const COST: (u32, u32, u32) = (19_456, 2, 1);

/// What a secret is made of.
#[derive(Clone, Copy)]
pub(crate) enum Material<'a> {
    /// Random bytes, too many to be guessed.
    Generated(&'a [u8]),
    /// Words that somebody made up: each guess has to be slow.
    Passphrase(&'a str),
}

/// Derives the key. A passphrase takes tens of milliseconds and 19 MiB: once at the start, never for a connection.
///
/// # Errors
/// None that these parameters can cause.
pub(crate) fn derive(material: Material<'_>, kid: &str) -> Result<Psk, Refused> {
    let mut psk = Psk::default();
    match material {
        Material::Generated(bytes) => {
            Hkdf::<Sha256>::new(None, bytes).expand(INFO, psk.as_mut_slice()).map_err(|_| Refused)?;
        }
        Material::Passphrase(text) => {
            let salt = [INFO, b"\0", kid.as_bytes()].concat();
            let (memory, passes, lanes) = COST;
            let params = Params::new(memory, passes, lanes, Some(psk.len())).map_err(|_| Refused)?;
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(text.as_bytes(), &salt, psk.as_mut_slice())
                .map_err(|_| Refused)?;
        }
    }
    Ok(psk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(material: Material<'_>, kid: &str) -> String {
        hex::encode(*derive(material, kid).unwrap())
    }

    #[test]
    fn each_kind_has_its_derivation() {
        let secret: Vec<u8> = (0..24).collect();
        let generated = hex(Material::Generated(&secret), "");
        assert_eq!(
            generated,
            hex(Material::Generated(&secret), "blue"),
            "its key id is in the prologue alone"
        );
        let passphrase = hex(Material::Passphrase("correct horse battery"), "");
        assert_ne!(passphrase, hex(Material::Passphrase("correct horse battery"), "blue"));
        assert_ne!(passphrase, hex(Material::Passphrase("correct horse batterz"), ""));
    }
}
