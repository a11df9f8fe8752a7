"""A Chromium that does what it is told, by its debugging protocol over a pipe."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

BROWSER = shutil.which("chromium")


class Failed(AssertionError):
    """The browser refuses, or cannot any more."""


class Browser:
    """One tab. `dark`: as somebody's system wants it; `width`: of the window, in CSS pixels."""

    def __init__(self, folder, width=1280, height=1600, dark=False):
        theirs, self.to = os.pipe()
        self.back, ours = os.pipe()
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        # The protocol's pipes are the browser's 3 and 4.
        words = ["bash", "-c", f'exec "$@" 3<&{theirs} 4>&{ours}', "bash", *command]
        # A Chromium that is killed leaves its socket behind, whose path must be short.
        self.rubbish = tempfile.mkdtemp(prefix="tab-")
        environment = {**os.environ, "TMPDIR": self.rubbish}
        self.process = subprocess.Popen(words, pass_fds=(theirs, ours), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs)
        os.close(ours)
        self.number, self.buffer, self.session, self.told = 0, b"", None, []
        try:
            self.begin(width, height, dark)
        except BaseException:
            self.end()
            raise

    def begin(self, width, height, dark):
        page = next(t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def message(self, seconds):
        end = time.monotonic() + seconds
        while b"\0" not in self.buffer:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.back], [], [], left)[0], "the browser says nothing"
            data = os.read(self.back, 1 << 20)
            assert data, f"the browser ended with {self.process.wait(10)}"
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def ask(self, method, seconds=60, **parameters):
        self.number += 1
        asked = {"id": self.number, "method": method, "params": parameters, **({"sessionId": self.session} if self.session else {})}
        os.write(self.to, json.dumps(asked).encode() + b"\0")
        while True:
            message = self.message(seconds)
            if message.get("id") == self.number:
                if "error" in message:
                    raise Failed(f"{method}: {message['error']}")
                return message["result"]
            self.note(message)

    def note(self, message):
        """What the console says, and whatever else went wrong on the page."""
        about = message.get("params", {})
        if message.get("method") == "Log.entryAdded" and about["entry"]["level"] in ("warning", "error"):
            self.told.append(about["entry"]["text"])
        if message.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.told.append(json.dumps(about)[:500])

    def do(self, script):
        """What a script comes to, on the page."""
        done = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def open(self, url):
        self.ask("Page.navigate", url=url)
        self.until(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def until(self, script, seconds=30):
        end = time.monotonic() + seconds
        while not (said := self.try_to(script)):
            assert time.monotonic() < end, f"not within {seconds} s: {script}"
            time.sleep(0.05)
        return said

    def try_to(self, script):
        """What a script comes to; nothing, where the page went elsewhere meanwhile."""
        try:
            return self.do(script)
        except Failed as failed:
            if "navigated" in str(failed) or "context" in str(failed):
                return None
            raise

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def shoot(self, target):
        """A picture of the whole page."""
        picture = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        target.write_bytes(base64.b64decode(picture["data"]))

    def end(self):
        self.process.kill()
        self.process.wait(30)
        os.close(self.to)
        os.close(self.back)
        shutil.rmtree(self.rubbish, ignore_errors=True)
