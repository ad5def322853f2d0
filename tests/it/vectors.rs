//! The golden vectors of `tests/vectors`, read by the public codecs.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use socketproto::frame::{self, Decoded, Format, FrameError};
use socketproto::framing::{Deframer, Framing, Piece};
use socketproto::{Header, Limits};
use tokio_util::codec::Decoder;

use crate::support::{python_with_packages, repository, run};

/// The files of a folder with this ending, by name; there are at least `expected`.
fn files(folder: &str, ending: &str, expected: usize) -> Vec<PathBuf> {
    let folder = repository().join("tests/vectors").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == ending));
    files.sort();
    let found = files.len();
    assert!(found >= expected, "{found} files .{ending} in {}, expected {expected}", folder.display());
    files
}

fn name(path: &Path) -> String {
    path.file_stem().expect("a file has a name").to_string_lossy().into_owned()
}

fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn value(path: &Path) -> Value {
    serde_json::from_slice(&bytes(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn decode(frame: &[u8]) -> Result<Decoded, FrameError> {
    frame::decode(frame.to_vec().into())
}

fn check_valid(folder: &str, format: Format, expected: usize) {
    let mut canonical = 0;
    for path in files(folder, "bin", expected) {
        let (name, frame, wanted) = (name(&path), bytes(&path), value(&path.with_extension("json")));
        let decoded = decode(&frame).unwrap_or_else(|error| panic!("{name}: {error}"));
        let message = decoded.message;
        let mut again = BytesMut::new();
        frame::encode(format, message.header(), message.json().as_str(), &mut again)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = json!({
            "service_id": message.service_id().value(),
            "data_id": message.data_id().value(),
            "status": message.status().value(),
            "message_id": message.message_id(),
            "data_text": message.json().as_str(),
            "canonical": again[..] == frame[..],
        });
        assert_eq!(found, wanted, "{name}");
        assert_eq!(decoded.format, format, "{name}");
        canonical += usize::from(again[..] == frame[..]);
    }
    assert!(canonical > 5, "{canonical} canonical frames in {folder}");
}

fn check_invalid(folder: &str, expected: usize) {
    for path in files(folder, "bin", expected) {
        let name = name(&path);
        let wanted = String::from_utf8(bytes(&path.with_extension("txt"))).expect("UTF-8");
        let found = match decode(&bytes(&path)) {
            Ok(decoded) => panic!("{name} is taken: {:?}", decoded.message),
            Err(FrameError::Malformed(_) | FrameError::TooDeep { .. }) => "malformed".to_owned(),
            Err(FrameError::Checksum { envelope: None, .. }) => "checksum".to_owned(),
            Err(FrameError::Checksum { envelope: Some(header), .. }) => {
                let Header { service_id, data_id, message_id, .. } = header;
                let message_id = message_id.map_or("-".to_owned(), |id| id.to_string());
                format!("checksum-with-envelope {} {} {message_id}", service_id.value(), data_id.value())
            }
            Err(other) => panic!("{name}: {other}"),
        };
        assert_eq!(found, wanted.trim_end(), "{name}");
    }
}

/// The pieces of a stream that comes in reads of this size.
fn pieces(framing: Framing, stream: &[u8], size: usize) -> Value {
    let mut deframer = Deframer::new(framing, Limits::default().max_frame);
    let mut input = BytesMut::new();
    let mut found = Vec::new();
    for read in stream.chunks(size) {
        input.extend_from_slice(read);
        loop {
            match deframer.decode(&mut input) {
                Ok(Some(Piece::Frame(frame))) => found.push(json!({ "frame_hex": hex(&frame) })),
                Ok(Some(Piece::Gap)) => found.push(json!("gap")),
                Ok(Some(Piece::Broken(_))) => found.push(json!("broken")),
                Ok(None) => break,
                Err(_) => {
                    found.push(json!("closed"));
                    return found.into();
                }
            }
        }
    }
    found.into()
}

fn check_streams(folder: &str, framing: Framing, expected: usize) {
    for path in files(folder, "bin", expected) {
        let (name, stream, wanted) = (name(&path), bytes(&path), value(&path.with_extension("json")));
        for size in [1, 2, 3, 7, stream.len().max(1)] {
            assert_eq!(pieces(framing, &stream, size), wanted, "{name} in reads of {size}");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn valid_json_frames_say_what_the_vectors_say() {
    check_valid("frames/json/valid", Format::Json, 47);
}

#[test]
fn valid_struct_frames_say_what_the_vectors_say() {
    check_valid("frames/struct/valid", Format::Struct, 18);
}

#[test]
fn invalid_json_frames_are_refused_for_the_reason_the_vectors_give() {
    check_invalid("frames/json/invalid", 90);
}

#[test]
fn invalid_struct_frames_are_refused_for_the_reason_the_vectors_give() {
    check_invalid("frames/struct/invalid", 20);
}

#[test]
fn stp_streams_give_the_same_pieces_however_they_are_cut() {
    check_streams("streams/stp", Framing::Stp, 30);
}

#[test]
fn length_streams_give_the_same_pieces_however_they_are_cut() {
    check_streams("streams/length", Framing::Length, 13);
}

#[test]
fn every_vector_has_what_is_expected_of_it_beside_it_and_the_reverse() {
    for (folder, ending) in [
        ("frames/json/valid", "json"),
        ("frames/json/invalid", "txt"),
        ("frames/struct/valid", "json"),
        ("frames/struct/invalid", "txt"),
        ("streams/stp", "json"),
        ("streams/length", "json"),
    ] {
        let stems = |ending| files(folder, ending, 1).iter().map(|path| name(path)).collect::<Vec<_>>();
        assert_eq!(stems("bin"), stems(ending), "{folder}");
    }
}

#[tokio::test]
async fn the_vectors_of_secure_mode_are_what_their_generator_writes() {
    let mut generator = python_with_packages("tests/vectors/generate_secure.py");
    generator.arg("--check");
    let ended = run(generator).await;
    assert_eq!((ended.code, ended.stderr), (Some(0), String::new()));
}

#[test]
fn keys_are_the_sha_512_of_the_seed_and_the_secret() {
    for path in files("auth", "json", 9) {
        let vector = value(&path);
        let text = |key: &str| vector[key].as_str().unwrap_or_else(|| panic!("{}: {key}", name(&path)));
        let digest = Sha512::new().chain_update(text("seed")).chain_update(text("secret")).finalize();
        assert_eq!(hex(&digest), text("key"), "{}", name(&path));
    }
}
