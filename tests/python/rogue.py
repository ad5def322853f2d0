#!/usr/bin/env python3
"""Servers that break the handshake of secure mode (docs/protocol.md 5.2), each in its own way.

    rogue.py WAY --secret S [--kid K]

It prints where it listens, serves one client in this way, and ends with it. On standard error there is a line for whatever
the client sends behind its first message, and for its end. `rogue.py ways` lists the ways.
"""

import argparse
import socket
import struct
import sys

import peer
import secure
from peer import AUTH, CHANNEL_NAME, HELLO, KEY, OKAY, READ, SECURE, SEED, WAIT

WAYS = {}


def way(function):
    """A way to go wrong; gets the line, the first message and the server's half of a right handshake."""
    WAYS[function.__name__.replace("_", "-")] = function
    return function


def answer(line, data, status=OKAY):
    line.send(AUTH + 1, SECURE, data, status)


@way
def refuses(line, handshake):
    answer(line, None, peer.NOT_PERMITTED)


@way
def does_not_know_the_datum(line, handshake):
    answer(line, None, peer.UNKNOWN)


@way
def wants_a_legacy_login(line, handshake):
    answer(line, None, peer.AUTH_REQUIRED)
    line.send(AUTH + 1, SEED, "0" * 64)
    line.send(AUTH + 1, KEY, True)


@way
def answers_another_suite(line, handshake):
    answer(line, {**handshake.answer, "suite": "of-a-later-version"})


@way
def answers_without_a_message(line, handshake):
    answer(line, {"suite": secure.SUITE})


@way
def answers_a_changed_message(line, handshake):
    message = bytearray(handshake.message)
    message[-1] ^= 1
    answer(line, {"suite": secure.SUITE, "m": secure.to_base64(bytes(message))})


@way
def answers_a_longer_message(line, handshake):
    answer(line, {"suite": secure.SUITE, "m": secure.to_base64(handshake.message + bytes(3))})


@way
def answers_the_clients_own_message(line, handshake):
    answer(line, {"suite": secure.SUITE, "m": line.first.data["m"]})


@way
def greets_in_clear(line, handshake):
    answer(line, handshake.answer)
    line.send(HELLO + 1, 0, hello())


@way
def begins_with_a_frame(line, handshake):
    answer(line, handshake.answer)
    line.send_raw(handshake.records.seal_stream(line.frame(HELLO + 1, 0, hello())))


@way
def changes_its_finished(line, handshake):
    answer(line, handshake.answer)
    sealed = bytearray(handshake.records.seal(secure.FINISHED))
    sealed[-1] ^= 1
    line.send_raw(bytes(sealed))


@way
def says_nothing_and_goes(line, handshake):
    answer(line, handshake.answer)
    return True


@way
def greets_and_goes(line, handshake):
    """What comes then is an end that nobody has said."""
    greet(line, handshake)
    return True


@way
def greets_and_says_why_it_goes(line, handshake):
    greet(line, handshake)
    line.send_raw(handshake.records.seal(secure.CLOSE, "Wartung: zurück um 12".encode()))


@way
def greets_and_changes_a_record(line, handshake):
    greet(line, handshake)
    sealed = bytearray(handshake.records.seal_stream(line.frame(READ, 1)))
    sealed[-1] ^= 1
    line.send_raw(bytes(sealed))


def hello():
    return {"session": "00112233445566aa", "features": [], "max_frame": peer.MAX_FRAME, "max_in_flight": 256}


def greet(line, handshake):
    """All that a client waits for, up to its first call."""
    answer(line, handshake.answer)
    line.send_raw(handshake.records.seal(secure.FINISHED))
    heard(line, handshake.records, {HELLO: hello(), CHANNEL_NAME: None, READ: 7})


def heard(line, records, answers=None):
    """Tells what the client sends, up to its end, or until each of these requests has come and been answered."""
    frames = peer.Length()
    line.stream.settimeout(WAIT)
    while True:
        record = next_record(line, records)
        if record is None:
            return
        kind, body = record
        if kind != secure.FRAMES:
            tell("finished" if kind == secure.FINISHED else "close %r" % body.decode())
        for piece in frames.feed(body) if kind == secure.FRAMES else ():
            message = peer.decode(piece)
            tell("frame (%d, %d)" % (message.service_id, message.data_id))
            if answers and message.service_id in answers:
                data = answers.pop(message.service_id)
                line.send_raw(records.seal_stream(line.frame(message.service_id + 1, message.data_id, data)))
                if not answers:
                    return


def next_record(line, records):
    """The next record; None where the client has gone, or sends what is none."""
    while True:
        try:
            record = records.next()
            received = b"" if record is not None else line.stream.recv(65536)
        except secure.Broken as error:
            tell("no record: %s" % error)
            return None
        except ConnectionError:
            received = b""
        if record is not None:
            return record
        if not received:
            return None
        records.received += received


def tell(what):
    print(what, file=sys.stderr, flush=True)


def serve(stream, go_wrong, psk, kid):
    line = peer.Peer.accept(stream, "length", timeout=WAIT)
    try:
        line.first, behind = line.first_frame()
        handshake = secure.Responder({kid: psk}, line.first.data)
        if behind:
            tell("%d bytes behind the first message" % len(behind))
        try:
            if go_wrong(line, handshake):
                stream.shutdown(socket.SHUT_WR)
        except (peer.Closed, OSError):
            pass  # the client has heard enough; what it said before is still to be told
        heard(line, handshake.records)
        tell("end")
    except (peer.Closed, peer.NoAnswer, secure.Refused, OSError, struct.error) as error:
        tell("end: %r" % error)
    finally:
        line.close()


def main():
    parser = argparse.ArgumentParser(description="A server that breaks the handshake of secure mode.")
    parser.add_argument("way", choices=["ways", *WAYS])
    parser.add_argument("--secret")
    parser.add_argument("--kid", default="")
    options = parser.parse_args()
    if options.way == "ways":
        print("\n".join(WAYS))
        return 0
    listener = socket.create_server(("127.0.0.1", 0))
    how = (WAYS[options.way], peer.derive(options.secret, options.kid), options.kid)
    print("listening on tcp://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    stream, _ = listener.accept()
    # One that comes again is not taken.
    listener.close()
    serve(stream, *how)
    return 0


if __name__ == "__main__":
    sys.exit(main())
