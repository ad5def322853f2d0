//! What secure mode is built from: X25519, ChaCha20-Poly1305, HMAC and HKDF by the vectors of Project Wycheproof, which look
//! for the known mistakes; Argon2id by the one of RFC 9106.

use argon2::{Algorithm, AssociatedData, ParamsBuilder, Version};
use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, KeyInit as _};
use hkdf::Hkdf;
use hkdf::hmac::{Hmac, KeyInit as _, Mac};
use sha2::Sha256;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use wycheproof::{TestResult, aead, hkdf as hkdf_vectors, mac, xdh};

/// Every vector counts: a set that has become another one is to show.
#[track_caller]
fn assert_counted(valid: usize, invalid: usize, expected: (usize, usize)) {
    assert_eq!((valid, invalid), expected, "valid and invalid vectors");
}

#[test]
fn x25519_of_the_noise_crate_agrees_on_every_vector() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).expect("the set is part of the crate");
    let mut counted = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut dh = DefaultResolver.resolve_dh(&DHChoice::Curve25519).expect("X25519 is switched on");
        dh.set(&test.private_key);
        let mut shared = [0; 32];
        // The acceptable ones are public keys of low order and the like, which Noise takes: a psk stands beside them.
        dh.dh(&test.public_key, &mut shared).unwrap_or_else(|error| panic!("{}: {error}", test.tc_id));
        assert_eq!(shared[..], test.shared_secret[..], "{}: {}", test.tc_id, test.comment);
        counted += 1;
    }
    assert_counted(counted, 0, (518, 0));
}

#[test]
fn chacha20_poly1305_agrees_on_every_vector() {
    let set = aead::TestSet::load(aead::TestName::ChaCha20Poly1305).expect("the set is part of the crate");
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Ok(nonce) = <[u8; 12]>::try_from(&test.nonce[..]) else {
            // A nonce of another length cannot be given to the crate.
            assert_eq!(test.result, TestResult::Invalid, "{}", test.tc_id);
            invalid += 1;
            continue;
        };
        let cipher = ChaCha20Poly1305::new_from_slice(&test.key).expect("32 bytes");
        let tag = <[u8; 16]>::try_from(&test.tag[..]).expect("16 bytes");
        let mut opened = test.ct.to_vec();
        let outcome = cipher.decrypt_in_place_detached(&nonce.into(), &test.aad, &mut opened, &tag.into());
        let mut sealed = test.pt.to_vec();
        let made =
            cipher.encrypt_in_place_detached(&nonce.into(), &test.aad, &mut sealed).expect("it is short");
        if test.result == TestResult::Valid {
            assert!(outcome.is_ok(), "{}: {}", test.tc_id, test.comment);
            assert_eq!(opened, test.pt[..], "{}", test.tc_id);
            assert_eq!((&sealed[..], &made[..]), (&test.ct[..], &tag[..]), "{}", test.tc_id);
            valid += 1;
        } else {
            assert!(outcome.is_err(), "{}: {}", test.tc_id, test.comment);
            assert_ne!(made[..], tag[..], "{}", test.tc_id);
            invalid += 1;
        }
    }
    assert_counted(valid, invalid, (256, 69));
}

/// The crate counts its nonces in 8 of their 12 bytes; the others are zero. So few vectors can be had from it.
#[test]
fn chacha20_poly1305_of_the_noise_crate_agrees_on_the_vectors_with_such_nonces() {
    let set = aead::TestSet::load(aead::TestName::ChaCha20Poly1305).expect("the set is part of the crate");
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Ok([0, 0, 0, 0, counter @ ..]) = <[u8; 12]>::try_from(&test.nonce[..]) else { continue };
        let nonce = u64::from_le_bytes(counter);
        let mut cipher =
            DefaultResolver.resolve_cipher(&CipherChoice::ChaChaPoly).expect("it is switched on");
        cipher.set(test.key[..].try_into().expect("32 bytes"));
        let ciphertext = [&test.ct[..], &test.tag[..]].concat();
        let mut opened = vec![0; ciphertext.len()];
        match cipher.decrypt(nonce, &test.aad, &ciphertext, &mut opened) {
            Ok(length) => {
                assert_eq!(test.result, TestResult::Valid, "{}: {}", test.tc_id, test.comment);
                assert_eq!(opened[..length], test.pt[..], "{}", test.tc_id);
                let mut sealed = vec![0; ciphertext.len()];
                let length = cipher.encrypt(nonce, &test.aad, &test.pt, &mut sealed);
                assert_eq!(sealed[..length], ciphertext, "{}", test.tc_id);
                valid += 1;
            }
            Err(error) => {
                assert_eq!(test.result, TestResult::Invalid, "{}: {error}", test.tc_id);
                invalid += 1;
            }
        }
    }
    assert_counted(valid, invalid, (10, 0));
}

#[test]
fn hmac_sha256_agrees_on_every_vector() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).expect("the set is part of the crate");
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut mac = Hmac::<Sha256>::new_from_slice(&test.key).expect("any length will do");
        mac.update(&test.msg);
        let agrees = mac.verify_truncated_left(&test.tag).is_ok();
        assert_eq!(agrees, test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
        if agrees { valid += 1 } else { invalid += 1 }
    }
    assert_counted(valid, invalid, (66, 108));
}

/// The crate has an HMAC of its own, for keys up to a block.
#[test]
fn hmac_sha256_of_the_noise_crate_agrees_on_every_vector_whose_key_it_takes() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).expect("the set is part of the crate");
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut hash = DefaultResolver.resolve_hash(&HashChoice::SHA256).expect("SHA-256 is switched on");
        if test.key.len() > hash.block_len() {
            continue;
        }
        let mut tag = [0; 64];
        hash.hmac(&test.key, &test.msg, &mut tag);
        let agrees = tag.starts_with(&test.tag);
        assert_eq!(agrees, test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
        if agrees { valid += 1 } else { invalid += 1 }
    }
    assert_counted(valid, invalid, (60, 108));
}

#[test]
fn hkdf_sha256_agrees_on_every_vector() {
    let set = hkdf_vectors::TestSet::load(hkdf_vectors::TestName::HkdfSha256)
        .expect("the set is part of the crate");
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        match Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm) {
            Ok(()) => {
                assert_eq!(test.result, TestResult::Valid, "{}: {}", test.tc_id, test.comment);
                assert_eq!(okm, test.okm[..], "{}", test.tc_id);
                valid += 1;
            }
            Err(error) => {
                assert_eq!(test.result, TestResult::Invalid, "{}: {error}", test.tc_id);
                invalid += 1;
            }
        }
    }
    assert_counted(valid, invalid, (83, 3));
}

/// RFC 9106 section 5.3. With the settings of the protocol there are the vectors in `tests/vectors/secure`.
#[test]
fn argon2id_agrees_with_its_rfc() {
    let data = AssociatedData::new(&[4; 12]).expect("12 bytes are not too many");
    let params =
        ParamsBuilder::new().m_cost(32).t_cost(3).p_cost(4).data(data).build().expect("they are allowed");
    let argon2 = argon2::Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params);
    let mut tag = [0; 32];
    argon2
        .and_then(|argon2| argon2.hash_password_into(&[1; 32], &[2; 16], &mut tag))
        .expect("all lengths are allowed");
    assert_eq!(hex::encode(tag), "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
}
