#!/usr/bin/env python3
"""clang-tidy over the pure rooms, one file per core. usage: check_tidy.py TOP BUILD [folder]...

The checks are in .clang-tidy. Folders named after BUILD (hw, src/node) replace the pure rooms. A
file is checked again only when it, the configuration or a header of the project has changed since it
passed: what passed is remembered in BUILD. Python 3, standard library only.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

PURE = ("src/base", "src/clock", "src/lock", "src/predict", "src/cluster", "src/client")
SKIPPED = 77


def digest(paths):
    value = hashlib.sha256()
    for path in paths:
        value.update(path.read_bytes())
    return value.hexdigest()


def commands_of(build, top, folders):
    """The file to check -> how it is compiled; one entry for a file that is compiled twice."""
    chosen = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if path.suffix == ".cpp" and any(path.is_relative_to(top / name) for name in folders):
            chosen[path] = entry["command"]
    return chosen


def run_tidy(tidy, build, path):
    started = time.monotonic()
    # Compiled by gcc: clang is not told of flags that it does not know.
    done = subprocess.run([tidy, "-p", str(build), "--quiet",
                           "--extra-arg=-Wno-unknown-warning-option", str(path)],
                          capture_output=True, text=True)
    return path, done.returncode, done.stdout, time.monotonic() - started


def main():
    top, build = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    folders = sys.argv[3:] or PURE
    tidy = shutil.which("clang-tidy")
    if tidy is None:
        print("skipped: clang-tidy is not installed (apt-get install clang-tidy)")
        return SKIPPED
    chosen = commands_of(build, top, folders)
    headers = [path for room in ("src", "hw", "bpf") for path in sorted((top / room).rglob("*.hpp"))]
    shared = digest([top / ".clang-tidy", *headers])
    memory = build / "tidy-passed.json"
    passed = json.loads(memory.read_text()) if memory.exists() else {}
    states = {path: digest([path]) + shared + command for path, command in chosen.items()}
    todo = [path for path in chosen if passed.get(str(path)) != states[path]]
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, code, output, seconds in pool.map(lambda p: run_tidy(tidy, build, p), todo):
            print(f"{seconds:6.1f} s  {path.relative_to(top)}", flush=True)
            if code != 0:
                failures += 1
                print(output, flush=True)
            else:
                passed[str(path)] = states[path]
    memory.write_text(json.dumps(passed))
    print(f"{len(chosen)} files, {len(todo)} of them checked now, {failures} with findings")
    return 1 if failures or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
