#!/usr/bin/env python3
"""The kernel-side probe against real UDP: two namespaces, a veth pair, an echo that speaks enough of
the header. Counts match what was sent, latencies match the client's own, nothing stays behind."""
import json
import os
import select
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


def datagram(kind, session, nonce, op=3):
    """One record, of operation `op`; not signed, the probe does not look at the MAC."""
    length = HEADER.size + 96 + 16
    header = HEADER.pack(0x314B4C44, 1, kind, length, session, nonce, 0, 0, 0, 0, 0, 1, 0, 0)
    return header + bytes([op]) + bytes(95 + 16)


def serve():
    """The node: answers each request after a while that its nonce determines."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((NODE_ADDRESS, PORT))
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


def request(sock, session, number, behaviour, repeats=0):
    """Sends one request, perhaps again; returns the latency in ns, or None where none is due."""
    nonce = number << BEHAVIOUR_BITS | behaviour
    data = datagram(REQUEST, session, nonce)
    started = time.monotonic_ns()
    for _ in range(1 + repeats):
        sock.send(data)
    if behaviour == IGNORE:
        return None
    while True:
        reply = sock.recv(2048)
        ended = time.monotonic_ns()
        fields = HEADER.unpack_from(reply)
        if fields[2] != PUSH and fields[5] == nonce:
            return ended - started


def ask():
    """The client: sends what the test is about, prints what it measured."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((CLIENT_ADDRESS, 0))
    sock.connect((NODE_ADDRESS, PORT))
    sock.settimeout(5)
    session = 0xD0C5_0001
    latencies = [request(sock, session, number, ANSWER) for number in range(1, 301)]
    latencies += [request(sock, session, number, ANSWER, repeats=2) for number in range(301, 311)]
    latencies += [request(sock, session, number, REFUSE) for number in range(311, 316)]
    latencies += [request(sock, session, number, PUSH_AS_WELL) for number in range(316, 320)]
    latencies += [request(sock, session, number, ANSWER_TWICE) for number in range(320, 323)]
    for number in range(400, 407):
        request(sock, session, number, IGNORE)
    sock.send(b"DLK1 but no more of it")
    sock.send(datagram(REPLY, session, 1))  # a reply that goes the wrong way
    # The last answer (twice) may still be under way.
    while select.select([sock], [], [], 0.2)[0]:
        sock.recv(2048)
    print(json.dumps({"port": sock.getsockname()[1], "latencies": latencies}), flush=True)


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
                 port=PORT):
        self.process = inside(namespace, program, "veth0", str(port), str(sample_every),
                              str(clients), str(flights))
        if not self.process.stdout.readline():
            self.process.wait()
            sys.exit(self.process.returncode)

    def read(self):
        self.process.stdin.write("read\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def filters(namespace):
    return (run("tc", "-n", namespace, "qdisc", "show", "dev", "veth0").count("clsact"),
            run("tc", "-n", namespace, "filter", "show", "dev", "veth0", "ingress"),
            run("tc", "-n", namespace, "filter", "show", "dev", "veth0", "egress"))


def expect(what, actual, wanted):
    if actual != wanted:
        sys.exit(f"{what}: {actual}, not {wanted}")


def check_counts(where, seen, port):
    """Whatever side it watches from, the probe sees the same datagrams."""
    expect(f"{where}: clients", [c["udp_port"] for c in seen["clients"]], [port])
    client = seen["clients"][0]
    for name, wanted in (("requests", 329), ("repeats", 20), ("replies", 322), ("counted", 322),
                         ("recent", 322), ("errors", 5), ("pushes", 4), ("unmatched", 3),
                         ("session", 0xD0C50001), ("ipv4", 0x0A4D0002)):
        expect(f"{where}: {name}", client[name], wanted)
    for name, wanted in (("malformed", 2), ("flights_added", 329), ("flights_present", 7),
                         ("flights_evicted", 0), ("events", 322), ("events_tagged", 322)):
        expect(f"{where}: {name}", seen[name], wanted)
    return client


def check_pairs(program, spaces):
    watches = {"node": Watch(program, spaces.node), "client": Watch(program, spaces.client)}
    client = inside(spaces.client, sys.executable, __file__, "ask")
    told = json.loads(client.stdout.readline())
    client.wait()
    own = told["latencies"]
    for where, watch in watches.items():
        seen = check_counts(where, watch.read(), told["port"])
        # The echo's sleep makes milliseconds: what the client spends above the interface is small.
        for name, q in (("p50_ns", 0.5), ("p99_ns", 0.99)):
            off = seen[name] / quantile(own, q) - 1
            print(f"{where}: {name} {seen[name] / 1e3:.1f} us, client's own "
                  f"{quantile(own, q) / 1e3:.1f} us ({off:+.1%})")
            if where == "client" and abs(off) > 0.05:
                sys.exit(f"{name} differs by more than 5%")
        again = watch.read()
        expect(f"{where}: recent, read again", again["clients"][0]["recent"], 0)
        expect(f"{where}: exit", watch.close(), 0)


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
    if len(sys.argv) != 2:
        sys.exit("usage: probe_test.py PROBE_WATCH")
    if sys.argv[1] in ("serve", "ask", "crowd"):
        return {"serve": serve, "ask": ask, "crowd": crowd}[sys.argv[1]]()
    if os.geteuid() != 0:
        print("SKIP: needs root for namespaces and BPF")
        return sys.exit(77)
    with Namespaces() as spaces:
        server = inside(spaces.node, sys.executable, __file__, "serve")
        try:
            server.stdout.readline()
            check_pairs(sys.argv[1], spaces)
            check_bounds(sys.argv[1], spaces)
            check_manners(sys.argv[1], spaces)
        finally:
            server.kill()
            server.wait()
    print("ok")
    return None


if __name__ == "__main__":
    main()
