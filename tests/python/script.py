"""A random dialogue: what is sent to the Rust side, all of it drawn from a seed (see `dialogues.py`)."""

import random

from application import CANCEL, OWN, SECRET, TOKEN, UNSERVED, Application
from model import Model
from peer import (
    AUTH,
    CHANNEL_NAME,
    EXECUTE,
    HEARTBEAT,
    HELLO,
    KEY,
    MAX_MESSAGE_ID,
    OKAY,
    READ,
    SEED,
    WRITE,
    BadChecksum,
    Malformed,
    Message,
    decode,
    key_of,
    seal,
    to_text,
    xor,
)

VARIANTS = ("open", "secret", "open+any", "secret+any", "open+receive", "secret+receive")
# Each has an endpoint of its own towards old and towards new peers: what a dialogue registers concerns no other.
ENDPOINTS = tuple((variant, old) for variant in VARIANTS for old in (False, True))

# ---------------------------------------------------------------------------------------------------------------------
# What is sent, and what later steps know of what was received
# ---------------------------------------------------------------------------------------------------------------------


class Frame:
    """A payload that is known beforehand."""

    def __init__(self, payload):
        self.payload = payload

    def render(self, framing, _):
        return framing.encode(self.payload)

    def __repr__(self):
        try:
            message = decode(self.payload)
            return repr(message if message.encode() == self.payload else self.payload)
        except Malformed as error:
            return "malformed (%s) %r" % (error, self.payload[:200])
        except BadChecksum as error:
            return "wrong checksum, %r" % (error.message or self.payload[:200])


class Raw:
    """Bytes of the stream."""

    def __init__(self, sent):
        self.sent = sent

    def render(self, *_):
        return self.sent

    def __repr__(self):
        return "not framed: %r" % self.sent[:200]


class Late:
    """A payload that depends on what was received; everything expected is waited for before."""

    def __init__(self, label, payload):
        self.label = label
        self.payload = payload

    def render(self, framing, seen):
        payload = self.payload(seen)
        return b"" if payload is None else framing.encode(payload)

    def __repr__(self):
        return self.label


class Tokened:
    """A frame whose data name the try, so that what a failed one left behind is not read."""

    def __init__(self, label, message):
        self.label, self.message = label, message

    def render(self, framing, seen):
        message = self.message
        text = message.data_text.replace("%d", str(seen.attempt), 1)
        ids = message.service_id, message.data_id
        rest = message.status, message.message_id, message.format
        return framing.encode(Message(*ids, text, *rest).encode())

    def __repr__(self):
        return self.label


SYNC = "wait for all that is expected"


class Seen:
    """What one side has received, as far as later steps depend on it."""

    def __init__(self):
        self.trace = []
        self.seed = None
        self.session = None
        self.calls = []
        self.done = []

    def take(self, message):
        if message.service_id == HEARTBEAT:
            return  # how long a dialogue takes is nobody's choice, and each byte of it is a sign of life
        self.trace.append(message)
        if message.service_id == AUTH + 1 and message.data_id == SEED and message.status == OKAY:
            self.seed = message.data
        has_session = message.service_id in (HELLO, HELLO + 1, HEARTBEAT + 1) and message.data_id == 0
        if has_session and message.status == OKAY:
            self.session = message.data["session"]
        if message.service_id in Application.SERVICES:
            self.calls.append(message)

    def call(self, number, again=False):
        """One of the calls that are unanswered; or of those that are answered."""
        calls = self.done if again else self.calls
        if not calls:
            return None
        ordered = sorted(calls, key=lambda call: (call.service_id, call.data_id))
        call = ordered[number % len(ordered)]
        if not again:
            self.calls.remove(call)
            self.done.append(call)
        return call


# ---------------------------------------------------------------------------------------------------------------------
# The script
# ---------------------------------------------------------------------------------------------------------------------

STRINGS = (
    '""',
    '"a"',
    '"é°C – 温度 😀"',
    r'"\u0041\/\b\f\n\r\t\"\\\ud83d\ude00\u0000"',
    r'"\ud800"',
    r'"\udc00x"',
    '"::<:=:> \x7f"',
    '"\u2028\u2029"',
    '"NaN Infinity -Infinity"',
    '"[[[{{{"',
)
NUMBERS = (
    "0 -1 42 -0 1.0 1.10 0.1000000000000000055511151231257827 1E+2 1e2 5e-324 -1.5e-7 1e999 9223372036854775807"
    " -9223372036854775808 9223372036854775808 18446744073709551616 123456789012345678901234567890"
).split()
WORDS = ("NaN", "Infinity", "-Infinity")
# (service, datum) with a meaning, and some without
TARGETS = (
    [(READ, data_id) for data_id in (1, 1, 2, 3, 10, 11, 12, 13, 14, 15, 20, 21, 30, 99)]
    + [(WRITE, data_id) for data_id in (1, 1, 2, 3, 20, 20, 21, 30, 99, 100)]
    + [(EXECUTE, data_id) for data_id in (1, 2, 30, 99, 104, 2**32 - 1)]
    + [(OWN, data_id) for data_id in (1, 1, 2, 30, 99, 0)]
    + [(UNSERVED, data_id) for data_id in (1, 2, 5)]
)
# what nobody takes at first, with keys that callbacks are registered for in between
UNTAKEN = (
    *((UNSERVED, 1), (UNSERVED, 5), (READ, 60), (WRITE, 60), (77, 60), (77, 1), (2, 9)),
    *((11, 60), (21, 7), (11, 3), (21, 21)),  # the gate lets the last two through
)
CHANGING = (
    (UNSERVED, 1),
    (UNSERVED, None),
    (READ, 60),
    (11, 60),
    (77, 60),
    (WRITE, None),
    (OWN, None),
    (None, 60),
    (None, None),
)
FIXED = ((READ, 20), (READ, 4), (EXECUTE, 104), (CHANNEL_NAME, None), (HELLO, 0), (1, 1))
IDS = (0, 1, 2, 3, 5, 7, 10, 20, 30, 99, 2**31, 2**32 - 1)
FIELDS = ("data_id", "service_id", "status", "data", "message_id")


class Script:
    """A dialogue, all of it drawn from its seed: `steps` are (name, items)."""

    def __init__(self, seed, role, format):
        self.random = random.Random("%s %s %d" % (role, format, seed))
        self.seed = seed
        self.role, self.format, self.first_format = role, format, format
        self.variant, self.old = ENDPOINTS[seed % len(ENDPOINTS)]
        self.secret = self.variant.startswith("secret")
        self.catch_all = self.variant.endswith("+any")
        self.receives = self.variant.endswith("+receive")
        stp = self.old or (role == "server" and self.random.random() < 0.4)
        self.framing = "stp" if stp else "length"
        self.token = to_text(TOKEN + "%s %s %d %%d" % (role, format, seed))  # the number is that of the try
        self.last_id = 0
        self.errors = 0
        self.wrong_keys = 0
        self.calls = 0
        self.keys = []
        self.slow_ids = []
        self.steps = []
        self.write()

    def model(self):
        secret = SECRET if self.secret else None
        # A client is told the format in its address; a server has none before a frame came.
        format = self.first_format if self.role == "client" else "json"
        return Model(self.role, secret, self.old, format, self.catch_all, self.receives)

    # the plan

    def write(self):
        self.opening()
        for _ in range(self.random.randint(3, 15)):
            odds = self.odds()
            step = self.random.choices([step for step, _ in odds], [weight for _, weight in odds])[0]
            items = step()
            if items:
                self.steps.append((step.__name__, items))
        if self.random.random() < 0.06:
            ending = self.random.choice(self.endings())
            self.steps.append((ending.__name__, [*self.barrier(), *ending()]))
        probe = self.message(READ, 4, message_id=None)
        self.steps.append(("probe", [SYNC, probe, SYNC]))

    def odds(self):
        odds = [
            (self.request, 22),
            (self.pipeline, 7),
            (self.odd_envelope, 10),
            (self.wrong_checksum, 6),
            (self.malformed, 6),
            (self.authentication, 5),
            (self.channel_name, 4),
            (self.unasked, 6),
            (self.framework, 3),
            (self.heartbeat, 4),
            (self.call, 10),
            (self.answer, 25 if self.calls else 2),
            (self.release, 6),
            (self.record, 7),
            (self.typed, 5),
            (self.other_format, 3),
            (self.large, 1),
        ]
        if self.framing == "stp":
            odds.append((self.noise, 5))
        else:
            odds.append((self.empty_frame, 1))
        if not self.old:
            odds += [(self.hello, 5), (self.cancel, 5)]
        often = 6 if self.receives else 0.3
        steps = (self.untaken, self.receive, self.register, self.unregister, self.post)
        return odds + [(step, often) for step in steps]

    def endings(self):
        endings = [self.too_large, self.flood]
        if not self.old:
            endings += [self.own_session, self.own_heartbeat]
        if self.role == "client" and self.secret:
            endings.append(self.failed_login)
        return endings

    def opening(self):
        """Mostly what leads to a connection that may do everything."""
        draw = self.random.random
        if self.role == "server" and draw() < 0.01:
            first = self.random.choice((b"GET / HTTP/1.1\r\n\r\n", b"{}", b"\x16\x03\x01", b"\x10\0\0\0", b"\xff"))
            self.steps.append(("wrong first byte", [Raw(first)]))
            return
        parts = []
        if not self.old and draw() < 0.9:
            parts.append(("hello", self.hello_answer if self.role == "client" else self.good_hello))
        if draw() < 0.6:
            parts.append(("channel name", self.channel_answer if self.role == "client" else self.channel_name))
        if self.secret and draw() < 0.85:
            parts.append(("login", self.login_answer if self.role == "client" else self.login))
        if draw() < 0.3:
            parts.append(("request", self.request))
        if draw() < 0.2:
            self.random.shuffle(parts)
        if self.secret and self.receives and draw() < 0.3:
            # Passes the gate, and is not kept: nobody whom this side does not trust fills its memory.
            first = [self.message(21, 21, "1", message_id=None)]
            parts = [("untaken", lambda: first), *parts, ("receive", lambda: self.received(21, 21))]
        self.steps += [(name, part()) for name, part in parts]

    # frames

    def message(self, service_id, data_id, data_text="null", status=0, message_id=0, format=None):
        """`message_id` 0: one or none, by chance."""
        format = format or self.format
        if message_id == 0:
            message_id = self.some_id()
        if format == "struct":
            message_id = None
        return Frame(Message(service_id, data_id, data_text, status, message_id, format).encode())

    def some_id(self):
        if self.old or self.random.random() < 0.4:
            return None
        if self.random.random() < 0.1:
            return self.random.choice((1, 2, MAX_MESSAGE_ID, 2**32))
        return self.new_id()

    def new_id(self):
        self.last_id += 1
        return 1000 + self.last_id

    def status(self):
        return self.random.choice((0, 0, 0, 0, 1, 3, 6, 7, 2**24 - 1))

    def json(self, depth=3):
        draw = self.random
        kind = draw.random()
        if kind < 0.25:
            return draw.choice(("null", "true", "false", "{}", "[]"))
        if kind < 0.5:
            return draw.choice(NUMBERS)
        if kind < 0.75 or depth == 0:
            return draw.choice(STRINGS)
        if kind < 0.79 and depth == 3:
            deep = draw.choice((60, 125, 126))
            return draw.choice(("[" * deep + "]" * deep, '{"a":' * deep + "1" + "}" * deep))
        if kind < 0.82:
            return "[%s]" % draw.choice(WORDS)
        space = draw.choice(("", "", " ", "\n\t"))
        values = [self.json(depth - 1) for _ in range(draw.randint(0, 3))]
        if draw.random() < 0.5:
            return "[%s]" % (space + "," + space).join(values)
        pairs = [space + draw.choice(('"a"', '"b"', '"data_id"', r'"\u0061"')) + ":" + value for value in values]
        return "{%s}" % ",".join(pairs)

    def barrier(self, format=None):
        """A request of the handler that has the connection's own data, and the wait for all that is expected."""
        return [self.message(EXECUTE, 104, format=format or self.format), SYNC]

    # steps

    def request(self):
        items = []
        for _ in range(self.random.randint(1, 3)):
            service_id, data_id = self.random.choice(TARGETS)
            items.append(self.message(service_id, data_id, self.json(), self.status()))
        return items

    def pipeline(self):
        """Requests on one datum, some of which wait: the answers of those without ids leave in order."""
        items = []
        for number in range(self.random.randint(2, 8)):
            key = self.random.choice((0, 0, self.random.randint(1, 4)))
            message_id = self.some_id()
            if message_id is not None:
                message_id = self.new_id()  # so that a cancellation means one request
                if key:
                    self.slow_ids.append(message_id)
            if key:
                self.keys.append(key)
            items.append(self.message(EXECUTE, 101, "[%d,%d]" % (key, number), message_id=message_id))
            if self.random.random() < 0.1:
                items.append(self.spoilt(EXECUTE, 101))
        if self.random.random() < 0.4:
            items += self.release()
        return items

    def release(self):
        key = self.random.choice(self.keys) if self.keys else self.random.randint(0, 4)
        self.keys = [other for other in self.keys if other != key]
        return [*self.barrier(), self.message(EXECUTE, 102, str(key)), *self.barrier()]

    def odd_envelope(self):
        """Valid all the same."""
        draw = self.random
        service_id, data_id = draw.choice(TARGETS)
        fields = {
            "data_id": str(data_id),
            "service_id": str(service_id),
            "status": str(self.status()),
            "data": self.json(),
            "message_id": str(self.some_id() or ""),
        }
        if draw.random() < 0.3:
            fields["status"] = ""
        if draw.random() < 0.3:
            fields["data"] = ""
        pairs = [[to_text(key), value] for key, value in fields.items() if value]
        for _ in range(draw.choice((0, 0, 1, 2))):
            key = draw.choice(('"x"', '""', '"Data_id"', r'"\ud800"', '"é:<"', '"statu\\u0000s"'))
            pairs.append([key, draw.choice(("1", '{"data_id":3}', "[1,[2]]", '"\\udfff"', "NaN", "1e999"))])
        draw.shuffle(pairs)
        if draw.random() < 0.2:
            pair = draw.choice(pairs)
            pair[0] = pair[0].replace("d", "\\u0064").replace("s", "\\u0073")
        space = lambda: draw.choice(("", "", " ", "\t", "\r\n"))  # noqa: E731
        text = ",".join(space() + key + space() + ":" + space() + value + space() for key, value in pairs)
        head = space() + "{" + text + "}" + space()
        return [Frame(seal(head.encode()))]

    def spoilt(self, service_id, data_id, payload=None):
        self.errors += 1
        payload = bytearray(payload or self.message(service_id, data_id, self.json()).payload)
        payload[-1] ^= 1 << self.random.randint(0, 7)
        return Frame(bytes(payload))

    def wrong_checksum(self):
        if self.errors > 20:
            return []
        target = self.random.choice([*TARGETS, (AUTH, SEED), (CHANNEL_NAME, 0), (HELLO, 0), (77, 1), (11, 1)])
        if self.random.random() < 0.2:
            return [self.spoilt(*target, self.broken_payload())]
        return [self.spoilt(*target)]

    def malformed(self):
        if self.errors > 20:
            return []
        self.errors += 1
        return [Frame(self.broken_payload())]

    def broken_payload(self):
        """A payload whose checksum is right and that is no message."""
        draw = self.random
        if draw.random() < 0.15:
            return draw.choice((b"x", b" ", b"{}12", b"\0\0\0\0", b"\xef\xbb\xbf" + seal(b"{}"), b"\x01" + bytes(20)))
        if draw.random() < 0.25:
            head = bytes(4) + READ.to_bytes(4, "big") + (1).to_bytes(4, "big")
            head += draw.choice((b"", b" ", b"{", b"1 2", b"[" * 127 + b"]" * 127, b"\xff", b"'a'", b"nul", b"\0"))
            return head + xor(head)
        good = {"data_id": "1", "service_id": "10", "status": "0", "data": "[1]", "message_id": "5"}
        text = "{%s}"
        kind = draw.choice(("missing", "twice", "number", "text", "text"))
        pairs = list(good.items())
        if kind == "missing":
            pairs.remove(draw.choice(pairs[:2]))
        elif kind == "twice":
            key, value = draw.choice(pairs)
            pairs.append((draw.choice((key, key.replace("a", "\\u0061"))), value))
        elif kind == "number":
            key = draw.choice([field for field in FIELDS if field != "data"])
            out = {"status": "16777216", "message_id": "9007199254740992"}.get(key, "4294967296")
            value = draw.choice((out, "-1", "-0", "1.0", "1e2", "1E0", "null", '"1"', "true", "[1]", "NaN", "0" * 2))
            pairs = [(field, value if field == key else other) for field, other in pairs]
        else:
            text = draw.choice(("%s}", "{%s", "{%s}}", "{%s,}", "{%s}x", "{%s}\0", "[{%s}]", "{%s}{}", "{,%s}"))
            if draw.random() < 0.5:
                bad = ("", "[", "[1,]", "{1:2}", "'a'", "nan", "1NaN", "01", "+1", ".5", '"\t"', '"\\x"', "tru")
                pairs[3] = ("data", draw.choice((*bad, "[" * 127 + "]" * 127)))
                text = "{%s}"
        return seal((text % ",".join('"%s":%s' % pair for pair in pairs)).encode())

    def noise(self):
        if self.errors > 20 or not self.steps:
            return []  # the first byte of a connection says the framing
        self.errors += 3
        noise = (b"noise", b"\r\n", b":<:>", b":<lost", b":<lost:x", b":<lost::", b":>", b":=", b"::", b":<:=:x:>")
        return [Raw(self.random.choice(noise)), self.message(READ, 1, self.json())]

    def empty_frame(self):
        self.errors += 1
        return [Frame(b"")]

    def large(self):
        data = to_text("0123456789abcde:" * self.random.randint(200, 3000))
        return [*self.barrier(), self.message(READ, 1, data), SYNC]

    def other_format(self):
        self.format = "struct" if self.format == "json" else "json"
        return self.request()

    def typed(self):
        data_id = self.random.choice((20, 21))
        values = (*NUMBERS, "[1]", "NaN", "null", '"1"', " 7 ", "-9223372036854775809")
        return [
            self.message(WRITE, data_id, self.random.choice(values), message_id=None),
            self.message(READ, data_id, message_id=None),
            SYNC,
        ]

    def record(self):
        """Messages that are not answered, and a look at what came of them."""
        items = []
        for number in range(self.random.randint(1, 3)):
            service_id = self.random.choice((77, 78, 2, 7, 0xFFFE_FFFF, 11, 21, WRITE, OWN, OWN + 1))
            data = "[%s,%s]" % (self.token, self.random.choice((str(number), self.json(1))))
            # One that is a response to a call of no id is that, so its id has to be none that could be meant.
            items.append(self.recorded(service_id, data))
            if self.random.random() < 0.2:
                items.append(self.message(service_id, 31, data))
        return [*items, self.recorded(READ, self.token)]

    def recorded(self, service_id, data_text):
        """A message whose data have the token of the try."""
        format, status = self.format, self.status() if service_id != READ else 0
        known = service_id in Application.SERVICES
        message_id = self.some_id() if known and format == "json" else None
        label = "(%d, 30) status %d %s #%s [%s]" % (service_id, status, data_text, message_id, format)
        return Tokened(label, Message(service_id, 30, data_text, status, message_id, format))

    def unasked(self):
        """Responses that nobody waits for; those of a call that is made in this very moment would be its answer."""
        service_id = self.random.choice((11, 21, 31, 41, 1, 9, HELLO + 1, HEARTBEAT + 1))
        message_id = None
        if not self.old and self.random.random() < 0.4 and self.errors <= 20:
            self.errors += 1
            message_id = self.random.choice((self.random.randint(1, 5), MAX_MESSAGE_ID))
        data_id = self.random.choice((0, 1, 5, 7, 30))
        if service_id in (1, 9, HELLO + 1):
            data_id = self.random.choice((2, 3, 7))  # with the others a client is answered
        frame = self.message(service_id, data_id, self.json(), self.status(), message_id)
        return [*self.barrier(), frame, SYNC]

    def framework(self):
        later = (0xFFFF_0005, 0xFFFF_000A, 0xFFFF_000B, 2**32 - 1)
        service_id = self.random.choice((AUTH, CHANNEL_NAME, HELLO, HEARTBEAT, *later))
        return [self.message(service_id, self.random.choice((3, 7, 2**32 - 1)), self.json(1), self.status())]

    # authentication

    def authentication(self):
        if self.role == "client":
            frame = self.message(AUTH, self.random.choice((0, 1, 2, 5)), self.json(1))
            return [*self.barrier(), frame, SYNC]
        if not self.secret:
            return [self.message(AUTH, self.random.choice((0, 1, 5)), self.json(1))]
        kind = self.random.choice(("login", "login", "seed", "no seed", "wrong", "junk"))
        if kind == "login":
            return self.login()
        if kind == "seed":
            return [self.message(AUTH, SEED, self.json(1))]
        if self.wrong_keys == 2:
            return []
        self.wrong_keys += 1
        if kind == "no seed":
            return [*self.barrier(), self.message(AUTH, KEY, to_text("ab" * 64)), SYNC]
        junk = self.random.choice(("null", "true", '""', '["a"]', '"zz"', to_text("ab" * 63), r'"\ud800"', "1"))
        key = (lambda seed: junk) if kind == "junk" else (lambda seed: to_text(key_of(seed, SECRET + "x")))
        return self.login(key)

    def login(self, key=None):
        """A seed, its key, and sometimes that key once more; requests behind a key are judged by its verdict."""

        def right(seed):
            return to_text(key_of(seed, SECRET))

        upper = self.random.random() < 0.1
        make = key or (lambda seed: right(seed).upper() if upper else right(seed))
        format, message_id = self.format, self.some_id()
        message_id = None if format == "struct" else message_id

        def payload(seen):
            data = make(seen.seed or "0" * 64)
            return Message(AUTH, KEY, data, 0, message_id, format).encode()

        keys = [Late("the key", payload)]
        if self.random.random() < 0.1 and self.wrong_keys < 2:
            self.wrong_keys += 1
            keys.append(Late("the key again", payload))
        seeds = [self.message(AUTH, SEED)] * self.random.choice((1, 1, 1, 2))
        return [*self.barrier(), *seeds, *keys, self.message(READ, 20), SYNC]

    def login_answer(self):
        """A server's side of it."""
        seed = self.random.choice(("%064x", "%064X")) % self.random.getrandbits(256)
        first = self.message(AUTH + 1, SEED, to_text(seed), message_id=None)
        verdict = self.message(AUTH + 1, KEY, "true", message_id=None)
        return [*self.barrier(), first, SYNC, verdict, SYNC]

    def failed_login(self):
        good = to_text("a" * 64)
        kind = self.random.choice(("seed", "status", "verdict"))
        if kind == "seed":
            bad = self.random.choice(("null", '"ab"', "1", to_text("g" * 64)))
            return [self.message(AUTH + 1, SEED, bad, message_id=None), SYNC]
        if kind == "status":
            return [self.message(AUTH + 1, SEED, good, 6, None), SYNC]
        verdict = self.random.choice(("false", "1", '"true"'))
        first = self.message(AUTH + 1, SEED, good, message_id=None)
        return [first, SYNC, self.message(AUTH + 1, KEY, verdict, message_id=None), SYNC]

    # channel name and HELLO

    def names(self):
        good = ("null", '"x"', '"cellar"', '"a b:c"', to_text("é" * 64), to_text("😀" * 64), r'"\ud83d\ude00"')
        bad = ('""', to_text("x" * 65), r'"a\nb"', '"a\x7fb"', r'"\u0085"', "5", "true", '["x"]', "{}", r'"\ud800"')
        return good + bad

    def channel_name(self):
        frames = [self.message(CHANNEL_NAME, 0, self.random.choice(self.names())), SYNC]
        if self.role == "client":
            frames = self.channel_answer() if self.random.random() < 0.5 else frames
        return [*self.barrier(), *frames, self.message(READ, 105), SYNC]

    def channel_answer(self):
        status = self.random.choice((0, 0, 0, 2))
        frame = self.message(CHANNEL_NAME + 1, 0, self.random.choice(self.names()), status, None)
        return [*self.barrier(), frame, SYNC]

    def hello_data(self):
        features = self.random.choice(
            (["message_id", "cancel"],) * 2
            + (["message_id"], ["cancel"], [], ["later", "message_id"], ["heartbeat"], ["message_id", "heartbeat"])
        )
        return {
            "session": "%016x" % self.random.getrandbits(64),
            "features": features,
            "max_frame": self.random.choice((8 << 20, 8 << 20, 8 << 20, 2**32, 300)),
            "max_in_flight": self.random.choice((256, 256, 1, 2, 0)),
        }

    def good_hello(self):
        return [*self.barrier(), self.message(HELLO, 0, to_text(self.hello_data())), SYNC]

    def bad_hello(self):
        data = self.hello_data()
        key = self.random.choice(("session", "max_frame", "max_in_flight", "features"))
        kind = self.random.choice(("missing", "value", "whole", "twice"))
        if kind == "whole":
            return self.random.choice(("null", "[]", "5", '"x"', "{}", to_text(list(data.values()))))
        if kind == "missing" and key != "features":
            del data[key]
        elif kind == "twice":
            return to_text(data)[:-1] + ',"%s":%s}' % (key, to_text(data[key]))
        else:
            values = {"session": (5, None, ["a"]), "features": ("a", None, [1], {})}
            data[key] = self.random.choice(values.get(key, (-1, 1.5, None, "1", 2**64)))
        return to_text(data)

    def hello(self):
        answers = self.role == "client" and self.random.random() < 0.3
        if answers:
            return self.hello_answer()
        data = to_text(self.hello_data()) if self.random.random() < 0.6 else self.bad_hello()
        return [*self.barrier(), self.message(HELLO, 0, data), SYNC]

    def hello_answer(self):
        data = to_text(self.hello_data()) if self.random.random() < 0.93 else self.bad_hello()
        status = 4 if self.random.random() < 0.02 else 0
        return [*self.barrier(), self.message(HELLO + 1, 0, data, status, None), SYNC]

    # heartbeat

    def heartbeat(self):
        session = '{"session":"%016x"}' % self.random.getrandbits(64)
        odd = ("null", "[]", "{}", '{"session":5}', session[:-1] + ',"session":"a"}', to_text([session]))
        more = session[:-1] + ',"more":1}'
        data = self.random.choice((session, session, session, session, more, self.random.choice(odd)))
        return [*self.barrier(), self.message(HEARTBEAT, self.random.choice((0, 0, 0, 0, 1)), data), SYNC]

    def own_heartbeat(self):
        """An echo of our own heartbeat, once the session of the other side is known."""
        session, format = '{"session":"%s"}', self.format
        first = self.message(HEARTBEAT, 0, session % "0123456789abcdef")

        def payload(seen):
            if seen.session is None:
                return None
            return Message(HEARTBEAT, 0, session % seen.session, format=format).encode()

        return [*self.barrier(), first, SYNC, Late("a heartbeat with the other side's session", payload), SYNC]

    def own_session(self):
        """An echo of our own HELLO, once the session of the other side is known."""
        data, format = self.hello_data(), self.format

        def payload(seen):
            if seen.session is None:
                return None
            return Message(HELLO, 0, to_text({**data, "session": seen.session}), format=format).encode()

        return [*self.good_hello(), Late("a HELLO with the other side's session", payload), SYNC]

    # calls of the Rust side

    def call(self):
        """Makes the Rust side call: its call is in the trace, and answered by later steps."""
        self.calls += 1
        items = []
        for _ in range(self.random.choice((1, 1, 2, 3))):
            service_id = self.random.choice((READ, READ, WRITE, EXECUTE, OWN, 77))
            data_id = self.random.choice((5, 7, 30))
            data = self.random.choice(("null", "5", '"é:"', "[1,[2]]", '{"a":{}}'))
            key = self.random.choice((0, 0, 5, 6))
            if key:
                self.keys.append(key)
            nested = self.random.choice(("true", "false"))
            order = '{"call":[%d,%d,%s],"key":%d,"nested":%s}' % (service_id, data_id, data, key, nested)
            message_id = self.some_id()
            if message_id is not None:
                message_id = self.new_id()
                self.slow_ids.append(message_id)
            items.append(self.message(EXECUTE, 100, order, message_id=message_id))
        if self.random.random() < 0.1:
            items.append(self.message(EXECUTE, 100, self.random.choice(("null", "{}", '{"call":[10]}', "[1]"))))
        return [*self.barrier(), *items, *self.barrier()]

    def answer(self):
        draw = self.random
        number, format = draw.randint(0, 5), self.format
        kinds = ("right", "fault", "again", "again and again", "other id", "no id", "other datum")
        kind = draw.choices(kinds, (24, 10, 6, 1, 2, 4, 2))[0]
        status = draw.choice((1, 2, 4, 7, 2**24 - 1)) if kind == "fault" else 0
        data = self.json(2)
        if status and draw.random() < 0.8:
            texts = ('"no"', '""', '"é\\n"', "5", to_text("é" * 600), r'"\ud800"')
            data = '{"error":%s}' % draw.choice(texts)
            data = draw.choice((data, data, data, '{"error":"a","error":"b"}', '["no"]', '{"error":"a","more":1}'))
        if kind in ("other id", "other datum"):
            self.errors += 1

        def payload(seen):
            call = seen.call(number, kind.startswith("again"))
            if call is None:
                return None
            message_id, data_id = call.message_id, call.data_id
            if kind == "other id":
                message_id = (message_id or 0) + 1000
            if kind == "no id":
                message_id = None
            if kind == "other datum":
                data_id += 1
            used = "json" if message_id is not None else format
            return Message(call.service_id + 1, data_id, data, status, message_id, used).encode()

        answer = Late("answers call %d: %s, status %d, %s" % (number, kind, status, data), payload)
        # More than the protocol errors that a peer may make: an answer to a call that is over is none.
        return [*self.barrier(), *[answer] * (40 if kind == "again and again" else 1), SYNC]

    def cancel(self):
        number = self.new_id()
        if self.slow_ids and self.random.random() < 0.8:
            number = self.slow_ids.pop(self.random.randrange(len(self.slow_ids)))
        data = '{"message_id":%d}' % number
        data = self.random.choice((data, data, data, data, "[%d]" % number, "null", '{"message_id":"%d"}' % number))
        data_id = self.random.choice((0, 0, 0, 0, 0, 1))
        return [*self.barrier(), self.message(CANCEL, data_id, data, message_id=None), *self.barrier()]

    # messages that nobody takes, and callbacks that come and go

    def untaken(self):
        count = 70 if self.random.random() < 0.04 else self.random.randint(1, 4)
        key = self.random.choice(UNTAKEN)
        items = []
        for number in range(count):
            service_id, data_id = key if count == 70 else self.random.choice((key, self.random.choice(UNTAKEN)))
            message_id = 0 if service_id in Application.SERVICES else None
            items.append(self.message(service_id, data_id, str(number), self.status(), message_id))
        return [*items, *self.received(*key)]

    def received(self, service_id, data_id):
        wait = self.random.choice(("false", "false", "true"))
        message_id = self.some_id()
        if message_id is not None:
            message_id = self.new_id()
            self.slow_ids.append(message_id)
        data = "[%d,%d,%s]" % (service_id, data_id, wait)
        return [*self.barrier(), self.message(EXECUTE, 106, data, message_id=message_id), *self.barrier()]

    def receive(self):
        key = self.random.choice((*UNTAKEN, *UNTAKEN, (11, 5), (11, 7), (CHANNEL_NAME, 0)))
        return self.received(*key)

    def register(self):
        key = self.random.choice((*CHANGING, *CHANGING, *FIXED))
        data = to_text([*key, self.random.randint(1, 9)])
        return [*self.barrier(), self.message(EXECUTE, 107, data), *self.barrier(), *self.untaken()]

    def unregister(self):
        return [*self.barrier(), self.message(EXECUTE, 108, to_text(self.random.choice(CHANGING))), *self.barrier()]

    def post(self):
        """Makes the Rust side send a message of any kind."""
        free = ((77, 1), (2, 2), (11, 5), (READ, 5), (UNSERVED + 1, 1))
        key = self.random.choice((*free, (CHANNEL_NAME, 0), (HELLO + 1, 0)))
        data = to_text([*key, self.random.choice((None, "é:", [1])), self.status()])
        return [*self.barrier(), self.message(EXECUTE, 109, data), *self.barrier()]

    # ends

    def too_large(self):
        if self.framing == "length":
            return [Raw((2**28 - 1).to_bytes(4, "big"))]
        return [self.message(READ, 3, to_text("x" * 5000)), SYNC]  # too large before trust

    def flood(self):
        # More than the budget of errors, however slowly they come.
        return [Frame(b"{}1234")] * 80
