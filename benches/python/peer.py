#!/usr/bin/env python3
"""The Python peer: JSON lines over TCP on asyncio, server and client.

Variants: `streams` (start_server, readline, write, drain), `protocol` (data_received, joined writes) and
`uvloop` (the latter on uvloop). The command line and the line of the result are those of the Rust programs.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import os
import socket
import sys
import threading
import time

VARIANTS = ["streams", "protocol", "uvloop"]
LINE_LIMIT = 8 << 20
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ "
TEXT = (ALPHABET * ((1 << 20) // len(ALPHABET) + 1))[: 1 << 20]
# Seconds between two bursts.
PAUSE = 0.01
# Of connections that do nothing: how many are there before it is measured, and of how many one has a large request.
FIRST = 20
EVERY = 20
encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def answer(line):
    """The one line that answers `line`."""
    request = json.loads(line)
    params = request["params"]
    if request["method"] == "read":
        if not isinstance(params["sensor"], str) or not isinstance(params["unit"], str):
            raise ValueError("a reading needs a sensor and a unit")
        params = {"seq": params["seq"], "value": 21.5, "ok": True}
    return encode({"id": request["id"], "result": params}).encode() + b"\n"


# ---- server ----


async def serve_stream(reader, writer):
    no_delay(writer.transport)
    while line := await reader.readline():
        writer.write(answer(line))
        await writer.drain()
    writer.close()


class Lines(asyncio.Protocol):
    """Cuts what arrives into lines; what is left of the last one waits for the rest."""

    def __init__(self):
        self.rest = []
        self.transport = None

    def connection_made(self, transport):
        no_delay(transport)
        self.transport = transport

    def data_received(self, data):
        lines = data.split(b"\n")
        if len(lines) == 1:
            self.rest.append(data)
            return
        self.rest.append(lines[0])
        lines[0] = b"".join(self.rest)
        last = lines.pop()
        self.rest = [last] if last else []
        self.lines_received(lines)


class Served(Lines):
    def lines_received(self, lines):
        self.transport.write(b"".join(map(answer, lines)))


def no_delay(transport):
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def serve(args):
    loop = asyncio.get_running_loop()
    host, port = args.at.rsplit(":", 1)
    if args.variant == "streams":
        server = await asyncio.start_server(serve_stream, host, int(port), limit=LINE_LIMIT, backlog=4096)
    else:
        server = await loop.create_server(Served, host, int(port), backlog=4096)
    host, port = server.sockets[0].getsockname()
    print(f"listening {host}:{port}", flush=True)
    end = asyncio.Event()
    threading.Thread(target=read_commands, args=(loop, end), daemon=True).start()
    await end.wait()


def read_commands(loop, end):
    for line in sys.stdin:
        if line.strip() == "trim":
            trim()
            print("trimmed", flush=True)
    loop.call_soon_threadsafe(end.set)


def trim():
    """Gives back to the system what is not used, where the allocator can."""
    gc.collect()
    release = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if release:
        release(0)


# ---- client ----


class Client(Lines):
    """Requests by id; those written in one turn of the loop leave in one write."""

    def __init__(self):
        super().__init__()
        self.next_id = 0
        self.waiting = {}
        self.unsent = []
        self.loop = asyncio.get_running_loop()

    def call(self, method, params):
        self.next_id += 1
        answered = self.waiting[self.next_id] = self.loop.create_future()
        self.write(encode({"id": self.next_id, "method": method, "params": params}).encode() + b"\n")
        return answered

    def write(self, line):
        if not self.unsent:
            self.loop.call_soon(self.flush)
        self.unsent.append(line)

    def flush(self):
        self.transport.write(b"".join(self.unsent))
        self.unsent.clear()

    def lines_received(self, lines):
        for line in lines:
            reply = json.loads(line)
            self.waiting.pop(reply["id"]).set_result(reply["result"])

    def connection_lost(self, _):
        for answered in self.waiting.values():
            answered.cancel()


class StreamClient(Client):
    async def read(self, reader, writer):
        no_delay(writer.transport)
        self.write = writer.write
        while line := await reader.readline():
            self.lines_received([line])
        self.connection_lost(None)


async def connect(args):
    host, port = args.to.rsplit(":", 1)
    if args.variant != "streams":
        return (await asyncio.get_running_loop().create_connection(Client, host, int(port)))[1]
    client = StreamClient()
    reader, writer = await asyncio.open_connection(host, int(port), limit=LINE_LIMIT)
    client.reading = asyncio.create_task(client.read(reader, writer))
    return client


async def read(client, seq):
    reply = await client.call("read", {"sensor": "boiler-room-7", "unit": "celsius", "seq": seq})
    if reply["seq"] != seq or reply["ok"] is not True:
        raise ValueError(f"request {seq} was answered with {reply}")


async def echo(client, _):
    length = len(await client.call("echo", TEXT))
    if length != len(TEXT):
        raise ValueError(f"sent {len(TEXT)} characters, {length} came back")


async def load(args):
    if args.shape == "s5":
        return await weigh(args)
    clients = [await connect(args) for _ in range(args.connections)]
    window = Window(args)
    if args.shape == "s6":
        delays = [PAUSE * number / len(clients) for number in range(len(clients))]
        work = [bursts(client, args.outstanding, delay, window) for client, delay in zip(clients, delays)]
    else:
        ask = echo if args.shape == "s4" else read
        work = [calls(client, ask, window) for client in clients for _ in range(args.outstanding)]
    await asyncio.gather(window.measure(), *work)
    print(json.dumps(window.result()), flush=True)


async def calls(client, ask, window):
    number = 0
    while not window.is_over:
        number += 1
        await timed(client, ask, number, window)


async def bursts(client, size, delay, window):
    await asyncio.sleep(delay)
    number = 0
    while not window.is_over:
        await asyncio.gather(*(timed(client, read, number + place, window) for place in range(size)))
        number += size
        await asyncio.sleep(PAUSE)


async def timed(client, ask, number, window):
    begin = time.perf_counter_ns()
    await ask(client, number)
    if window.is_open:
        window.latencies.append(time.perf_counter_ns() - begin)


class Window:
    """The time in which is measured, and what comes out of it."""

    def __init__(self, args):
        self.args = args
        self.latencies = []
        self.is_open = False
        self.is_over = False

    async def measure(self):
        await asyncio.sleep(self.args.warmup)
        begin, server, client = time.perf_counter_ns(), cpu_ns(self.args.server_pid), cpu_ns([os.getpid()])
        self.is_open = True
        await asyncio.sleep(self.args.seconds)
        self.is_open = False
        self.seconds = (time.perf_counter_ns() - begin) / 1e9
        self.server_cpu_ns = cpu_ns(self.args.server_pid) - server
        self.client_cpu_ns = cpu_ns([os.getpid()]) - client
        self.is_over = True

    def result(self):
        if not self.latencies:
            raise ValueError(f"nothing was answered in {self.seconds:.1f} s")
        self.latencies.sort()
        return outcome(
            done=len(self.latencies),
            seconds=self.seconds,
            server_cpu_ns=self.server_cpu_ns,
            client_cpu_ns=self.client_cpu_ns,
            p50_ns=self.quantile(0.5),
            p99_ns=self.quantile(0.99),
            p999_ns=self.quantile(0.999),
            server_rss_kib=resident_kib(self.args.server_pid),
        )

    def quantile(self, part):
        return self.latencies[min(int(len(self.latencies) * part), len(self.latencies) - 1)]


async def weigh(args):
    """What idle connections cost, before and after some have had a large request, and when the server has trimmed."""

    async def opened(count):
        clients = [await connect(args) for _ in range(count)]
        for number, client in enumerate(clients):
            await read(client, number)
        return clients

    def ask_to_trim():
        # Whoever started both ends carries this to the server, and its answer back.
        print("trim", flush=True)
        sys.stdin.readline()

    def each():
        return (resident_kib(args.server_pid) - before) * 1024 / args.connections

    first = await opened(FIRST)
    await echo(first[0], 0)
    ask_to_trim()
    before = resident_kib(args.server_pid)
    clients = await opened(args.connections)
    weights = {"per_connection_bytes": each()}
    for client in clients[::EVERY]:
        await echo(client, 0)
    weights["after_burst_bytes"] = each()
    ask_to_trim()
    weights["after_trim_bytes"] = each()
    rss = resident_kib(args.server_pid)
    print(json.dumps(outcome(done=args.connections, server_rss_kib=rss, **weights)), flush=True)


def outcome(seconds=0.0, **measured):
    quantities = ["server_cpu_ns", "client_cpu_ns", "p50_ns", "p99_ns", "p999_ns", "server_rss_kib"]
    quantities += ["per_connection_bytes", "after_burst_bytes", "after_trim_bytes"]
    return {"seconds": seconds, **dict.fromkeys(quantities), **measured}


def cpu_ns(processes):
    """Nanoseconds on a CPU of all threads of some processes."""
    total = 0
    for process in processes:
        for thread in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
    return total


def resident_kib(processes):
    """KiB of memory that some processes have resident, counted page by page."""
    total = 0
    for process in processes:
        with open(f"/proc/{process}/smaps_rollup") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("Rss:"))
    return total


# ---- command line ----


def command():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ends = parser.add_subparsers(dest="end", required=True)
    serving = ends.add_parser("serve", help="serves until stdin ends; prints `listening ADDRESS` first")
    serving.add_argument("--at", default="127.0.0.1:0", help="where to listen; a free port unless said")
    loading = ends.add_parser("load", help="asks, and prints one line of JSON")
    loading.add_argument("--to", required=True, help="what the server printed")
    loading.add_argument("--connections", type=int, default=1)
    loading.add_argument("--outstanding", type=int, default=1, help="requests on each connection")
    loading.add_argument("--shape", choices=["s1", "s2", "s3", "s4", "s5", "s6"], required=True)
    loading.add_argument("--server-pid", type=lambda text: list(map(int, text.split(","))), default=[])
    loading.add_argument("--warmup", type=float, default=0.3, metavar="SECONDS")
    loading.add_argument("--seconds", type=float, default=0.8, metavar="SECONDS")
    for end in (serving, loading):
        end.add_argument("--variant", choices=VARIANTS, default=VARIANTS[0])
        end.add_argument("--runtime", choices=["current"], default="current", help="asyncio has one thread")
    return parser.parse_args()


def main():
    args = command()
    loop_factory = None
    if args.variant == "uvloop":
        try:
            import uvloop
        except ImportError:
            sys.exit("the variant uvloop needs the package uvloop")
        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve(args) if args.end == "serve" else load(args))


if __name__ == "__main__":
    main()
