#!/usr/bin/env python3
"""Replays every bug that the simulator has found. usage: scenarios.py DRIFTLOCK_SIM SCENARIOS

A line of SCENARIOS: name: arguments of driftlock-sim. Python 3, standard library only.
"""
import subprocess
import sys


def main():
    simulator, path = sys.argv[1:]
    failed = 0
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    for line in lines:
        name, arguments = line.split(":", 1)
        done = subprocess.run([simulator, *arguments.split()], capture_output=True, text=True)
        print("ok    " if done.returncode == 0 else "FAILED", name)
        if done.returncode != 0:
            failed += 1
            print(done.stdout)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
