"""A dumb, fast server of `/calls` and `/call-details`, so that its own work is small.

    server.py DIR [LATENCY_MS]

It prints its address. Replies are cut together from lines that are in memory; `/_counts` says how many
requests and bytes there were since it was asked last.
"""

import asyncio
import bisect
import json
import pathlib
import sys
from urllib.parse import parse_qs, unquote, urlsplit

LATENCY = int(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0


def load(folder):
    """The calls by time, whatever their order in the file."""
    def lines(name):
        path = pathlib.Path(folder, f"{name}.ndjson")
        return path.read_bytes().splitlines() if path.exists() else []

    calls = sorted(((json.loads(line)["time"], line) for line in lines("calls")), key=lambda it: it[0])
    details = {json.loads(line)["id"]: line for line in lines("details")}
    return [time for time, _ in calls], [line for _, line in calls], details


TIMES, CALLS, DETAILS = load(sys.argv[1])
counts = {"requests": 0, "bytes": 0}


def listed(query):
    one = lambda name, default: query.get(name, [default])[0]
    of = bisect.bisect_left(TIMES, one("filterTimeGt", ""))
    to = bisect.bisect_right(TIMES, one("filterTimeLt", "9"))
    if "filterModifiedGt" in query:
        of = max(of, bisect.bisect_left(TIMES, one("filterModifiedGt", "")))
    skip, limit = int(one("skip", 0)), min(int(one("limit", 25)), 100)
    if one("sortTime", "desc") == "asc":
        page = CALLS[of:to][skip:skip + limit]
    else:
        page = CALLS[of:to][::-1][skip:skip + limit]
    tail = b"]"
    if one("includePagination", "true") == "true":
        has_more = skip + limit < to - of
        pagination = {"matched": to - of, "hasMore": has_more} | ({"nextPageSkip": skip + limit} if has_more else {})
        tail += b',"pagination":' + json.dumps(pagination).encode()
    return b'{"calls":[' + b",".join(page) + tail + b"}"


def answer(target):
    split = urlsplit(target)
    if split.path == "/call-details":
        line = DETAILS.get(unquote(split.query.partition("id=")[2].partition("&")[0]))
        return (200, b'{"call":' + line + b"}") if line else (404, b"{}")
    if split.path == "/calls":
        return 200, listed(parse_qs(split.query))
    if split.path == "/_counts":
        said = json.dumps(counts).encode()
        counts.update(requests=-1, bytes=-len(said))
        return 200, said
    # Asked first, to see whether the credentials are right.
    return (200, b'{"topics":[]}') if split.path == "/topics" else (404, b"{}")


class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.heard = transport, b""

    def data_received(self, data):
        self.heard += data
        while b"\r\n\r\n" in self.heard:
            head, self.heard = self.heard.split(b"\r\n\r\n", 1)
            target = head.split(b" ", 2)[1].decode()
            if LATENCY:
                asyncio.get_running_loop().call_later(LATENCY, self.reply, target)
            else:
                self.reply(target)

    def reply(self, target):
        status, body = answer(target)
        counts["requests"] += 1
        counts["bytes"] += len(body)
        head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Not Found'}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


async def main():
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
