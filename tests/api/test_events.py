# SPDX-License-Identifier: Apache-2.0
"""Events: the list, the live stream, slow clients; metrics and the document."""
import json
import re

from world import until


class Stream:
    """Server-Sent Events from a path."""

    def __init__(self, world, path, last=None, role="viewer"):
        self.sock = world.connect(role)
        more = f"Last-Event-ID: {last}\r\n" if last is not None else ""
        self.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n{more}\r\n".encode())
        self.file = self.sock.makefile("rb")
        assert b"200" in self.file.readline()
        while self.file.readline() not in (b"\r\n", b""):
            pass
        self.buf = b""

    def chunk(self):
        n = int(self.file.readline() or b"0", 16)
        data = self.file.read(n)
        self.file.readline()
        return data

    def next(self):
        """(id, event, data) or None at the end."""
        while b"\n\n" not in self.buf:
            data = self.chunk()
            if not data:
                return None
            self.buf += data
        text, self.buf = self.buf.split(b"\n\n", 1)
        if text.startswith(b":"):
            return self.next()
        f = dict(line.split(": ", 1) for line in text.decode().split("\n"))
        return f.get("id"), f["event"], json.loads(f["data"])

    def close(self):
        self.file.close()
        self.sock.close()


def test_live_and_replay(world):
    s = Stream(world, "/v1/events")
    world.define()
    ident, kind, e = s.next()
    assert (kind, e["vm"], e["text"]) == ("vm.defined", "web1", "root defined web1") and int(ident) == e["id"]
    s.close()
    world.run_vm()
    listed = world.get(f"/v1/events?since={ident}")
    s = Stream(world, "/v1/events", last=ident)
    got = [s.next() for _ in listed["events"]]
    assert [g[2] for g in got] == listed["events"] and int(got[-1][0]) == listed["last"]
    world.post("/v1/vms/web1/pause")
    assert s.next()[2]["data"] == {"state": "paused", "was": "running", "reason": ""}
    s.close()
    world.post("/v1/vms/web1/resume")
    assert world.get("/v1/host")["vms"]["running"] == 1


def test_one_vm_only(world):
    s = Stream(world, "/v1/events?vm=web2")
    world.define()
    world.define(name="web2", uuid="21111111-2222-3333-4444-555555555555")
    assert s.next()[2]["vm"] == "web2"
    s.close()
    assert {e["vm"] for e in world.get("/v1/events?vm=web2")["events"]} == {"web2"}


def test_survives_a_restart(world):
    world.define()
    last = world.get("/v1/events")["last"]
    s = Stream(world, "/v1/events", last=last)
    world.restart()
    assert s.next() is None
    world.ask("DELETE", "/v1/vms/web1")
    s = Stream(world, "/v1/events", last=last)
    assert s.next()[1] == "vm.undefined"


def test_slow_reader_is_dropped(world):
    slow, good = Stream(world, "/v1/events"), Stream(world, "/v1/events")
    for i in range(200):
        world.hvtls.server.publish({"event": "refused", "from": f"10.0.0.{i}", "reason": "x" * 20000})
        assert good.next()[2]["data"]["from"] == f"10.0.0.{i}"
    until(lambda: "too slowly" in world.log_text(), "the slow client to be dropped")
    good.close()
    slow.close()
    assert world.get("/v1/host")["name"] == "hv1"


def test_silent_clients_are_closed(fresh):
    fresh.start("--idle-timeout", "1s")
    conns = [fresh.connect() for _ in range(20)]
    for i, s in enumerate(conns):
        if i % 2:
            s.sendall(b"POST /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                      b"Content-Length: 100\r\n\r\n{")
    for s in conns:
        while s.recv(4096):
            pass
        s.close()
    assert fresh.get("/v1/host")["name"] == "hv1"


def test_more_connections_than_allowed(world):
    conns = [world.connect() for _ in range(300)]
    closed = 0
    for s in conns:
        try:
            s.sendall(b"GET /v1/host HTTP/1.1\r\nHost: x\r\n\r\n")
            closed += s.recv(16) == b""
        except OSError:
            closed += 1
        s.close()
    assert 1 <= closed <= 60
    until(lambda: world.ask("GET", "/v1/host").status == 200, "room for a connection")


def test_metrics(world):
    world.define()
    world.run_vm()
    a = world.ask("GET", "/metrics", role="viewer")
    text = a.raw.decode()
    assert a.type.startswith("application/openmetrics-text") and text.endswith("# EOF\n")
    assert 'hvapi_vm_running{vm="web1"} 1\n' in text
    assert re.search(r'hvapi_http_answers_total\{class="2xx"\} [1-9]', text)
    for line in text.splitlines():
        assert re.fullmatch(r'# (TYPE|HELP) \S+ .+|# EOF|[a-z0-9_]+(\{[^}]*\})? [0-9.]+', line), line


def test_openapi(world):
    doc = world.get("/v1/openapi.json")
    assert doc["openapi"] == "3.1.0" and len(doc["paths"]) > 20
    text = json.dumps(doc)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in doc["components"]["schemas"], name


def test_answers_have_the_documented_shape(world):
    """Every answer this test gets has the members that its schema requires, and no others."""
    schemas = world.get("/v1/openapi.json")["components"]["schemas"]
    world.define()
    job = world.run_vm()["id"]

    def fits(value, schema, where):
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rsplit("/", 1)[1]]
        if schema.get("type") == "array":
            for i, v in enumerate(value):
                fits(v, schema["items"], f"{where}[{i}]")
        elif schema.get("type") == "object" and "properties" in schema:
            assert set(schema["required"]) <= set(value), (where, value)
            assert set(value) <= set(schema["properties"]), (where, value)
            for k, v in value.items():
                if v is not None:
                    fits(v, schema["properties"][k], f"{where}.{k}")
        elif "enum" in schema:
            assert value in schema["enum"], where
    for path, name in (("/v1/host", "Host"), ("/v1/vms", "Vms"), ("/v1/vms/web1", "VmInfo"), ("/v1/jobs", "Jobs"),
                       (f"/v1/jobs/{job}", "Job"), ("/v1/events", "Events"), ("/v1/peers", "Peers"),
                       ("/v1/certs", "Certs"), ("/v1/boot-files", "BootFiles")):
        fits(world.get(path), {"$ref": f"#/{name}"}, path)
