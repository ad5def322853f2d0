#!/usr/bin/env python3
"""A peer of socketproto on the Python standard library: a second opinion on docs/protocol.md.

As a module: `Peer` is one end of a connection (either end, either framing, either format), `Server` plays a listener.
As a program:

    peer.py check-thermostat --host H --port P --framing stp|length --format json|struct [--secret S]
    peer.py check-echo       --host H --port P --framing stp|length --format json|struct [--secret S] [--payloads DIR]
    peer.py serve-thermostat [--secret S] [--framing stp|length] [--new|--old] [--features message_id]
    peer.py serve-echo       (the same options)
    peer.py serve-mirror     (the same options)
    peer.py self-test

With `--security secure` the secret is proved as in 5.2 instead of 5.1, `--kid` names it, and the packages of
requirements.txt are needed; checks of that mode itself are in secure_checks.py.

The checks print one line each, `ok NAME`, `skip NAME: why` or `FAIL NAME: why`, and exit with 1 where one failed.
A server prints `listening on tcp://127.0.0.1:PORT`, one line on standard error for every request it gets, and ends
when its standard input does. Nothing here sleeps: what is to stay unanswered is followed by a request that is answered.
"""

import argparse
import hashlib
import hmac
import json
import os
import pathlib
import re
import socket
import struct
import sys
import threading
import time
import traceback
import zlib

AUTH, CHANNEL_NAME, READ, WRITE, EXECUTE = 0, 8, 10, 20, 30
HELLO, HEARTBEAT = 0xFFFF_0000, 0xFFFF_0002
HISTORY = 40  # of the thermostat
REQUESTS = (AUTH, CHANNEL_NAME, READ, WRITE, EXECUTE, HELLO, HEARTBEAT)
FEATURES = ("message_id", "heartbeat")  # a peer may leave some of them out
RESPONSES = tuple(request + 1 for request in REQUESTS)
SEED, KEY, SECURE = 0, 1, 2
OKAY, CALLBACK_ERROR, AUTH_REQUIRED, UNKNOWN, CHECKSUM_ERROR, NOT_PERMITTED = 0, 2, 3, 4, 5, 6

MAX_FRAME = 8 * 1024 * 1024
MAX_UNTRUSTED_FRAME = 4 * 1024
MAX_NESTING = 127
MAX_MESSAGE_ID = 2**53 - 1
WAIT = 10.0  # seconds; an answer that takes longer is a failure

# ---------------------------------------------------------------------------------------------------------------------
# Frames (docs/protocol.md section 2)
# ---------------------------------------------------------------------------------------------------------------------


class Malformed(Exception):
    """A frame that is no message."""


class BadChecksum(Exception):
    """A frame whose checksum is wrong; `message` is what it would have been, or None."""

    def __init__(self, message):
        super().__init__("checksum")
        self.message = message


class Message:
    def __init__(self, service_id, data_id, data_text="null", status=0, message_id=None, format="json"):
        self.service_id = service_id
        self.data_id = data_id
        self.data_text = data_text
        self.status = status
        self.message_id = message_id
        self.format = format
        self.raw = None  # the payload it came in

    @property
    def data(self):
        return json.loads(self.data_text)

    def encode(self):
        if self.format == "struct":
            head = struct.pack(">III", self.status, self.service_id, self.data_id) + self.data_text.encode()
            return head + xor(head)
        text = '{"data_id":%d,"service_id":%d,"status":%d,"data":' % (self.data_id, self.service_id, self.status)
        text += self.data_text
        if self.message_id is not None:
            text += ',"message_id":%d' % self.message_id
        return seal((text + "}").encode())

    def __repr__(self):
        data = shortened(self.data_text)
        number = "" if self.message_id is None else " #%d" % self.message_id
        return "(%d, %d) status %d %s%s [%s]" % (self.service_id, self.data_id, self.status, data, number, self.format)


def shortened(text):
    """For a line that somebody may read, or a pipe that nobody empties."""
    return text if len(text) <= 120 else "%d characters of data" % len(text)


def seal(text):
    return text + zlib.crc32(text).to_bytes(4, "big")


def xor(head):
    check = 0
    for byte in head:
        check ^= byte
    return bytes([check])


def to_text(value):
    """JSON as our side writes it: no blanks, characters as they are."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def refuse_constant(word):
    raise ValueError(word)


PARSER = json.JSONDecoder(parse_constant=refuse_constant, parse_int=str, parse_float=str)
SPACE = re.compile(r"[ \t\n\r]*")
INTEGER = re.compile(r"(?:0|[1-9][0-9]{0,19})\Z")
STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
STRING_OR_WORD = re.compile(STRING.pattern + r"|-?\bInfinity\b|\bNaN\b", re.DOTALL)
RANGES = {
    "service_id": (0, 2**32 - 1),
    "data_id": (0, 2**32 - 1),
    "status": (0, 2**24 - 1),
    "message_id": (1, MAX_MESSAGE_ID),
}


def nesting(text):
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def space(text, at):
    return SPACE.match(text, at).end()


def value(text, at):
    """The end of the value at `at`, and the value."""
    try:
        parsed, end = PARSER.raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from error
    return end, parsed


def parse_value(text):
    begin = space(text, 0)
    end, _ = value(text, begin)
    if space(text, end) != len(text):
        raise Malformed("characters behind the value")
    return text[begin:end]


def parse_envelope(text):
    parse_value(text)  # whole and well-formed: below, only positions are looked for
    fields = {}
    at = space(text, space(text, 0) + 1)
    while text[at] != "}":
        end, key = value(text, at)
        at = space(text, space(text, end) + 1)
        end, _ = value(text, at)
        if key == "data" or key in RANGES:
            if key in fields:
                raise Malformed("%s given twice" % key)
            fields[key] = text[at:end]
        at = space(text, end)
        if text[at] == ",":
            at = space(text, at + 1)
    for key, (lowest, highest) in RANGES.items():
        if key in fields:
            if not INTEGER.match(fields[key]) or not lowest <= int(fields[key]) <= highest:
                raise Malformed(key)
            fields[key] = int(fields[key])
    if "service_id" not in fields or "data_id" not in fields:
        raise Malformed("an id is missing")
    get = fields.get
    return Message(get("service_id"), get("data_id"), get("data", "null"), get("status", 0), get("message_id"))


def parse_text(raw, parse, levels):
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(str(error)) from error
    if nesting(text) > levels:
        raise Malformed("nested too deep")
    try:
        return parse(text)
    except Malformed:
        return parse(STRING_OR_WORD.sub(lambda found: found[0] if found[0][0] == '"' else "null", text))


def parse_json(head):
    return parse_text(head, parse_envelope, MAX_NESTING)


def parse_struct(head):
    return struct_message(head, parse_text(head[12:], parse_value, MAX_NESTING - 1))


def struct_message(head, data_text):
    status, service_id, data_id = struct.unpack(">III", head[:12])
    return Message(service_id, data_id, data_text, status, format="struct")


def decode(payload):
    """The message of a frame; raises Malformed or BadChecksum."""
    if payload[:1] == b"\0":
        if len(payload) < 14:
            raise Malformed("too short")
        head, check, good, parse = payload[:-1], payload[-1:], xor(payload[:-1]), parse_struct
    elif payload.lstrip(b" \t\n\r")[:1] == b"{" and len(payload) >= 6:
        head, check, good, parse = payload[:-4], payload[-4:], seal(payload[:-4])[-4:], parse_json
    else:
        raise Malformed("no known format")
    try:
        message = parse(head)
    except Malformed:
        if check == good:
            raise
        # The ids of a struct frame are in their place whatever its data are.
        raise BadChecksum(struct_message(head, "null") if parse is parse_struct else None) from None
    if check != good:
        raise BadChecksum(message)
    message.raw = payload
    return message


# ---------------------------------------------------------------------------------------------------------------------
# Framing (section 3)
# ---------------------------------------------------------------------------------------------------------------------

GAP, BROKEN, CLOSED = "gap", "broken", "closed"


class Stp:
    name = "stp"

    def __init__(self):
        self.pending = b""
        self.payload = None  # None between frames
        self.noise = False  # whether bytes between frames were dropped
        self.rest = False  # whether what comes is still the rest of a broken frame

    @staticmethod
    def encode(payload):
        return b":<" + payload.replace(b":", b":=") + b":>"

    def feed(self, received, limit=MAX_FRAME):
        """The pieces that `received` completes: payloads, GAP, BROKEN, CLOSED."""
        buffer, self.pending = self.pending + received, b""
        at = 0
        while at < len(buffer):
            colon = buffer.find(b":", at)
            literal = buffer[at:] if colon < 0 else buffer[at:colon]
            if self.payload is None:
                self.noise = self.noise or (bool(literal) and not self.rest)
            else:
                self.payload += literal
                if len(self.payload) > limit:
                    yield CLOSED
            if colon < 0:
                return
            if colon + 1 == len(buffer):
                self.pending = b":"
                return
            at = colon + 2
            mark = buffer[colon + 1 : at]
            if mark == b"<":
                if self.payload is not None:
                    yield BROKEN
                elif self.noise:
                    yield GAP
                self.payload, self.noise, self.rest = bytearray(), False, False
            elif self.payload is None:
                self.noise = not self.rest
                at -= mark == b":"
            elif mark == b"=":
                self.payload += b":"
            else:
                payload, self.payload = bytes(self.payload), None
                self.rest = mark != b">"
                yield payload if mark == b">" and payload else BROKEN
                at -= mark == b":"


class Length:
    name = "length"

    def __init__(self):
        self.buffer = bytearray()

    @staticmethod
    def encode(payload):
        return struct.pack(">I", len(payload)) + payload

    def feed(self, received, limit=MAX_FRAME):
        self.buffer += received
        while len(self.buffer) >= 4:
            (length,) = struct.unpack(">I", self.buffer[:4])
            if length > limit:
                yield CLOSED
                return
            if len(self.buffer) < 4 + length:
                return
            payload = bytes(self.buffer[4 : 4 + length])
            del self.buffer[: 4 + length]
            yield payload


FRAMINGS = {"stp": Stp, "length": Length}


def detect(first):
    """The framing that a connection's first byte asks for, or None."""
    if first == b":":
        return Stp()
    return Length() if first and first[0] <= 0x0F else None


# ---------------------------------------------------------------------------------------------------------------------
# A peer
# ---------------------------------------------------------------------------------------------------------------------


class Closed(Exception):
    """The other side closed the connection."""


class NoAnswer(Exception):
    """Nothing came in time."""


ANY = object()


class Peer:
    """One end of a connection. An old peer sends no HELLO and no message ids; that is the caller's to do or leave."""

    def __init__(self, stream, framing, format="json"):
        self.stream = stream
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.framing = framing
        self.format = format
        self.limit = MAX_FRAME
        self.inbox = []
        self.last_message_id = 0
        self.session = None

    @classmethod
    def connect(cls, host, port, framing="length", format="json", timeout=WAIT):
        stream = socket.create_connection((host, port), timeout)
        return cls(stream, FRAMINGS[framing](), format)

    @classmethod
    def accept(cls, stream, framing=None, format="json", timeout=None):
        """Takes an accepted socket; without `framing` the first byte decides. None where it names no framing."""
        stream.settimeout(timeout)
        found = FRAMINGS[framing]() if framing else detect(stream.recv(1, socket.MSG_PEEK))
        return cls(stream, found, format) if found else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stream.close()

    # sending

    def frame(self, service_id, data_id, data=None, status=0, message_id=None, format=None):
        """The bytes of one message on this stream."""
        return self.frame_text(service_id, data_id, to_text(data), status, message_id, format)

    def frame_text(self, service_id, data_id, data_text, status=0, message_id=None, format=None):
        message = Message(service_id, data_id, data_text, status, message_id, format or self.format)
        return self.framing.encode(message.encode())

    def send(self, service_id, data_id, data=None, status=0, message_id=None, format=None):
        self.send_raw(self.frame(service_id, data_id, data, status, message_id, format))

    def send_text(self, service_id, data_id, data_text, status=0, message_id=None, format=None):
        self.send_raw(self.frame_text(service_id, data_id, data_text, status, message_id, format))

    def send_payload(self, payload):
        self.send_raw(self.framing.encode(payload))

    def send_raw(self, sent):
        self.stream.settimeout(WAIT)
        try:
            self.stream.sendall(sent)
        except (BrokenPipeError, ConnectionError) as error:
            raise Closed(str(error)) from error

    def next_message_id(self):
        """Counts up from 1; None in the struct format, which cannot carry one."""
        if self.format == "struct":
            return None
        self.last_message_id += 1
        return self.last_message_id

    # receiving

    def pieces(self, timeout):
        """What the next bytes complete; waits for them at most `timeout` (None: for ever)."""
        self.stream.settimeout(timeout)
        try:
            received = self.stream.recv(65536)
        except socket.timeout as error:
            raise NoAnswer("no answer") from error
        except (ConnectionError, OSError) as error:
            raise Closed(str(error)) from error
        if not received:
            raise Closed("the other side closed")
        for piece in self.framing.feed(received, self.limit):
            yield piece

    def receive(self, service_id=None, data_id=None, message_id=ANY, timeout=WAIT):
        """The first message that fits, in order of arrival; others stay in the inbox."""
        deadline = time.monotonic() + timeout

        def fits(message):
            return (
                service_id in (None, message.service_id)
                and data_id in (None, message.data_id)
                and (message_id is ANY or message_id == message.message_id)
            )

        while True:
            for at, message in enumerate(self.inbox):
                if fits(message):
                    return self.inbox.pop(at)
            for piece in self.pieces(max(0.001, deadline - time.monotonic())):
                if isinstance(piece, str):
                    raise AssertionError("the other side's stream holds a piece that is %s" % piece)
                message = decode(piece)
                if message.service_id == HEARTBEAT and self.session:
                    self.send(HEARTBEAT + 1, message.data_id, {"session": self.session}, OKAY, message.message_id)
                else:
                    self.inbox.append(message)

    def request(self, service_id, data_id, data=None, status=0, message_id=ANY, format=None, timeout=WAIT):
        """Sends a request and waits for its answer. Without `message_id` the next one of this connection is used."""
        return self.request_text(service_id, data_id, to_text(data), status, message_id, format, timeout)

    def request_text(self, service_id, data_id, data_text, status=0, message_id=ANY, format=None, timeout=WAIT):
        if message_id is ANY:
            message_id = None if format == "struct" else self.next_message_id()
        self.send_text(service_id, data_id, data_text, status, message_id, format)
        return self.receive(service_id + 1, data_id, message_id, timeout)

    def wait_closed(self, timeout=WAIT):
        """Whether the other side closes, without sending a byte before."""
        self.stream.settimeout(timeout)
        try:
            return self.stream.recv(1) == b""
        except socket.timeout:
            return False
        except (ConnectionError, OSError):
            return True

    # secure mode

    def secure(self, psk, kid=""):
        """The client's side of 5.2, up to the point where both sides trust each other."""
        import secure

        offer = secure.Initiator(psk, kid)
        self.send(AUTH, SECURE, offer.request)
        answer, behind = self.first_frame()
        if (answer.service_id, answer.data_id) != (AUTH + 1, SECURE) or answer.status != OKAY:
            raise secure.Refused("answered %r" % answer)
        self.enter(offer.finish(answer.data), behind)

    def first_frame(self, timeout=WAIT):
        """The first message of the other side, with length framing, and the bytes that came behind it."""
        for _ in range(10000):
            for piece in self.pieces(timeout):
                behind, self.framing = bytes(self.framing.buffer), Length()
                return decode(piece), behind
        raise NoAnswer("no frame in so many reads")

    def enter(self, records, behind=b""):
        """Everything from here on is in records; `behind` are the bytes of records that have come already."""
        import secure

        stream = secure.SecureStream(self.stream, records, behind)
        stream.settimeout(WAIT)
        stream.send_record(secure.FINISHED)
        stream.finish()
        self.stream, self.framing = stream, Length()

    # the exchanges of section 4

    def hello(self, features=FEATURES, session=None):
        self.session = session or os.urandom(8).hex()
        data = {
            "session": self.session,
            "features": list(features),
            "max_frame": MAX_FRAME,
            "max_in_flight": 256,
        }
        return self.request(HELLO, 0, data)

    def heartbeat(self, session=None):
        return self.request(HEARTBEAT, 0, {"session": session or self.session or os.urandom(8).hex()})

    def channel_name(self, name=None):
        return self.request(CHANNEL_NAME, 0, name)

    def seed(self):
        answer = self.request(AUTH, SEED)
        if answer.status != OKAY or not re.fullmatch("[0-9a-f]{64}", str(answer.data)):
            raise AssertionError("no seed: %r" % answer)
        return answer.data

    def authenticate(self, secret):
        """Legacy authentication, the client's side (5.1)."""
        answer = self.request(AUTH, KEY, key_of(self.seed(), secret))
        return answer.status == OKAY and answer.data is True


def key_of(seed, secret):
    return hashlib.sha512(seed.encode("ascii") + secret.encode("utf-8")).hexdigest()


# ---------------------------------------------------------------------------------------------------------------------
# A server
# ---------------------------------------------------------------------------------------------------------------------


class Fault(Exception):
    def __init__(self, status, text=None):
        super().__init__(text)
        self.status = status
        self.text = text


class Thermostat:
    """The device of the `thermostat` example."""

    SERVICES = (READ, WRITE, EXECUTE, HISTORY)
    PUBLIC = {(READ, 3)}
    DECLARED = {1: {READ, HISTORY}, 2: {READ, WRITE}, 3: {READ}, 4: {EXECUTE}, 5: {EXECUTE}}

    def __init__(self):
        self.temperature = 21.0
        self.setpoint = 20.0
        self.started = time.monotonic()
        self.points = [{"at_s": 0, "temperature": self.temperature}]

    def handle(self, message, _):
        sids = self.DECLARED.get(message.data_id, ())
        if message.service_id not in sids:
            if message.service_id == READ:  # the fallback of its declaration
                raise Fault(UNKNOWN, "a thermostat has no data %d to read" % message.data_id)
            raise Fault(NOT_PERMITTED if sids else UNKNOWN)
        answers = {
            (READ, 1): lambda data: self.temperature,
            (READ, 2): lambda data: self.setpoint,
            (READ, 3): lambda data: int(time.monotonic() - self.started),
            (WRITE, 2): self.set_setpoint,
            (EXECUTE, 4): self.reset,
            (EXECUTE, 5): self.calibrate,
            (HISTORY, 1): self.history,
        }
        return to_text(answers[message.service_id, message.data_id](message.data))

    def set_setpoint(self, degrees):
        if not is_number(degrees):
            raise Fault(CALLBACK_ERROR, "invalid type, expected f64")
        if not 5 <= degrees <= 30:
            raise Fault(NOT_PERMITTED, "between 5 and 30")
        self.setpoint = float(degrees)

    def reset(self, arguments):
        if not isinstance(arguments, dict) or not isinstance(arguments.get("hard"), bool):
            raise Fault(CALLBACK_ERROR, "expected an object with the boolean `hard`")
        uptime = int(time.monotonic() - self.started)
        self.started = time.monotonic()
        self.points = [{"at_s": 0, "temperature": self.temperature}]
        return {"uptime_s": uptime}

    def calibrate(self, arguments):
        if not isinstance(arguments, list) or len(arguments) != 2 or not all(map(is_number, arguments)):
            raise Fault(CALLBACK_ERROR, "expected two numbers")
        self.temperature += 0.1
        self.points.append({"at_s": int(time.monotonic() - self.started), "temperature": self.temperature})
        return self.temperature

    def history(self, arguments):
        last = arguments.get("last") if isinstance(arguments, dict) else None
        if type(last) is not int or not 0 <= last < 2**32:
            raise Fault(CALLBACK_ERROR, "expected an object with the number `last`")
        return self.points[max(0, len(self.points) - last) :]


class Echo:
    """Answers every read, write and execute with its own data."""

    SERVICES = (READ, WRITE, EXECUTE)
    PUBLIC = frozenset()

    def handle(self, message, _):
        return message.data_text


class Mirror:
    """Calls whoever calls it. Datum 1 is read, 2 echoes what it is executed with, 3 is read by everybody; 4 is executed with
    the number of a datum, reads that of the caller, and answers with it."""

    SERVICES = (READ, EXECUTE)
    PUBLIC = {(READ, 3)}

    def handle(self, message, peer):
        if (message.service_id, message.data_id) == (EXECUTE, 4):
            answer = peer.request(READ, message.data)
            if answer.status != OKAY:
                raise Fault(CALLBACK_ERROR, "the caller answered %r" % answer)
            return answer.data_text
        answers = {(READ, 1): "7", (READ, 3): "8", (EXECUTE, 2): message.data_text}
        if (message.service_id, message.data_id) not in answers:
            raise Fault(UNKNOWN)
        return answers[message.service_id, message.data_id]


def is_number(data):
    return isinstance(data, (int, float)) and not isinstance(data, bool)


class Server:
    """Accepts connections on a port of its own; each is served by its own thread."""

    def __init__(
        self,
        device,
        secret=None,
        framing=None,
        old=False,
        features=FEATURES,
        name=None,
        log=None,
        security="legacy",
        kid="",
    ):
        self.device = device
        self.secret = secret
        self.psks = {kid: derive(secret, kid)} if security == "secure" else None
        self.framing = framing
        self.old = old
        self.features = () if old else tuple(features)
        self.name = name
        self.session = os.urandom(8).hex()
        self.lock = threading.Lock()
        self.log = log or (lambda line: None)
        self.threads = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(stream,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def close(self):
        self.listener.close()

    def wait_idle(self):
        """Waits for the ends of the connections, so that they are all told; not for ever."""
        deadline = time.monotonic() + WAIT
        for thread in list(self.threads):
            thread.join(max(0, deadline - time.monotonic()))

    def serve(self, stream):
        peer = None
        try:
            peer = Peer.accept(stream, self.framing)
            if peer is not None:
                Connection(self, peer).run()
        except (Closed, OSError) as end:
            reason = getattr(peer and peer.stream, "reason", None)
            self.log("broken: %s" % end if reason is None else "closed: %r" % reason)
        finally:
            (peer or stream).close()


def derive(secret, kid):
    """The psk of a secret, given as text."""
    import secure

    return secure.Secret(secret).psk(kid)


class Connection:
    """One accepted connection: the gate, the reserved services, the dispatch (sections 4 to 7)."""

    def __init__(self, server, peer):
        self.server = server
        self.peer = peer
        self.trusted = False
        self.frames = 0
        self.open_seed = None
        self.hello_answer = None

    def run(self):
        while True:
            while self.peer.inbox:  # what came while a device waited for an answer
                self.message(self.peer.inbox.pop(0))
            self.peer.limit = MAX_UNTRUSTED_FRAME if self.server.secret and not self.trusted else MAX_FRAME
            for piece in self.peer.pieces(timeout=None):
                if piece == CLOSED:
                    return
                if not isinstance(piece, str):
                    self.frame(piece)

    def frame(self, payload):
        self.frames += 1
        try:
            self.message(decode(payload))
        except Malformed:
            pass
        except BadChecksum as error:
            message = error.message
            if message and message.service_id in self.server.device.SERVICES and self.lets_through(message):
                self.answer(message, CHECKSUM_ERROR)

    def lets_through(self, message):
        allowed = (message.service_id, message.data_id) in self.server.device.PUBLIC
        return not self.server.secret or self.trusted or allowed

    def message(self, message):
        service_id = message.service_id
        services = self.server.device.SERVICES
        if service_id not in services + REQUESTS or (service_id in (HELLO, HEARTBEAT) and self.server.old):
            return
        self.server.log(
            "request (%d, %d) status %d %s%s"
            % (
                service_id,
                message.data_id,
                message.status,
                "-" if service_id == AUTH else shortened(message.data_text),
                "" if message.message_id is None else " #%d" % message.message_id,
            )
        )
        if service_id in (*services, HEARTBEAT) and not self.lets_through(message):
            return self.answer(message, AUTH_REQUIRED)
        handlers = {
            (AUTH, SEED): self.seed,
            (AUTH, KEY): self.key,
            (AUTH, SECURE): self.secure,
            (CHANNEL_NAME, 0): self.channel_name,
            (HELLO, 0): self.hello,
            (HEARTBEAT, 0): self.heartbeat,
        }
        handle = handlers.get((service_id, message.data_id))
        if service_id in services:
            handle = self.device
        try:
            if handle is None:
                raise Fault(UNKNOWN)
            data_text = handle(message)
            if data_text is not None:
                self.answer(message, OKAY, data_text)
        except Fault as fault:
            shown = fault.text is not None and (self.trusted or not self.server.secret)
            self.answer(message, fault.status, to_text({"error": fault.text}) if shown else "null")

    def answer(self, request, status, data_text="null"):
        message_id = request.message_id if "message_id" in self.server.features else None
        self.peer.send_text(request.service_id + 1, request.data_id, data_text, status, message_id, request.format)

    def device(self, message):
        with self.server.lock:
            return self.server.device.handle(message, self.peer)

    def hello(self, message):
        if not isinstance(message.data, dict):
            raise Fault(CALLBACK_ERROR, "expected an object")
        if message.data.get("session") == self.server.session:
            raise Closed("our own echo")
        self.hello_answer = self.hello_answer or to_text(
            {
                "session": self.server.session,
                "features": list(self.server.features),
                "max_frame": MAX_FRAME,
                "max_in_flight": 256,
            }
        )
        return self.hello_answer

    def heartbeat(self, message):
        session = message.data.get("session") if isinstance(message.data, dict) else None
        if not isinstance(session, str):
            raise Fault(CALLBACK_ERROR, "expected an object with a session")
        if session == self.server.session:
            raise Closed("our own echo")
        return to_text({"session": self.server.session})

    def channel_name(self, message):
        name = message.data
        if name is None:
            return to_text(self.server.name)
        controls = re.compile("[\x00-\x1f\x7f-\x9f]")
        if not isinstance(name, str) or not 1 <= len(name) <= 64 or controls.search(name):
            raise Fault(CALLBACK_ERROR, "expected text of 1 to 64 characters")
        return "null"

    def secure(self, message):
        """5.2, the server's side; whoever is refused learns nothing but that. Answers by itself."""
        if self.server.psks is None:
            # One that knows legacy logins alone does not know this request; without a secret there is nothing to prove.
            raise Fault(UNKNOWN if self.server.secret or self.server.old else NOT_PERMITTED)
        import secure

        try:
            if self.frames > 1 or not isinstance(self.peer.framing, Length):
                raise secure.Refused("not the first frame, or not with length framing")
            if self.peer.framing.buffer:
                raise Closed("bytes behind the first message")
            handshake = secure.Responder(self.server.psks, message.data)
        except secure.Refused as error:
            self.answer(message, NOT_PERMITTED)
            raise Closed("refused: %s" % error) from error
        self.answer(message, OKAY, to_text(handshake.answer))
        self.peer.enter(handshake.records)
        self.trusted = True

    def seed(self, message):
        if not self.server.secret or self.server.psks:
            raise Fault(NOT_PERMITTED)
        self.open_seed = os.urandom(32).hex()
        return to_text(self.open_seed)

    def key(self, message):
        if not self.server.secret or self.server.psks:
            raise Fault(NOT_PERMITTED)
        seed, self.open_seed = self.open_seed, None
        shown = message.data if isinstance(message.data, str) else ""
        right = seed is not None and hmac.compare_digest(
            key_of(seed, self.server.secret).encode(), shown.lower().encode("utf-8", "replace")
        )
        self.trusted = right
        return to_text(right)


# ---------------------------------------------------------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------------------------------------------------------


class Skip(Exception):
    """The check does not apply to this connection."""


class Checks:
    """Every method whose name begins with `check_` is one check; the rest of the name is what it shows."""

    def __init__(self, host, port, framing, format, secret=None, prefix="", old_server=False, security="legacy", kid=""):
        self.host, self.port = host, port
        self.framing, self.format = framing, format
        self.secret = secret
        self.kid = kid
        self.psk = derive(secret, kid) if security == "secure" else None
        self.prefix = prefix
        self.old_server = old_server
        self.failed = 0

    def run(self):
        for attribute in type(self).__dict__:
            if attribute.startswith("check_"):
                self.report(attribute[len("check_") :], getattr(self, attribute))
        return self.failed

    def report(self, name, check):
        name = self.prefix + name
        try:
            check()
            print("ok " + name, flush=True)
        except Skip as reason:
            print("skip %s: %s" % (name, reason), flush=True)
        except Exception as error:  # whatever went wrong, the other checks are to run
            where = [entry for entry in traceback.extract_tb(error.__traceback__) if entry.name.startswith("check_")]
            line = " (line %d)" % where[-1].lineno if where else ""
            why = (str(error) or type(error).__name__).replace("\n", " ")
            print("FAIL %s: %s%s" % (name, why, line), flush=True)
            self.failed += 1

    def connect(self):
        return Peer.connect(self.host, self.port, self.framing, self.format)

    def open(self):
        """A connection that may do everything: HELLO with length framing, a login where there is a secret."""
        peer = self.connect()
        if self.psk:
            peer.secure(self.psk, self.kid)
        if self.framing == "length":
            peer.hello()
        if self.secret and not self.psk:
            expect(peer.authenticate(self.secret), "the right key is refused")
        return peer

    def need_secret(self):
        if not self.secret:
            raise Skip("no secret")

    def need_legacy(self):
        self.need_secret()
        if self.psk:
            raise Skip("secure mode")

    def need_json(self):
        if self.format != "json":
            raise Skip("the struct format has no message_id")


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


def expect_answer(answer, status, data=ANY):
    expect(answer.status == status, "expected status %d, got %r" % (status, answer))
    if data is not ANY:
        expect(answer.data == data, "expected data %s, got %r" % (to_text(data), answer))
    return answer.data


def expect_error(answer, status):
    """An error outcome with a text."""
    data = expect_answer(answer, status)
    fits = isinstance(data, dict) and list(data) == ["error"] and isinstance(data["error"], str) and data["error"]
    expect(fits and len(data["error"].encode()) <= 1024, 'expected {"error": TEXT}, got %r' % answer)


class ThermostatChecks(Checks):
    """What can be seen of the thermostat from outside."""

    def fence(self, peer, service_id=READ, data_id=3):
        """Everything sent before has been dealt with, and nothing was answered but this (which everybody may ask)."""
        answer = peer.request(service_id, data_id)
        expect_answer(answer, OKAY)
        expect(not peer.inbox, "expected silence, got %r" % peer.inbox)

    # 7.1 HELLO

    def check_hello_is_answered(self):
        if self.old_server:
            raise Skip("an old server knows no HELLO")
        with self.connect() as peer:
            data = expect_answer(peer.hello(), OKAY)
            expect(isinstance(data, dict), "expected an object, got %r" % data)
            expect(re.fullmatch("[0-9a-f]{16}", str(data.get("session"))), "session: %r" % data.get("session"))
            features = data.get("features")
            expect(isinstance(features, list) and "message_id" in features, "features: %r" % features)
            for limit in ("max_frame", "max_in_flight"):
                expect(type(data.get(limit)) is int and data[limit] > 0, "%s: %r" % (limit, data.get(limit)))
            self.fence(peer)

    def check_a_second_hello_gets_the_first_answer(self):
        if self.old_server:
            raise Skip("an old server knows no HELLO")
        with self.connect() as peer:
            first, second = peer.hello(), peer.hello(features=())
            expect(first.data_text == second.data_text, "%r, then %r" % (first, second))
            answer = peer.request(READ, 3)
            expect_answer(answer, OKAY)

    def check_the_session_is_the_same_on_every_connection(self):
        if self.old_server:
            raise Skip("an old server knows no HELLO")
        with self.connect() as one, self.connect() as two:
            expect(one.hello().data["session"] == two.hello().data["session"], "two sessions")

    def check_hello_with_the_servers_own_session_closes(self):
        if self.old_server:
            raise Skip("an old server knows no HELLO")
        with self.connect() as peer:
            session = peer.hello().data["session"]
        with self.connect() as peer:
            try:
                answer = peer.hello(session=session)
            except Closed:
                return
            raise AssertionError("answered %r" % answer)

    def check_an_unknown_did_of_hello_gets_status_4(self):
        if self.old_server:
            raise Skip("an old server knows no HELLO")
        with self.open() as peer:
            expect_answer(peer.request(HELLO, 5), UNKNOWN, None)

    # 7.3 heartbeat

    def check_a_heartbeat_is_answered_with_the_session(self):
        if self.old_server:
            raise Skip("an old server knows no heartbeat")
        with self.open() as peer:
            answer = expect_answer(peer.heartbeat(), OKAY)
            expect(list(answer) == ["session"], "expected a session, got %r" % answer)
            with self.connect() as other:
                expect(other.hello().data["session"] == answer["session"], "two sessions")

    def check_an_odd_heartbeat_gets_status_2_and_an_unknown_did_status_4(self):
        if self.old_server:
            raise Skip("an old server knows no heartbeat")
        with self.open() as peer:
            for data in (None, [], {}, {"session": 5}):
                expect_error(peer.request(HEARTBEAT, 0, data), CALLBACK_ERROR)
            expect_answer(peer.request(HEARTBEAT, 5), UNKNOWN, None)

    def check_a_heartbeat_before_the_login_gets_status_3(self):
        self.need_secret()
        if self.old_server:
            raise Skip("an old server knows no heartbeat")
        with self.connect() as peer:
            expect_answer(peer.heartbeat(), AUTH_REQUIRED, None)

    def check_a_heartbeat_with_the_servers_own_session_closes(self):
        if self.old_server:
            raise Skip("an old server knows no heartbeat")
        with self.open() as peer:
            session = peer.heartbeat().data["session"]
            try:
                answer = peer.heartbeat(session)
            except Closed:
                return
            raise AssertionError("answered %r" % answer)

    def check_stp_works_without_hello(self):
        if self.framing != "stp":
            raise Skip("length framing begins with HELLO")
        with self.connect() as peer:
            self.fence(peer)

    # 4 channel name

    def check_a_null_channel_name_gets_the_servers(self):
        with self.connect() as peer:
            name = expect_answer(peer.channel_name(None), OKAY)
            expect(name is None or (isinstance(name, str) and 1 <= len(name) <= 64), "name: %r" % name)

    def check_a_channel_name_is_taken_over(self):
        for name in ("cellar", "x", "é" * 64, "a b:c"):
            with self.connect() as peer:
                expect_answer(peer.channel_name(name), OKAY, None)
                self.fence(peer)

    def check_an_invalid_channel_name_gets_status_2(self):
        for name in ("", "x" * 65, "a\nb", "a\x7fb", 5, True, ["x"], {"name": "x"}):
            with self.connect() as peer:
                answer = peer.channel_name(name)
                expect(answer.status == CALLBACK_ERROR, "%r: %r" % (name, answer))
                self.fence(peer)

    def check_an_unknown_did_of_the_channel_name_gets_status_4(self):
        with self.open() as peer:
            expect_answer(peer.request(CHANNEL_NAME, 5), UNKNOWN, None)

    # 5.1 authentication

    def check_without_a_secret_authentication_gets_status_6(self):
        if self.secret:
            raise Skip("a secret is set")
        with self.connect() as peer:
            expect_answer(peer.request(AUTH, SEED), NOT_PERMITTED, None)
            expect_answer(peer.request(AUTH, KEY, "ab" * 64), NOT_PERMITTED, None)
            self.fence(peer)

    def check_an_unknown_did_of_authentication_gets_status_4(self):
        with self.open() as peer:
            expect_answer(peer.request(AUTH, 7), UNKNOWN, None)

    def check_the_right_key_gets_true(self):
        self.need_legacy()
        with self.connect() as peer:
            expect_answer(peer.request(AUTH, KEY, key_of(peer.seed(), self.secret)), OKAY, True)
            expect_answer(peer.request(READ, 1), OKAY)

    def check_a_wrong_key_gets_false(self):
        self.need_legacy()
        with self.connect() as peer:
            expect_answer(peer.request(AUTH, KEY, key_of(peer.seed(), self.secret + "x")), OKAY, False)
            expect_answer(peer.request(READ, 1), AUTH_REQUIRED, None)

    def check_after_a_wrong_key_the_right_one_still_works(self):
        self.need_legacy()
        with self.connect() as peer:
            expect(not peer.authenticate(self.secret + "x"), "a wrong key is taken")
            expect(peer.authenticate(self.secret), "the right key is refused")

    def check_keys_of_another_type_get_false(self):
        self.need_legacy()
        for key in (None, True, 5, "", "zz" * 64, "ab" * 63, ["ab" * 64]):
            with self.connect() as peer:
                peer.seed()
                answer = peer.request(AUTH, KEY, key)
                expect(answer.data is not True, "%r: %r" % (key, answer))
                expect_answer(peer.request(READ, 1), AUTH_REQUIRED, None)

    def check_a_key_without_a_seed_gets_false(self):
        self.need_legacy()
        with self.connect() as peer:
            expect_answer(peer.request(AUTH, KEY, key_of("0" * 64, self.secret)), OKAY, False)

    def check_a_key_of_another_connections_seed_gets_false(self):
        self.need_legacy()
        with self.connect() as one, self.connect() as two:
            seed = one.seed()
            expect(seed != two.seed(), "two connections got one seed")
            expect_answer(two.request(AUTH, KEY, key_of(seed, self.secret)), OKAY, False)

    def check_a_second_key_on_one_seed_gets_false(self):
        self.need_legacy()
        with self.connect() as peer:
            seed = peer.seed()
            expect_answer(peer.request(AUTH, KEY, key_of(seed, "wrong")), OKAY, False)
            expect_answer(peer.request(AUTH, KEY, key_of(seed, self.secret)), OKAY, False)
            expect_answer(peer.request(READ, 1), AUTH_REQUIRED, None)

    def check_a_new_seed_kills_the_old(self):
        self.need_legacy()
        with self.connect() as peer:
            old, new = peer.seed(), peer.seed()
            expect(old != new, "the same seed twice")
            expect_answer(peer.request(AUTH, KEY, key_of(old, self.secret)), OKAY, False)
            expect_answer(peer.request(AUTH, KEY, key_of(new, self.secret)), OKAY, False)

    def check_a_seed_asked_while_trusted_changes_nothing(self):
        self.need_legacy()
        with self.open() as peer:
            peer.seed()
            expect_answer(peer.request(READ, 1), OKAY)

    def check_a_right_key_while_trusted_stays_trusted(self):
        self.need_legacy()
        with self.open() as peer:
            expect(peer.authenticate(self.secret), "the second login is refused")
            expect_answer(peer.request(READ, 1), OKAY)

    def check_a_wrong_key_while_trusted_leads_to_untrusted(self):
        self.need_legacy()
        with self.open() as peer:
            expect(not peer.authenticate(self.secret + "x"), "a wrong key is taken")
            expect_answer(peer.request(READ, 1), AUTH_REQUIRED, None)

    def check_frames_behind_a_right_key_are_let_through(self):
        self.need_legacy()
        with self.connect() as peer:
            key = key_of(peer.seed(), self.secret)
            peer.send_raw(peer.frame(AUTH, KEY, key) + peer.frame(READ, 1))
            expect_answer(peer.receive(AUTH + 1, KEY), OKAY, True)
            expect_answer(peer.receive(READ + 1, 1), OKAY)

    def check_frames_behind_a_wrong_key_are_refused(self):
        self.need_legacy()
        with self.connect() as peer:
            key = key_of(peer.seed(), self.secret + "x")
            peer.send_raw(peer.frame(AUTH, KEY, key) + peer.frame(READ, 1))
            expect_answer(peer.receive(AUTH + 1, KEY), OKAY, False)
            expect_answer(peer.receive(READ + 1, 1), AUTH_REQUIRED, None)

    def check_a_login_in_the_other_format(self):
        self.need_legacy()
        with self.connect() as peer:
            peer.format = other(self.format)
            expect(peer.authenticate(self.secret), "the right key is refused")

    # 5.3 the gate

    def check_untrusted_requests_get_status_3(self):
        self.need_secret()
        with self.connect() as peer:
            for service_id, data_id, data in (
                (READ, 1, None),
                (READ, 2, None),
                (WRITE, 2, 21.0),
                (WRITE, 2, "no number"),
                (WRITE, 1, 5),
                (EXECUTE, 4, {"hard": True}),
                (EXECUTE, 5, [1, 2]),
                (READ, 999, None),
                (EXECUTE, 3, None),
                (HISTORY, 1, {"last": 1}),
            ):
                expect_answer(peer.request(service_id, data_id, data), AUTH_REQUIRED, None)

    def check_an_untrusted_public_read_is_answered(self):
        self.need_secret()
        with self.connect() as peer:
            self.fence(peer)

    def check_untrusted_messages_of_unknown_services_are_dropped(self):
        self.need_secret()
        with self.connect() as peer:
            peer.send(50, 1)
            peer.send(51, 1, message_id=peer.next_message_id())
            peer.send(READ + 1, 1, 5)
            self.fence(peer)

    def check_an_untrusted_bad_checksum_is_dropped(self):
        self.need_secret()
        with self.connect() as peer:
            peer.send_payload(spoilt(Message(READ, 1, format=self.format)))
            self.fence(peer)

    def check_an_untrusted_bad_checksum_of_a_public_read_gets_status_5(self):
        self.need_secret()
        with self.connect() as peer:
            peer.send_payload(spoilt(Message(READ, 3, format=self.format)))
            expect_answer(peer.receive(READ + 1, 3), CHECKSUM_ERROR, None)

    def check_an_untrusted_frame_above_4_kib_closes(self):
        self.need_secret()
        with self.connect() as peer:
            try:
                peer.send(READ, 3, "x" * 5000)
                expect(peer.wait_closed(), "the connection stays open")
            except Closed:
                pass

    def check_trust_lifts_the_limit_of_4_kib(self):
        self.need_secret()
        with self.open() as peer:
            expect_error(peer.request(WRITE, 2, "x" * 100000), CALLBACK_ERROR)

    # 6 dispatch: the declared data

    def check_a_read_of_the_temperature(self):
        with self.open() as peer:
            expect(is_number(expect_answer(peer.request(READ, 1), OKAY)), "no number")

    def check_a_read_of_the_uptime(self):
        with self.open() as peer:
            uptime = expect_answer(peer.request(READ, 3), OKAY)
            expect(type(uptime) is int and uptime >= 0, "no unsigned integer: %r" % uptime)

    def check_a_written_setpoint_is_read_back(self):
        with self.open() as peer:
            for degrees in (22.5, 5, 30, 21):
                expect_answer(peer.request(WRITE, 2, degrees), OKAY, None)
                expect_answer(peer.request(READ, 2), OKAY, degrees)

    def check_a_setpoint_out_of_range_gets_status_6_and_changes_nothing(self):
        with self.open() as peer:
            before = peer.request(READ, 2).data
            for degrees in (4.9, 30.1, -1e300, 1e300):
                expect_error(peer.request(WRITE, 2, degrees), NOT_PERMITTED)
            expect_answer(peer.request(READ, 2), OKAY, before)

    def check_data_of_another_type_get_status_2(self):
        with self.open() as peer:
            for service_id, data_id, data in (
                (WRITE, 2, "warm"),
                (WRITE, 2, None),
                (WRITE, 2, [21]),
                (EXECUTE, 4, {}),
                (EXECUTE, 4, {"hard": 1}),
                (EXECUTE, 4, None),
                (EXECUTE, 5, [1]),
                (EXECUTE, 5, [1, "two"]),
                (EXECUTE, 5, None),
                (HISTORY, 1, {"last": -1}),
                (HISTORY, 1, None),
            ):
                expect_error(peer.request(service_id, data_id, data), CALLBACK_ERROR)
            self.fence(peer)

    def check_execute_reset(self):
        with self.open() as peer:
            data = expect_answer(peer.request(EXECUTE, 4, {"hard": False}), OKAY)
            expect(isinstance(data, dict) and list(data) == ["uptime_s"], "data: %r" % data)
            expect(type(data["uptime_s"]) is int and data["uptime_s"] >= 0, "data: %r" % data)

    def check_execute_calibrate(self):
        with self.open() as peer:
            expect(is_number(expect_answer(peer.request(EXECUTE, 5, [20.0, 21.0]), OKAY)), "no number")

    def check_the_history_ends_with_the_last_temperature(self):
        with self.open() as peer:
            expect_answer(peer.request(EXECUTE, 5, [20.0, 21.0]), OKAY)
            temperature = peer.request(READ, 1).data
            for last, count in ((0, 0), (1, 1), (2, 2)):
                points = expect_answer(peer.request(HISTORY, 1, {"last": last}), OKAY)
                expect(isinstance(points, list) and len(points) == count, "points: %r" % points)
                for point in points:
                    expect(list(point) == ["at_s", "temperature"], "point: %r" % point)
                    expect(type(point["at_s"]) is int and is_number(point["temperature"]), "point: %r" % point)
                expect(not points or points[-1]["temperature"] == temperature, "points: %r" % points)

    def check_a_request_with_a_status_is_dispatched_all_the_same(self):
        with self.open() as peer:
            expect_answer(peer.request(READ, 3, status=7), OKAY)

    # 6 dispatch: the rest of the table

    def check_a_did_of_another_service_gets_status_6(self):
        with self.open() as peer:
            for service_id, data_id in ((WRITE, 1), (WRITE, 3), (EXECUTE, 1), (EXECUTE, 2), (HISTORY, 2), (WRITE, 5)):
                expect_answer(peer.request(service_id, data_id, 5), NOT_PERMITTED, None)

    def check_an_unknown_did_gets_status_4(self):
        with self.open() as peer:
            for service_id in (WRITE, EXECUTE, HISTORY):
                for data_id in (0, 999, 2**32 - 1):
                    expect_answer(peer.request(service_id, data_id, 5), UNKNOWN, None)

    def check_other_reads_come_to_the_fallback_which_gives_status_4(self):
        with self.open() as peer:
            for data_id in (0, 4, 5, 999, 2**32 - 1):
                answer = peer.request(READ, data_id, 5)
                expect_error(answer, UNKNOWN)
                expect("data %d " % data_id in answer.data["error"], "names another: %r" % answer)

    def check_an_unregistered_sid_is_not_answered(self):
        with self.open() as peer:
            for service_id in (50, 12, 2, 0xFFFE_FFFF):
                peer.send(service_id, 1)
            self.fence(peer)

    def check_unasked_responses_are_not_answered(self):
        with self.open() as peer:
            for service_id, data_id in ((11, 1), (21, 2), (31, 4), (1, 0), (1, 1), (9, 0)):
                peer.send(service_id, data_id, "unasked")
            self.fence(peer)

    def check_a_bad_checksum_gets_status_5(self):
        with self.open() as peer:
            for service_id, data_id in ((READ, 1), (WRITE, 2), (EXECUTE, 4), (READ, 999)):
                peer.send_payload(spoilt(Message(service_id, data_id, format=self.format)))
                answer = peer.receive(service_id + 1, data_id)
                expect_answer(answer, CHECKSUM_ERROR, None)
                expect(answer.message_id is None, "a message_id out of nowhere: %r" % answer)
            self.fence(peer)

    def check_a_bad_checksum_echoes_the_message_id(self):
        self.need_json()
        if self.old_server:
            raise Skip("an old server knows no message_id")
        with self.open() as peer:
            peer.send_payload(spoilt(Message(READ, 1, message_id=4711)))
            expect_answer(peer.receive(READ + 1, 1, 4711), CHECKSUM_ERROR, None)

    def check_a_bad_checksum_is_never_dispatched(self):
        with self.open() as peer:
            before = peer.request(READ, 2).data
            degrees = 11.0 if before != 11.0 else 12.0
            peer.send_payload(spoilt(Message(WRITE, 2, to_text(degrees), format=self.format)))
            expect_answer(peer.receive(WRITE + 1, 2), CHECKSUM_ERROR, None)
            expect_answer(peer.request(READ, 2), OKAY, before)

    def check_other_bad_checksums_are_not_answered(self):
        with self.open() as peer:
            for service_id in (50, READ + 1):
                peer.send_payload(spoilt(Message(service_id, 1, format=self.format)))
            peer.send_payload(b"{not json at all 1234")
            self.fence(peer)

    def check_malformed_frames_are_not_answered(self):
        with self.open() as peer:
            for payload in (
                b"x",
                b"{}",
                seal(b"{}"),
                seal(b"[10,1]"),
                seal(b'{"data_id":1}'),
                seal(b'{"data_id":1,"service_id":10.0}'),
                seal(b'{"data_id":1,"service_id":10,"service_id":10}'),
                seal(b'{"data_id":1,"service_id":10,"data":' + b"[" * 127 + b"]" * 127 + b"}"),
                b"\0" * 8,
                Message(READ, 1, "nope", format="struct").encode(),
            ):
                peer.send_payload(payload)
            self.fence(peer)

    def check_nan_in_a_write_becomes_null(self):
        with self.open() as peer:
            for word in ("NaN", "Infinity", "-Infinity"):
                expect_error(peer.request_text(WRITE, 2, word), CALLBACK_ERROR)
            self.fence(peer)

    # 7.2 message_id and the order of answers

    def check_a_message_id_is_echoed_exactly(self):
        self.need_json()
        if self.old_server:
            raise Skip("an old server knows no message_id")
        with self.open() as peer:
            for message_id in (900, 901, 2**31, 2**32, MAX_MESSAGE_ID):
                expect_answer(peer.request(READ, 1, message_id=message_id), OKAY)
                expect_answer(peer.request(READ, 999, message_id=message_id), UNKNOWN)

    def check_without_a_message_id_the_answer_has_none(self):
        with self.open() as peer:
            for service_id, data_id in ((READ, 1), (READ, 999), (WRITE, 1)):
                peer.send(service_id, data_id)
                answer = peer.receive(service_id + 1, data_id)
                expect(answer.message_id is None, "a message_id out of nowhere: %r" % answer)

    def check_pipelined_writes_are_answered_in_order(self):
        with self.open() as peer:
            degrees = [10, 99, 11, "x", 12, 1, 13, None, 14, 15] * 3
            kinds = {99: NOT_PERMITTED, 1: NOT_PERMITTED, "x": CALLBACK_ERROR, None: CALLBACK_ERROR}
            statuses = [kinds.get(d, OKAY) for d in degrees]
            peer.send_raw(b"".join(peer.frame(WRITE, 2, d) for d in degrees))
            got = [peer.receive(WRITE + 1, 2).status for _ in degrees]
            expect(got == statuses, "expected %s, got %s" % (statuses, got))
            expect_answer(peer.request(READ, 2), OKAY, 15)

    def check_pipelined_async_calls_are_answered_in_order(self):
        with self.open() as peer:
            arguments = [[20, 21], "x", [20, 21], None, [20, 21]] * 2
            statuses = [OKAY if isinstance(a, list) else CALLBACK_ERROR for a in arguments]
            peer.send_raw(b"".join(peer.frame(EXECUTE, 5, a) for a in arguments))
            got = [peer.receive(EXECUTE + 1, 5).status for _ in arguments]
            expect(got == statuses, "expected %s, got %s" % (statuses, got))

    def check_pipelined_requests_with_message_ids_are_all_answered(self):
        self.need_json()
        if self.old_server:
            raise Skip("an old server knows no message_id")
        with self.open() as peer:
            ids = [peer.next_message_id() for _ in range(50)]
            data_ids = (1, 2, 3, 999)
            peer.send_raw(b"".join(peer.frame(READ, data_ids[i % 4], message_id=i) for i in ids))
            for i in ids:
                expect_answer(peer.receive(READ + 1, data_ids[i % 4], i), UNKNOWN if i % 4 == 3 else OKAY)
            expect(not peer.inbox, "answers too many: %r" % peer.inbox)

    # 2 formats

    def check_an_answer_has_the_format_of_its_request(self):
        with self.open() as peer:
            for format in ("json", "struct", "struct", "json", "json", "struct"):
                for data_id, status in ((1, OKAY), (999, UNKNOWN)):
                    answer = peer.request(READ, data_id, format=format)
                    expect_answer(answer, status)
                    expect(answer.format == format, "asked in %s, got %r" % (format, answer))
                peer.send_payload(spoilt(Message(READ, 2, format=format)))
                answer = peer.receive(READ + 1, 2)
                expect(answer.format == format, "asked in %s, got %r" % (format, answer))

    def check_answers_are_written_in_the_canonical_form(self):
        with self.open() as peer:
            for service_id, data_id in ((READ, 1), (READ, 2), (READ, 999), (WRITE, 1), (EXECUTE, 5)):
                answer = peer.request(service_id, data_id)
                expect(answer.raw == answer.encode(), "not canonical: %r" % answer.raw)

    def check_an_envelope_in_any_order_and_spacing_is_taken(self):
        self.need_json()
        with self.open() as peer:
            peer.send_payload(seal(b' \r\n{ "x" : [1] , "service_id" : 10 , "data\\u005fid" : 1 } \n'))
            expect_answer(peer.receive(READ + 1, 1), OKAY)

    # 3 framing

    def check_a_connection_that_speaks_something_else_is_closed_in_silence(self):
        for first in (b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\0\0", b"{}", b"\x10\0\0\0"):
            with self.connect() as peer:
                peer.send_raw(first)
                expect(peer.wait_closed(), "%r is not closed, or answered" % first)

    def check_a_frame_in_pieces_is_taken(self):
        with self.open() as peer:
            for byte in peer.frame(READ, 3):
                peer.send_raw(bytes([byte]))
            expect_answer(peer.receive(READ + 1, 3), OKAY)

    def check_noise_between_stp_frames_is_skipped(self):
        if self.framing != "stp":
            raise Skip("STP alone")
        with self.open() as peer:
            self.fence(peer)  # the first byte of a connection is no place for noise: it chooses the framing
            for noise in (b"noise", b"\r\n", b":<:>", b":<lost", b":<lost:x", b":<lost::", b":>", b":"):
                peer.send_raw(noise + peer.frame(READ, 3))
                expect_answer(peer.receive(READ + 1, 3), OKAY)
            self.fence(peer)

    def check_a_length_above_the_limit_closes(self):
        if self.framing != "length":
            raise Skip("length framing alone")
        with self.open() as peer:
            peer.send_raw(struct.pack(">I", 2**28 - 1) + b"{")
            expect(peer.wait_closed(), "the connection stays open")

    def check_an_empty_frame_is_malformed(self):
        if self.framing != "length":
            raise Skip("length framing alone")
        with self.open() as peer:
            peer.send_raw(bytes(4))
            self.fence(peer)

    def check_many_connections_do_not_disturb_each_other(self):
        peers = [self.open() for _ in range(8)]
        try:
            for number, peer in enumerate(peers):
                peer.send(READ, 1 + number % 3)
            for number, peer in reversed(list(enumerate(peers))):
                expect_answer(peer.receive(READ + 1, 1 + number % 3), OKAY)
        finally:
            for peer in peers:
                peer.close()


def spoilt(message):
    """The payload of a message whose checksum is wrong by one bit."""
    payload = bytearray(message.encode())
    payload[-1] ^= 1
    return bytes(payload)


def other(format):
    return "struct" if format == "json" else "json"


class EchoChecks(Checks):
    """Every request comes back with its own data, character by character."""

    PAYLOADS = {
        "null": "null",
        "booleans": "[true,false]",
        "integers_of_any_size": "[0,-1,18446744073709551616,123456789012345678901234567890]",
        "floats_keep_their_digits": "[1.0,1.50,-0.0,1e2,1E+2,5e-324,1e999,0.1000000000000000055511151231257827]",
        "empty_values": '["",[],{}]',
        "white_space_inside": '{ "a" : [ 1 ,\t2 ] ,\n"b" : { } }',
        "unicode": to_text("é°C – 温度 😀"),
        "line_separators": to_text("\u2028\u2029"),
        "escapes": r'"\u0041\/\b\f\n\r\t\"\\\ud83d\ude00\u0000"',
        "lone_surrogates": r'["\ud800","\udc00x"]',
        "framing_bytes": to_text("::<:=:> \x7f"),
        "keys_given_twice": '{"a":1,"a":2}',
        "words_of_python_inside_a_string": to_text("NaN Infinity -Infinity"),
        "nested_120_deep": "[" * 120 + "]" * 120,
        "objects_nested_120_deep": '{"a":' * 120 + "1" + "}" * 120,
        "nested_126_deep": "[" * 126 + "]" * 126,
        "a_string_of_1_mib": to_text("0123456789abcde:" * 65536),
        "characters_of_4_bytes_100000_times": to_text("😀" * 100000),
        "a_list_of_10000_numbers": to_text(list(range(10000))),
    }

    def __init__(self, *arguments, payloads=None, **options):
        super().__init__(*arguments, **options)
        self.payloads = dict(self.PAYLOADS)
        for path in sorted(payloads.iterdir()) if payloads else ():
            if path.suffix == ".json":
                self.payloads[path.stem] = path.read_text(encoding="utf-8").strip()

    def run(self):
        for name, text in self.payloads.items():
            self.report(name, lambda text=text: self.echo(text))
        return super().run()

    def small(self):
        return {name: text for name, text in self.payloads.items() if len(text) < 1000}

    def echo(self, text):
        with self.open() as peer:
            for service_id in (READ, WRITE, EXECUTE):
                for data_id in (0, 1, 4711, 2**32 - 1):
                    answer = peer.request_text(service_id, data_id, text)
                    expect_answer(answer, OKAY)
                    expect(answer.data_text == text, "came back as %r" % answer)

    def expect_echoes(self, peer, texts):
        for number, text in enumerate(texts):
            answer = peer.receive(READ + 1, number)
            expect_answer(answer, OKAY)
            expect(answer.data_text == text, "came back as %r" % answer)

    def check_all_frames_glued_in_one_write(self):
        with self.open() as peer:
            texts = list(self.payloads.values())
            glued = b"".join(peer.frame_text(READ, number, text) for number, text in enumerate(texts))
            sender = threading.Thread(target=peer.stream.sendall, args=(glued,), daemon=True)
            sender.start()
            self.expect_echoes(peer, texts)
            sender.join()

    def check_one_byte_at_a_time(self):
        with self.open() as peer:
            texts = list(self.small().values())
            for number, text in enumerate(texts):
                for byte in peer.frame_text(READ, number, text):
                    peer.send_raw(bytes([byte]))
            self.expect_echoes(peer, texts)

    def check_frames_split_at_every_byte_of_their_characters(self):
        with self.open() as peer:
            text = to_text("a😀温é:z")
            frame = peer.frame_text(READ, 1, text)
            for cut in range(1, len(frame)):
                peer.send_raw(frame[:cut])
                peer.send_raw(frame[cut:])
                answer = peer.receive(READ + 1, 1)
                expect(answer.data_text == text, "cut at %d it came back as %r" % (cut, answer))

    def check_both_formats_on_one_connection(self):
        with self.open() as peer:
            for format in ("json", "struct") * 3:
                for text in self.small().values():
                    answer = peer.request_text(EXECUTE, 1, text, format=format)
                    expect(answer.format == format, "asked in %s, got %r" % (format, answer))
                    expect(answer.data_text == text, "came back as %r" % answer)

    def check_answers_of_one_datum_keep_their_order(self):
        with self.open() as peer:
            peer.send_raw(b"".join(peer.frame(WRITE, 7, number) for number in range(100)))
            got = [peer.receive(WRITE + 1, 7).data for _ in range(100)]
            expect(got == list(range(100)), "got %s" % got)


class VectorChecks(Checks):
    """The golden vectors, read by the codec of this file."""

    def __init__(self, root):
        super().__init__(None, None, None, None, prefix="vectors/")
        self.root = root

    def check_frames(self):
        for path in sorted(self.root.glob("frames/*/*/*.bin")):
            payload = path.read_bytes()
            try:
                message = decode(payload)
                found = {
                    "service_id": message.service_id,
                    "data_id": message.data_id,
                    "status": message.status,
                    "message_id": message.message_id,
                    "data_text": message.data_text,
                    "canonical": message.encode() == payload,
                }
                wanted = json.loads(path.with_suffix(".json").read_text())
            except (Malformed, BadChecksum) as error:
                found = self.outcome(error)
                wanted = path.with_suffix(".txt").read_text().strip()
            expect(found == wanted, "%s: %r" % (path.name, found))

    @staticmethod
    def outcome(error):
        if isinstance(error, Malformed):
            return "malformed"
        message = error.message
        if message is None:
            return "checksum"
        return "checksum-with-envelope %d %d %s" % (message.service_id, message.data_id, message.message_id or "-")

    def check_streams(self):
        for path in sorted(self.root.glob("streams/*/*.bin")):
            stream = path.read_bytes()
            wanted = json.loads(path.with_suffix(".json").read_text())
            for size in (1, 2, 3, 7, max(1, len(stream))):
                framing = FRAMINGS[path.parent.name]()
                found = []
                for at in range(0, len(stream), size):
                    if CLOSED not in found:
                        found += framing.feed(stream[at : at + size])
                found = [piece if isinstance(piece, str) else {"frame_hex": piece.hex()} for piece in found]
                expect(found == wanted, "%s in pieces of %d: %r" % (path.name, size, found))

    def check_auth(self):
        for path in sorted(self.root.glob("auth/*.json")):
            vector = json.loads(path.read_text())
            expect(key_of(vector["seed"], vector["secret"]) == vector["key"], path.name)


# ---------------------------------------------------------------------------------------------------------------------
# The program
# ---------------------------------------------------------------------------------------------------------------------


def self_test():
    """The checks against the servers of this file: shows that both halves agree with each other."""
    failed = 0
    vectors = pathlib.Path(__file__).resolve().parent.parent / "vectors"
    if vectors.is_dir():
        failed += VectorChecks(vectors).run()
    for secret in (None, "a secret of more than 16 bytes, ключ"):
        for framing in ("stp", "length"):
            for format in ("json", "struct"):
                for old in (False, True):
                    if old and framing == "length":
                        continue  # old peers know STP alone
                    thermostat = Server(Thermostat(), secret, old=old, name="cellar")
                    echo = Server(Echo(), secret, old=old)
                    prefix = "%s/%s/%s/%s/" % ("old" if old else "new", framing, format, "secret" if secret else "open")
                    where = ("127.0.0.1", thermostat.port, framing, format, secret, prefix + "thermostat/", old)
                    failed += OldThermostatChecks(*where).run() if old else ThermostatChecks(*where).run()
                    if not old:
                        failed += EchoChecks("127.0.0.1", echo.port, framing, format, secret, prefix + "echo/").run()
                    thermostat.close()
                    echo.close()
    return 1 if failed else 0


class OldThermostatChecks(Checks):
    """What an old client does, against an old server: STP, no HELLO, no message ids."""

    def connect(self):
        peer = super().connect()
        peer.next_message_id = lambda: None
        return peer

    def check_the_usual_calls(self):
        with self.open() as peer:
            expect_answer(peer.channel_name("attic"), OKAY, None)
            expect(is_number(expect_answer(peer.request(READ, 1), OKAY)), "no number")
            expect_answer(peer.request(WRITE, 2, 21.5), OKAY, None)
            expect_error(peer.request(WRITE, 2, 99), NOT_PERMITTED)
            expect_answer(peer.request(READ, 2), OKAY, 21.5)
            expect_answer(peer.request(WRITE, 1, 5), NOT_PERMITTED, None)
            expect_error(peer.request(READ, 999), UNKNOWN)

    def check_hello_is_not_answered(self):
        with self.open() as peer:
            peer.send(HELLO, 0, {"session": "0" * 16, "features": [], "max_frame": 1, "max_in_flight": 1})
            expect_answer(peer.request(READ, 3), OKAY)
            expect(not peer.inbox, "answered %r" % peer.inbox)

    def check_a_message_id_is_not_echoed(self):
        with self.open() as peer:
            peer.send(READ, 1, message_id=5)
            expect(peer.receive(READ + 1, 1).message_id is None, "echoed")


def serve(device, options):
    lock = threading.Lock()

    def log(line):
        with lock:
            print(line, file=sys.stderr, flush=True)

    features = [feature for feature in options.features.split(",") if feature]
    server = Server(
        device,
        options.secret,
        options.framing,
        options.old,
        features,
        options.channel_name,
        log,
        options.security,
        options.kid,
    )
    print("listening on tcp://127.0.0.1:%d" % server.port, flush=True)
    while sys.stdin.buffer.read(4096):
        pass
    server.wait_idle()
    server.close()
    return 0


def secret_arguments(command):
    command.add_argument("--secret")
    command.add_argument("--security", choices=("legacy", "secure"), default="legacy", help="how the secret is proved")
    command.add_argument("--kid", default="", help="the name of the secret, in secure mode")


def arguments():
    parser = argparse.ArgumentParser(description="A peer of socketproto: checks, and servers to check against.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("check-thermostat", "check-echo"):
        command = commands.add_parser(name)
        command.add_argument("--host", default="127.0.0.1")
        command.add_argument("--port", type=int, required=True)
        command.add_argument("--framing", choices=("stp", "length"), default="length")
        command.add_argument("--format", choices=("json", "struct"), default="json")
        secret_arguments(command)
    command.add_argument("--payloads", type=pathlib.Path, help="a folder of NAME.json, each one value to be echoed")
    for name in ("serve-thermostat", "serve-echo", "serve-mirror"):
        command = commands.add_parser(name)
        secret_arguments(command)
        command.add_argument("--framing", choices=("stp", "length"), help="else the first byte decides")
        command.add_argument("--channel-name")
        command.add_argument("--features", default=",".join(FEATURES), help="comma-separated, given in the HELLO answer")
        age = command.add_mutually_exclusive_group()
        age.add_argument("--new", dest="old", action="store_false", help="answer HELLO (the default)")
        age.add_argument("--old", dest="old", action="store_true", help="no HELLO, no message ids")
        command.set_defaults(old=False)
    commands.add_parser("self-test")
    options = parser.parse_args()
    if getattr(options, "security", None) == "secure":
        if not options.secret:
            parser.error("--security secure needs a --secret")
        if options.framing == "stp":
            parser.error("--security secure needs length framing")
    return options


def main():
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    options = arguments()
    if options.command == "self-test":
        return self_test()
    if options.command == "serve-thermostat":
        return serve(Thermostat(), options)
    if options.command == "serve-echo":
        return serve(Echo(), options)
    if options.command == "serve-mirror":
        return serve(Mirror(), options)
    where = (options.host, options.port, options.framing, options.format, options.secret)
    security = {"security": options.security, "kid": options.kid}
    if options.command == "check-thermostat":
        return 1 if ThermostatChecks(*where, **security).run() else 0
    return 1 if EchoChecks(*where, payloads=options.payloads, **security).run() else 0


if __name__ == "__main__":
    sys.exit(main())
