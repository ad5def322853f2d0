"""What `tests/bin/dialogue.rs` serves, and how data become what its handlers take: a part of `model.py`."""

import json
import re

from peer import (
    AUTH,
    CALLBACK_ERROR,
    CHANNEL_NAME,
    EXECUTE,
    NOT_PERMITTED,
    OKAY,
    READ,
    UNKNOWN,
    WRITE,
    Message,
    to_text,
)

OWN = 40  # a service of the application, answered by 41
UNSERVED = 50  # another, answered by 51, without callbacks
CANCEL = 0xFFFF_0008
FRAMEWORK = 0xFFFF_0000  # all from here on are reserved, too
RESERVED = (AUTH, AUTH + 1, CHANNEL_NAME, CHANNEL_NAME + 1)
SECRET = "a secret of more than 16 bytes, ключ"
MAX_FAULT_TEXT = 1024
MAX_BUFFERED = 64  # of a datum
OPEN = "?"
TOKEN = "token "

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


def session_of(text):
    """The session of a heartbeat's data (7.3)."""
    data = parsed(text)
    fit(type(data) is dict and is_text(data.get("session")))
    return data["session"]


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
        stranger = self.end.role == "server" and self.end.gated()
        if not self.receives or stranger:
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
        done = lambda *outcome: self.called(request, *outcome)  # noqa: E731
        call = Call(service_id, data_id, to_text(value), data["nested"], done)
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
