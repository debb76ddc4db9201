#!/usr/bin/env python3
"""Writes records of simulated clocks, to replay: phase in ns, a line a second.

usage: simulated_clocks.py FOLDER [--samples N] [--seed N]
then:  driftlock clock replay FOLDER/tcxo.txt --input offset --noise 10 --baselines

Flicker is a sum of first-order processes whose time constants are four apart. Python 3, standard
library only.
"""

import argparse
import math
import pathlib
import random


def flicker(rng):
    """Unit flicker of frequency, about."""
    decays = [math.exp(-1.0 / 4**i) for i in range(9)]
    states = [rng.gauss(0, 1) for _ in decays]
    while True:
        states = [decay * state + math.sqrt(1 - decay**2) * rng.gauss(0, 1)
                  for decay, state in zip(decays, states)]
        yield sum(states) / 3


def oscillator(rng, flicker_ppb, walk_ppb=0.0, cycle_ppb=0.0, cycle_s=1.0):
    """Phase steps, ns: flicker and random walk of frequency, a cycle of temperature."""
    noise = flicker(rng)
    walk = 0.0
    second = 0
    while True:
        walk += rng.gauss(0, walk_ppb)
        second += 1
        cycle = cycle_ppb * math.sin(2 * math.pi * second / cycle_s)
        yield flicker_ppb * next(noise) + walk + cycle + 100.0


def caesium(rng):
    """White noise of frequency."""
    while True:
        yield rng.gauss(0, 0.01) + 3.0


def gnss(rng):
    """A perfect clock seen with 15 ns of white noise."""
    before = 0.0
    while True:
        reading = rng.gauss(0, 15)
        yield reading - before
        before = reading


CLOCKS = {
    "caesium": caesium,
    "tcxo": lambda rng: oscillator(rng, 0.05, 0.003),
    "crystal": lambda rng: oscillator(rng, 1.0, 0.05),
    "crystal-cycle-900": lambda rng: oscillator(rng, 1.0, 0.0, 30.0, 900.0),
    "crystal-cycle-20000": lambda rng: oscillator(rng, 1.0, 0.0, 100.0, 20000.0),
    "gnss": gnss,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--samples", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, make in CLOCKS.items():
        steps = make(random.Random(options.seed))
        phase = 0.0
        with open(options.folder / f"{name}.txt", "w", encoding="ascii") as file:
            for _ in range(options.samples):
                phase += next(steps)
                file.write(f"{phase:.3f}\n")


if __name__ == "__main__":
    main()
