# SPDX-License-Identifier: Apache-2.0
"""An NBD client that does as it is told, right or wrong: nothing is checked that a test wants to see."""
import socket
import struct

OPT_EXPORT_NAME, OPT_GO, OPT_STRUCTURED = 1, 7, 8
READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO = 1, 2, 4, 8, 16
REQUEST = struct.Struct(">IHHQQI")
MAGIC = 0x25609513


class Client:
    """Simple replies; export by name; requests may be sent without waiting."""

    def __init__(self, path, export="", go=True):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.s.settimeout(30)
        self.s.connect(str(path))
        self.cookie = 0
        if go:
            self.open(export)

    def open(self, export):
        assert self.take(18)[:16] == b"NBDMAGICIHAVEOPT"
        name = export.encode()
        self.s.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", OPT_EXPORT_NAME, len(name)) + name)
        self.size, self.flags = struct.unpack(">QH", self.take(10))

    def take(self, n):
        out = bytearray()
        while len(out) < n:
            got = self.s.recv(n - len(out))
            if not got:
                raise EOFError(f"connection closed after {len(out)} of {n} bytes")
            out += got
        return bytes(out)

    def send(self, cmd, off=0, length=0, payload=b"", flags=0):
        """Sends one request and returns its cookie."""
        self.cookie += 1
        self.s.sendall(REQUEST.pack(MAGIC, flags, cmd, self.cookie, off, length or len(payload)) + payload)
        return self.cookie

    def reply(self, data_bytes=0):
        """(cookie, error, data) of the next reply."""
        magic, error, cookie = struct.unpack(">IIQ", self.take(16))
        assert magic == 0x67446698
        return cookie, error, self.take(data_bytes) if data_bytes and not error else b""

    def ask(self, cmd, off=0, length=0, payload=b"", flags=0):
        """One request and its reply: (error, data)."""
        want = self.send(cmd, off, length, payload, flags)
        cookie, error, data = self.reply(length if cmd == READ else 0)
        assert cookie == want
        return error, data

    def read(self, off, n):
        error, data = self.ask(READ, off, n)
        assert error == 0
        return data

    def write(self, off, data, flags=0):
        assert self.ask(WRITE, off, payload=data, flags=flags)[0] == 0

    def gone(self):
        """True when the server has closed the connection."""
        try:
            while self.s.recv(1 << 16):
                pass
        except ConnectionError:
            pass
        return True

    def close(self):
        self.s.close()
