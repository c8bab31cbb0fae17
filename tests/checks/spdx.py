#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each source file says its licence once, in its first lines."""

import posixpath

import checklib

MARK = "SPDX-License-" + "Identifier:"
LICENCE = MARK + " LGPL-2.1-or-later"
HEAD_LINES = 3
SUFFIXES = (".c", ".h", ".x", ".py", ".sh", ".rng", ".build", ".in", ".S")
NAMES = {"meson_options.txt"}


def needs_mark(tree, path):
    if path.endswith(SUFFIXES) or posixpath.basename(path) in NAMES:
        return "/data/" not in path and "/corpus" not in path
    return tree.text(path).startswith("#!") if tree.is_text(path) else False


def check(tree):
    problems = []
    for path in tree.paths:
        if not needs_mark(tree, path):
            continue
        lines = tree.text(path).splitlines()
        if sum(LICENCE in line for line in lines[:HEAD_LINES]) != 1:
            problems.append(f"{path}: no line '{LICENCE}' at its top")
        elif sum(MARK in line for line in lines) != 1:
            problems.append(f"{path}: more than one line with '{MARK}'")
    return problems


C_MARK = f"/* {LICENCE} */\n"
GOOD = [{"a.c": C_MARK, "tools/run": f"#!/bin/sh\n# {LICENCE}\n", "README.md": "x\n", "b.py": f"# {LICENCE}\n"}]
BAD = [
    ({"a.c": "int x;\n"}, "a.c"),
    ({"a.c": C_MARK + "\n" * 9 + C_MARK}, "more than one"),
    ({"a.c": "\n" * 9 + C_MARK}, "at its top"),
    ({"a.h": f"/* {MARK} GPL-2.0-only */\n"}, "a.h"),
    ({"tools/run": "#!/bin/sh\n"}, "tools/run"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)
