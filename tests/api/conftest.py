# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from world import World, HVAPID  # noqa: E402


@pytest.fixture
def fresh():
    """A host whose hvapid has not been started."""
    if not HVAPID.exists():
        pytest.skip(f"{HVAPID} is not built")
    w = World()
    yield w
    w.close()


@pytest.fixture
def world(fresh):
    return fresh.start()
