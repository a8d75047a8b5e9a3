# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the lab's tests.

A lab that is up already is used and left up (the quick way while writing tests); else the session makes one and ends
it.  When a test fails, the end of each host's serial log is printed with it.
"""
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import cli as cli_module                                        # noqa: E402
import hosts                                                    # noqa: E402
from hub import Hub                                             # noqa: E402
from places import CLI, ISO, LAB, STATE                         # noqa: E402
from qemu import QEMU                                           # noqa: E402

HOSTS = 2
LOG_LINES = 25


def missing():
    """Why there can be no lab here, or ""."""
    for what, there in ((f"{ISO} (make iso)", ISO.exists()), (f"{CLI} (make)", CLI.exists()),
                        (f"{QEMU} (make deps)", shutil.which(QEMU))):
        if not there:
            return f"the lab needs {what}"
    return ""


@pytest.fixture(scope="session")
def lab():
    """Two paired hosts; `lab.status()` and what else hosts.py has."""
    if missing():
        pytest.skip(missing())
    mine = not hosts.lab_is_up()
    if mine:
        if STATE.exists():
            hosts.down()
        hosts.up(HOSTS, ISO, uefi=True)
    yield hosts
    if mine:
        hosts.down()


@pytest.fixture
def hub(lab):
    """The network; whatever a test cut or slowed is undone."""
    h = Hub(LAB)
    yield h
    h.heal()
    for port in h.ports():
        h.rate(port, 0)
    h.ping_stat(stop=True)


@pytest.fixture
def prober(hub):
    """hub.ping(ip), hub.ping_end(), hub.who_has(ip), hub.announces()."""
    return hub


@pytest.fixture(scope="session")
def cli(lab):
    """cli("hv1", "vm", "list") -> what the command answers as JSON; raises cli.CliError."""
    return cli_module.run


@pytest.fixture
def guest(hub):
    """guest("10.77.0.10", "stat") -> what the guest answers."""
    return hub.guest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed and "lab" in getattr(item, "fixturenames", ()):
        for log in sorted(LAB.glob("hv*/serial.log")):
            report.sections.append((str(log), hosts.log_tail(log.parent.name, LOG_LINES)))
