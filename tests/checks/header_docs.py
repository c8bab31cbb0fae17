#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each function that a header exports is documented: a comment in the same paragraph as its prototype.

A paragraph is a run of lines without an empty one, so that one comment can speak for a group of calls. References and
releases (x_ref, x_unref, x_free, x_clear) need no words. Parameters that a comment names with @ must exist.
"""

import re

import checklib

PLAIN = re.compile(r"\w+_(ref|unref|free|freep|unrefp|clear)")
PROTOTYPE_RE = re.compile(r"^(?:[A-Za-z_][\w ]*?[ *]+)(\w+)\s*\(([^;{}]*)\)[^;{}()]*(?:\([^;{}]*\))?\s*[;{]", re.M)


def paragraphs(text):
    """(first line, text) of each paragraph; empty lines inside a comment do not end one."""
    code = checklib.blank_comments(text)
    first, lines = 1, []
    in_comment = False
    depth = 0
    for number, (line, bare) in enumerate(zip(text.split("\n"), code.split("\n")), 1):
        if not line.strip() and not in_comment and depth == 0:
            if lines:
                yield first, "\n".join(lines)
            first, lines = number + 1, []
            continue
        lines.append(line)
        in_comment = (in_comment or "/*" in line) and "*/" not in line[line.rfind("/*") if "/*" in line else 0:]
        depth += bare.count("{") - bare.count("}")
    if lines:
        yield first, "\n".join(lines)


def blank_bodies(text):
    """Turns what stands between braces into spaces, comments included: members are documented on their own."""
    code = checklib.blank_comments(text)
    result = list(text)
    depth = 0
    for at, char in enumerate(code):
        if char == "}":
            depth -= 1
        if depth > 0 and text[at] != "\n":
            result[at] = " "
        if char == "{":
            depth += 1
    return "".join(result)


def check(tree):
    problems = []
    for path in tree.files(".h", under=("driver", "xml", "daemon")):
        for first, text in paragraphs(tree.text(path)):
            text = blank_bodies(text)
            code = checklib.blank_preprocessor(checklib.blank_comments(text))
            found = [match for match in PROTOTYPE_RE.finditer(code) if not match.group(0).startswith("typedef")]
            names = [match.group(1) for match in found if match.group(1).islower()]
            if not names:
                continue
            comments = " ".join(re.findall(r"/\*.*?\*/", text, re.S))
            if not comments:
                problems += [f"{path}:{first}: {name}() has no comment" for name in names if not PLAIN.fullmatch(name)]
            known = set(re.findall(r"\w+", " ".join(match.group(2) for match in found)))
            for named in re.findall(r"^\s*\*?\s*((?:@\w+(?:, )?)+)", comments, re.M):
                for parameter in re.findall(r"@(\w+)", named):
                    if parameter not in known:
                        problems.append(f"{path}:{first}: @{parameter} is no parameter of {', '.join(names)}()")
    return problems


GOOD = [
    {"driver/a.h": "#pragma once\n\n/* Adds.\n *\n * @a: one\n * @b: two */\nint a_add(int a,\n          int b);\nint a_sub(int a);\n"
                   "\nint a_one(void); /* one */\n\nA *a_ref(A *a);\nG_DEFINE_AUTOPTR_CLEANUP_FUNC(A, a_unref)\n\n"
                   "typedef struct A {\n        int (*call)(int x);\n} A;\n\n/* Is it? */\nstatic inline bool a_is(int a) {\n"
                   "        int b = a;\n\n        return f(b);\n}\n"},
]
BAD = [
    ({"driver/a.h": "/* Adds. */\nint a_add(int a);\n\nint a_sub(int a,\n          int b);\n"}, "a_sub()"),
    ({"driver/a.h": "/* Type. */\ntypedef struct A A;\n\nA *a_new(void);\n"}, "a_new()"),
    ({"driver/a.h": "/* A. */\ntypedef struct A A;\n\ntypedef struct B {\n        int b; /* b */\n} B;\nint b_new(B *b);\n"}, "b_new()"),
    ({"driver/a.h": "int a_f(const char *x, ...) G_GNUC_PRINTF(1, 2);\n"}, "a_f()"),
    ({"xml/a.h": "/* Adds.\n * @c: gone */\nint a_add(int a);\n"}, "@c"),
    ({"daemon/a.h": "static inline int a_x(void) {\n        return 1;\n}\n"}, "a_x()"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)
