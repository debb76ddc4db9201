#!/usr/bin/env python3
"""The status page in a real Chromium: it shows clock, traffic, holders and a queue that are there,
follows them as they change, says so when the node ends, loads nothing from elsewhere, and cannot be
written to.

usage: page_test.py DRIFTLOCKD DRIFTLOCK [SCREENSHOTS]   (a folder for light.png)
"""

import contextlib
import pathlib
import sys
import tempfile

from netns import Namespace, need_namespaces, run
from node_site import Site, until
from webdriver import Browser, need_chromium

URL = "http://127.0.0.1:9478"


def text_of(browser, selector):
    return browser.script(f"return document.querySelector({selector!r}).innerText")


def check_shows(browser, site, screenshots):
    held = site.client("lock", "orders")
    waiter = site.client("lock", "orders")
    with held, waiter:
        until("a holder is shown", lambda: "0:orders" in text_of(browser, "#holders"))
        until("a waiter is shown", lambda: "0:orders" in text_of(browser, "#hot"))
        assert "client 1" in text_of(browser, "#hot"), text_of(browser, "#hot")
        assert "SYNC" in text_of(browser, "#badges")
        assert "test-node" in text_of(browser, "h1")
        assert "hard bound" in text_of(browser, "#clock-facts")
        until("the plots have lines", lambda: browser.script(
            "return document.querySelectorAll('#traffic-plot path').length") == 4)
        bands = browser.script(
            "return [...document.querySelectorAll('#clock-plot path')].map(p => p.getAttribute('d'))")
        assert len(bands) == 2 and all(band.endswith("Z") for band in bands), bands
        if screenshots:
            browser.screenshot(pathlib.Path(screenshots) / "light.png")
    until("the queue is seen to end", lambda: "Nobody waits" in text_of(browser, "#hot"))


def check_clock_loss(browser, site):
    site.ask("rehearse", unreadable=True)
    until("HOLDOVER is shown", lambda: "HOLDOVER" in text_of(browser, "#badges"), 60)
    site.ask("rehearse", unreadable=False)
    until("SYNC is shown again", lambda: "SYNC" in text_of(browser, "#badges"), 60)


def check_reads_only(site):
    for path, method in (("/", "POST"), ("/api/state", "DELETE"), ("/../etc/passwd", "GET"),
                         ("/page/none.js", "GET")):
        code = run(["curl", "--path-as-is", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method,
                    URL + path], site.namespace)
        assert code in ("400", "404"), (path, method, code)
    headers = run(["curl", "-s", "-D", "-", "-o", "/dev/null", URL + "/"], site.namespace)
    assert "default-src 'self'" in headers, headers


def main():
    driftlockd, driftlock = sys.argv[1:3]
    screenshots = sys.argv[3] if len(sys.argv) > 3 else None
    need_namespaces()
    need_chromium()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="driftlock-page."))
        namespace = stack.enter_context(Namespace("page"))
        site = Site(folder, namespace, driftlockd, driftlock)
        site.configure('[clock]\nsource = "simulated"\nholdover_after_ms = 1000\n')
        daemon = stack.enter_context(site.daemon())
        daemon.wait_for("driftlockd ready")
        browser = stack.enter_context(Browser(namespace))
        browser.open(URL + "/")
        check_shows(browser, site, screenshots)
        check_clock_loss(browser, site)
        check_reads_only(site)
        complaints = browser.complaints()
        assert complaints == [], complaints
        outside = browser.script("return performance.getEntriesByType('resource')"
                                 f".map(e => e.name).filter(n => !n.startsWith('{URL}/'))")
        assert outside == [], outside
        daemon.stop()
        until("the page says that the node is silent",
              lambda: browser.script("return !document.getElementById('silence').hidden"))


if __name__ == "__main__":
    main()
