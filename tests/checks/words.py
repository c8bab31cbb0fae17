#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What must not stand in the tree: work left over, paths of one machine, hosts of package registries, keys."""

import re

import checklib

# Written so that this file does not find itself.
RULES = [
    (r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b", "do it, or leave it out"),
    (r"(?<![\w.$}/-])/(wo" + r"rk|ro" + r"ot|ho" + r"me/\w+)/[\w.]", "a path of one machine"),
    (r"/tmp/fer" + r"ry/", "a path of one machine"),
    (r"\b(deb\.debian\.o" + r"rg|snapshot\.debian\.o" + r"rg|pypi\.o" + r"rg|registry\.npmjs\.o" + r"rg|crates\.i" + r"o|"
     r"proxy\.golang\.o" + r"rg)\b", "the name of a registry's host"),
    (r"BEGIN (RSA |EC |)PRIVATE" + r" KEY", "a private key"),
    (r"^(<{7}|>{7}) ", "a conflict left over"),
    (r"\b(Clau" + r"de|Anthro" + r"pic|Chat" + r"GPT|Copi" + r"lot|LL" + r"M|sub-?age" + r"nts?)\b", "how the work was done"),
]
COMPILED = [(re.compile(pattern, re.M), why) for pattern, why in RULES]
# The licence's own text is what it is.
EXEMPT = {"COPYING"}


def check(tree):
    problems = []
    for path in tree.paths:
        if path in EXEMPT or not tree.is_text(path):
            continue
        for pattern, why in COMPILED:
            for match in pattern.finditer(tree.text(path)):
                line = tree.text(path).count("\n", 0, match.start()) + 1
                problems.append(f"{path}:{line}: '{match.group(0)}': {why}")
    return problems


GOOD = [{"a.c": "int x; /* in progress */\n", "COPYING": "TO" + "DO\n", "b": "$dir/wo" + "rk/x /framework/a work/x\n"}]
BAD = [
    ({"a.c": "/* TO" + "DO: more */\n"}, "a.c:1"),
    ({"docs/x.md": "\nsee /wo" + "rk/main\n"}, "docs/x.md:2"),
    ({"x.sh": "cd /tmp/fer" + "ry/x\n"}, "one machine"),
    ({"x.sh": "curl http://deb.debian.o" + "rg/debian\n"}, "registry"),
    ({"x": "<" * 7 + " HEAD\n"}, "conflict"),
    ({"x.pem": "-----BEGIN PRIVATE" + " KEY-----\n"}, "private key"),
    ({"x.md": "by an LL" + "M\n"}, "x.md"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)
