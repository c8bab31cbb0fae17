#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""No test is forgotten: each test-*.c, fuzz_*.c and test-*.py below tests/ takes part in the build, and each test belongs to
exactly one of the suites that tools/check knows (or to bench)."""

import json
import posixpath

import checklib

SUITES = {"unit", "check", "kernel", "fuzz", "live", "bench"}


def check(tree):
    build = tree.build or tree.root / "b"
    tests = json.loads((build / "meson-info" / "intro-tests.json").read_text())
    compiled = [entry["file"] for entry in json.loads((build / "compile_commands.json").read_text())]
    words = compiled + [word for test in tests for word in test["cmd"]]

    problems = []
    for test in tests:
        suites = {suite.split(":")[-1] for suite in test["suite"]} & SUITES
        if len(suites) != 1:
            problems.append(f"test '{test['name']}' is in suites {test['suite']}, not in exactly one of {sorted(SUITES)}")
    for path in tree.files(".c", ".py", under=("tests",)):
        name = posixpath.basename(path)
        if name.startswith(("test-", "test_", "fuzz_", "fuzz-")) and not any(word.endswith(path) for word in words):
            problems.append(f"{path}: no meson.build makes a test of it (a new folder: meson setup --reconfigure)")
    return problems


def tree_with(tests, commands, *paths):
    return {"b/meson-info/intro-tests.json": json.dumps(tests), "b/compile_commands.json": json.dumps(commands),
            **{path: "" for path in paths}}


UNIT = {"name": "a", "suite": ["ferry:unit"], "cmd": ["/b/test-a"]}
LIVE = {"name": "l", "suite": ["ferry:live"], "cmd": ["/s/tests/live/test-l.py"]}
SOURCE = {"file": "../tests/x/test-a.c"}
GOOD = [tree_with([UNIT, LIVE], [SOURCE], "tests/x/test-a.c", "tests/live/test-l.py", "tests/x/help.c")]
BAD = [
    (tree_with([UNIT], [SOURCE], "tests/x/test-b.c"), "tests/x/test-b.c"),
    (tree_with([UNIT], [SOURCE], "tests/fuzz/fuzz_b.c"), "tests/fuzz/fuzz_b.c"),
    (tree_with([UNIT], [SOURCE], "tests/live/test-l.py"), "test-l.py"),
    (tree_with([{**UNIT, "suite": ["ferry"]}], [SOURCE]), "'a'"),
    (tree_with([{**UNIT, "suite": ["ferry:unit", "ferry:live"]}], [SOURCE]), "'a'"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)
