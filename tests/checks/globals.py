#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""No mutable globals: the objects of driver/, xml/ and daemon/ define no symbol in .data or .bss, but those in globals.allow.

The allow list's items are 'FILE SYMBOL'. The self-test compiles small files, since the symbols come from the compiler.
"""

import json
import re
import subprocess
import tempfile

import checklib

MUTABLE_RE = re.compile(r"^(\.data(?!\.rel\.ro)|\.bss|\.tdata|\.tbss|\*COM\*)")


def mutable_symbols(objects):
    """(object, symbol) of each variable in a writable section."""
    if not objects:
        return
    output = subprocess.run(["objdump", "-t", *objects], check=True, capture_output=True, text=True).stdout
    for part in re.split(r"\n(?=\S+:\s+file format)", output):
        name = part.lstrip().split(":")[0]
        for line in part.splitlines():
            match = re.match(r"^[0-9a-f]{16} (.{7}) (\S+)\s+[0-9a-f]+ (?:\.hidden )?(\S+)$", line)
            if match and "d" not in match.group(1) and MUTABLE_RE.match(match.group(2)):
                # static locals carry a number: once.5
                yield name, re.sub(r"\.\d+$", "", match.group(3))


def objects_of(tree):
    """{object file: source path} for what is built of the folders that the rule covers."""
    result = {}
    for entry in json.loads((tree.build / "compile_commands.json").read_text()):
        source = (tree.build / entry["file"]).resolve()
        output = tree.build / entry["output"]
        if source.is_relative_to(tree.root) and output.exists():
            path = str(source.relative_to(tree.root))
            if path.startswith(("driver/", "xml/", "daemon/")):
                result[str(output)] = path
    return result


def check_objects(tree, objects):
    allowed = tree.allowed("globals")
    seen = set()
    problems = []
    for name, symbol in sorted(set(mutable_symbols(list(objects)))):
        item = f"{objects[name]} {symbol}"
        seen.add(item)
        if item not in allowed:
            problems.append(f"{objects[name]}: '{symbol}' is a mutable global: let an object carry it")
    return sorted(set(problems)) + checklib.unused(allowed, seen, "globals")


def check(tree):
    if tree.build:
        return check_objects(tree, objects_of(tree))
    objects = {}
    for path in tree.files(".c"):
        target = str(tree.root / path) + ".o"
        subprocess.run(["cc", "-fPIE", "-fvisibility=hidden", "-c", "-o", target, tree.root / path], check=True)
        objects[target] = path
    return check_objects(tree, objects)


GOOD = [
    {"a.c": 'static const char *const names[] = { "a", "b" };\nconst int n = 3;\n'
            "const char *name(int i) { return names[i]; }\n"},
    {"a.c": "int f(void) { static int level; return level++; }\n", "tests/checks/globals.allow": "a.c level: log level\n"},
]
BAD = [
    ({"a.c": "int counter;\n"}, "counter"),
    ({"a.c": "static int on = 1;\nint f(void) { return on++; }\n"}, "'on'"),
    ({"a.c": "int f(void) { static int calls; return calls++; }\n"}, "'calls'"),
    ({"a.c": "static __thread int mine;\nint f(void) { return mine++; }\n"}, "'mine'"),
    ({"a.c": 'const char *names[] = { "a" };\n'}, "names"),
    ({"a.c": "int f(void);\n", "tests/checks/globals.allow": "a.c level: log level\n"}, "not needed"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)
