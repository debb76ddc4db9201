#!/usr/bin/env python3
"""The kernel-side probe against real UDP: two namespaces, a veth pair, an echo that speaks enough of
the header. Counts match what was sent, latencies match the client's own, nothing stays behind. By tc
and by XDP, at the node and at the client."""
import json
import os
import socket
import struct
import subprocess
import sys
import time

PORT = 4780
HEADER = struct.Struct("<IBBHQQqIIBBBBI")
REQUEST, REPLY, PUSH, ERROR = range(4)
NODE_ADDRESS, CLIENT_ADDRESS = "10.77.0.1", "10.77.0.2"
# What the echo does, in the low bits of the nonce.
ANSWER, IGNORE, REFUSE, PUSH_AS_WELL, ANSWER_TWICE = range(5)
BEHAVIOUR_BITS = 3
ROUNDS_MAX = 6


def datagram(kind, session, nonce, op=3):
    """One record, of operation `op`; not signed, the probe does not look at the MAC."""
    length = HEADER.size + 96 + 16
    header = HEADER.pack(0x314B4C44, 1, kind, length, session, nonce, 0, 0, 0, 0, 0, 1, 0, 0)
    return header + bytes([op]) + bytes(95 + 16)


def go_first():
    """Runs before ordinary programs, as the client does."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))


def serve():
    """The node: answers each request after a while that its nonce determines."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((NODE_ADDRESS, PORT))
    go_first()
    print("ready", flush=True)
    answered = set()
    while True:
        data, peer = sock.recvfrom(2048)
        if len(data) < HEADER.size or data[:4] != b"DLK1":
            continue
        fields = HEADER.unpack_from(data)
        session, nonce = fields[4], fields[5]
        behaviour = nonce & ((1 << BEHAVIOUR_BITS) - 1)
        if behaviour == IGNORE or nonce in answered:
            continue
        answered.add(nonce)
        time.sleep(0.004 + 0.008 * ((nonce >> BEHAVIOUR_BITS) % 32) / 32)
        if behaviour == REFUSE:
            length = HEADER.size
            sock.sendto(HEADER.pack(0x314B4C44, 1, ERROR, length, session, nonce, 0, 0, 0, 0, 0, 0,
                                    6, 0), peer)
            continue
        sock.sendto(datagram(REPLY, session, nonce), peer)
        if behaviour == PUSH_AS_WELL:
            sock.sendto(datagram(PUSH, session, nonce), peer)
        if behaviour == ANSWER_TWICE:
            sock.sendto(datagram(REPLY, session, nonce), peer)


def crowd():
    """Many clients with one unanswered request each: more than the maps hold."""
    sockets = []
    for number in range(300):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((CLIENT_ADDRESS, 0))
        sock.sendto(datagram(REQUEST, number, number << BEHAVIOUR_BITS | IGNORE),
                    (NODE_ADDRESS, PORT))
        sockets.append(sock)
    print(json.dumps({"sent": len(sockets)}), flush=True)


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


class Namespaces:
    """A node and a client, joined by a veth pair; deleted on exit."""

    def __init__(self):
        self.node, self.client = (f"dlprobe{os.getpid()}{side}" for side in "nc")

    def __enter__(self):
        for name in (self.node, self.client):
            run("ip", "netns", "add", name)
        run("ip", "link", "add", "veth0", "netns", self.node, "type", "veth",
            "peer", "name", "veth0", "netns", self.client)
        for name, address in ((self.node, NODE_ADDRESS), (self.client, CLIENT_ADDRESS)):
            run("ip", "-n", name, "address", "add", address + "/24", "dev", "veth0")
            run("ip", "-n", name, "link", "set", "veth0", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        for name in (self.node, self.client):
            subprocess.run(["ip", "netns", "delete", name], check=False)


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def inside(namespace, *command):
    return subprocess.Popen(["ip", "netns", "exec", namespace, *command], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)


class Watch:
    """probe_watch on one interface."""

    def __init__(self, program, namespace, sample_every=1, clients=64, flights=4096,
                 port=PORT, hook="tc"):
        self.process = inside(namespace, program, "veth0", str(port), str(sample_every),
                              str(clients), str(flights), hook)
        if not self.process.stdout.readline():
            self.process.wait()
            sys.exit(self.process.returncode)

    @staticmethod
    def refused(program, namespace, hook):
        """What it says where it cannot be attached, or None."""
        done = subprocess.run(
            ["ip", "netns", "exec", namespace, program, "veth0", str(PORT), "1", "64", "4096", hook],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return done.stderr if done.returncode == 77 else None

    def read(self):
        self.process.stdin.write("read\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        return self.process.wait()

    def kill(self):
        # The program is a child of `ip netns exec`, which becomes it.
        self.process.kill()
        self.process.wait()


def filters(namespace):
    return (run("tc", "-n", namespace, "qdisc", "show", "dev", "veth0").count("clsact"),
            run("tc", "-n", namespace, "filter", "show", "dev", "veth0", "ingress"),
            run("tc", "-n", namespace, "filter", "show", "dev", "veth0", "egress"))


def has_xdp(namespace):
    return "prog/xdp" in run("ip", "-n", namespace, "-d", "link", "show", "dev", "veth0")


def expect(what, actual, wanted):
    if actual != wanted:
        sys.exit(f"{what}: {actual}, not {wanted}")


def check_counts(where, seen, port):
    """Whatever side it watches from, the probe sees the same datagrams."""
    expect(f"{where}: clients", [c["udp_port"] for c in seen["clients"]], [port])
    client = seen["clients"][0]
    for name, wanted in (("requests", 329), ("repeats", 20), ("replies", 322), ("counted", 322),
                         ("recent", 322), ("errors", 5), ("pushes", 4), ("unmatched", 3),
                         ("session", 0xD0C50001), ("ipv4", 0x0A4D0002), ("node_port", PORT)):
        expect(f"{where}: {name}", client[name], wanted)
    for name, wanted in (("malformed", 2), ("flights_added", 329), ("flights_present", 7),
                         ("flights_evicted", 0), ("events", 322), ("events_tagged", 322)):
        expect(f"{where}: {name}", seen[name], wanted)
    return client


def run_pairs(program, client_program, spaces, hook, first):
    """One round: the counts as they must be; returns how far the probe at the client is from the
    client's own quantiles, at most."""
    watches = {f"{hook} at the node": Watch(program, spaces.node, hook=hook),
               f"{hook} at the client": Watch(program, spaces.client, hook=hook)}
    client = inside(spaces.client, client_program, str(first))
    told = json.loads(client.stdout.readline())
    client.wait()
    own = told["latencies"]
    furthest = 0
    for where, watch in watches.items():
        seen = check_counts(where, watch.read(), told["port"])
        # The echo's sleep makes milliseconds: what the client spends above the interface is small.
        for name, q in (("p50_ns", 0.5), ("p99_ns", 0.99)):
            off = seen[name] / quantile(own, q) - 1
            print(f"{where}: {name} {seen[name] / 1e3:.1f} us, client's own "
                  f"{quantile(own, q) / 1e3:.1f} us ({off:+.1%})")
            if where.endswith("client"):
                furthest = max(furthest, abs(off))
        again = watch.read()
        expect(f"{where}: recent, read again", again["clients"][0]["recent"], 0)
        expect(f"{where}: exit", watch.close(), 0)
    return furthest


def check_pairs(program, client_program, spaces, hook):
    """A virtual processor may stand still for milliseconds after a reply has arrived, which is the
    client's latency and no one's fault: a round that this has spoilt is run again."""
    for number in range(ROUNDS_MAX):
        # The echo answers a number once.
        first = 1 + 1000 * (number + (ROUNDS_MAX if hook == "xdp" else 0))
        if run_pairs(program, client_program, spaces, hook, first) <= 0.05:
            return
    sys.exit(f"{hook}: p50 or p99 differs by more than 5% in each of {ROUNDS_MAX} rounds")


def check_bounds(program, spaces):
    """Maps of 64 clients and 64 flights take 300 of each, and say what they lost."""
    watch = Watch(program, spaces.node, sample_every=0, clients=64, flights=64)
    client = inside(spaces.client, sys.executable, __file__, "crowd")
    sent = json.loads(client.stdout.readline())["sent"]
    client.wait()
    for _ in range(50):
        seen = watch.read()
        if seen["requests"] == sent:
            break
        time.sleep(0.02)
    expect("requests", seen["requests"], sent)
    expect("clients, present and evicted", len(seen["clients"]) + seen["clients_evicted"], sent)
    expect("flights, present and evicted", seen["flights_present"] + seen["flights_evicted"], sent)
    if len(seen["clients"]) > 64:
        sys.exit("the map of clients grew past its bound")
    watch.close()


def check_manners(program, spaces):
    """Another's clsact and filter outlive the probe; the probe's own do not."""
    expect("left behind", filters(spaces.node), (0, "", ""))
    killed = Watch(program, spaces.node, hook="xdp")
    expect("XDP", has_xdp(spaces.node), True)
    if Watch.refused(program, spaces.node, hook="xdp") is None:
        sys.exit("a second XDP program took the place of the first")
    killed.kill()
    expect("XDP of a probe that was killed", has_xdp(spaces.node), False)
    run("tc", "-n", spaces.node, "qdisc", "del", "dev", "veth0", "clsact")
    run("tc", "-n", spaces.node, "qdisc", "add", "dev", "veth0", "clsact")
    other = Watch(program, spaces.node, port=PORT + 1)
    before = filters(spaces.node)
    expect("the other's filter", before[1].count("direct-action"), 1)
    watch = Watch(program, spaces.node)
    expect("filters of both", filters(spaces.node)[1].count("direct-action"), 2)
    watch.close()
    expect("the other's filter, alone again", filters(spaces.node), before)
    other.close()
    expect("clsact that was there before", filters(spaces.node), (1, "", ""))


def main():
    if sys.argv[1:] in (["serve"], ["crowd"]):
        return {"serve": serve, "crowd": crowd}[sys.argv[1]]()
    if len(sys.argv) != 3:
        sys.exit("usage: probe_test.py PROBE_WATCH PROBE_CLIENT")
    if os.geteuid() != 0:
        print("SKIP: needs root for namespaces and BPF")
        return sys.exit(77)
    with Namespaces() as spaces:
        server = inside(spaces.node, sys.executable, __file__, "serve")
        try:
            server.stdout.readline()
            for hook in ("tc", "xdp"):
                check_pairs(sys.argv[1], sys.argv[2], spaces, hook)
            check_bounds(sys.argv[1], spaces)
            check_manners(sys.argv[1], spaces)
        finally:
            server.kill()
            server.wait()
    print("ok")
    return None


if __name__ == "__main__":
    main()
