"""A workspace of raw JSON texts behind an HTTP server: what it says is exactly what was put in.

It knows as much of the API as an export needs, and nothing of the exporter.
"""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

EMPTY = {
    "/topics": '{"topics": []}',
    "/v2/topics": '{"topics": []}',
    "/scorecard": '{"scorecards": []}',
    "/scorecard-template": '{"scoreCardTemplates": []}',
}


class Workspace:
    """Calls, details and users, each as the text that the API sends."""

    def __init__(self):
        # By id: (time, last modified, text), the times as the API writes them.
        self.calls = {}
        self.details = {}
        self.users = []

    def call(self, record, text=None):
        """Adds a call, or the next version of one."""
        times = record["time"], record.get("last_modified_time", record["time"])
        self.calls[record["id"]] = (*times, text or json.dumps(record))

    def answer(self, path, query):
        if path == "/calls":
            return self.list_calls(query)
        if path == "/call-details":
            found = self.details.get(query.get("id"))
            return found and '{"call": %s}' % found
        if path == "/users":
            return '{"users": [%s]}' % ",".join(self.users)
        return EMPTY.get(path)

    def list_calls(self, query):
        def wanted(call):
            time, modified, _ = call
            return (
                query.get("filterTimeGt", "") <= time
                and time <= query.get("filterTimeLt", "9")
                and query.get("filterModifiedGt", "") <= modified
            )

        found = sorted(filter(wanted, self.calls.values()), key=lambda it: (it[0], it[2]))
        if query.get("sortTime") != "asc":
            found.reverse()
        skip, limit = int(query.get("skip", 0)), int(query.get("limit", 25))
        return '{"calls": [%s]}' % ",".join(text for _, _, text in found[skip : skip + limit])

    def serve(self):
        """Serves it on a free port of this machine; what `CLARI_BASE_URL` has to be."""
        workspace = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                url = urlsplit(self.path)
                query = {name: values[-1] for name, values in parse_qs(url.query).items()}
                body = workspace.answer(url.path, query)
                self.send_response(200 if body else 404)
                body = (body or '{"errorMessage": "not found"}').encode()
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"


def environment(base_url):
    """The environment in which the tool asks this workspace."""
    credentials = {"CLARI_API_KEY": "key", "CLARI_API_PASSWORD": "password"}
    return {**os.environ, **credentials, "CLARI_BASE_URL": base_url}
