# SPDX-License-Identifier: Apache-2.0
"""Disks of the lab: data disks, the LUNs that all hosts see, and the small volume that configures a host."""
import json
import os
import shutil
import subprocess

from places import GUEST, LAB, LabError, host_ip, host_number

DATA_GIB = 4
LUN_MIB = 256
SETTINGS_KIB = 1440


def sparse(path, size):
    path.unlink(missing_ok=True)
    with open(path, "wb") as f:
        f.truncate(size)


def uplink_mac(name):
    return f"52:54:00:77:00:{host_number(name):02x}"


def management_mac(name):
    return f"52:54:00:78:00:{host_number(name):02x}"


def host_json(name):
    return {"hostname": name,
            "network": {"bridge": "xenbr0", "uplink_mac": uplink_mac(name), "address": f"{host_ip(name)}/24"},
            "management": {"mac": management_mac(name), "dhcp": True},
            "data": {"format_if_empty": True}}


def make_settings(name):
    """The FAT volume HVAPI with host.json."""
    path, source = LAB / name / "settings.img", LAB / name / "host.json"
    sparse(path, SETTINGS_KIB << 10)
    source.write_text(json.dumps(host_json(name)) + "\n")
    env = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    for argv in (["mformat", "-i", path, "-f", str(SETTINGS_KIB), "-v", "HVAPI", "::"],
                 ["mcopy", "-i", path, source, "::/host.json"]):
        p = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if p.returncode:
            raise LabError(f"{argv[0]}: {p.stdout.decode(errors='replace').strip()}")


def make_data(name):
    sparse(LAB / name / "data.img", DATA_GIB << 30)


def make_luns():
    """lun0 is empty; lun1 is a disk that a guest can boot from (tests/guest/build.py)."""
    sparse(LAB / "lun0.img", LUN_MIB << 20)
    subprocess.run(["cp", "--sparse=always", GUEST / "disk.img", LAB / "lun1.img"], check=True)


def forget(name):
    """The host's disks; its logs stay."""
    for file in ("data.img", "settings.img", "host.json", "vars.fd"):
        (LAB / name / file).unlink(missing_ok=True)


def forget_luns():
    for file in ("lun0.img", "lun1.img"):
        (LAB / file).unlink(missing_ok=True)
    shutil.rmtree(LAB / "operator", ignore_errors=True)
