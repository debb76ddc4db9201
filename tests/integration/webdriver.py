"""A small WebDriver client (W3C WebDriver, JSON over HTTP) for Debian's chromedriver and Chromium, in
the standard library only. Both run in the namespace that is given, so that nothing they ask for
leaves it.
"""

import base64
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from netns import run, skip

CHROMIUM = "/usr/bin/chromium"
CHROMEDRIVER = "/usr/bin/chromedriver"
PORT = 9515
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1280,1500"]


def need_chromium():
    for program in (CHROMIUM, CHROMEDRIVER):
        if not pathlib.Path(program).exists():
            skip(f"no {program}: apt-get install chromium chromium-driver")


class Browser:
    """Chromium in `namespace`, which has its loopback interface up."""

    def __init__(self, namespace):
        self._namespace = namespace
        self._driver = None
        self._session = None

    def __enter__(self):
        self._folder = tempfile.mkdtemp(prefix="driftlock-chromium.")
        # A group of its own: chromedriver's children are ended with it.
        self._driver = subprocess.Popen(
            ["ip", "netns", "exec", self._namespace.name, CHROMEDRIVER, f"--port={PORT}",
             "--allowed-ips=127.0.0.1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            return self._begin()
        except BaseException:
            self.__exit__()
            raise

    def _begin(self):
        options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={self._folder}"]}
        self._session = self._ask("POST", "/session", {
            "capabilities": {"alwaysMatch": {"browserName": "chrome",
                                             "goog:chromeOptions": options,
                                             "goog:loggingPrefs": {"browser": "ALL"}}}},
            attempts=100)["sessionId"]
        return self

    def __exit__(self, *_):
        try:
            if self._session:
                self._ask("DELETE", f"/session/{self._session}")
        finally:
            os.killpg(self._driver.pid, signal.SIGKILL)
            self._driver.wait()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _ask(self, method, path, body=None, attempts=1):
        # urllib would look in this namespace: the question is asked in the other.
        program = ("import sys, time, urllib.error, urllib.request as r\n"
                   "method, url, body, attempts = sys.argv[1:5]\n"
                   "for turn in range(int(attempts)):\n"
                   "  try:\n"
                   "    question = r.Request(url, body.encode() or None, method=method,\n"
                   "                         headers={'Content-Type': 'application/json'})\n"
                   "    print(r.urlopen(question, timeout=120).read().decode())\n"
                   "    break\n"
                   "  except urllib.error.HTTPError as trouble: sys.exit(trouble.read().decode())\n"
                   "  except OSError as trouble:\n"
                   "    if turn + 1 == int(attempts): sys.exit(str(trouble))\n"
                   "    time.sleep(0.2)\n")
        answer = run(["python3", "-c", program, method, f"http://127.0.0.1:{PORT}{path}",
                      json.dumps(body) if body is not None else "", str(attempts)],
                     self._namespace, timeout_s=180)
        return json.loads(answer)["value"]

    def open(self, url):
        self._ask("POST", f"/session/{self._session}/url", {"url": url})

    def script(self, text):
        """The value that the body of a function, run in the page, returns."""
        return self._ask("POST", f"/session/{self._session}/execute/sync",
                         {"script": text, "args": []})

    def complaints(self):
        """What the page wrote to its console, warnings and errors."""
        lines = self._ask("POST", f"/session/{self._session}/se/log", {"type": "browser"})
        return [line["message"] for line in lines if line["level"] in ("WARNING", "SEVERE")]

    def screenshot(self, path):
        image = self._ask("GET", f"/session/{self._session}/screenshot")
        pathlib.Path(path).write_bytes(base64.b64decode(image))
