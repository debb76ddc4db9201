#!/usr/bin/env python3
"""`driftlock doctor` and `driftlock setup` on set-ups broken on purpose, in a namespace of their own.
usage: doctor_test.py DRIFTLOCK"""
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

from netns import Namespace, VethPair, need_namespaces, run

LEVELS = {"good": 0, "note": 0, "warning": 1, "error": 2}


class Host:
    def __init__(self, program, folder, namespace, interface):
        self.program = pathlib.Path(program).resolve()
        self.folder, self.namespace, self.interface = folder, namespace, interface
        self.config = folder / "driftlockd.toml"
        self.keys = folder / "keys.toml"
        self.state = folder / "state"
        self.keys.write_text(subprocess.run([self.program, "keygen"], check=True, text=True,
                                            capture_output=True).stdout)
        self.keys.chmod(0o600)
        self.state.mkdir(mode=0o700)
        self.configure()

    def configure(self, more=""):
        self.config.write_text(f"""
[node]
state_directory = "{self.state}"
[auth]
keys_file = "{self.keys}"
[admin]
socket = "{self.folder}/admin.sock"
[clock]
trust_unsynchronized = true
{more}
""")

    def call(self, command, *options, as_json=True):
        environment = {**os.environ, "PATH": f"{self.program.parent}:{os.environ['PATH']}"}
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace.name, self.program,
             *(["--json"] if as_json else []), command, "--node-config", self.config,
             "--interface", self.interface, *options],
            capture_output=True, text=True, env=environment, check=False)

    def findings(self, check, *options):
        """What doctor has found at one check, and that it makes sense."""
        ended = self.call("doctor", "--only", check, *options)
        said = json.loads(ended.stdout)
        assert said["exit"] == ended.returncode, ended
        worst = max([LEVELS[finding["level"]] for finding in said["findings"]], default=0)
        assert ended.returncode == worst, ended
        for finding in said["findings"]:
            assert finding["check"] == check and finding["what"], finding
            if LEVELS[finding["level"]] > 0:
                assert finding["why"] and finding["mend"], finding
        return said["findings"]

    def finds(self, check, level, part, *options):
        found = self.findings(check, *options)
        for finding in found:
            if finding["level"] == level and part in finding["what"]:
                return finding
        raise AssertionError(f"{check}: no {level} with {part!r}: {found}")

    def mends(self, check, level, part):
        """Finds it, shows what it would do, does it, and finds nothing any more."""
        finding = self.finds(check, level, part)
        shown = self.call("setup", "--only", check, as_json=False)
        assert shown.returncode == 1 and "nothing was changed" in shown.stdout, shown
        for command in finding["mend"]:
            assert command in shown.stdout, (command, shown)
        self.finds(check, level, part)  # showing changed nothing
        done = self.call("setup", "--only", check, "--apply")
        assert done.returncode == 0 and json.loads(done.stdout)["failed"] == 0, done
        # A link that has come up has its carrier a moment later.
        deadline = time.monotonic() + 10
        while any(LEVELS[left["level"]] > 0 for left in self.findings(check)):
            assert time.monotonic() < deadline, self.findings(check)
            time.sleep(0.1)
        again = self.call("setup", "--only", check, as_json=False)
        assert again.returncode == 0 and "nothing to do" in again.stdout, again


def check_nic(host):
    host.finds("nic", "good", "is up, driver veth")
    run(["ip", "link", "set", host.interface, "down"], host.namespace)
    host.mends("nic", "error", "is down")
    run(["ip", "link", "set", host.interface, "mtu", "1000"], host.namespace)
    host.mends("nic", "error", "MTU of 1000")
    host.interface, there = "gone", host.interface
    host.finds("nic", "error", "no interface 'gone'")
    host.interface = there
    host.finds("timestamping", "warning", "software only")
    host.finds("phc", "note", "no PTP clock")
    host.configure('source = "phc"\nphc_device = "/dev/ptp77"\n')
    host.finds("phc", "error", "/dev/ptp77 is not there")
    host.finds("time_sync", "error", "ptp4l does not run")
    host.configure()


def check_keys(host):
    host.finds("keys", "good", "its owner's alone")
    host.keys.chmod(0o644)
    host.mends("keys", "error", "can be read by others")
    assert host.keys.stat().st_mode & 0o777 == 0o600
    host.state.chmod(0o755)
    host.mends("keys", "error", "open to others")
    kept = host.keys.read_text()
    host.keys.write_text("[[client]]\nid = 1\nkey = \"short\"\n")
    host.finds("keys", "error", "key")
    host.keys.unlink()
    host.mends("keys", "error", "there is no")
    assert host.keys.read_text() != kept and host.keys.stat().st_mode & 0o777 == 0o600


def check_configuration(host):
    host.finds("configuration", "good", "is right")
    host.configure("[port]\nkind = \"sockets\"\nudp_prot = 4780\n")
    host.finds("configuration", "error", "udp_prot")
    assert "sockets" in host.finds("configuration", "error", "port.kind")["what"]
    host.configure()


def check_ports(host):
    host.finds("ports", "good", "free")
    program = ("import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
               "s.bind(('127.0.0.1', 4780)); print('bound', flush=True); sys.stdin.read()")
    with subprocess.Popen(["ip", "netns", "exec", host.namespace.name, sys.executable, "-c", program],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        host.finds("ports", "error", "127.0.0.1:4780 (port.udp_port) is taken")
        other.stdin.close()
    host.configure("[port]\naddress = \"203.0.113.9\"\n")
    host.finds("ports", "error", "no interface has the address 203.0.113.9")
    host.configure()


def check_polling(host):
    """A node that polls: what is proposed for the whole machine is shown, and not done here."""
    host.configure(f"[port]\nkind = \"dpdk\"\ndevice = \"net_af_xdp0,iface={host.interface}\"\n"
                   "address = \"10.99.4.1\"\ncpu = 999\nmemory_mib = 65536\n")
    host.finds("cpu", "error", "port.cpu is 999")
    pages = pathlib.Path("/proc/sys/vm/nr_hugepages").read_text()
    finding = host.finds("huge_pages", "warning", "65536 MiB wanted")
    assert "vm.nr_hugepages=32768" in finding["mend"][-1], finding
    shown = host.call("setup", "--only", "huge_pages", "--dry-run", as_json=False)
    assert shown.returncode == 1 and finding["mend"][-1] in shown.stdout, shown
    assert pathlib.Path("/proc/sys/vm/nr_hugepages").read_text() == pages
    host.configure(f"[port]\nkind = \"dpdk\"\ndevice = \"net_af_xdp0,iface={host.interface}\"\n"
                   "address = \"10.99.4.1\"\ncpu = 0\n")
    isolated = pathlib.Path("/sys/devices/system/cpu/isolated").read_text().strip()
    if not isolated:
        host.finds("cpu", "warning", "shared with other programs")
        host.finds("irq_affinity", "warning", "may arrive at processor 0")
    host.finds("bpf", "good" if os.path.exists("/sys/kernel/btf/vmlinux") else "error", "BTF")
    host.configure()


class Health(http.server.BaseHTTPRequestHandler):
    healthy = True

    def do_GET(self):
        body = json.dumps({"health": "true" if self.healthy else "false"}, separators=(",", ":"))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def check_etcd(program, folder):
    """Outside the namespace, over loopback: an answer like etcd's, healthy or not, or none."""
    def finds(address, level, part):
        ended = subprocess.run([program, "--json", "doctor", "--only", "etcd", "--etcd", address,
                                "--node-config", folder / "none.toml"],
                               capture_output=True, text=True, check=False)
        found = json.loads(ended.stdout)["findings"]
        assert found[0]["level"] == level and part in found[0]["what"], found

    with http.server.HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        finds(address, "good", "is healthy")
        Health.healthy = False
        finds(address, "error", "is not healthy")
        server.shutdown()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        finds(f"127.0.0.1:{closed.getsockname()[1]}", "error", "does not answer")


def main():
    program = sys.argv[1]
    need_namespaces()
    with tempfile.TemporaryDirectory(prefix="dl") as name, Namespace("doctor") as namespace, \
            Namespace("peer") as peer, \
            VethPair(namespace, "10.99.4.1/24", peer, "10.99.4.2/24") as veth:
        host = Host(program, pathlib.Path(name), namespace, veth.left)
        check_configuration(host)
        check_nic(host)
        check_keys(host)
        check_ports(host)
        check_polling(host)
        check_etcd(program, pathlib.Path(name))
        whole = host.call("doctor", as_json=False)
        assert "errors," in whole.stdout and whole.returncode in (0, 1, 2), whole
        print(whole.stdout)
    print("ok")


if __name__ == "__main__":
    main()
