"""Secure mode (docs/protocol.md 5.2): what a second implementation makes of a secret, and records over a socket.

The Noise protocol comes from the package noiseprotocol, Argon2id from argon2-cffi; the rest is the standard library.
Nothing here knows of frames: data of (0, 2) and (1, 2) come in and go out as values.
"""

import base64
import binascii
import hashlib
import hmac
import re
import struct
import sys
import warnings

try:
    from argon2.low_level import Type, hash_secret_raw
    from noise.connection import Keypair, NoiseConnection
    from noise.exceptions import NoiseInvalidMessage
except ImportError as error:
    sys.exit(
        "the package %s is missing: run `python3 -m pip install -r tests/python/requirements.txt`, "
        "or tests/run.sh, which puts it into target/python" % error.name
    )

SUITE = "NNpsk0-25519-CCP-SHA256"
NOISE = b"Noise_NNpsk0_25519_ChaChaPoly_SHA256"
PURPOSE = b"socketproto psk v2"
FRAMES, FINISHED, CLOSE = 0, 1, 2
TAG = 16
MAX_BODY = 65535 - TAG - 1
MAX_REASON = 256
MAX_KID = 64


class Refused(Exception):
    """A handshake that does not come about; the text is for this side alone."""


class Broken(ConnectionError):
    """A line that no more can be believed."""


# ---------------------------------------------------------------------------------------------------------------------
# Keys
# ---------------------------------------------------------------------------------------------------------------------


class Secret:
    """A generated secret (bytes, or 32 and more hex digits) or a passphrase (any other text)."""

    def __init__(self, given):
        is_hex = isinstance(given, str) and re.fullmatch("(?:[0-9a-fA-F]{2}){16,}", given)
        self.is_passphrase = isinstance(given, str) and not is_hex
        self.octets = bytes.fromhex(given) if is_hex else given.encode() if self.is_passphrase else given

    def psk(self, kid=""):
        if self.is_passphrase:
            salt = PURPOSE + b"\0" + kid.encode()
            return hash_secret_raw(
                self.octets, salt, time_cost=2, memory_cost=19456, parallelism=1, hash_len=32, type=Type.ID, version=0x13
            )
        return hkdf_sha256(b"", self.octets, PURPOSE)


def hkdf_sha256(salt, material, info):
    """RFC 5869 with an output of one block."""
    key = hmac.digest(salt or bytes(32), material, hashlib.sha256)
    return hmac.digest(key, info + b"\x01", hashlib.sha256)


def prologue(suites, kid):
    return b"socketproto/2\0" + ",".join(suites).encode() + b"\0" + kid.encode()


def noise(psk, suites, kid, ephemeral):
    """A handshake that has not begun; `ephemeral` is a private key for those who need the same bytes again."""
    handshake = NoiseConnection.from_name(NOISE)
    handshake.set_psks(psk)
    handshake.set_prologue(prologue(suites, kid))
    if ephemeral is not None:
        handshake.set_keypair_from_private_bytes(Keypair.EPHEMERAL, ephemeral)
    return handshake


def start(handshake):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about fixed ephemerals
        handshake.start_handshake()


# ---------------------------------------------------------------------------------------------------------------------
# The handshake
# ---------------------------------------------------------------------------------------------------------------------


class Initiator:
    """The client's half: `request` is the data of (0, 2), `finish` takes those of (1, 2)."""

    def __init__(self, psk, kid="", suites=(SUITE,), ephemeral=None):
        self.noise = noise(psk, suites, kid, ephemeral)
        self.noise.set_as_initiator()
        start(self.noise)
        self.message = bytes(self.noise.write_message())
        self.request = {"suites": list(suites), "kid": kid, "m": to_base64(self.message)}

    def finish(self, data):
        if not isinstance(data, dict) or data.get("suite") != SUITE:
            raise Refused("another suite than asked for: %r" % data)
        read_message(self.noise, from_base64(data.get("m")))
        return Records(self.noise)


class Responder:
    """The server's half: `psks` has a key for each kid; `answer` is the data of (1, 2)."""

    def __init__(self, psks, data, ephemeral=None):
        if not isinstance(data, dict):
            raise Refused("no object")
        suites, kid, message = data.get("suites"), data.get("kid"), from_base64(data.get("m"))
        if not isinstance(suites, list) or not all(isinstance(suite, str) for suite in suites):
            raise Refused("no list of suites")
        if not isinstance(kid, str) or len(kid.encode()) > MAX_KID:
            raise Refused("no kid")
        if SUITE not in suites:
            raise Refused("no suite in common")
        if kid not in psks:
            raise Refused("an unknown kid")
        self.noise = noise(psks[kid], suites, kid, ephemeral)
        self.noise.set_as_responder()
        start(self.noise)
        read_message(self.noise, message)
        self.message = bytes(self.noise.write_message())
        self.answer = {"suite": SUITE, "m": to_base64(self.message)}
        self.records = Records(self.noise)


def read_message(handshake, message):
    try:
        payload = handshake.read_message(message)
    except Exception as error:  # a wrong key, a wrong length, an impossible point: all the same here
        raise Refused("the message does not open: %r" % error) from error
    if payload:
        raise Refused("a payload in the handshake")


def to_base64(octets):
    return base64.b64encode(octets).decode("ascii")


def from_base64(text):
    try:
        if not isinstance(text, str) or len(text) != 64:
            raise ValueError("64 characters expected")
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise Refused("m: %s" % error) from error


# ---------------------------------------------------------------------------------------------------------------------
# Records
# ---------------------------------------------------------------------------------------------------------------------


class Records:
    """Both directions after the handshake."""

    def __init__(self, handshake):
        self.noise = handshake
        self.received = bytearray()

    def seal(self, kind, body=b""):
        """The bytes of one record."""
        return self.seal_plaintext(bytes([kind]) + body)

    def seal_plaintext(self, plaintext):
        ciphertext = self.noise.encrypt(plaintext)
        return struct.pack(">H", len(ciphertext)) + ciphertext

    def seal_stream(self, sent):
        """The records of a piece of the frame stream."""
        return b"".join(self.seal(FRAMES, sent[at : at + MAX_BODY]) for at in range(0, len(sent), MAX_BODY))

    def next(self):
        """The next record among the bytes received, as kind and body; None where it has not come in whole."""
        if len(self.received) < 2:
            return None
        (length,) = struct.unpack(">H", self.received[:2])
        if len(self.received) < 2 + length:
            return None
        ciphertext = bytes(self.received[2 : 2 + length])
        del self.received[: 2 + length]
        try:
            plaintext = self.noise.decrypt(ciphertext)
        except NoiseInvalidMessage as error:
            raise Broken("a record does not open") from error
        if not plaintext or plaintext[0] not in (FRAMES, FINISHED, CLOSE):
            raise Broken("a record of no known type: %r" % plaintext[:1])
        return plaintext[0], plaintext[1:]


def reason(body):
    """The text of a close record."""
    try:
        if len(body) > MAX_REASON:
            raise ValueError("%d bytes" % len(body))
        return body.decode("utf-8")
    except ValueError as error:
        raise Broken("a malformed reason: %s" % error) from error


class SecureStream:
    """Looks like the socket it wraps; what is sent and received goes through records."""

    def __init__(self, stream, records, received=b""):
        self.stream = stream
        self.records = records
        self.records.received += received  # what came behind the last message of the handshake
        self.trusted = False
        self.reason = None  # of the other side's close record

    def finish(self):
        """Waits for the other side's first record, which has to be its finished."""
        kind, body = self.record()
        if kind != FINISHED or body:
            raise Broken("the first record is of type %d, with %d bytes" % (kind, len(body)))
        self.trusted = True

    def record(self):
        while True:
            record = self.records.next()
            if record is not None:
                return record
            received = self.stream.recv(65536)
            if not received:
                raise Broken("the stream ends without a close record")
            self.records.received += received

    def recv(self, _):
        while True:
            kind, body = self.record()
            if kind == CLOSE:
                self.reason = reason(body)
                return b""
            if kind == FINISHED:
                raise Broken("a second finished record")
            if body:
                return body

    def sendall(self, sent):
        self.stream.sendall(self.records.seal_stream(sent))

    def send_record(self, kind, body=b""):
        self.stream.sendall(self.records.seal(kind, body))

    def settimeout(self, timeout):
        self.stream.settimeout(timeout)

    def close(self, reason=""):
        if self.trusted:
            try:
                self.send_record(CLOSE, reason.encode())
            except OSError:
                pass  # whoever has gone needs no reason
        self.stream.close()
