"""Guests under QEMU for hardware-in-the-loop tests: each has an emulated Intel 82576 (igb) with a PTP
hardware clock, all joined by one socket network. No KVM is needed.

    with Lab(folder, kernel, image) as lab:
        master = lab.start("master", "10.0.0.1/24")
        print(master.run("phc_ctl /dev/ptp0 get"))

A guest is ended with its lab, by its pid; its serial log is kept in `folder`.
"""

import base64
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import time

SKIP = 77


def need_qemu():
    """Skips where there is no QEMU that emulates igb (8.0 and later)."""
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        print("skipped: qemu-system-x86_64 is not installed (sudo ./tools/install --hil)")
        sys.exit(SKIP)
    said = subprocess.run([qemu, "--version"], capture_output=True, text=True).stdout
    version = re.search(r"version (\d+)\.", said)
    if version is None or int(version.group(1)) < 8:
        print(f"skipped: {said.splitlines()[0]} does not emulate igb, 8.0 and later do "
              "(sudo ./tools/install --hil)")
        sys.exit(SKIP)


class Guest:
    """One machine; run() gives its shell a command and waits for the end of it."""

    def __init__(self, name, folder, kernel, image, address, number, port):
        self.name = name
        self.log = f"{folder}/{name}.log"
        self._shell_path = f"{folder}/{name}.shell"
        self._serial = 0
        mac = f"52:54:00:d1:0c:{number:02x}"
        self._command = [
            "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "512",
            "-nodefaults", "-display", "none", "-no-reboot", "-kernel", kernel, "-initrd", image,
            "-append", f"console=ttyS0 panic=1 no_timer_check address={address}",
            "-netdev", f"socket,id=wire,mcast=239.70.1.1:{port},localaddr=127.0.0.1",
            "-device", f"igb,netdev=wire,mac={mac}",
            "-serial", f"file:{self.log}",
            "-serial", f"unix:{self._shell_path},server=on,wait=off",
        ]

    def start(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def wait_until_up(self, timeout_s=240):
        deadline = time.monotonic() + timeout_s
        while True:
            if self._process.poll() is not None:
                raise AssertionError(f"{self.name}: QEMU ended: {self._process.stderr.read()}")
            text = self.serial()
            if "guest is up" in text:
                break
            if "Kernel panic" in text or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} does not boot:\n{text[-3000:]}")
            time.sleep(0.5)
        self._shell = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._shell.connect(self._shell_path)
        self.run("true")

    def serial(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def run(self, command, timeout_s=60):
        """What the command printed. A command that is to go on ends with &."""
        self._serial += 1
        mark = f"done-{self.name}-{self._serial}"
        self._shell.sendall(base64.b64encode(f"{command}\necho {mark}\n".encode()) + b"\n")
        said = ""
        deadline = time.monotonic() + timeout_s
        while mark not in said:
            ready, _, _ = select.select([self._shell], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"{self.name}: no end of {command!r} in {timeout_s} s:\n{said}")
            said += self._shell.recv(65536).decode(errors="replace")
        return said.split(mark)[0].replace("\r", "")

    def stop(self):
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Lab:
    def __init__(self, folder, kernel, image):
        self._folder, self._kernel, self._image = folder, kernel, image
        self._guests = []
        os.makedirs(folder, exist_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for guest in self._guests:
            guest.stop()

    def start(self, name, address):
        """Begins to boot one; wait_until_up() before it is used."""
        port = 20000 + os.getpid() % 20000
        for old in (f"{self._folder}/{name}.log", f"{self._folder}/{name}.shell"):
            if os.path.exists(old):
                os.remove(old)
        guest = Guest(name, self._folder, self._kernel, self._image, address,
                      len(self._guests) + 1, port)
        self._guests.append(guest)
        guest.start()
        return guest
