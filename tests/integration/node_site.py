"""One node for a test: its configuration, keys and sockets in a folder, in a namespace, and the programs
that talk to it.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

from netns import Process, run

KEYS = """
[[client]]
id = 1
name = "test"
key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
"""


class Site:
    """A configuration, and the programs that go by it."""

    def __init__(self, folder, namespace, driftlockd, driftlock, crossed_clients=None,
                 restart_storm=None):
        self.folder = pathlib.Path(folder)
        self.namespace = namespace
        self._programs = driftlockd, driftlock
        self.server = "127.0.0.1:4780"
        self._crossed_clients = crossed_clients
        self._restart_storm = restart_storm
        self.admin_socket = self.folder / "admin.sock"
        self._keys = self.folder / "keys.toml"
        self._keys.write_text(KEYS)
        self._keys.chmod(0o600)
        self.config = self.folder / "driftlockd.toml"
        self.configure()

    def configure(self, more=""):
        self.config.write_text(f"""
[node]
name = "test-node"
state_directory = "{self.folder}/state"
[auth]
keys_file = "{self._keys}"
[metrics]
address = "127.0.0.1:9478"
[admin]
socket = "{self.admin_socket}"
{more}
""")

    def daemon(self, *options):
        return Process([self._programs[0], "--config", self.config, *options], self.namespace)

    def crossed_clients(self):
        return Process([self._crossed_clients, "127.0.0.1:4780", self._keys], self.namespace)

    def restart_storm(self, sessions, locks_each):
        return Process([self._restart_storm, "127.0.0.1:4780", self._keys, sessions, locks_each],
                       self.namespace)

    def client(self, *arguments):
        return Process(self._client(arguments), self.namespace, self._environment())

    def run_client(self, *arguments, namespace=None):
        """Runs a client to its end; returns its exit code and what it printed."""
        ended = subprocess.run(
            ["ip", "netns", "exec", (namespace or self.namespace).name, *self._client(arguments)],
            capture_output=True, text=True, timeout=60, env=self._environment())
        return ended.returncode, ended.stdout + ended.stderr

    def _environment(self):
        # Where a detached lock is remembered.
        return {**os.environ, "XDG_RUNTIME_DIR": str(self.folder)}

    def _client(self, arguments):
        return [self._programs[1], "--server", self.server, "--key-file", str(self._keys),
                "--admin", str(self.admin_socket), *arguments]

    def forget_detached(self):
        for record in self.folder.glob("driftlock*/*.json"):
            record.unlink()

    def ask(self, command, **fields):
        """One question at the admin socket."""
        program = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
                   "s.sendall(sys.argv[2].encode() + b'\\n'); print(s.makefile().readline())")
        question = json.dumps({"command": command, **fields})
        return json.loads(run([sys.executable, "-c", program, str(self.admin_socket), question]))


def fetch(site, url):
    program = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())"
    return run([sys.executable, "-c", program, url], site.namespace)


def until(what, check, timeout_s=30):
    """Waits until check() is true, and returns what it returned."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}")
        time.sleep(0.05)
