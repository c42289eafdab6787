"""Google Cloud Storage's XML API, as far as the exporter speaks it, over moto's S3.

Usage: gcs_over_moto.py PORT BUCKET

Generations stand for ETags: every write gets the next one, and x-goog-if-generation-match guards
writes. The rules are ours, written from the client's source; they test the exporter, not Google.
"""

import itertools
import sys
import threading
import urllib.parse

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
from werkzeug.test import Client

PORT, BUCKET = int(sys.argv[1]), sys.argv[2]
CREDENTIAL = "Credential=test/20260101/us-east-1/s3/aws4_request"

s3 = DomainDispatcherApplication(create_backend_app)
generations = {}
numbers = itertools.count(1_700_000_000_000_000)
writing = threading.RLock()


def is_write(method, query, is_object):
    return is_object and (
        (method == "PUT" and "partNumber" not in query)
        or (method == "POST" and "uploadId" in query)
        or (method == "DELETE" and "uploadId" not in query)
    )


def to_s3(environ):
    """Rewrites the headers; the condition on the generation, if there is one."""
    environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 {CREDENTIAL}, SignedHeaders=host, Signature=x"
    wanted = environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
    for name in [name for name in environ if name.startswith("HTTP_X_GOOG_")]:
        environ[name.replace("X_GOOG", "X_AMZ", 1)] = environ.pop(name)
    return wanted


def app(environ, start):
    query = urllib.parse.parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    key, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    is_object = len(key.strip("/").split("/", 1)) == 2
    writes = is_write(method, query, is_object)
    wanted = to_s3(environ)

    def refuse(status, code):
        start(status, [("Content-Type", "application/xml")])
        return [b"<Error><Code>%s</Code></Error>" % code]

    def reply(status, headers, exc_info=None):
        meta = "x-amz-meta-"
        headers = [
            (name.replace(meta, "x-goog-meta-", 1) if name.lower().startswith(meta) else name, value)
            for name, value in headers
        ]
        if status[0] == "2" and is_object:
            if writes and method == "DELETE":
                generations.pop(key, None)
            elif writes:
                generations[key] = str(next(numbers))
            if key in generations:
                headers.append(("x-goog-generation", generations[key]))
        return start(status, headers)

    with writing if writes else threading.Lock():
        if wanted is not None and generations.get(key, "0") != wanted:
            return refuse("412 Precondition Failed", b"PreconditionFailed")
        if writes and method == "DELETE" and key not in generations:
            return refuse("404 Not Found", b"NoSuchKey")
        if query.get("generation") and query["generation"][0] != generations.get(key):
            return refuse("404 Not Found", b"NoSuchKey")
        return s3(environ, reply)


Client(s3).put("/" + BUCKET, headers={"Host": "127.0.0.1"})
run_simple("127.0.0.1", PORT, app, threaded=True)
