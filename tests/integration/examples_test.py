"""The example programs against a real driftlockd: they do what they say.

usage: examples_test.py DRIFTLOCKD DRIFTLOCK HOLD POLL GUARD
"""

import os
import subprocess
import sys
import tempfile

from driftlock_command import Bench

_, DAEMON, COMMAND, HOLD, POLL, GUARD = sys.argv


def call(*command, code=0):
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code, (command, ended.returncode, ended.stdout, ended.stderr)
    return ended.stdout


def main():
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(directory)
        server = bench.environment["DRIFTLOCK_SERVER"]
        keys = bench.environment["DRIFTLOCK_KEY_FILE"]
        with bench.node() as node:
            node.wait_for("ready:")
            held = call(HOLD, server, keys, "demo")
            assert "step 3" in held and "released: ok" in held, held
            polled = call(POLL, server, keys, "a", "b", "c")
            assert polled.count(": ok, token ") == 3, polled
            guarded = call(GUARD, server, keys, "demo")
            assert guarded.count("admitted") == 2 and "again: refused" in guarded, guarded
            call(HOLD, server, os.path.join(directory, "none"), "demo", code=1)
    symbols = subprocess.run(["nm", "-D", "--defined-only", os.path.join(
        os.path.dirname(HOLD), "../../hw/libdriftlock.so")], capture_output=True, text=True, check=False)
    if symbols.returncode == 0:
        names = [line.split()[-1] for line in symbols.stdout.splitlines()]
        assert all(name.startswith(("driftlock_", "DRIFTLOCK_1")) for name in names), names
        assert "driftlock_acquire@@DRIFTLOCK_1" in names, names
    print("ok")


if __name__ == "__main__":
    main()
