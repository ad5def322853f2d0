"""Runs the cases of the Autobahn suite, which the package kosoku brings along, against one side of a WebSocket.

    python3 tests/python/autobahn.py servers PORT    the server that listens there
    python3 tests/python/autobahn.py clients         a client; the port to connect to is printed first

The results go to stdout as JSON, a case with its behaviour and that of its closing handshake each.
"""

import asyncio
import json
import os
import sys

try:
    import kosoku
except ImportError:
    sys.exit(
        "the package kosoku is missing: run `python3 -m pip install -r tests/python/requirements.txt`, "
        "or tests/run.sh, which puts it into target/python"
    )


async def servers(port):
    return await kosoku.run_fuzzingclient(f"127.0.0.1:{port}", concurrency=1)


async def clients():
    async with kosoku.run_fuzzingserver(host="127.0.0.1", port=0) as server:
        print(server.port, flush=True)
        return await server.get_result()


def main(side, *arguments):
    try:
        results = asyncio.run({"servers": servers, "clients": clients}[side](*arguments))
    except kosoku.FailureError as failure:
        results = failure.results
    table = {case.case_id: [case.behavior.value, case.behavior_close.value] for case in results}
    json.dump(table, sys.stdout)
    sys.stdout.flush()
    # The package's own threads may outlive the interpreter, which then sometimes crashes at its end.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
