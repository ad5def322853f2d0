#!/usr/bin/env python3
"""Random dialogues between the Rust side (`tests/bin/dialogue.rs`) and the model of it in `model.py`.

    dialogues.py --program PATH --role server|client --format json|struct [--seed BASE] [--count N]
    dialogues.py --program PATH --role server|client --format json|struct --replay SEED

The role is that of the Rust side. The seed of a dialogue names all of it: whether the Rust side has a secret, what it does
with messages that nobody takes, and whether its peer is old; then every byte it is sent, and where those are split
(`script.py`). The same bytes go to the program over TCP and to the model; what comes back is compared message by
message. A dialogue ends with a request that everybody may make: what came until it is answered is all that came.
Nothing sleeps.

What may differ is what `ALLOWED` lists, and nothing else.
"""

import argparse
import collections
import pathlib
import random
import re
import socket
import subprocess
import sys
import threading
import time

from application import CANCEL, OPEN, Application
from peer import (
    AUTH,
    CALLBACK_ERROR,
    CHANNEL_NAME,
    FRAMINGS,
    HEARTBEAT,
    HELLO,
    OKAY,
    SEED,
    BadChecksum,
    Malformed,
    decode,
)
from script import ENDPOINTS, SYNC, Late, Script, Seen

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "target" / "debug" / "dialogue"
WAIT = 20.0  # seconds; an answer that takes longer is missing
TIMELY = 1.5  # seconds; the shortest time-out of the protocol, a client's authentication, is 2 s
TRIES = 3  # of a dialogue that failed and was not timely
PENDING = 4096  # bytes left unsent at most, so that no buffer before trust (16 KiB) is exceeded
MANY_FAILURES = 5

# ---------------------------------------------------------------------------------------------------------------------
# What may differ
# ---------------------------------------------------------------------------------------------------------------------


def are_seeds(expected, found):
    is_seed = (expected.service_id, expected.data_id, expected.status) == (AUTH + 1, SEED, OKAY)
    return is_seed and re.fullmatch('"[0-9a-f]{64}"', found.data_text)


def differ_in_session(expected, found):
    def without(text):
        return re.sub('"session":"[0-9a-f]{16}"', '"session":SESSION', text)

    has_session = expected.service_id in (HELLO, HELLO + 1, HEARTBEAT + 1) and expected.data_id == 0
    return has_session and without(expected.data_text) == without(found.data_text)


def differ_in_open_text(expected, found):
    if expected.status != CALLBACK_ERROR or OPEN not in expected.data_text:
        return False
    data = found.data
    return isinstance(data, dict) and list(data) == ["error"] and 1 <= len(data["error"].encode()) <= 1024


# name, why, section of docs/protocol.md, what tells that two messages differ in this alone
ALLOWED = (
    ("seeds", "they are random; their form is compared", "5.1", are_seeds),
    ("sessions", "they are new at each start of an endpoint; their form is compared", "7.1 and 7.3", differ_in_session),
    (
        "texts of the endpoint's own status 2",
        "that data do not fit, or nest too deep to be sent, is told in the words of whoever found it; that there is a "
        "text, and that it is not too long, is compared",
        "1 and 6",
        differ_in_open_text,
    ),
    (
        "order",
        "only answers without ids of one (SID, DID) have an order, and what a client opens with; `differences` knows",
        "4 and 6",
        lambda expected, found: False,
    ),
)


def same(expected, found):
    def fields(message):
        return (message.service_id, message.data_id, message.status, message.message_id, message.format)

    if fields(expected) != fields(found) or found.encode() != found.raw:  # equal messages are equal bytes (section 2)
        return False
    return expected.data_text == found.data_text or any(allows(expected, found) for *_, allows in ALLOWED)


def differences(expected, found, opening):
    """What differs between two traces, one line each."""
    lines = []
    for place, (wanted, message) in enumerate(zip(expected[:opening], found[:opening])):
        if not same(wanted, message):
            lines.append("message %d of the opening: expected %r, found %r" % (place, wanted, message))
    groups = collections.defaultdict(lambda: ([], []))
    for side, trace in enumerate((expected, found)):
        for message in trace:
            groups[message.service_id, message.data_id, message.message_id][side].append(message)
    for (_, _, message_id), (wanted, got) in groups.items():
        if message_id is not None:  # in any order
            wanted.sort(key=lambda message: (message.status, message.data_text))
            got.sort(key=lambda message: (message.status, message.data_text))
        for place in range(max(len(wanted), len(got))):
            if place >= len(got):
                lines.append("missing: %r" % wanted[place])
            elif place >= len(wanted):
                lines.append("too much: %r" % got[place])
            elif not same(wanted[place], got[place]):
                lines.append("expected %r, found %r" % (wanted[place], got[place]))
    return lines


# ---------------------------------------------------------------------------------------------------------------------
# Playing it
# ---------------------------------------------------------------------------------------------------------------------


class Failed(Exception):
    """The two sides differ."""


class Missing(Failed):
    """What is expected does not come."""


class Player:
    """Plays one dialogue over a connection and to the model."""

    def __init__(self, script, stream, attempt):
        self.script, self.stream = script, stream
        self.splits = random.Random("splits %s" % script.token)
        self.model = script.model()
        self.ours = FRAMINGS[script.framing]()  # of what is sent
        self.theirs = FRAMINGS[script.framing]()  # of what the program sends
        self.told = FRAMINGS[script.framing]()  # of what the model sends
        self.real, self.expected = Seen(), Seen()
        self.real.attempt = self.expected.attempt = attempt
        self.unsent = b""
        self.opening = 0
        self.ended = False  # whether the program closed
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def play(self):
        self.tell(self.model.open())
        self.opening = len(self.expected.trace)
        for _, items in self.script.steps:
            for item in items:
                if item is SYNC or isinstance(item, Late):
                    self.sync()
                if item is not SYNC:
                    self.send(item)
                if self.model.closed:
                    return self.close()
        lines = differences(self.expected.trace, self.real.trace, self.opening)
        if self.ended:
            lines.append("the program closed the connection")
        if lines:
            raise Failed("\n".join(lines))

    def send(self, item):
        sent = item.render(self.ours, self.real)
        self.tell(self.model.feed(item.render(self.ours, self.expected)))
        self.unsent += sent
        if len(self.unsent) > PENDING:
            self.sync()

    def tell(self, sent):
        for piece in self.told.feed(sent):
            message = decode(piece)
            self.expected.take(message)

    def flush(self):
        sent, self.unsent = self.unsent, b""
        cuts = self.splits.choice((0, 0, 1, 2, 5))
        borders = sorted(self.splits.randint(0, len(sent)) for _ in range(cuts))
        try:
            for begin, end in zip([0, *borders], [*borders, len(sent)]):
                if end > begin:
                    self.stream.sendall(sent[begin:end])
        except OSError:
            pass  # what was received tells

    def sync(self):
        """Sends, and waits for as many messages as the model has given."""
        self.flush()
        until = time.monotonic() + WAIT
        while len(self.real.trace) < len(self.expected.trace) and not self.ended and self.read(until):
            pass
        if len(self.real.trace) < len(self.expected.trace):
            lines = differences(self.expected.trace, self.real.trace, self.opening)
            if self.ended:
                raise Failed("\n".join(["the program closed the connection", *lines]))
            raise Missing("\n".join(["no answer in %g s" % WAIT, *lines]))

    def close(self):
        """The model has closed; the program has to, and to have said the same before."""
        self.flush()
        until = time.monotonic() + WAIT
        while not self.ended and self.read(until):
            pass
        lines = differences(self.expected.trace, self.real.trace, self.opening)
        if not self.ended:
            raise Missing("\n".join(["it is not closed in %g s: %s" % (WAIT, self.model.closed), *lines]))
        if lines:
            raise Failed("\n".join(lines))

    def read(self, until):
        """Whether something came in time."""
        self.stream.settimeout(max(0.001, until - time.monotonic()))
        try:
            received = self.stream.recv(65536)
        except socket.timeout:
            return False
        except OSError:
            received = b""
        self.ended = not received
        for piece in self.theirs.feed(received):
            if isinstance(piece, str):
                raise Failed("the program's stream holds a piece that is %s" % piece)
            try:
                self.real.take(decode(piece))
            except (Malformed, BadChecksum) as error:
                raise Failed("the program sent %r: %s" % (piece, error)) from error
        return True


class Program:
    """The Rust side, and a way to a fresh connection of each endpoint."""

    def __init__(self, path, role, format):
        self.role = role
        self.listeners, self.ports = {}, {}
        arguments = []
        for variant, old in ENDPOINTS:
            if role == "server":
                arguments.append(variant)
                continue
            listener = socket.create_server(("127.0.0.1", 0))
            listener.settimeout(WAIT)
            self.listeners[variant, old] = listener
            url = "tcp://127.0.0.1:%d?format=%s" % (listener.getsockname()[1], format)
            arguments.append("%s=%s%s" % (variant, url, "&peer=old" if old else ""))
        command = [str(path), "serve" if role == "server" else "connect", *arguments]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if role == "server":
            for endpoint in ENDPOINTS:
                line = self.child.stdout.readline().decode()
                self.ports[endpoint] = int(line.rsplit(":", 1)[1])

    def connection(self, script):
        if self.role == "server":
            return socket.create_connection(("127.0.0.1", self.ports[script.variant, script.old]), WAIT)
        return self.listeners[script.variant, script.old].accept()[0]

    def close(self):
        for listener in self.listeners.values():
            listener.close()
        self.child.stdin.close()
        self.child.wait(WAIT)


def kind(message):
    """What a message is, for people."""
    if message.service_id in Application.SERVICES:
        return "call"
    if message.service_id in (AUTH, CHANNEL_NAME, HELLO, HEARTBEAT, CANCEL):
        return "request %d" % message.service_id
    number = "" if message.message_id is None else " with an id"
    return "%s answer of status %d%s" % (message.format, message.status, number)


class Run:
    """Plays dialogues; each endpoint has a thread of its own, so that it has one dialogue at a time."""

    def __init__(self, options):
        self.options = options
        self.program = Program(options.program, options.role, options.format)
        self.lock = threading.Lock()
        self.passed = self.failed = self.closed = self.messages = 0
        self.again = []
        self.steps, self.said = collections.Counter(), collections.Counter()

    def lane(self, seeds):
        for seed in seeds:
            if self.failed >= MANY_FAILURES:
                return
            script = Script(seed, self.options.role, self.options.format)
            error, player = self.attempts(script)
            with self.lock:
                if error is None:
                    self.passed += 1
                else:
                    self.failed += 1
                    self.report(seed, script, error, player)
                if player is not None:
                    self.closed += player.model.closed is not None
                    self.messages += len(player.real.trace)
                    self.said.update(kind(message) for message in player.expected.trace)
                self.steps.update(name for name, _ in script.steps)

    def attempts(self, script):
        """A dialogue that failed and was slower than the protocol's time-outs tells nothing, and is played again, unless
        it failed for an answer that never came."""
        for attempt in range(TRIES):
            begin, player, error = time.monotonic(), None, None
            try:
                with self.program.connection(script) as stream:
                    player = Player(script, stream, attempt)
                    player.play()
            except Missing as failure:
                return str(failure), player
            except (Failed, OSError) as failure:
                error = str(failure) or repr(failure)
            if error is None or time.monotonic() - begin < TIMELY:
                break
            self.again.append("%d: %s" % (script.seed, error.splitlines()[0]))
        return error, player

    def report(self, seed, script, error, player):
        options = self.options
        age = "old" if script.old else "new"
        lines = ["FAIL seed %d: %s, %s, %s peer" % (seed, script.variant, script.framing, age)]
        for name, items in script.steps:
            lines.append("  %s" % name)
            lines += ["    %r" % item for item in items]
        if player is not None:
            for title, seen in (("the model", player.expected), ("the program", player.real)):
                lines.append("  %s said:" % title)
                lines += ["    %r" % message for message in seen.trace]
            lines.append("  the model has closed: %s" % player.model.closed)
        lines += ["  " + line for line in error.splitlines()]
        lines.append(
            "  replay: python3 tests/python/dialogues.py --program %s --role %s --format %s --replay %d"
            % (options.program, options.role, options.format, seed)
        )
        print("\n".join(lines), flush=True)

    def run(self, seeds):
        count = len(ENDPOINTS)
        lanes = [threading.Thread(target=self.lane, args=([*seeds][lane::count],)) for lane in range(count)]
        try:
            for lane in lanes:
                lane.start()
            for lane in lanes:
                lane.join()
        finally:
            self.program.close()
        print("%d passed, %d failed" % (self.passed, self.failed))
        print("%d messages compared, %d connections closed as they had to be" % (self.messages, self.closed))
        for seed_and_error in self.again:
            print("too slow, played again: %s" % seed_and_error)
        if self.options.verbose:
            for title, counter in (("steps", self.steps), ("what the model said", self.said)):
                print(title)
                for name, count in counter.most_common():
                    print("  %6d %s" % (count, name))
        return 1 if self.failed or self.passed != len(seeds) else 0


def main():
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    parser = argparse.ArgumentParser(description="Random dialogues with the Rust side.")
    parser.add_argument("--program", type=pathlib.Path, default=PROGRAM)
    parser.add_argument("--role", choices=("server", "client"), required=True, help="of the Rust side")
    parser.add_argument("--format", choices=("json", "struct"), default="json")
    parser.add_argument("--seed", type=int, default=0, help="of the first dialogue")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--replay", type=int, metavar="SEED", help="this dialogue alone")
    parser.add_argument("--verbose", action="store_true", help="tell which steps and messages there were")
    options = parser.parse_args()
    first, count = (options.seed, options.count) if options.replay is None else (options.replay, 1)
    return Run(options).run(range(first, first + count))


if __name__ == "__main__":
    sys.exit(main())
