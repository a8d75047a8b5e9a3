#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests: all, the fast ones, or one by name, and ends with one line that counts them.

Each kind of test is one entry of KINDS: how its names are found and how one is run.  A failing test prints the
line that runs it again.  A test whose prerequisites are not met says so and counts as skipped.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
PYTEST = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
UNIT_TIMEOUT_S = 120
PYTEST_TIMEOUT_S = 1800


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, passed, failed, skipped):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped


def run(argv, timeout, env=None):
    """(exit code, output); a timeout is a failure that says so."""
    try:
        p = subprocess.run(argv, cwd=TOP, env={**os.environ, **(env or {})}, timeout=timeout,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return p.returncode, p.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as e:
        return 124, (e.stdout or b"").decode(errors="replace") + f"\ntimed out after {timeout} s\n"


def count(out, word):
    return sum(int(n) for n in re.findall(rf"(\d+) {word}", out))


def run_unit(build, name, case):
    env = {"TEST_FILTER": f"*{case}*"} if case else {}
    rc, out = run([build / "tests" / f"{name}_test"], UNIT_TIMEOUT_S, env)
    ok = len(re.findall(r"^\[       OK \]", out, re.M))
    skipped = len(re.findall(r"^\[  SKIPPED \] \S+$", out, re.M)) // 2
    bad = len(set(re.findall(r"^\[  FAILED  \] (\S+)$", out, re.M)))
    if rc and not bad:
        bad = 1
    return out, (ok, bad, skipped)


def run_pytest(build, name, case):
    argv = PYTEST + [f"tests/{name}.py"] + (["-k", case] if case else [])
    rc, out = run(argv, PYTEST_TIMEOUT_S, {"HVAPI_BUILD": str(build)})
    tail = out.strip().splitlines()[-1:] or [""]
    passed, failed = count(tail[0], "passed"), count(tail[0], "failed") + count(tail[0], "errors?")
    if rc and not failed:
        failed = 1
    return out, (passed, failed, count(tail[0], "skipped"))


def run_tidy(_build, _name, _case):
    rc, out = run(["tests/tidy.py"], 60)
    return out, (int(rc == 0), int(rc != 0), 0)


def run_sim(build, name, case):
    n = {"sim": 100000, "sim-short": 3000}[name]
    argv = [build / "bin/sim-migrate"] + (["--seed", case] if case else ["--schedules", str(n)])
    rc, out = run(argv, 900)
    return out, (int(rc == 0), int(rc != 0), 0)


def run_sim_breaks(build, _name, _case):
    """Each mistake that the simulator can be told to make must be found."""
    rc, out = run([build / "bin/sim-migrate", "--prove"], 300)
    return out, (int(rc == 0), int(rc != 0), 0)


def run_cuts(build, name, case):
    n = {"cuts": 3000, "cuts-short": 100}[name]
    argv = [build / "bin/cuts"] + (["--seed", case, "--cuts", "1"] if case else ["--cuts", str(n)])
    rc, out = run(argv, 900)
    return out, (int(rc == 0), int(rc != 0), 0)


def run_cut_breaks(build, _name, _case):
    """Each mistake that the power-cut harness can be told to make must be found."""
    rc, out = run([build / "bin/cuts", "--prove"], 300)
    return out, (int(rc == 0), int(rc != 0), 0)


def find_unit(build):
    return sorted(p.name[:-5] for p in (build / "tests").glob("*_test"))


def find_pytest(folder):
    return sorted(f"{folder}/{p.stem}" for p in (TOP / "tests" / folder).glob("test_*.py"))


def kinds(build):
    """(name, runner, fast) of every test there is."""
    for n in find_unit(build):
        yield n, run_unit, True
    yield "tidy", run_tidy, True
    for n in find_pytest("api") + find_pytest("cli") + find_pytest("disk") + find_pytest("image"):
        yield n, run_pytest, True
    if (build / "bin/sim-migrate").exists():
        yield "sim-short", run_sim, True
        yield "sim-breaks", run_sim_breaks, True
        yield "sim", run_sim, False
    if (build / "bin/cuts").exists():
        yield "cuts-short", run_cuts, True
        yield "cuts-breaks", run_cut_breaks, True
        yield "cuts", run_cuts, False
    for n in find_pytest("lab"):
        yield n, run_pytest, n == "lab/test_hub"


def chosen(all_tests, args):
    if not args.name:
        for name, fn, fast in all_tests:
            if name in ("sim-short", "cuts-short") and not args.fast:
                continue
            if fast or not args.fast:
                yield name, fn, None
        return
    want, _, case = args.name.partition("/")
    for name, fn, _fast in all_tests:
        if name == args.name:
            yield name, fn, None
        elif name == want or name.split("/")[0] == want and not case:
            yield name, fn, case or None
        elif name == f"{want}/test_{case}":
            yield name, fn, None


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("name", nargs="?")
    ap.add_argument("--build", default="build")
    ap.add_argument("--fast", action="store_true")
    args = ap.parse_args()
    build = TOP / args.build
    tally, seen = Tally(), 0
    for name, fn, case in chosen(list(kinds(build)), args):
        seen += 1
        t0 = time.monotonic()
        out, counts = fn(build, name, case)
        tally.add(*counts)
        bad = counts[1] > 0
        print(f"{'FAIL' if bad else 'ok  '} {name}{'/' + case if case else ''}  "
              f"{counts[0]} passed, {time.monotonic() - t0:.1f} s", flush=True)
        if bad or args.name:
            print(out)
        if bad:
            print(f"again: make test T={name}{'/' + case if case else ''}", flush=True)
    if not seen:
        sys.exit(f"no test is called '{args.name}'; names: those of tests/unit, tests/api, tests/lab, tidy, sim, cuts")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    sys.exit(1 if tally.failed or not tally.passed else 0)


if __name__ == "__main__":
    main()
