# SPDX-License-Identifier: Apache-2.0
"""Control connections (dom0-tools/base/ctl.h): a server in threads, and a client."""
import array
import json
import os
import socket
import struct
import threading


class CtlError(Exception):
    def __init__(self, code, detail, remedy=""):
        super().__init__(f"{code}: {detail}")
        self.error = {"code": code, "detail": detail, "remedy": remedy}


def send(sock, msg, fds=()):
    body = json.dumps(msg).encode()
    data = struct.pack("<I", len(body)) + body
    anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data[:1]], anc)
    sock.sendall(data[1:])


class Reader:
    """Frames from a socket; descriptors that came since the last frame go with it."""

    def __init__(self, sock):
        self.sock, self.buf, self.fds = sock, b"", []

    def frame(self):
        while True:
            if len(self.buf) >= 4:
                n = struct.unpack("<I", self.buf[:4])[0]
                if len(self.buf) >= 4 + n:
                    body, self.buf = self.buf[4:4 + n], self.buf[4 + n:]
                    fds, self.fds = self.fds, []
                    return json.loads(body), fds
            data, anc, _flags, _addr = self.sock.recvmsg(65536, socket.CMSG_SPACE(8 * 4))
            for level, kind, raw in anc:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds = array.array("i")
                    fds.frombytes(raw[:len(raw) - len(raw) % fds.itemsize])
                    self.fds += list(fds)
            if not data:
                return None, []
            self.buf += data


class Server:
    """verbs: {name: fn(args, fds) -> dict or (dict, fds)}; fn may raise CtlError.  One thread a connection."""

    def __init__(self, path, verbs):
        self.path, self.verbs, self.conns, self.subscribed = path, verbs, [], []
        self.lock = threading.RLock()
        self.calls = []
        if os.path.exists(path):
            os.unlink(path)
        self.open = False

    def go(self):
        """Listens: from here on calls come in."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(self.path)
        os.chmod(self.path, 0o666)
        self.sock.listen(16)
        self.open = True
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def _accept(self):
        while self.open:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            with self.lock:
                if not self.open:
                    conn.close()
                    return
                self.conns.append(conn)
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        reader = Reader(conn)
        try:
            while True:
                msg, fds = reader.frame()
                if msg is None:
                    break
                self._answer(conn, msg, fds)
        except OSError:
            pass
        with self.lock:
            if conn in self.subscribed:
                self.subscribed.remove(conn)

    def _answer(self, conn, msg, fds):
        verb, ident = msg.pop("verb"), msg.pop("id")
        self.calls.append((verb, msg))
        if verb == "subscribe":
            with self.lock:
                self.subscribed.append(conn)
                send(conn, {"id": ident, "ok": {}})
            return
        try:
            if verb not in self.verbs:
                raise CtlError("usage", f"verb '{verb}' is not known here")
            out = self.verbs[verb](msg, fds)
            reply, out_fds = out if isinstance(out, tuple) else (out, ())
        except CtlError as e:
            with self.lock:
                send(conn, {"id": ident, "error": e.error})
            return
        if reply is None:
            return      # never answers
        with self.lock:
            send(conn, {"id": ident, "ok": reply}, out_fds)
        for fd in out_fds:
            os.close(fd)

    def publish(self, event):
        with self.lock:
            for conn in list(self.subscribed):
                try:
                    send(conn, event)
                except OSError:
                    self.subscribed.remove(conn)

    def forget_clients(self):
        with self.lock:
            self.subscribed.clear()

    def called(self, verb):
        return [args for v, args in list(self.calls) if v == verb]

    def close(self, remove=True):
        """As a daemon that ends: the name goes, then every connection."""
        with self.lock:
            if not self.open:
                return
            self.open = False
        if remove and os.path.exists(self.path):
            os.unlink(self.path)
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        with self.lock:
            for conn in self.conns:
                try:
                    conn.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                conn.close()


def call(path, verb, args=None, fds=(), timeout=20):
    """One request; the "ok" object, or CtlError."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        s.connect(path)
        send(s, {"id": 1, "verb": verb, **(args or {})}, fds)
        msg, _fds = Reader(s).frame()
    if msg is None:
        raise CtlError("net", "closed without an answer")
    if "error" in msg:
        raise CtlError(**msg["error"])
    return msg["ok"]
