#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sizes: a C file has at most 1000 lines, a function at most 120. sizes.allow may only shrink."""

import checklib

FILE_LINES = 1000
FUNCTION_LINES = 120


def check(tree):
    allowed = tree.allowed("sizes")
    seen = set()
    problems = []

    def too_long(item, sentence):
        seen.add(item)
        if item not in allowed:
            problems.append(sentence)

    for path in tree.files(".c", ".h"):
        lines = tree.text(path).count("\n")
        if lines > FILE_LINES:
            too_long(path, f"{path}: {lines} lines, the limit is {FILE_LINES}: split it by meaning")
        for name, first, last in checklib.functions(tree.text(path)):
            length = last - first + 1
            if length > FUNCTION_LINES:
                too_long(f"{path} {name}",
                         f"{path}:{first}: {name}() has {length} lines, the limit is {FUNCTION_LINES}")
    return problems + checklib.unused(allowed, seen, "sizes")


def function_of(lines):
    return "static int long_one(int a,\n                    int b) {\n" + "        a++;\n" * (lines - 3) + "}\n"


GOOD = [
    {"driver/a.c": "int x(void) {\n        return 0;\n}\n" + function_of(120) + "\n" * 800},
    {"driver/a.c": "\n" * 1001, "tests/checks/sizes.allow": "driver/a.c: one table\n"},
]
BAD = [
    ({"driver/a.c": "\n" * 1001}, "1001 lines"),
    ({"driver/a.c": "#define A(x) { x\n" + function_of(121)}, "long_one() has 121"),
    ({"driver/a.c": "struct x {\n        int a;\n};\n\n/* } */\n" + function_of(121)}, "driver/a.c:6: long_one()"),
    ({"driver/a.c": "\n", "tests/checks/sizes.allow": "driver/a.c: was long\n"}, "not needed"),
    ({"driver/a.c": "\n" * 1001, "tests/checks/sizes.allow": "driver/a.c\n"}, "no reason"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)
