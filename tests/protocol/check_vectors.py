"""A decoder of the driftlock protocol written from docs/protocol.md alone, standard library only. It
checks docs/protocol-vectors.json: every MAC, the session's key, and every field of every datagram.

usage: check_vectors.py docs/protocol-vectors.json
"""

import hashlib
import json
import struct
import sys

M64 = (1 << 64) - 1

INIT_MUL0 = (0xDBE6D5D5FE4CCE2F, 0xA4093822299F31D0, 0x13198A2E03707344, 0x243F6A8885A308D3)
INIT_MUL1 = (0x3BD39E10CB0EF593, 0xC0ACF169B5F18A8C, 0xBE5466CF34E90C6C, 0x452821E638D01377)


def rot32(word):
    return ((word >> 32) | (word << 32)) & M64


class HighwayHash:
    def __init__(self, key):
        words = struct.unpack("<4Q", key)
        self.mul0, self.mul1 = list(INIT_MUL0), list(INIT_MUL1)
        self.v0 = [self.mul0[i] ^ words[i] for i in range(4)]
        self.v1 = [self.mul1[i] ^ rot32(words[i]) for i in range(4)]

    @staticmethod
    def zip(b_word, a_word):
        a, b = a_word.to_bytes(8, "little"), b_word.to_bytes(8, "little")
        x = bytes((a[3], b[4], a[2], a[5], b[6], a[1], b[7], a[0]))
        y = bytes((b[3], a[4], b[2], b[5], b[1], a[6], b[0], a[7]))
        return int.from_bytes(y, "little"), int.from_bytes(x, "little")

    def mix(self, source, target):
        for i in (0, 2):
            y, x = self.zip(source[i + 1], source[i])
            target[i + 1] = (target[i + 1] + y) & M64
            target[i] = (target[i] + x) & M64

    def update(self, packet):
        for i in range(4):
            self.v1[i] = (self.v1[i] + self.mul0[i] + packet[i]) & M64
            self.mul0[i] ^= (self.v1[i] & 0xFFFFFFFF) * (self.v0[i] >> 32)
            self.v0[i] = (self.v0[i] + self.mul1[i]) & M64
            self.mul1[i] ^= (self.v0[i] & 0xFFFFFFFF) * (self.v1[i] >> 32)
        self.mix(self.v1, self.v0)
        self.mix(self.v0, self.v1)

    def rest(self, left):
        r = len(left)
        self.v0 = [(word + (r << 32) + r) & M64 for word in self.v0]
        for i in range(4):
            halves = []
            for half in (self.v1[i] & 0xFFFFFFFF, self.v1[i] >> 32):
                halves.append(((half << r) | (half >> (32 - r))) & 0xFFFFFFFF)
            self.v1[i] = halves[0] | halves[1] << 32
        packet = bytearray(32)
        whole = r - r % 4
        packet[:whole] = left[:whole]
        m = r % 4
        if r >= 16:
            packet[28:] = left[-4:]
        elif m:
            tail = left[whole:]
            packet[16], packet[17], packet[18] = tail[0], tail[m // 2], tail[m - 1]
        self.update(struct.unpack("<4Q", packet))

    def mac(self, message):
        whole = len(message) - len(message) % 32
        for at in range(0, whole, 32):
            self.update(struct.unpack_from("<4Q", message, at))
        if len(message) > whole:
            self.rest(message[whole:])
        for _ in range(6):
            self.update([rot32(self.v0[i]) for i in (2, 3, 0, 1)])
        return struct.pack("<2Q", *(
            (self.v0[i] + self.mul0[i] + self.v1[i + 2] + self.mul1[i + 2]) & M64 for i in (0, 1)))


HEADER = [("magic", "I"), ("version", "B"), ("kind", "B"), ("length", "H"), ("session_id", "Q"),
          ("nonce", "Q"), ("time_ns", "q"), ("residence_ns", "I"), ("error_ns", "I"),
          ("clock_state", "B"), ("stamp_source", "B"), ("op_count", "B"), ("status", "B"),
          ("epoch", "I")]
REQUEST = [("op", "B"), ("flags", "B"), ("slot", "B"), ("mode", "B"), ("sequence", "I"),
           ("namespace_id", "H"), ("key_length", "B"), ("other_slot", "B"), ("permits", "H"),
           ("permits_max", "H"), ("argument", "Q"), ("predicted_release_ns", "q"), ("key", "64s")]
REPLY = [("op", "B"), ("status", "B"), ("slot", "B"), ("mode", "B"), ("sequence", "I"),
         ("token", "Q"), ("lease_end_ns", "q"), ("term_ns", "q"), ("holders", "I"),
         ("waiters", "I"), ("earliest_ns", "q"), ("latest_ns", "q"), ("sigma_ns", "Q"),
         ("clock_residual_ns", "q"), ("behaviour_residual_ns", "q"), ("ticket", "Q"),
         ("wait_forecast_us", "I"), ("reserved", "4s")]
OPEN_REQUEST = [("op", "B"), ("flags", "B"), ("slots", "B"), ("reserved0", "B"),
                ("lock_delay_ms", "I"), ("client_nonce", "16s"), ("cookie", "16s"),
                ("term_ns", "q"), ("reserved", "48s")]
OPEN_REPLY = [("op", "B"), ("status", "B"), ("slots", "B"), ("reserved0", "B"),
              ("reserved1", "I"), ("session_id", "Q"), ("node_nonce", "16s"), ("cookie", "16s"),
              ("term_ns", "q"), ("lease_end_ns", "q"), ("reserved", "32s")]
MORE = [("op", "B"), ("body", "95s")]
PROBE_REPORT = [("op", "B"), ("flags", "B"), ("slot", "B"), ("clock", "B"), ("sequence", "I"),
                ("session_id", "Q"), ("span_ns", "Q"), ("requests", "I"), ("replies", "I"),
                ("repeats", "I"), ("unmatched", "I"), ("errors", "I"), ("pushes", "I"),
                ("p50_ns", "Q"), ("p99_ns", "Q"), ("sum_ns", "Q"), ("reserved", "24s")]

OPEN, MORE_OP, PROBE_REPORT_OP = 1, 12, 16
REQUEST_KIND, ERROR_KIND = 0, 3


def unpack(layout, data):
    values = struct.unpack("<" + "".join(code for _, code in layout), data)
    return {name: value for (name, _), value in zip(layout, values)}


def decode(data, key):
    header = unpack(HEADER, data[:48])
    assert data[:4] == b"DLK1" and header["version"] == 1
    assert header["length"] == len(data)
    if header["kind"] == ERROR_KIND:
        assert len(data) == 48
        return header, []
    assert len(data) == 48 + 96 * header["op_count"] + 16
    assert HighwayHash(key).mac(data[:-16]) == data[-16:], "wrong MAC"
    records = []
    for index in range(header["op_count"]):
        record = data[48 + 96 * index:48 + 96 * (index + 1)]
        asked = header["kind"] == REQUEST_KIND
        if record[0] == MORE_OP:
            records.append(unpack(MORE, record))
        elif record[0] == OPEN:
            records.append(unpack(OPEN_REQUEST if asked else OPEN_REPLY, record))
        elif record[0] == PROBE_REPORT_OP and asked:
            records.append(unpack(PROBE_REPORT, record))
        else:
            records.append(unpack(REQUEST if asked else REPLY, record))
    return header, records


def same(stated, decoded):
    for name, value in stated.items():
        if name == "record":
            continue
        found = decoded[name]
        found = found.hex() if isinstance(found, bytes) else found
        assert str(found) == str(value), f"{name}: {found} is not {value}"
    for name, value in decoded.items():
        if name not in stated:
            assert name.startswith("reserved") and not any(
                value if isinstance(value, bytes) else [value]), name


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        vectors = json.load(file)
    client_key = bytes.fromhex(vectors["client_key"])
    for vector in vectors["mac"]:
        found = HighwayHash(client_key).mac(bytes.fromhex(vector["message"]))
        assert found.hex() == vector["mac"], f"MAC of {len(vector['message']) // 2} bytes"
    session = vectors["session_key"]
    material = (b"driftlock v1 session" + bytes.fromhex(session["client_nonce"]) +
                bytes.fromhex(session["node_nonce"]) + struct.pack("<Q", int(session["session_id"])))
    session_key = hashlib.blake2b(material, digest_size=32, key=client_key).digest()
    assert session_key.hex() == session["key"], "session key"
    keys = {"client": client_key, "session": session_key, None: None}
    for vector in vectors["datagrams"]:
        header, records = decode(bytes.fromhex(vector["bytes"]), keys[vector["key"]])
        same(vector["header"], header)
        assert len(records) == len(vector["records"])
        for stated, decoded in zip(vector["records"], records):
            same(stated, decoded)
    print(f"{len(vectors['mac'])} MACs, 1 session key, {len(vectors['datagrams'])} datagrams: as stated")


if __name__ == "__main__":
    main()
