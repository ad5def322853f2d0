"""One end of a connection as docs/protocol.md describes it: bytes in, bytes out, no sockets and no clock.

`Model` is the end that `tests/bin/dialogue.rs` is on the Rust side: the same application, either role, towards an old or a
new peer. It takes frames and framings from `peer.py`, and the rules from the document alone. Where the document leaves
the text of an error open, the text begins with `OPEN`.
"""

import hashlib
import json
import re

from peer import (
    AUTH,
    AUTH_REQUIRED,
    BROKEN,
    CALLBACK_ERROR,
    CHANNEL_NAME,
    CHECKSUM_ERROR,
    CLOSED,
    EXECUTE,
    FRAMINGS,
    GAP,
    HELLO,
    KEY,
    MAX_FRAME,
    MAX_MESSAGE_ID,
    MAX_NESTING,
    MAX_UNTRUSTED_FRAME,
    NOT_PERMITTED,
    OKAY,
    READ,
    SEED,
    UNKNOWN,
    WRITE,
    BadChecksum,
    Malformed,
    Message,
    decode,
    detect,
    key_of,
    nesting,
    to_text,
)

OWN = 40  # a service of the application, answered by 41
UNSERVED = 50  # another, answered by 51, without callbacks
CANCEL = 0xFFFF_0008
FRAMEWORK = 0xFFFF_0000  # all from here on are reserved, too
RESERVED = (AUTH, AUTH + 1, CHANNEL_NAME, CHANNEL_NAME + 1)
SECRET = "a secret of more than 16 bytes, ключ"
NAME = "dialogue"
SESSION = "0" * 16
FEATURES = ("message_id", "cancel")
MAX_IN_FLIGHT = 256
WINDOW_BEFORE_HELLO = 64
PROTOCOL_ERRORS = 32
MAX_FAULT_TEXT = 1024
MAX_BUFFERED = 64  # of a datum
OPEN = "?"
BUFFERED = 1
TOKEN = "token "
TOMBSTONE = object()
LATE, NEVER_ISSUED = object(), object()

# ---------------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------------


class Unfit(Exception):
    """Data that do not fit a handler's type."""


class Twice(dict):
    """An object of which a key was given twice."""


def parsed(text):
    """The value, with integers as `int` and every other number as `float`."""

    def unique(pairs):
        return (dict if len(dict(pairs)) == len(pairs) else Twice)(pairs)

    def integer(digits):
        return int(digits) if digits != "-0" else -0.0

    return json.JSONDecoder(object_pairs_hook=unique, parse_int=integer).decode(text)


def is_integer(value, lowest, highest):
    return type(value) is int and lowest <= value <= highest


def is_id(value):
    return is_integer(value, 0, 2**32 - 1)


def is_id_or_any(value):
    return value is None or is_id(value)


def is_reserved(service_id):
    return service_id is not None and (service_id in RESERVED or service_id >= FRAMEWORK)


def is_text(value):
    """Text without lone surrogates, which no string of most languages can hold."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def fit(condition):
    if not condition:
        raise Unfit


def hello_of(text):
    """(session, features, max_frame, max_in_flight) of a HELLO's data (7.1)."""
    data = parsed(text)
    fit(type(data) is dict)
    session, features = data.get("session"), data.get("features", [])
    numbers = data.get("max_frame"), data.get("max_in_flight")
    fit(is_text(session) and isinstance(features, list) and all(map(is_text, features)))
    fit(all(is_integer(number, 0, 2**64 - 1) for number in numbers))
    return (session, features, *numbers)


def is_channel_name(value):
    return is_text(value) and 1 <= len(value) <= 64 and not re.search("[\x00-\x1f\x7f-\x9f]", value)


def fault_text(data_text):
    """The text of an error outcome (section 1); nothing where the data are something else."""
    data = parsed(data_text)
    text = data.get("error") if type(data) is dict else None
    return cut(text) if is_text(text) else ""


def cut(text):
    return text.encode()[:MAX_FAULT_TEXT].decode(errors="ignore")


# ---------------------------------------------------------------------------------------------------------------------
# The application
# ---------------------------------------------------------------------------------------------------------------------


class Fault(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status, self.text = status, text


class Application:
    """What `tests/bin/dialogue.rs` serves. A handler returns the text of its answer, or None where that comes later."""

    SERVICES = {READ: 11, WRITE: 21, EXECUTE: 31, OWN: 41, UNSERVED: 51}
    RESPONSES = {response: request for request, response in SERVICES.items()}
    PUBLIC = {(READ, 3), (READ, 4), (READ, 21), (WRITE, 21)}
    FAULTS = {
        10: (CALLBACK_ERROR, "two"),
        11: (NOT_PERMITTED, "six"),
        12: (7, 'seven: "°"\n'),
        13: (1000, "é" * 600),
        14: (CALLBACK_ERROR, "handler panicked"),
        15: (UNKNOWN, ""),
    }

    def __init__(self, end, catch_all, receives):
        self.end = end
        self.receives = receives
        self.inbox = {}  # messages that nobody took, per key
        self.receivers = {}  # requests that wait for one, per key
        self.numbers = {20: 0, 21: 0}
        self.records = {}
        self.gates = []  # (key, request, call or value)
        self.exact = {
            (READ, 1): lambda request: request.data_text,
            (WRITE, 1): lambda request: '{"status":%d,"data":%s}' % (request.status, request.data_text),
            (OWN, 1): lambda request: request.data_text,
            (READ, 2): lambda request: '"read only"',
            (READ, 3): lambda request: '"nil desperandum"',
            (READ, 4): lambda request: "true",
            (READ, 20): self.load,
            (WRITE, 20): self.store,
            (READ, 21): self.load,
            (WRITE, 21): self.store,
            (EXECUTE, 100): self.call,
            (EXECUTE, 101): self.slow,
            (EXECUTE, 102): self.release,
            (EXECUTE, 104): lambda request: "null",
            (READ, 105): lambda request: to_text(end.channel_name),
            (EXECUTE, 106): self.receive,
            (EXECUTE, 107): self.register,
            (EXECUTE, 108): self.unregister,
            (EXECUTE, 109): self.send,
        }
        self.exact.update({(READ, data_id): self.fail for data_id in self.FAULTS})
        self.any_data = {EXECUTE: lambda request: '{"any_data":[%d,%d]}' % (request.data_id, request.status)}
        self.any_service = {30: self.record}
        self.any = (lambda request: '{"any":[%d,%d]}' % (request.service_id, request.data_id)) if catch_all else None
        self.derived = {key for key in self.exact if key[1] >= 100 or key[1] in (3, 4, 20, 21)}

    def find(self, service_id, data_id):
        """The callback of a message, in the order of section 6."""
        return (
            self.exact.get((service_id, data_id))
            or self.any_data.get(service_id)
            or self.any_service.get(data_id)
            or self.any
        )

    def refusal(self, service_id, data_id):
        """The status of a request that no callback takes, or None: a message for `receive`."""
        if any(declared == data_id and service in self.SERVICES for service, declared in self.exact):
            return NOT_PERMITTED
        return UNKNOWN if any(service == service_id for service, _ in self.exact) else None

    def keep(self, message):
        """Keeps a message that nobody takes for `receive`; False where nobody receives."""
        if not self.receives or self.end.gated():
            return False
        key = (message.service_id, message.data_id)
        if self.receivers.get(key):
            self.end.answer(self.receivers[key].pop(0), OKAY, self.received(message))
        else:
            self.inbox.setdefault(key, []).append(message)
            del self.inbox[key][:-MAX_BUFFERED]
        return True

    @staticmethod
    def received(message):
        return '{"received":[%d,%s]}' % (message.status, message.data_text)

    def arguments(self, request, *kinds):
        data = parsed(request.data_text)
        fit(isinstance(data, list) and len(data) == len(kinds) and all(kind(value) for kind, value in zip(kinds, data)))
        if not self.receives:
            raise Fault(NOT_PERMITTED, "no handle")
        return data

    def receive(self, request):
        *key, wait = self.arguments(request, is_id, is_id, lambda value: isinstance(value, bool))
        if self.inbox.get(tuple(key)):
            return self.received(self.inbox[tuple(key)].pop(0))
        if not wait or is_reserved(key[0]):
            return "null"
        self.receivers.setdefault(tuple(key), []).append(request)

    def register(self, request):
        service_id, data_id, tag = self.arguments(request, is_id_or_any, is_id_or_any, is_id)
        if is_reserved(service_id) or (service_id, data_id) in self.derived:
            return "false"

        def callback(message):
            ids = (message.service_id, message.data_id, message.status)
            return '{"tag":%d,"message":[%d,%d,%d]}' % (tag, *ids)

        self.change(service_id, data_id, callback)
        return "true"

    def unregister(self, request):
        return to_text(self.change(*self.arguments(request, is_id_or_any, is_id_or_any), None))

    def change(self, service_id, data_id, callback):
        """Sets the callback of a key, or removes it; whether there was one."""
        if service_id is None and data_id is None:
            before, self.any = self.any, callback
            return before is not None
        table, key = {
            (True, True): (self.exact, (service_id, data_id)),
            (True, False): (self.any_data, service_id),
            (False, True): (self.any_service, data_id),
        }[service_id is not None, data_id is not None]
        before = table.pop(key, None)
        if callback is not None:
            table[key] = callback
        return before is not None

    def send(self, request):
        service_id, data_id, data, status = self.arguments(request, is_id, is_id, lambda _: True, is_id)
        if is_reserved(service_id):
            return "false"
        self.end.post(request, Message(service_id, data_id, to_text(data), status))

    def fail(self, request):
        raise Fault(*self.FAULTS[request.data_id])

    def load(self, request):
        return str(self.numbers[request.data_id])

    def store(self, request):
        value = parsed(request.data_text)
        fit(is_integer(value, -(2**63), 2**63 - 1))
        self.numbers[request.data_id] = value
        return "null"

    def record(self, request):
        data = parsed(request.data_text)
        if request.service_id == READ:
            fit(is_text(data))
            return "[%s]" % ",".join(self.records.pop(data, []))
        if isinstance(data, list) and len(data) == 2 and is_text(data[0]) and data[0].startswith(TOKEN):
            record = "[%d,%d,%s]" % (request.service_id, request.status, request.data_text)
            self.records.setdefault(data[0], []).append(record)
        return "null"

    def slow(self, request):
        data = parsed(request.data_text)
        fit(isinstance(data, list) and len(data) == 2 and is_integer(data[0], 0, 2**32 - 1))
        value = to_text(data[1])
        if data[0] == 0:
            return value
        self.gates.append((data[0], request, value))

    def call(self, request):
        data = parsed(request.data_text)
        fit(type(data) is dict and isinstance(data.get("call"), list) and "key" in data and "nested" in data)
        service_id, data_id, value = data["call"]
        if service_id not in self.SERVICES:
            return '{"error":"unknown service"}'
        call = Call(service_id, data_id, to_text(value), data["nested"], lambda *outcome: self.called(request, *outcome))
        if data["key"]:
            self.gates.append((data["key"], request, call))
        request.call = call
        self.end.enqueue(call)

    def called(self, request, status, data_text):
        self.gates = [gate for gate in self.gates if gate[1] is not request]
        if status is None:
            text = '{"error":"not sendable"}'
        elif status == OKAY:
            text = '{"okay":%s}' % data_text
        else:
            text = to_text({"fault": [status, fault_text(data_text)]})
        self.end.answer(request, OKAY, text)

    def release(self, request):
        key = parsed(request.data_text)
        fit(is_integer(key, 0, 2**32 - 1))
        released = [gate for gate in self.gates if gate[0] == key]
        self.gates = [gate for gate in self.gates if gate[0] != key]
        for _, waiting, what in released:
            if isinstance(what, Call):
                self.end.give_up(what)
                what = '"abandoned"'
            self.end.answer(waiting, OKAY, what)
        return "null"

    def cancel(self, request):
        self.gates = [gate for gate in self.gates if gate[1] is not request]
        for receivers in self.receivers.values():
            receivers[:] = [other for other in receivers if other is not request]
        self.end.posts = [post for post in self.end.posts if post[0] is not request]
        if request.call is not None:
            self.end.give_up(request.call)


class Call:
    """A call of this end; `done` is told status and data, or None where it cannot be sent."""

    def __init__(self, service_id, data_id, data_text, nested, done):
        self.service_id, self.data_id, self.data_text = service_id, data_id, data_text
        self.key = (Application.SERVICES[service_id], data_id)
        self.nested, self.done = nested, done


class Request:
    """A request, or a message: that one is never answered."""

    def __init__(self, message, response):
        self.service_id, self.data_id = message.service_id, message.data_id
        self.status, self.data_text = message.status, message.data_text
        self.message_id, self.format = message.message_id, message.format
        self.response = response
        self.over = False
        self.call = None


# ---------------------------------------------------------------------------------------------------------------------
# One end
# ---------------------------------------------------------------------------------------------------------------------


class Model:
    """`old`: the other side is a peer of the Python library, so a client speaks STP and sends no HELLO."""

    def __init__(self, role, secret=None, old=False, format="json", catch_all=False, receives=False):
        self.role, self.secret, self.old, self.format = role, secret, old, format
        self.application = Application(self, catch_all, receives)
        self.framing = None
        if role == "client":
            self.framing = FRAMINGS["stp" if old else "length"]()
        self.out = bytearray()
        self.closed = None
        self.errors = 0
        self.counted = 0  # what was dropped without an error
        self.ready = False
        # HELLO: "off", "asked" or "done"
        self.hello = "off"
        self.features = ()
        self.max_frame = MAX_FRAME
        self.window = WINDOW_BEFORE_HELLO
        self.channel = "off"
        self.channel_name = NAME if role == "server" else None
        # authentication: the states of 5.1
        self.state = 0
        self.seed = None
        self.seeds = 0
        # requests without ids, in order, per (response, datum)
        self.places = {}
        self.running = []
        # messages of our own, and calls
        self.posts = []
        self.waiting = []
        self.in_order = {}
        self.by_id = {}
        self.last_message_id = 0

    # what comes in

    def open(self):
        """What a client sends first (section 4)."""
        if self.role == "client":
            if not self.old:
                self.hello = "asked"
                self.ask(HELLO, 0, self.hello_data())
            self.channel = "asked"
            self.ask(CHANNEL_NAME, 0)
            if self.secret:
                self.state = 1
                self.ask(AUTH, SEED)
        return self.flush()

    def feed(self, received):
        if received and self.framing is None:
            self.framing = detect(received[:1])
            if self.framing is None:
                self.close("unknown framing")
                return b""
        if received and not self.closed:
            limit = MAX_UNTRUSTED_FRAME if self.gated() else MAX_FRAME
            for piece in self.framing.feed(received, limit):
                self.piece(piece)
                if self.closed:
                    break
        self.check_ready()
        return self.flush()

    def piece(self, piece):
        if piece == CLOSED:
            self.close("frame too large")
        elif piece in (GAP, BROKEN):
            self.protocol_error()
        else:
            try:
                message = decode(piece)
            except Malformed:
                self.protocol_error()
            except BadChecksum as error:
                self.damaged(error.message)
            else:
                self.format = message.format
                self.message(message)

    def damaged(self, message):
        self.protocol_error()
        if self.closed or message is None or message.service_id not in Application.SERVICES:
            return
        if self.may_pass(message):
            self.refuse(message, CHECKSUM_ERROR)

    def protocol_error(self):
        self.errors += 1
        if self.errors > PROTOCOL_ERRORS:
            self.close("protocol errors")

    def message(self, message):
        service_id = message.service_id
        if is_reserved(service_id):
            self.reserved(message)
            self.check_ready()
        elif service_id in Application.RESPONSES:
            self.response(message)
        elif self.may_pass(message):
            self.dispatch(message, Application.SERVICES.get(service_id))
        elif service_id in Application.SERVICES:
            self.refuse(message, AUTH_REQUIRED)

    # the gate (5.3)

    def gated(self):
        return self.secret is not None and self.state != 4

    def may_pass(self, message):
        request = Application.RESPONSES.get(message.service_id, message.service_id)
        return not self.gated() or (request, message.data_id) in Application.PUBLIC

    # dispatch (section 6)

    def dispatch(self, message, response):
        handler = self.application.find(message.service_id, message.data_id)
        if handler is None:
            status = self.application.refusal(message.service_id, message.data_id) if response else None
            if status is None:
                status = BUFFERED if self.application.keep(message) else UNKNOWN
            if response is not None:
                self.refuse(message, status)
            return
        request = self.begin(message, response)
        try:
            text = handler(request)
        except Fault as fault:
            self.fail(request, fault.status, fault.text)
        except Unfit:
            self.fail(request, CALLBACK_ERROR, OPEN + "the data do not fit")
        else:
            if text is not None:
                self.answer(request, OKAY, text)

    def begin(self, message, response):
        request = Request(message, response)
        if response is not None:
            if message.message_id is None:
                self.places.setdefault((response, message.data_id), []).append([request, None])
            else:
                self.running.append(request)
        return request

    def refuse(self, message, status, response=None):
        self.answer(self.begin(message, response or Application.SERVICES[message.service_id]), status, "null")

    def fail(self, request, status, text):
        self.answer(request, status, self.fault_data(text))

    def fault_data(self, text):
        return "null" if self.gated() or not text else to_text({"error": cut(text)})

    def answer(self, request, status, data_text):
        """Gives an answer its turn: without ids they leave in the order of the requests."""
        if request.over or request.response is None:
            return
        request.over = True
        if request.message_id is not None:
            self.running.remove(request)
            return self.respond(request, status, data_text)
        places = self.places[request.response, request.data_id]
        next(place for place in places if place[0] is request)[1] = (status, data_text)
        while places and places[0][1] is not None:
            first, outcome = places.pop(0)
            self.respond(first, *outcome)

    # responses (7.2)

    def response(self, message):
        key = (message.service_id, message.data_id)
        call = self.match(key, message.message_id)
        if call is NEVER_ISSUED:
            self.protocol_error()
        elif call is LATE:
            self.send_calls()
        elif call is not None:
            call.done(message.status, message.data_text)
            self.send_calls()
        elif self.may_pass(message):
            self.dispatch(message, None)

    def match(self, key, message_id):
        if message_id is None:
            places = self.in_order.get(key)
            if not places:
                return None
            first = places.pop(0)
            return LATE if first is TOMBSTONE else first
        call = self.by_id.get(message_id)
        if call is not None and call.key == key:
            return self.by_id.pop(message_id)
        return LATE if call is None and message_id <= self.last_message_id else NEVER_ISSUED

    # calls

    def post(self, request, message):
        """Sends a message once this end is ready."""
        self.posts.append((request, message))
        self.send_posts()

    def send_posts(self):
        while self.ready and self.posts:
            request, message = self.posts.pop(0)
            message.format = self.format
            self.answer(request, OKAY, to_text(self.send(message) is None))

    def enqueue(self, call):
        self.waiting.append(call)
        self.send_calls()

    def send_calls(self):
        while self.ready and not self.closed:
            call = next(filter(self.can_be_sent, sorted(self.waiting, key=lambda call: not call.nested)), None)
            if call is None:
                return
            self.waiting.remove(call)
            message_id = None
            if "message_id" in self.features:
                message_id = self.last_message_id = self.last_message_id % MAX_MESSAGE_ID + 1
            format = "json" if message_id is not None else self.format
            message = Message(call.service_id, call.data_id, call.data_text, OKAY, message_id, format)
            if self.send(message) is not None:
                call.done(None, None)
            elif message_id is None:
                self.in_order.setdefault(call.key, []).append(call)
            else:
                self.by_id[message_id] = call

    def can_be_sent(self, call):
        outstanding = [*self.by_id.values(), *(place for places in self.in_order.values() for place in places)]
        windowed = sum(1 for other in outstanding if other is not TOMBSTONE and not other.nested)
        held_up = "message_id" not in self.features and TOMBSTONE in self.in_order.get(call.key, ())
        return not held_up and (call.nested or windowed < self.window)

    def give_up(self, call):
        """The caller has gone: a call without an id leaves a tombstone, one with an id is cancelled (7.6)."""
        if call in self.waiting:
            self.waiting.remove(call)
        places = self.in_order.get(call.key, [])
        if call in places:
            places[places.index(call)] = TOMBSTONE
        for message_id in [number for number, other in self.by_id.items() if other is call]:
            del self.by_id[message_id]
            if "cancel" in self.features:
                self.ask(CANCEL, 0, '{"message_id":%d}' % message_id)
        self.send_calls()

    # reserved services

    def reserved(self, message):
        service_id = message.service_id
        exchange = {
            AUTH: self.auth_request,
            AUTH + 1: self.auth_response,
            CHANNEL_NAME: self.channel_request,
            CHANNEL_NAME + 1: self.channel_response,
            HELLO: self.hello_request,
            HELLO + 1: self.hello_response,
            CANCEL: self.cancelled,
        }.get(service_id)
        if exchange is not None:
            exchange(message)
        elif service_id % 2 == 0:
            self.refuse(message, AUTH_REQUIRED if self.gated() else UNKNOWN, service_id + 1)

    def auth_request(self, message):
        known = message.data_id in (SEED, KEY, 2)
        if self.role == "client" or (known and not self.secret):
            return self.reply(message, NOT_PERMITTED)
        if message.data_id == SEED:
            self.seeds += 1
            self.seed = hashlib.sha256(b"%d" % self.seeds).hexdigest()
            self.state = max(self.state, 2)
            return self.reply(message, OKAY, to_text(self.seed))
        if message.data_id != KEY:
            return self.reply(message, UNKNOWN)
        seed, self.seed = self.seed, None
        if seed is None:
            return self.reply(message, OKAY, "false")
        key = parsed(message.data_text)
        right = isinstance(key, str) and key.isascii() and key.lower() == key_of(seed, self.secret)
        self.state = 4 if right else 0
        self.reply(message, OKAY, to_text(right))

    def auth_response(self, message):
        step = {SEED: 1, KEY: 3}.get(message.data_id)
        if self.role == "server" or step is None or self.state != step:
            return
        data = parsed(message.data_text)
        if step == 1 and message.status == OKAY and isinstance(data, str) and re.fullmatch("[0-9a-fA-F]{64}", data):
            self.state = 3
            self.ask(AUTH, KEY, to_text(key_of(data, self.secret)))
        elif step == 3 and message.status == OKAY and data is True:
            self.state = 4
        else:
            self.state = 0
            self.close("authentication failed")  # it has to be trusted, and cannot be

    def channel_request(self, message):
        if self.role == "client":
            return self.reply(message, NOT_PERMITTED)
        if message.data_id != 0:
            return self.reply(message, UNKNOWN)
        name = parsed(message.data_text)
        if name is None:
            self.channel = "done"
            return self.reply(message, OKAY, to_text(self.channel_name))
        if not is_channel_name(name):
            return self.reply(message, CALLBACK_ERROR, self.fault_data(OPEN + "no channel name"))
        if self.channel != "done":
            self.channel, self.channel_name = "done", name
        self.reply(message, OKAY)

    def channel_response(self, message):
        if self.role == "server" or message.data_id != 0 or self.channel != "asked":
            return
        self.channel = "done"
        name = parsed(message.data_text)
        if message.status == OKAY and is_channel_name(name):
            self.channel_name = name

    def hello_data(self):
        return to_text(
            {
                "session": SESSION,
                "features": list(FEATURES),
                "max_frame": MAX_FRAME,
                "max_in_flight": MAX_IN_FLIGHT,
            }
        )

    def hello_request(self, message):
        if message.data_id != 0:
            return self.reply(message, UNKNOWN)
        try:
            hello = hello_of(message.data_text)
        except Unfit:
            return self.reply(message, CALLBACK_ERROR, self.fault_data(OPEN + "no HELLO"))
        if hello[0] == SESSION:
            return self.close("echo")
        self.reply(message, OKAY, self.hello_data())
        if self.hello == "off":
            self.agree(hello)

    def hello_response(self, message):
        if self.hello != "asked" or message.data_id != 0:
            return
        try:
            fit(message.status == OKAY)
            hello = hello_of(message.data_text)
        except Unfit:
            return self.close("peer too old")
        if hello[0] == SESSION:
            return self.close("echo")
        self.agree(hello)

    def agree(self, hello):
        _, features, max_frame, max_in_flight = hello
        self.hello = "done"
        self.features = [feature for feature in FEATURES if feature in features and "message_id" in features]
        self.max_frame = min(max_frame, MAX_FRAME)
        self.window = max(1, max_in_flight)

    def cancelled(self, message):
        data = parsed(message.data_text)
        number = data.get("message_id") if type(data) is dict else None
        if self.gated() or message.data_id != 0 or not is_integer(number, 0, 2**64 - 1):
            return
        request = next((request for request in self.running if request.message_id == number), None)
        if request is not None:
            request.over = True
            self.running.remove(request)
            self.application.cancel(request)

    def check_ready(self):
        speaks = self.role == "client" or self.framing is not None
        known = self.hello != "asked"
        if speaks and known and not self.gated() and not self.closed and not self.ready:
            self.ready = True
            self.send_calls()
            self.send_posts()

    # what goes out

    def ask(self, service_id, data_id, data_text="null"):
        self.send(Message(service_id, data_id, data_text, format=self.format))

    def reply(self, message, status, data_text="null"):
        """An answer of a reserved service; it has no turn to wait for."""
        self.respond(Request(message, message.service_id + 1), status, data_text)

    def respond(self, request, status, data_text):
        def message(status, data_text):
            return Message(
                request.response, request.data_id, data_text, status, request.message_id, request.format
            )

        error = self.send(message(status, data_text))
        if error is None:
            return
        if self.send(message(CALLBACK_ERROR, self.fault_data(error))) is not None:
            if self.send(message(CALLBACK_ERROR, "null")) is not None:
                self.close("the peer's max_frame")

    def send(self, message):
        """Why the message cannot be sent, or None."""
        if nesting(message.data_text) > MAX_NESTING - 1:
            return OPEN + "the data nest too deep"
        payload = message.encode()
        if len(payload) > self.max_frame:
            return "response of %d bytes exceeds max_frame of %d" % (len(payload), self.max_frame)
        self.out += self.framing.encode(payload)
        return None

    def close(self, reason):
        self.closed = self.closed or reason

    def flush(self):
        out, self.out = bytes(self.out), bytearray()
        return out
