"""Shows examples/browser in a headless Chromium and uses it as a person would.

    python3 tests/python/browser.py

prints `origin URL`, the origin of the page, on its first line; reads the address of a thermostat that takes this origin from
its first line of input; then one line for each check. It ends when it is done, or when its input ends.
"""

import contextlib
import functools
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

PAGE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "browser"
PATIENCE = 60
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def static_server():
    """Serves the page on a free port; gives its origin."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=PAGE))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Browser:
    """A session of a browser, driven over HTTP (W3C WebDriver)."""

    def __init__(self, driver, profile):
        self.base = driver
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": program("chromium", "google-chrome")}
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self.base += f"/session/{answer['sessionId']}"

    def ask(self, method, path, data=None):
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self.base + path, body, {"Content-Type": "application/json"}, method=method)
        # No proxy stands between two programs of one machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE) as response:
            return json.load(response)["value"]

    def open(self, url):
        self.ask("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        return self.ask("POST", "/execute/sync", {"script": script, "args": arguments})

    def text(self, element):
        return self.run("return document.getElementById(arguments[0]).textContent", element)

    def click(self, element):
        self.run("document.getElementById(arguments[0]).click()", element)

    def fill(self, element, value):
        self.run("document.getElementById(arguments[0]).value = arguments[1]", element, value)

    def log(self):
        return "\n".join(entry["message"] for entry in self.ask("POST", "/se/log", {"type": "browser"}))

    def expect(self, element, pattern):
        """Waits until an element says what it should."""
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, text := self.text(element)):
            if time.monotonic() > end:
                raise AssertionError(f"#{element} says {text!r} instead of {pattern!r}\n{self.log()}")
        return text


def program(*names):
    for name in names:
        if path := shutil.which(name):
            return path
    sys.exit(f"{names[0]} is missing: run `apt-get install chromium chromium-driver`, or tests/run.sh, which does")


@contextlib.contextmanager
def browser():
    with contextlib.ExitStack() as stack:
        # All they leave behind lies here: the profile, and what else they write.
        profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        driver = subprocess.Popen(
            [program("chromedriver"), "--port=0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": profile},
            start_new_session=True,
        )
        stack.callback(end, driver)
        port = next((found[1] for line in driver.stdout if (found := re.search(r"successfully on port (\d+)", line))), None)
        # What else it says is nobody's matter, but has to go somewhere.
        threading.Thread(target=driver.stdout.read, daemon=True).start()
        session = Browser(f"http://127.0.0.1:{port}", profile)
        stack.callback(session.ask, "DELETE", "")
        yield session


def end(driver):
    driver.terminate()
    driver.wait()
    # Helpers of the browser take a moment longer than the browser.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(driver.pid, signal.SIGKILL)


def end_with_input():
    """Whoever started this has gone: the browser goes too."""
    sys.stdin.read()
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def page_reads_and_writes(browser, url):
    browser.open(url)
    browser.expect("state", "^ready")
    browser.expect("temperature", "^19.5 °C$")
    browser.expect("setpoint", "^20 °C$")
    browser.fill("wanted", "22.5")
    browser.click("set")
    browser.expect("setpoint", "^22.5 °C$")
    assert browser.text("error") == ""


def a_refused_write_is_shown(browser, _):
    browser.fill("wanted", "99")
    browser.click("set")
    browser.expect("error", r"^not permitted \(6\): 99 °C is outside 5 to 30 °C$")
    browser.click("read")
    browser.expect("error", "^$")
    browser.expect("setpoint", "^22.5 °C$")


def many_calls_at_once(browser, _):
    script = """
        const [count, done] = arguments;
        Promise.all(Array.from({ length: count }, () => peer.read(SETPOINT))).then(done, (error) => done(String(error)));
    """
    answers = browser.ask("POST", "/execute/async", {"script": script, "args": [100]})
    assert answers == [22.5] * 100, answers


def a_page_that_closes_connects_again(browser, _):
    script = "const [done] = arguments; peer.closed.then(({ code }) => done(code)); peer.close()"
    assert browser.ask("POST", "/execute/async", {"script": script, "args": []}) == 1000
    # By now the page has seen it too, and connects again.
    browser.expect("state", "^ready")


def a_foreign_page_is_refused(browser, url):
    browser.open(url)
    browser.expect("state", "^no connection to ws://")
    log = browser.log()
    assert "403" in log, log


def main():
    with static_server() as allowed, static_server() as foreign, browser() as session:
        print(f"origin {allowed}", flush=True)
        thermostat = urllib.parse.quote(sys.stdin.readline().strip())
        threading.Thread(target=end_with_input, daemon=True).start()
        page = f"/index.html?server={thermostat}"
        for check, url in [
            (page_reads_and_writes, allowed + page),
            (a_refused_write_is_shown, None),
            (many_calls_at_once, None),
            (a_page_that_closes_connects_again, None),
            (a_foreign_page_is_refused, foreign + page),
            (a_foreign_page_is_refused, PAGE.joinpath("index.html").as_uri() + f"?server={thermostat}"),
        ]:
            check(session, url)
            print("ok", check.__name__, flush=True)


if __name__ == "__main__":
    main()
