"""A connection in secure mode whose records are made by hand, for checks of servers (docs/protocol.md 5.2)."""

import socket

import peer
import secure
from peer import AUTH, NOT_PERMITTED, OKAY, READ, SECURE, WAIT, expect, expect_answer

DATUM = 1  # of the mirror: what trusted peers read


class Line:
    """A connection whose records are made by hand, up to the server's answer to the first message."""

    def __init__(self, checks, psk=None, kid=None, suites=(secure.SUITE,), change=lambda data: data):
        self.peer = checks.connect()
        kid = checks.kid if kid is None else kid
        self.offer = secure.Initiator(checks.psk if psk is None else psk, kid, suites)
        self.data = change(self.offer.request)
        self.records = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.peer.stream.close()

    def start(self):
        """Sends the first message and takes the answer; the records can be used from here on."""
        self.peer.send(AUTH, SECURE, self.data)
        answer, behind = self.peer.first_frame()
        expect_answer(answer, OKAY)
        self.records = self.offer.finish(answer.data)
        self.records.received += behind
        return self

    def open(self):
        """Up to trust on both sides."""
        self.start()
        self.send(self.records.seal(secure.FINISHED))
        expect(self.record() == (secure.FINISHED, b""), "the first record is another than finished")
        return self

    def send(self, sent):
        self.peer.send_raw(sent)

    def send_frames(self, *frames):
        self.send(self.records.seal_stream(b"".join(frames)))

    def record(self, timeout=WAIT):
        """The next record, None at the end of the stream."""
        self.peer.stream.settimeout(timeout)
        while True:
            record = self.records.next()
            if record is not None:
                return record
            try:
                received = self.peer.stream.recv(65536)
            except socket.timeout as error:
                raise AssertionError("the connection stays open, and silent") from error
            except ConnectionError:
                return None
            if not received:
                return None
            self.records.received += received

    def message(self):
        """The next message in the records."""
        while True:
            kind, body = self.record() or (None, b"")
            expect(kind == secure.FRAMES, "expected a frame, found a record of type %r" % kind)
            for piece in self.peer.framing.feed(body):
                return peer.decode(piece)

    def expect_end(self):
        """The server closes, and says nothing before but finished and the reason."""
        while True:
            record = self.record()
            if record is None:
                return
            expect(record[0] != secure.FRAMES, "answered %r" % (record[1],))

    def go_on(self, early=False, again=False):
        """What a server that has overlooked something would answer, instead of waiting for its time-out; `early`: one that
        takes another record for finished; `again`: one that does not count the record before."""
        if again:
            cipher = self.records.noise.noise_protocol.cipher_state_encrypt
            cipher.set_nonce(cipher.n - 1)
        frame = read_request()
        try:
            if early:
                self.send_frames(frame)
            self.send(self.records.seal(secure.FINISHED))
            self.send_frames(frame)
        except peer.Closed:
            pass  # so much the better

    def expect_refused(self):
        """The one answer that all refusals get, and the end."""
        self.peer.send(AUTH, SECURE, self.data)
        answer = self.peer.receive()
        expect((answer.service_id, answer.data_id) == (AUTH + 1, SECURE), "got %r" % answer)
        expect_answer(answer, NOT_PERMITTED, None)
        expect(self.peer.wait_closed(), "the connection stays open")


def read_request():
    """A request of a trusted peer, as it stands in the stream of frames."""
    return peer.Length.encode(peer.Message(READ, DATUM).encode())
