# SPDX-License-Identifier: Apache-2.0
"""Commands by the serial shell of the bench image, which has busybox and xl (image/README.md).

Daemons write to the same line, so an answer is only a marker and an exit status; texts go by way of files.  Xen's
serial input loses characters that come fast: they are sent in small pieces.
"""
import re
import socket
import time

from places import LAB, LabError

PIECE_BYTES, PIECE_S = 32, 0.025


class Shell:
    """One at a time for a host; close() when done."""

    def __init__(self, host):
        self.host, self.number, self.text = host, 0, b""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(LAB / host / "serial.sock"))
        self.wake()

    def close(self):
        self.sock.close()

    def send(self, text):
        for i in range(0, len(text), PIECE_BYTES):
            self.sock.sendall(text[i:i + PIECE_BYTES])
            time.sleep(PIECE_S)

    def wake(self):
        """The first characters after a boot may be lost: asks until it answers."""
        for _ in range(10):
            try:
                self.run("true", 5)
                return
            except LabError:
                continue
        raise LabError(f"{self.host}: no shell on the serial line: is this the bench image (image/build.py --bench)?")

    def begin(self, command):
        """Sends it; the echo of the line cannot match, because the marker is in two pieces there."""
        self.number += 1
        self.text = b""
        self.send(f"{command};echo @E'{self.number}@' $?\n".encode())

    def end(self, timeout_s):
        """Waits for the exit status of what was begun."""
        marker = re.compile(rb"@E%d@ (\d+)" % self.number)
        limit = time.monotonic() + timeout_s
        while not (m := marker.search(self.text)):
            self.more(limit)
        return int(m.group(1))

    def more(self, limit):
        left = limit - time.monotonic()
        tail = self.text[-600:].decode(errors="replace")
        if left <= 0:
            raise LabError(f"{self.host}: the serial shell does not answer; the end of what it said: {tail}")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(65536)
        except socket.timeout:
            return
        if not data:
            raise LabError(f"{self.host}: the serial line was closed; the end of what it said: {tail}")
        self.text += data

    def run(self, command, timeout_s=60):
        self.begin(command)
        return self.end(timeout_s)

    def must(self, command, timeout_s=60):
        status = self.run(command, timeout_s)
        if status:
            tail = self.text[-1500:].decode(errors="replace")
            raise LabError(f"{self.host}: {command}: exit status {status}; the end of what it said: {tail}")
