"""Makes a container in Azurite. Usage: azure_container.py PORT NAME

The account and its key are those that Azurite's documentation publishes.
"""

import base64
import email.utils
import hashlib
import hmac
import http.client
import sys

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

port, name = sys.argv[1:]
date, version = email.utils.formatdate(usegmt=True), "2021-08-06"
text = (
    f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{version}\n"
    f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
)
signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256))
connection = http.client.HTTPConnection("127.0.0.1", int(port))
connection.request(
    "PUT",
    f"/{ACCOUNT}/{name}?restype=container",
    headers={
        "x-ms-date": date,
        "x-ms-version": version,
        "Authorization": f"SharedKey {ACCOUNT}:{signature.decode()}",
        "Content-Length": "0",
    },
)
sys.exit(connection.getresponse().status not in (201, 409))
