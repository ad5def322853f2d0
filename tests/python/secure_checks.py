#!/usr/bin/env python3
"""Checks of secure mode (docs/protocol.md 5.2) against a server that serves what `peer.Mirror` does.

    secure_checks.py check --port P --secret S [--kid K]
    secure_checks.py self-test        against the server of peer.py

They print and exit as those of peer.py do.
"""

import argparse
import base64
import socket
import struct
import sys

import peer
import secure
from line import DATUM, Line, read_request
from peer import AUTH, EXECUTE, HELLO, KEY, NOT_PERMITTED, OKAY, READ, SECURE, SEED, WAIT, expect, expect_answer

ECHO, PUBLIC, ASK = 2, 3, 4
MIB = 1024 * 1024


class SecureChecks(peer.Checks):
    def __init__(self, port, secret, kid="", prefix=""):
        super().__init__("127.0.0.1", port, "length", "json", secret, prefix, security="secure", kid=kid)

    def line(self, *arguments, **options):
        return Line(self, *arguments, **options)

    # what works

    def check_calls_in_records(self):
        with self.open() as line:
            expect_answer(line.channel_name("cellar"), OKAY, None)
            expect_answer(line.request(READ, DATUM), OKAY, 7)
            for data in (None, "é:<°", [1, {"a": 2}]):
                expect_answer(line.request(EXECUTE, ECHO, data), OKAY, data)

    def check_the_server_is_called_back_and_calls_back(self):
        with self.open() as line:
            for number in (5, 6):
                line.send(EXECUTE, ASK, number, message_id=line.next_message_id())
                asked = line.receive(READ, number)
                line.send(READ + 1, number, "data %d" % number, message_id=asked.message_id)
                expect_answer(line.receive(EXECUTE + 1, ASK), OKAY, "data %d" % number)

    def check_calls_cross(self):
        with self.open() as line:
            for number in range(100):
                line.send(EXECUTE, ECHO, number, message_id=number + 100)
            for number in reversed(range(100)):
                expect_answer(line.receive(EXECUTE + 1, ECHO, number + 100), OKAY, number)

    def check_both_formats_in_records(self):
        with self.open() as line:
            for format in ("struct", "json", "struct"):
                answer = line.request(EXECUTE, ECHO, "x", format=format)
                expect_answer(answer, OKAY, "x")
                expect(answer.format == format, "asked in %s, got %r" % (format, answer))

    def check_data_of_many_records(self):
        with self.open() as line:
            for size in (secure.MAX_BODY - 100, secure.MAX_BODY, MIB):
                data = "0123456789abcde:" * (size // 16)
                expect_answer(line.request(EXECUTE, ECHO, data), OKAY, data)

    def check_the_servers_finished_does_not_wait_for_ours(self):
        with self.line() as line:
            expect(line.start().record() == (secure.FINISHED, b""), "the first record is another than finished")
            line.send(line.records.seal(secure.FINISHED))
            line.send_frames(read_request())
            expect_answer(line.message(), OKAY, 7)

    def check_a_handshake_byte_by_byte(self):
        with self.line() as line:
            for byte in line.peer.frame(AUTH, SECURE, line.data):
                line.send(bytes([byte]))
            answer, behind = line.peer.first_frame()
            line.records = line.offer.finish(expect_answer(answer, OKAY))
            line.records.received += behind
            for byte in line.records.seal(secure.FINISHED) + line.records.seal_stream(read_request()):
                line.send(bytes([byte]))
            expect(line.record() == (secure.FINISHED, b""), "the first record is another than finished")
            expect_answer(line.message(), OKAY, 7)

    def check_frames_cut_by_records_at_every_byte(self):
        frame = read_request()
        with self.line() as line:
            line.open()
            for cut in range(1, len(frame)):
                line.send_frames(frame[:cut])
                line.send_frames(frame[cut:])
                expect_answer(line.message(), OKAY, 7)

    def check_several_frames_in_one_record(self):
        with self.line() as line:
            line.open().send_frames(*[read_request()] * 50)
            stream = secure.SecureStream(line.peer.stream, line.records)
            line.peer.stream = stream
            for _ in range(50):
                expect_answer(line.peer.receive(READ + 1, DATUM), OKAY, 7)

    # who is refused

    def check_a_wrong_secret_is_refused(self):
        with self.line(psk=bytes(32)) as line:
            line.expect_refused()

    def check_an_unknown_kid_is_refused_alike(self):
        for kid in ("nobody's", "ключ", "x" * 64):
            with self.line(kid=kid) as line:
                line.expect_refused()

    def check_suites_and_kid_are_bound_to_the_message(self):
        with self.line(change=lambda data: {**data, "suites": ["of-a-later-version"] + data["suites"]}) as line:
            line.expect_refused()
        with self.line(suites=("of-a-later-version", secure.SUITE), change=self.without_the_first) as line:
            line.expect_refused()

    @staticmethod
    def without_the_first(data):
        return {**data, "suites": data["suites"][1:]}

    def check_a_suite_that_nobody_knows_does_no_harm(self):
        with self.line(suites=("of-a-later-version", secure.SUITE)) as line:
            line.open().send_frames(read_request())
            expect_answer(line.message(), OKAY, 7)

    def check_no_suite_in_common_is_refused(self):
        for suites in ([], ["of-a-later-version"], [secure.SUITE.lower()]):
            with self.line(suites=suites) as line:
                line.expect_refused()

    def check_a_changed_first_message_is_refused(self):
        for byte in range(48):
            with self.line(change=lambda data, byte=byte: {**data, "m": flipped(data["m"], byte)}) as line:
                line.expect_refused()

    def check_a_malformed_first_message_is_refused(self):
        for change in (
            lambda data: None,
            lambda data: 5,
            lambda data: [data],
            lambda data: {},
            lambda data: without(data, "suites"),
            lambda data: without(data, "m"),
            lambda data: {**data, "suites": secure.SUITE},
            lambda data: {**data, "suites": [5]},
            lambda data: {**data, "kid": 5},
            lambda data: {**data, "kid": "x" * 65},
            lambda data: {**data, "m": None},
            lambda data: {**data, "m": ""},
            lambda data: {**data, "m": data["m"][:-4]},
            lambda data: {**data, "m": data["m"] + "AAAA"},
            lambda data: {**data, "m": data["m"][:-1]},
            lambda data: {**data, "m": data["m"][:-1] + "="},
            lambda data: {**data, "m": "*" * 64},
            lambda data: {**data, "m": "\n" + data["m"][1:]},
        ):
            with self.line(change=change) as line:
                line.expect_refused()

    def check_the_first_message_has_to_be_the_first_frame(self):
        with self.line() as line:
            expect_answer(line.peer.hello(), OKAY)
            line.expect_refused()

    def check_a_second_first_message_inside_is_refused(self):
        with self.open() as line:
            line.send(AUTH, SECURE, secure.Initiator(self.psk, self.kid).request)
            expect_answer(line.receive(AUTH + 1, SECURE), NOT_PERMITTED, None)
            expect(line.wait_closed(), "the connection stays open")

    def check_bytes_behind_the_first_message_close(self):
        for behind in (read_request(), b"\0", b"\0\x11" + bytes(17)):
            with self.line() as line:
                line.send(line.peer.frame(AUTH, SECURE, line.data) + behind)
                self.expect_only_an_answer(line)

    def expect_only_an_answer(self, line):
        """Whatever comes before the end, there is no frame in it but the answer to the first message."""
        try:
            answer, received = line.peer.first_frame()
        except peer.Closed:
            return
        expect((answer.service_id, answer.data_id) == (AUTH + 1, SECURE), "got %r" % answer)
        if answer.status == OKAY:
            line.records = line.offer.finish(answer.data)
            line.records.received += received
            line.go_on()
            line.expect_end()
        else:
            expect(line.peer.wait_closed(), "the connection stays open")

    def check_a_replayed_first_message_gets_no_trust(self):
        with self.line() as line, self.line() as replay:
            line.open()
            replay.peer.send(AUTH, SECURE, line.data)
            answer, _ = replay.peer.first_frame()
            expect_answer(answer, OKAY)
            # Whoever replays has no key: what it sends is as good as this.
            replay.send(b"\0\x11" + bytes(17))
            drain_to_the_end(replay.peer)
            line.send_frames(read_request())
            expect_answer(line.message(), OKAY, 7)

    # records

    def check_another_first_record_than_finished_closes(self):
        for plaintext in (b"", b"\0", b"\0" + read_request(), b"\x01x", b"\x03", b"\xff"):
            with self.line() as line:
                line.start()
                line.send(line.records.seal_plaintext(plaintext))
                line.go_on(early=True)
                line.expect_end()

    def check_another_type_closes(self):
        for plaintext in (b"", b"\x01", b"\x03", b"\x03" + read_request(), b"\xff"):
            with self.line() as line:
                line.open().send(line.records.seal_plaintext(plaintext))
                line.expect_end()

    def check_a_changed_record_closes(self):
        for at in (2, 10, -1):
            with self.line() as line:
                sealed = bytearray(line.open().records.seal_stream(read_request()))
                sealed[at] ^= 1
                line.send(bytes(sealed))
                line.expect_end()

    def check_a_changed_finished_closes(self):
        with self.line() as line:
            sealed = bytearray(line.start().records.seal(secure.FINISHED))
            sealed[-1] ^= 1
            line.send(bytes(sealed))
            line.go_on(again=True)
            line.expect_end()

    def check_a_record_twice_closes(self):
        with self.line() as line:
            sealed = line.open().records.seal_stream(read_request())
            line.send(sealed)
            expect_answer(line.message(), OKAY, 7)
            line.send(sealed)
            line.expect_end()

    def check_a_record_left_out_closes(self):
        with self.line() as line:
            line.open().records.seal_stream(read_request())
            line.send_frames(read_request())
            line.expect_end()

    def check_records_in_another_order_close(self):
        with self.line() as line:
            first, second = line.open().records.seal_stream(read_request()), line.records.seal_stream(read_request())
            line.send(second + first)
            line.expect_end()

    def check_a_record_of_the_server_sent_back_closes(self):
        with self.line() as line:
            line.start()
            while len(line.records.received) < 19:
                line.records.received += line.peer.stream.recv(65536)
            line.send(bytes(line.records.received[:19]))
            line.go_on()
            line.expect_end()

    def check_a_record_below_its_tag_closes(self):
        for length in (0, 1, 15):
            with self.line() as line:
                line.open().send(struct.pack(">H", length) + bytes(length))
                line.expect_end()

    def check_frames_in_clear_close(self):
        with self.line() as line:
            line.open().send(read_request() * 1000)  # enough for what its first bytes say the record has
            line.expect_end()

    def check_a_close_record_ends_the_connection(self):
        for reason in (b"", "Gerät wird neu gestartet".encode(), b"x" * 256):
            with self.line() as line:
                line.open().send(line.records.seal(secure.CLOSE, reason))
                line.expect_end()

    def check_a_malformed_reason_ends_the_connection(self):
        for reason in (b"x" * 257, b"\xff"):
            with self.line() as line:
                line.open().send(line.records.seal(secure.CLOSE, reason))
                line.expect_end()

    def check_a_length_above_the_limit_in_records_closes(self):
        with self.line() as line:
            line.open().send_frames(struct.pack(">I", 2**28 - 1) + b"{")
            line.expect_end()

    # in clear

    def check_in_clear_there_are_public_data_alone(self):
        with self.connect() as line:
            expect_answer(line.hello(), OKAY)
            expect_answer(line.request(READ, PUBLIC), OKAY, 8)
            expect_answer(line.request(READ, DATUM), peer.AUTH_REQUIRED, None)
            expect_answer(line.request(EXECUTE, ECHO, 5), peer.AUTH_REQUIRED, None)

    def check_a_legacy_login_is_not_taken(self):
        with self.connect() as line:
            expect_answer(line.request(AUTH, SEED), NOT_PERMITTED, None)
            expect_answer(line.request(AUTH, KEY, peer.key_of("0" * 64, self.secret)), NOT_PERMITTED, None)
            expect_answer(line.request(READ, PUBLIC), OKAY, 8)

    def check_hello_in_records_has_the_session_of_hello_in_clear(self):
        with self.connect() as clear, self.open() as line:
            session = clear.hello().data["session"]
            answer = line.request(HELLO, 0, {"session": "0" * 16, "features": [], "max_frame": 1, "max_in_flight": 1})
            expect(answer.data["session"] == session, "two sessions")


def without(data, key):
    return {name: data[name] for name in data if name != key}


def flipped(text, byte):
    octets = bytearray(base64.b64decode(text))
    octets[byte] ^= 1 << byte % 8
    return base64.b64encode(bytes(octets)).decode("ascii")


def drain_to_the_end(line):
    """Takes whatever comes until the other side closes."""
    line.stream.settimeout(WAIT)
    try:
        while line.stream.recv(65536):
            pass
    except socket.timeout as error:
        raise AssertionError("the connection stays open") from error
    except ConnectionError:
        pass


def self_test():
    failed = 0
    for secret, kid in (("00112233445566778899aabbccddeeff", ""), ("correct horse, ключ", "blue é")):
        server = peer.Server(peer.Mirror(), secret, security="secure", kid=kid)
        failed += SecureChecks(server.port, secret, kid, "secure/%s/mirror/" % (kid or "no kid")).run()
        server.close()
    for format in ("json", "struct"):
        for checks, device in ((peer.ThermostatChecks, peer.Thermostat()), (peer.EchoChecks, peer.Echo())):
            server = peer.Server(device, secret, security="secure", kid=kid)
            where = ("127.0.0.1", server.port, "length", format, secret, "secure/%s/" % format)
            failed += checks(*where, security="secure", kid=kid).run()
            server.close()
    return 1 if failed else 0


def main():
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    parser = argparse.ArgumentParser(description="Checks of secure mode.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("check")
    command.add_argument("--port", type=int, required=True)
    command.add_argument("--secret", required=True)
    command.add_argument("--kid", default="")
    commands.add_parser("self-test")
    options = parser.parse_args()
    if options.command == "self-test":
        return self_test()
    return 1 if SecureChecks(options.port, options.secret, options.kid).run() else 0


if __name__ == "__main__":
    sys.exit(main())
