#!/usr/bin/env python3
"""Writes the vectors of secure mode (docs/protocol.md 5.2) into the folder `secure`.

    target/python/bin/python3 generate_secure.py                 writes them beside this file
    target/python/bin/python3 generate_secure.py --check [DIR]   exits 1 where the files in DIR differ

Unlike generate.py it needs the packages of tests/python/requirements.txt. Ephemeral keys are fixed here, which nobody
else may do; so the same input always gives the same bytes. Both halves of each handshake are run against each other.
"""

import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "python"))

from generate import encode_json, measure, pretty, run  # noqa: E402
import peer  # noqa: E402
import secure  # noqa: E402

HELLO = 0xFFFF_0000
CLIENT_EPHEMERAL = bytes(range(0x20, 0x40))
SERVER_EPHEMERAL = bytes(range(0x80, 0xA0))
HEX = "6d1b1c5f0e9a7b83a4c2d1e0f9b8a7966d1b1c5f0e9a7b83"


def frame(service_id, data_id, data, message_id=None):
    """One frame of the stream inside the records."""
    return measure(encode_json(service_id, data_id, 0, peer.to_text(data), message_id))


HELLO_DATA = {"session": "0123456789abcdef", "features": ["message_id"], "max_frame": 8388608, "max_in_flight": 256}
HELLO_ANSWER = {**HELLO_DATA, "session": "fedcba9876543210"}
CLIENT_HELLO = frame(HELLO, 0, HELLO_DATA)
SERVER_HELLO = frame(HELLO + 1, 0, HELLO_ANSWER)
READ = frame(10, 1, None, 1)
ANSWER = frame(11, 1, "é°C", 1)

FRAMES, FINISHED, CLOSE = secure.FRAMES, secure.FINISHED, secure.CLOSE
DIALOGUE = [
    ("server", FINISHED, b""),
    ("client", FINISHED, b""),
    ("client", FRAMES, CLIENT_HELLO),
    ("server", FRAMES, SERVER_HELLO),
    ("client", CLOSE, "bye".encode()),
    ("server", CLOSE, b""),
]
# Where records are cut says nothing about where frames are.
CUT = [
    ("server", FINISHED, b""),
    ("client", FINISHED, b""),
    ("client", FRAMES, CLIENT_HELLO[:3]),
    ("client", FRAMES, b""),
    ("client", FRAMES, CLIENT_HELLO[3:100]),
    ("client", FRAMES, CLIENT_HELLO[100:] + READ),
    ("server", FRAMES, SERVER_HELLO + ANSWER[:1]),
    ("server", FRAMES, ANSWER[1:]),
    ("server", CLOSE, "Gerät wird neu gestartet".encode()),
    ("client", CLOSE, b""),
]

SECURE = {  # the secret as text or bytes, the kid, the suites, the dialogue
    "a_secret_of_hex_digits": (HEX, "", [secure.SUITE], DIALOGUE),
    "hex_digits_in_upper_case_are_the_same_secret": (HEX.upper(), "", [secure.SUITE], DIALOGUE),
    "the_fewest_hex_digits": ("00112233445566778899aabbccddeeff", "", [secure.SUITE], DIALOGUE),
    "a_secret_of_bytes": (bytes.fromhex("00ff80") + b"no text \xfe at all", "", [secure.SUITE], DIALOGUE),
    "a_secret_longer_than_a_block_of_the_hash": (bytes(range(200)), "", [secure.SUITE], DIALOGUE),
    "a_passphrase": ("correct horse battery staple", "", [secure.SUITE], DIALOGUE),
    "a_passphrase_with_a_kid": ("correct horse battery staple", "blue", [secure.SUITE], DIALOGUE),
    "a_passphrase_in_utf_8": ("пароль-密码-ключ-🔑", "", [secure.SUITE], DIALOGUE),
    "hex_digits_too_few_are_a_passphrase": ("0123456789abcdef0123456789abcd", "", [secure.SUITE], DIALOGUE),
    "a_kid_does_not_change_the_psk_of_hex_digits": (HEX, "blue", [secure.SUITE], DIALOGUE),
    "a_kid_beyond_ascii": (HEX, "schlüssel-鍵-🔑", [secure.SUITE], DIALOGUE),
    "a_passphrase_with_a_kid_beyond_ascii": ("correct horse battery staple", "ключ", [secure.SUITE], DIALOGUE),
    "a_kid_that_json_escapes": (HEX, 'a "kid" \\ b', [secure.SUITE], DIALOGUE),
    "a_kid_of_64_bytes": (HEX, "0123456789abcdef" * 4, [secure.SUITE], DIALOGUE),
    "a_suite_that_nobody_knows_is_offered_first": (HEX, "", ["of-a-later-version", secure.SUITE], DIALOGUE),
    "frames_cut_by_records": (HEX, "", [secure.SUITE], CUT),
}


def secure_file(given, kid, suites, dialogue):
    secret = secure.Secret(given)
    psk = secret.psk(kid)
    client = secure.Initiator(psk, kid, suites, CLIENT_EPHEMERAL)
    server = secure.Responder({kid: psk}, client.request, SERVER_EPHEMERAL)
    sides = {"client": client.finish(server.answer), "server": server.records}
    request_data, answer_data = peer.to_text(client.request), peer.to_text(server.answer)
    records = []
    for sender, kind, body in dialogue:
        sealed = sides[sender].seal(kind, body)
        receiver = sides["server" if sender == "client" else "client"]
        receiver.received += sealed
        assert receiver.next() == (kind, body)
        records.append({"from": sender, "type": kind, "body": body.hex(), "record": sealed.hex()})
    return {
        "secret_text": given if isinstance(given, str) else None,
        "secret_bytes": secret.octets.hex(),
        "kind": "passphrase" if secret.is_passphrase else "generated",
        "kid": kid,
        "suites": suites,
        "prologue": secure.prologue(suites, kid).hex(),
        "psk": psk.hex(),
        "client_ephemeral": CLIENT_EPHEMERAL.hex(),
        "server_ephemeral": SERVER_EPHEMERAL.hex(),
        "message_1": client.message.hex(),
        "message_2": server.message.hex(),
        "handshake_hash": client.noise.get_handshake_hash().hex(),
        "request_data": request_data,
        "answer_data": answer_data,
        "request_frame": encode_json(0, 2, 0, request_data).hex(),
        "answer_frame": encode_json(1, 2, 0, answer_data).hex(),
        "records": records,
    }


def all_files():
    for name, case in SECURE.items():
        yield f"secure/{name}.json", pretty(secure_file(*case))


if __name__ == "__main__":
    sys.exit(run(("secure",), all_files))
