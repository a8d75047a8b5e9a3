# SPDX-License-Identifier: Apache-2.0
"""What the CLI says about itself, and what it says to command lines that mean nothing."""
import re
import shutil
import subprocess

import pytest


def test_help_tells_every_option(alone):
    """Each option that completion knows is in the command's help, with words behind it."""
    script = alone.run("completion")[0]
    cases = re.findall(r'^\t"(\w+) ([\w-]*)"\*?\) words="(.*)" ;;$', script, re.M)
    assert len(cases) > 40
    for noun, verb, options in cases:
        text = alone.run(*filter(None, (noun, verb)), "--help")[0]
        for o in options.split():
            assert re.search(rf"^  {o}\b.*\s\S", text, re.M), f"{noun} {verb} --help does not tell of {o}"
        assert len(re.findall(r"^  --", text, re.M)) == len(options.split()), (noun, verb)


def test_help(alone):
    everything = alone.run("--help")[0]
    assert alone.run()[0] == everything
    verbs = alone.run("vm", "--help")[0]
    assert "vm define FILE" in verbs and "host show" not in verbs
    text = alone.run("migrate", "--help")[0]
    assert "migrate check VM" in text and "migrate resolve VM" in text and "--on-stall throttle|stop|abort" in text
    assert "See also" not in alone.run("migrate", "check", "--help")[0]


@pytest.mark.parametrize("words, says", [
    ("vm", "'vm' needs a verb"),
    ("vm bogus", "no command 'vm bogus'"),
    ("--json bogus", "no command 'bogus'"),
    ("bogus --help", "no command 'bogus'"),
    ("--bogus", "'--bogus' is not known"),
    ("vm start", "vm start takes VM"),
    ("vm start a b", "vm start takes VM"),
    ("vm list a", "vm list takes no arguments"),
    ("vm start --bogus a", "'--bogus' is not known"),
    ("migrate web1", "--to HOST is missing"),
    ("migrate web1 --to", "--to needs a value"),
    ("migrate web1 --to hv2 --max-rounds many", "--max-rounds takes a whole number"),
    ("vm set web1 --autostart maybe", "--autostart on"),
    ("host enroll 10.0.0.1", "--code CODE is missing"),
])
def test_usage(alone, words, says):
    alone.env["HVAPI_SOCKET"] = "/nowhere"      # never reached
    out, err = alone.run(*words.split(), rc=2)
    assert says in (out + err), (out, err)


def test_values_of_options_are_no_verbs(alone):
    """--to check: a host of that name, not the command."""
    alone.env["HVAPI_SOCKET"] = "/nowhere"
    for words in ("migrate --to check web1", "--host x vm list --all", "migrate --to hv2 check web1"):
        alone.run(*words.split(), rc=3 if "--host" in words else 14)


def test_profiles(alone):
    _out, err = alone.run("--host", "hv9", "vm", "list", rc=3)
    assert "no host 'hv9' is known here" in err and "hvapi host enroll" in err
    with open(f"{alone.dir}/hosts.json", "w") as f:
        f.write('{"default": "a", "hosts": {"a": {"address": "1.2.3.4:8443", "fingerprint": "%s"},'
                '"b": {"address": "h", "fingerprint": "%s"}}}' % ("aa" * 32, "bb" * 32))
    table = alone.run("host", "list")[0]
    assert re.search(r"^a +1\.2\.3\.4:8443 +yes +" + "aa" * 8 + "$", table, re.M), table
    assert alone.run("host", "use", "b")[0] == "commands go to b now\n"
    assert alone.run("host", "forget", "b")[0].startswith("b forgotten here")
    assert "no host 'b'" in alone.run("host", "use", "b", rc=3)[1]
    assert "host use NAME" in alone.run("--host", "b", "vm", "list", rc=3)[1]
    with open(f"{alone.dir}/hosts.json", "w") as f:
        f.write('{"hosts": []}')
    assert "hosts.json" in alone.run("host", "list", rc=2)[1]


def complete(alone, *words):
    """What bash offers for the last of the words."""
    script = alone.run("completion")[0]
    driver = script + 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _hvapi; printf "%s\\n" "${COMPREPLY[@]}"\n'
    out = subprocess.run(["bash", "-c", driver, "bash", "hvapi", *words], env=alone.env, capture_output=True, text=True,
                         timeout=30, check=True)
    assert out.stderr == ""
    return out.stdout.split()


def test_completion(alone):
    subprocess.run(["bash", "-n"], input=alone.run("completion")[0].encode(), check=True, timeout=30)
    assert complete(alone, "") == ["host", "vm", "migrate", "job", "events", "cert", "file", "metrics", "openapi",
                                   "completion", "man"]
    assert complete(alone, "v") == ["vm"]
    assert complete(alone, "vm", "re") == ["reboot", "resume", "restore"]
    assert complete(alone, "migrate", "web1", "--max") == ["--max-downtime", "--max-rounds"]
    assert complete(alone, "migrate", "check", "web1", "--t") == ["--to"]
    assert complete(alone, "events", "--f") == ["--follow"]
    assert complete(alone, "vm", "set", "web1", "--a") == ["--autostart"]
    assert complete(alone, "--js") == ["--json"]


def test_completion_of_guests(world, cli):
    world.define()
    cli.env["PATH"] = f"{cli.dir}:/usr/bin:/bin"
    with open(f"{cli.dir}/hvapi", "w") as f:
        f.write(f'#!/bin/sh\nexec {cli.start("man").args[0]} "$@"\n')
    subprocess.run(["chmod", "+x", f"{cli.dir}/hvapi"], check=True)
    assert complete(cli, "vm", "start", "we") == ["web1"]
    assert complete(cli, "migrate", "") == ["check", "resolve", "web1"]


def test_man(alone):
    page = alone.run("man")[0]
    for word in ("HVAPI_SOCKET", "HVAPI_CONFIG_DIR", "max\\-downtime", "vm console", "in-doubt"):
        assert word.replace("\\", "") in page, word
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not installed: the page is not checked as mdoc")
    p = subprocess.run(["mandoc", "-Tlint"], input=page, capture_output=True, text=True, timeout=30, check=False)
    assert (p.returncode, p.stdout, p.stderr) == (0, "", "")
    p = subprocess.run(["mandoc", "-Tutf8"], input=page, capture_output=True, text=True, timeout=30, check=True)
    assert "--max-downtime TIME" in re.sub(r".\x08", "", p.stdout)
