"""One end of a connection as docs/protocol.md describes it: bytes in, bytes out, no sockets and no clock.

`Model` is the end that `tests/bin/dialogue.rs` is on the Rust side: the same application (`application.py`), either role,
towards an old or a new peer. It takes frames and framings from `peer.py`, and the rules from the document alone. Where
the document leaves the text of an error open, the text begins with `OPEN`.
"""

import hashlib
import re

from application import (
    CANCEL,
    OPEN,
    Application,
    Fault,
    Request,
    Unfit,
    cut,
    fit,
    hello_of,
    is_channel_name,
    is_integer,
    is_reserved,
    parsed,
    session_of,
)
from peer import (
    AUTH,
    AUTH_REQUIRED,
    BROKEN,
    CALLBACK_ERROR,
    CHANNEL_NAME,
    CHECKSUM_ERROR,
    CLOSED,
    FRAMINGS,
    GAP,
    HEARTBEAT,
    HELLO,
    KEY,
    MAX_FRAME,
    MAX_MESSAGE_ID,
    MAX_NESTING,
    MAX_UNTRUSTED_FRAME,
    NOT_PERMITTED,
    OKAY,
    SEED,
    UNKNOWN,
    BadChecksum,
    Malformed,
    Message,
    decode,
    detect,
    key_of,
    nesting,
    to_text,
)

NAME = "dialogue"
SESSION = "0" * 16
FEATURES = ("message_id", "heartbeat", "cancel")
MAX_IN_FLIGHT = 256
WINDOW_BEFORE_HELLO = 64
PROTOCOL_ERRORS = 32
BUFFERED = 1
TOMBSTONE = object()
LATE, NEVER_ISSUED = object(), object()


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
            HEARTBEAT: self.heartbeat,
            HEARTBEAT + 1: lambda message: None,
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
        self.features = [feature for feature in FEATURES if feature in features]
        if "message_id" not in self.features and "cancel" in self.features:
            self.features.remove("cancel")
        self.max_frame = min(max_frame, MAX_FRAME)
        self.window = max(1, max_in_flight)

    def heartbeat(self, message):
        if self.gated() or message.data_id != 0:
            return self.refuse(message, AUTH_REQUIRED if self.gated() else UNKNOWN, HEARTBEAT + 1)
        try:
            session = session_of(message.data_text)
        except Unfit:
            return self.reply(message, CALLBACK_ERROR, self.fault_data(OPEN + "no heartbeat"))
        if session == SESSION:
            return self.close("echo")
        self.reply(message, OKAY, to_text({"session": SESSION}))

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
