# SPDX-License-Identifier: Apache-2.0
"""VMs: define, start, stop, and what survives a restart of hvapid."""
import socket

from world import VM, until


def test_define_list_show(world):
    made = world.define()
    assert made["state"] == "stopped" and made["generation"] == 1 and made["config"]["disks"][0]["mode"] == "rw"
    assert [v["name"] for v in world.get("/v1/vms")["vms"]] == ["web1"]
    assert world.get("/v1/vms/web1") == made
    assert world.ask("POST", "/v1/vms", VM).json["code"] == "exists"
    again = world.ask("POST", "/v1/vms", {**VM, "name": "other"})
    assert again.status == 409 and "web1" in again.json["detail"]


def test_define_makes_uuid_and_mac(world):
    vm = {k: v for k, v in VM.items() if k != "uuid"} | {"vifs": [{"bridge": "xenbr0"}]}
    config = world.post("/v1/vms", vm)["config"]
    assert len(config["uuid"]) == 36 and config["vifs"][0]["mac"].startswith("00:16:3e:")


CFG = b"""
name = "web9"
type = "pvh"
memory = 128
vcpus = 2
kernel = "/data/boot/vmlinuz"
ramdisk = "/data/boot/initrd.gz"
cmdline = "console=hvc0 ro"
disk = [ "/dev/disk/by-id/virtio-lun0,raw,xvda,rw" ]
vif = [ "mac=00:16:3e:00:00:11,bridge=xenbr0" ]
"""


def test_define_from_xl_cfg(world):
    a = world.ask("POST", "/v1/vms?autostart=true", raw=CFG, headers={"Content-Type": "text/x-xlcfg"})
    assert a.status == 201, a.json
    c = a.json["config"]
    assert (c["name"], c["memory_mib"], c["vcpus"]) == ("web9", 128, 2)
    assert (c["kernel"], c["ramdisk"]) == ("vmlinuz", "initrd.gz")
    assert c["disks"] == [{"vdev": "xvda", "target": "/dev/disk/by-id/virtio-lun0", "mode": "rw", "format": "raw"}]
    assert c["vifs"] == [{"mac": "00:16:3e:00:00:11", "bridge": "xenbr0"}] and a.json["autostart"] is True
    for text, word in ((CFG.replace(b"web9", b"web8") + b"vnc = 1\n", "vnc"), (b"name = [", "xl.cfg:1"), (b"\0\0", "")):
        a = world.ask("POST", "/v1/vms", raw=text, headers={"Content-Type": "text/x-xlcfg"})
        assert a.status == 400 and a.json["code"] == "usage" and word in a.json["detail"], a.json
    assert len(world.get("/v1/vms")["vms"]) == 1


def test_start_stop(world):
    world.define()
    job = world.run_vm()
    assert job["kind"] == "start" and job["result"]["state"] == "running" and job["who"] == "root"
    create = world.unit("domd/web1").server.called("create")[0]
    assert create["generation"] == 1 and create["config"]["name"] == "web1"
    assert world.state() == "running"
    assert world.post("/v1/vms/web1/pause")["state"] == "paused"
    assert world.post("/v1/vms/web1/resume")["state"] == "running"
    world.post("/v1/vms/web1/shutdown")
    world.post("/v1/vms/web1/reboot")
    world.post("/v1/vms/web1/stop")
    world.wait_state("stopped")
    until(lambda: "domd/web1" not in world.hvinit.units, "hvdomd to end")
    assert {"vm.defined", "job.started", "job.ended"} <= set(world.events())
    told = [e["data"]["state"] for e in world.get("/v1/events")["events"] if e["type"] == "vm.state"]
    assert told == ["building", "running", "paused", "running", "stopped"]


def test_start_fails(world):
    world.define()
    world.create_fails = True
    ident = world.post("/v1/vms/web1/start", want=202)["job"]["id"]
    job = world.wait_job(ident, "failed")
    assert job["error"] == {"code": "no-space", "detail": "not enough memory for the guest",
                            "remedy": "stop another guest"}
    until(lambda: "domd/web1" not in world.hvinit.units, "the useless hvdomd to be stopped")
    world.create_fails, world.spawn_fails = False, "domd/"
    world.wait_job(world.post("/v1/vms/web1/start", want=202)["job"]["id"], "failed")
    world.spawn_fails = ""
    world.run_vm()


def test_one_job_a_vm(world):
    world.define()
    world.build_gate.clear()
    ident = world.post("/v1/vms/web1/start", want=202)["job"]["id"]
    world.wait_state("building")
    assert world.get("/v1/vms/web1")["job"] == ident
    for verb in ("start", "stop", "pause", "save"):
        a = world.ask("POST", f"/v1/vms/web1/{verb}")
        assert a.status == 409 and a.json["code"] in ("busy", "state"), a.json
    assert world.ask("DELETE", "/v1/vms/web1").status == 409
    assert world.ask("DELETE", f"/v1/jobs/{ident}").json["code"] == "state"
    world.build_gate.set()
    world.wait_job(ident)


def test_hvapid_killed_while_a_vm_starts(world):
    world.define()
    world.build_gate.clear()
    ident = world.post("/v1/vms/web1/start", want=202)["job"]["id"]
    world.wait_state("building")
    world.restart()
    assert world.job(ident)["state"] == "running"
    world.build_gate.set()
    world.wait_job(ident)
    assert len(world.unit("domd/web1").server.called("create")) == 1


def test_running_vm_is_found_again(world):
    world.define()
    world.run_vm()
    world.restart()
    world.wait_state("running")
    told = world.events().count("vm.state")
    world.restart()
    world.wait_state("running")
    assert world.events().count("vm.state") == told, "a restart of hvapid is no news of the VM"
    world.hvinit.end("domd/web1")
    world.wait_state("stopped")


def test_hvinit_restarted_while_a_vm_starts(world):
    world.define()
    hvinit = world.hvinit
    hvinit.server.close()
    ident = world.post("/v1/vms/web1/start", want=202)["job"]["id"]
    until(lambda: world.job(ident)["state"] == "running", "the job to begin")
    hvinit.server = type(hvinit.server)(hvinit.server.path, hvinit.server.verbs).go()
    world.wait_job(ident)


def test_hvdomd_restarted(world):
    """Its keeper crashed: the VM is not stopped, and is asked again."""
    world.define()
    world.run_vm()
    domd = world.unit("domd/web1")
    domd.server.close()
    world.hvinit.server.publish({"event": "unit", "unit": "domd/web1", "state": "failed", "status": 139})
    world.wait_state("unknown")
    until(lambda: "unit.failed" in world.events(), "the event")
    assert world.ask("POST", "/v1/vms/web1/start").status == 409
    domd.server = type(domd.server)(domd.server.path, domd.server.verbs)
    domd.server.go()
    world.wait_state("running")


def test_owner_record_decides(world):
    world.define()
    world.run_vm()
    domd = world.unit("domd/web1")
    world.post("/v1/vms/web1/stop")
    world.wait_state("stopped")
    domd.record("away", peer="hv2")
    a = world.ask("POST", "/v1/vms/web1/start")
    assert a.status == 409 and a.json["code"] == "refused" and "hv2" in a.json["detail"]
    assert world.get("/v1/vms")["vms"] == []
    away = world.get("/v1/vms?all=true")["vms"][0]
    assert away["state"] == "away" and away["peer"] == "hv2"
    domd.record("in-doubt", peer="hv2")
    assert world.ask("POST", "/v1/vms/web1/start").json["code"] == "in-doubt"
    domd.uuid = "99999999-2222-3333-4444-555555555555"
    domd.record("here")
    assert world.ask("DELETE", "/v1/vms/web1").status == 204


def test_a_new_vm_of_the_name_of_one_that_moved_away(world):
    """The record of the old one stays; hvdomd tells its state until the new one is made."""
    world.define()
    world.run_vm()
    domd = world.unit("domd/web1")
    world.post("/v1/vms/web1/stop")
    until(lambda: not world.hvinit.units.get("domd/web1"), "hvdomd to end")
    domd.record("away", peer="hv2")
    assert world.ask("DELETE", "/v1/vms/web1").status == 204
    world.define(uuid="99999999-2222-3333-4444-555555555555")
    assert world.state() == "stopped"
    world.run_vm()
    assert world.state() == "running"


def test_autostart_after_boot_only(fresh):
    fresh.start()
    fresh.define()
    fresh.define(name="web2", uuid="21111111-2222-3333-4444-555555555555")
    assert fresh.ask("PATCH", "/v1/vms/web1", {"autostart": True}).json["autostart"] is True
    fresh.restart()
    assert fresh.state() == "stopped"
    fresh.hvinit.boot_id = "boot-2"
    fresh.restart()
    fresh.wait_state("running")
    assert fresh.state("web2") == "stopped"
    assert fresh.get("/v1/jobs?vm=web1")["jobs"][0]["who"] == "autostart"


def test_save_restore(world):
    world.define()
    assert world.ask("POST", "/v1/vms/web1/restore").json["code"] == "state"
    world.run_vm()
    world.wait_job(world.post("/v1/vms/web1/save")["job"]["id"])
    world.wait_state("stopped")
    assert world.get("/v1/vms/web1")["saved"] is True
    world.wait_job(world.post("/v1/vms/web1/restore")["job"]["id"])
    assert world.unit("domd/web1").server.called("restore")[0]["path"] == f"{world.data}/save/web1"
    assert world.get("/v1/vms/web1")["saved"] is False


def test_console(world):
    world.define()
    upgrade = {"Connection": "Upgrade", "Upgrade": "hv-console"}
    assert world.ask("GET", "/v1/vms/web1/console", headers=upgrade).status == 409
    world.run_vm()
    domd = world.unit("domd/web1")
    assert world.ask("GET", "/v1/vms/web1/console").status == 426
    s = world.connect()
    s.sendall(b"GET /v1/vms/web1/console HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: hv-console\r\n\r\n")
    head = b""
    while b"\r\n\r\n" not in head:
        head += s.recv(4096)
    assert head.startswith(b"HTTP/1.1 101")
    domd.console.sendall(b"login: ")
    assert s.recv(100) == b"login: "
    big = bytes(range(256)) * 400
    s.sendall(big)
    got = b""
    domd.console.settimeout(10)
    while len(got) < len(big):
        got += domd.console.recv(65536)
    assert got == big
    s.shutdown(socket.SHUT_RDWR)
    s.close()
    until(lambda: "left the console" in world.log_text(), "the console to be left")
    assert world.state() == "running"
