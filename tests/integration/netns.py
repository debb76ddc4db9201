"""Network namespaces for the integration tests: what a test makes here it unmakes, whatever happens.

    with Namespace("node") as node, Namespace("user") as user, \\
         VethPair(node, "10.99.0.1/24", user, "10.99.0.2/24") as veth:
        with Process(["driftlockd", ...], namespace=node) as daemon:
            daemon.wait_for("ready")

Names carry the test's pid, so tests may run side by side; addresses are only ever inside the
namespaces. A Process is ended by its own pid.
"""

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time

SKIP = 77
_serial = itertools.count(1)


def skip(reason):
    print(f"skipped: {reason}", flush=True)
    sys.exit(SKIP)


def need_namespaces():
    """Skips the test where network namespaces cannot be made."""
    if os.geteuid() != 0:
        skip("network namespaces need root")
    name = f"dl{os.getpid()}probe"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode != 0:
        skip(f"no network namespaces here: {made.stderr.strip()}")
    subprocess.run(["ip", "netns", "delete", name], check=True)


def run(command, namespace=None, timeout_s=60, check=True):
    """Runs a command to its end and returns what it printed."""
    if namespace is not None:
        command = ["ip", "netns", "exec", namespace.name, *command]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    if check and ended.returncode != 0:
        raise AssertionError(
            f"{' '.join(command)} exited {ended.returncode}\n{ended.stdout}{ended.stderr}"
        )
    return ended.stdout + ended.stderr


class Namespace:
    """A network namespace with its loopback up."""

    def __init__(self, role):
        self.name = f"dl{os.getpid()}{role}"

    def __enter__(self):
        run(["ip", "netns", "add", self.name])
        run(["ip", "link", "set", "lo", "up"], self)
        return self

    def __exit__(self, *_):
        run(["ip", "netns", "delete", self.name], check=False)


class VethPair:
    """Two joined interfaces. `left` and `right` are their names; an address of None leaves that end
    without one, as for a port that owns the interface. Gone with its namespaces at the latest."""

    def __init__(self, left_namespace, left_address, right_namespace, right_address, mtu=1500):
        serial = next(_serial)
        self.left = f"dl{os.getpid()}l{serial}"
        self.right = f"dl{os.getpid()}r{serial}"
        self._ends = [
            (left_namespace, self.left, left_address),
            (right_namespace, self.right, right_address),
        ]
        self._mtu = mtu

    def __enter__(self):
        (left_namespace, _, _), (right_namespace, _, _) = self._ends
        run(["ip", "link", "add", self.left, "netns", left_namespace.name, "type", "veth",
             "peer", "name", self.right, "netns", right_namespace.name])
        for namespace, name, address in self._ends:
            if address is not None:
                run(["ip", "address", "add", address, "dev", name], namespace)
            run(["ip", "link", "set", name, "mtu", str(self._mtu), "up"], namespace)
        return self

    def __exit__(self, *_):
        run(["ip", "link", "delete", self.left], self._ends[0][0], check=False)

    def full_checksums(self):
        """Makes the kernel fill in UDP checksums: a raw receiver sees partial ones otherwise."""
        for namespace, name, _ in self._ends:
            run(["ethtool", "-K", name, "tx", "off"], namespace)


class Process:
    """A program of the test's, in a namespace or not; ended by its pid on leaving the block. What it
    prints (both streams) is kept in `output`."""

    def __init__(self, command, namespace=None, environment=None):
        self.command = [str(part) for part in command]
        self._prefix = [] if namespace is None else ["ip", "netns", "exec", namespace.name]
        self._environment = {**os.environ, **(environment or {})}
        self._lines = []
        self._changed = threading.Condition()
        self._ended = False
        self._process = None

    @property
    def pid(self):
        # `ip netns exec` becomes the program it is given, in the same process.
        return self._process.pid

    @property
    def output(self):
        with self._changed:
            return "".join(self._lines)

    def __enter__(self):
        self._process = subprocess.Popen(
            self._prefix + self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", env=self._environment)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self):
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, pattern, timeout_s=30):
        """Waits for a line that matches, and returns the match."""
        deadline = time.monotonic() + timeout_s
        seen = 0
        with self._changed:
            while True:
                for line in self._lines[seen:]:
                    match = re.search(pattern, line)
                    if match:
                        return match
                seen = len(self._lines)
                if self._ended:
                    raise AssertionError(self._story(f"ended before it printed {pattern!r}"))
                if not self._changed.wait(deadline - time.monotonic()):
                    raise AssertionError(
                        self._story(f"did not print {pattern!r} in {timeout_s} s"))

    def _story(self, what):
        return f"{' '.join(self.command)} {what}:\n{''.join(self._lines)}"

    def running(self):
        return self._process.poll() is None

    def send_signal(self, number):
        self._process.send_signal(number)

    def wait(self, timeout_s=60):
        """Waits for its end and returns the exit code (negative: the signal that ended it)."""
        code = self._process.wait(timeout=timeout_s)
        self._reader.join(timeout=5)
        return code

    def stop(self, timeout_s=10):
        """Asks it to end (SIGTERM), insists when it does not (SIGKILL); returns the exit code."""
        if self.running():
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return self.wait()

    def __exit__(self, *_):
        self.stop()
