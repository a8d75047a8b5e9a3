# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "api"))
from world import BUILD, HVAPID, World  # noqa: E402

HVAPI = pathlib.Path(os.environ.get("HVAPI", BUILD / "bin/hvapi"))


class Cli:
    """The real hvapi, with a profile folder of its own; over the socket `api` unless that is None."""

    def __init__(self, api=None):
        self.dir, self.ran = tempfile.mkdtemp(prefix="hvcli"), set()
        self.env = {"PATH": "/usr/bin:/bin", "HVAPI_CONFIG_DIR": self.dir}
        if api:
            self.env["HVAPI_SOCKET"] = api

    def start(self, *args, **kw):
        words = [a for a in args if not a.startswith("-")]
        self.ran |= {" ".join(words[:1]), " ".join(words[:2])}
        return subprocess.Popen([HVAPI, *args], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                **{"stdin": subprocess.DEVNULL, **kw})

    def run(self, *args, rc=0, **kw):
        """(stdout, stderr) of a run that must end with rc."""
        p = self.start(*args, **kw)
        return self.end(p, rc)

    @staticmethod
    def end(p, rc=0):
        try:
            out, err = p.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            p.kill()
            raise AssertionError(f"{p.args} did not end: {p.communicate()}") from None
        out, err = out.decode(), err.decode()
        assert p.returncode == rc, (p.args, p.returncode, out, err)
        return out, err

    def close(self):
        shutil.rmtree(self.dir)


@pytest.fixture
def world():
    for program in (HVAPI, HVAPID):
        if not program.exists():
            pytest.skip(f"{program} is not built")
    w = World()
    w.start()
    yield w
    w.close()


@pytest.fixture
def cli(world):
    c = Cli(f"{world.run}/api.sock")
    yield c
    c.close()


@pytest.fixture
def alone():
    """Without a host."""
    if not HVAPI.exists():
        pytest.skip(f"{HVAPI} is not built")
    c = Cli()
    yield c
    c.close()
