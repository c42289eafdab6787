"""The status page in a real headless browser, over the debugging pipe: python3 page.py PAGE OUT.

Holds what the page promises: it asks for nothing outside itself, leaves no word in the console, fits
a phone, follows the colour scheme, and gives every chart a text. Leaves screenshots in OUT.
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

page, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))


class Browser:
    """A browser that is spoken to by JSON messages that end in NUL, on descriptors 3 and 4."""

    def __init__(self, profile):
        to_read, self.write = os.pipe()
        self.read, to_write = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
                 "--no-first-run", f"--user-data-dir={profile}", "about:blank"]
        # The shell puts the two ends where the browser looks for them.
        script = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        self.process = subprocess.Popen(["bash", "-c", script, browser, *flags],
                                        pass_fds=(to_read, to_write), stderr=subprocess.DEVNULL)
        os.close(to_read), os.close(to_write)
        self.rest, self.number, self.events, self.session = b"", 0, [], None

    def message(self):
        while b"\0" not in self.rest:
            piece = os.read(self.read, 1 << 16)
            if not piece:
                sys.exit("the browser went away")
            self.rest += piece
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **params):
        self.number += 1
        number, request = self.number, {"id": self.number, "method": method, "params": params}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.write, json.dumps(request).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def wait(self, method):
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.message())

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    def open(self, scheme, width):
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=media)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900,
                  deviceScaleFactor=1, mobile=width < 600)
        self.call("Page.navigate", url=page.as_uri())
        self.wait("Page.loadEventFired")
        self.events = [it for it in self.events if it.get("method") != "Page.loadEventFired"]

    def shoot(self, name):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        (out / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


def check(browser):
    found = []
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
    browser.session = attached["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.call(f"{domain}.enable")
    grounds = {}
    for scheme, width, name in (("light", 1100, "light"), ("dark", 1100, "dark"),
                                ("light", 375, "phone"), ("dark", 320, "small-phone")):
        browser.open(scheme, width)
        wide = browser.value("document.documentElement.scrollWidth")
        if wide > width:
            found.append(f"{name}: {wide} px wide in a window of {width}")
        grounds[name] = browser.value("getComputedStyle(document.body).backgroundColor")
        browser.shoot(name)
    if grounds["light"] == grounds["dark"]:
        found.append("the colour scheme changes nothing")
    browser.open("dark", 1100)
    silent = browser.value("[...document.querySelectorAll('svg[role=img]')].filter("
                           "it => !it.querySelector(':scope > title')?.textContent).length")
    shown = browser.value("document.querySelectorAll('svg[role=img]').length")
    if silent or not shown:
        found.append(f"{silent} of {shown} charts without a text")
    # A page printed from a dark screen is printed dark on white.
    browser.call("Emulation.setEmulatedMedia", media="print",
                 features=[{"name": "prefers-color-scheme", "value": "dark"}])
    if browser.value("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)":
        found.append("the printed page has a ground")
    pdf = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    (out / "print.pdf").write_bytes(pdf)
    for event in browser.events:
        params = event.get("params", {})
        if event.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown",
                                   "Log.entryAdded"):
            found.append(f"console: {json.dumps(params)[:300]}")
        if event.get("method") == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if url != page.as_uri() and not url.startswith("data:"):
                found.append(f"outside request: {url}")
    return found, shown


with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    opened = Browser(profile)
    try:
        found, charts = check(opened)
    finally:
        opened.process.kill()
        opened.process.wait()
if found:
    sys.exit("\n".join(found))
print(f"{page.name}: {page.stat().st_size:,} bytes, {charts} charts, nothing asked for, a quiet console")
