"""A service that signs in at callboard. Python 3.8 or newer, standard library only.

Run it:     python3 examples/python/hello.py
Call it:    curl http://127.0.0.1:8080/hello/world
Settings:   CALLBOARD, SERVICE, INSTANCE_ID, PORT, ADDRESS (see examples/README.md)

To put a service of your own on callboard, keep `Membership` and replace `Hello`.
"""

import json
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CALLBOARD = os.environ.get("CALLBOARD", "http://127.0.0.1:8500")
SERVICE = os.environ.get("SERVICE", "hello")
INSTANCE_ID = os.environ.get("INSTANCE_ID", f"{socket.gethostname()}-{os.getpid()}")


class Hello(BaseHTTPRequestHandler):
    """The service itself: /health says it is well, anything else says who answered."""

    protocol_version = "HTTP/1.1"  # keeps connections open between requests
    disable_nagle_algorithm = True  # or a small answer waits for the acknowledgement of its header

    def do_GET(self):
        body = {"language": "python", "instance": INSTANCE_ID, "path": self.path}
        data = json.dumps(body, separators=(",", ":")).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


class Membership:
    """Keeps this instance signed in for as long as it lives."""

    def __init__(self, port):
        self.url = f"{CALLBOARD}/api/v1/services/{SERVICE}/instances/{INSTANCE_ID}"
        self.registration = {
            "port": port,
            "lease": {"ttl": "5s"},  # without a heartbeat for this long, callboard doubts us
            "check": {"http": {"path": "/health"}},  # and it asks for itself as well
            "metadata": {"language": "python"},
            "generation": int(time.time() * 1000),  # a late call of an earlier life is refused
        }
        if "ADDRESS" in os.environ:  # else callboard takes the address this call comes from
            self.registration["address"] = os.environ["ADDRESS"]
        self.leaving = threading.Event()
        self.thread = threading.Thread(target=self._stay)
        self.thread.start()

    def _stay(self):
        renew_after = None  # not signed in yet
        while not self.leaving.is_set():
            pause = 1.0  # callboard is away: keep serving, keep asking
            try:
                if renew_after is None:
                    answer = self._call("PUT", self.url, self.registration)
                    renew_after = seconds(answer["lease"]["renew_after"])
                    print(f"signed in as {SERVICE}/{INSTANCE_ID}", flush=True)
                else:
                    self._call("PUT", f"{self.url}/lease")
                pause = renew_after
            except urllib.error.HTTPError as error:
                if error.code == 404 and renew_after is not None:
                    renew_after, pause = None, 0.0  # callboard does not know us: sign in again
                else:
                    print(f"callboard: {error.code} {error.read().decode()}", file=sys.stderr)
            except (OSError, ValueError, KeyError) as error:
                print(f"callboard at {CALLBOARD}: {error}", file=sys.stderr)
            self.leaving.wait(pause)

    def leave(self):
        """Signs out: callboard sends nothing new, and answers when nothing is in flight."""
        self.leaving.set()
        self.thread.join()
        try:
            print("left:", json.dumps(self._call("DELETE", f"{self.url}?drain=10s", timeout=15)), flush=True)
        except (OSError, ValueError) as error:
            print(f"callboard at {CALLBOARD}: {error}; the lease will run out", file=sys.stderr)

    @staticmethod
    def _call(method, url, body=None, timeout=3):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return json.loads(response.read() or b"null")


def seconds(text):
    """Reads a duration as callboard writes it: 250ms, 4.7s."""
    number, unit = re.fullmatch(r"([\d.]+)(ms|s)", text).groups()
    return float(number) / (1000 if unit == "ms" else 1)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("", int(os.environ.get("PORT", "0"))), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    membership = Membership(server.server_port)  # listens first, then signs in
    stop.wait()
    membership.leave()
    server.shutdown()
