#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What users read is translated and comes from the right place: error_set() gets its sentence through _(), and driver/ and xml/
log nothing above debug, except the main files of programs."""

import re

import checklib

ERROR_RE = re.compile(r"\b(error_set(?:_errno)?)\s*\(")
# Only conversions and punctuation: nothing in it to translate.
BARE_RE = re.compile(r"\"(?:%[0-9.*zhl]*[a-zA-Z]|[^\w%])*\"")
# libvirt's client compares this one with its own text, so it is part of the protocol.
PROTOCOL = '"unknown procedure'
LOUD_RE = re.compile(r"\b(log_info|log_warning|log_error|g_warning|g_message|syslog|perror)\s*\(")


def argument(code, start, wanted):
    """The text of one argument of the call whose bracket was opened before start."""
    depth, number, begin, in_string = 0, 0, start, False
    for at in range(start, len(code)):
        char = code[at]
        if char == '"' and code[at - 1] != "\\":
            in_string = not in_string
        elif in_string:
            continue
        elif char in "([{":
            depth += 1
        elif char in ")]}" and depth > 0:
            depth -= 1
        elif char == ")" or (char == "," and depth == 0):
            if number == wanted:
                return code[begin:at].strip()
            if char == ")":
                return ""
            number, begin = number + 1, at + 1
    return ""


def check(tree):
    problems = []
    for path in tree.files(".c", under=("driver", "xml", "daemon", "tools")):
        code = checklib.blank_comments(tree.text(path), keep_strings=True)
        for match in ERROR_RE.finditer(code):
            call, text = match.group(1), argument(code, match.end(), 2)
            if text.startswith('"') and not BARE_RE.fullmatch(text) and not text.startswith(PROTOCOL):
                problems.append(f"{path}: {call}(... {text}): the sentence must go through _()")
        if path.startswith(("driver/", "xml/")) and not path.endswith("main.c") and path != "driver/base/log.c":
            for call in LOUD_RE.findall(checklib.blank_comments(tree.text(path))):
                problems.append(f"{path}: {call}(): what users must know is an error or an event; log at debug")
    return problems


GOOD = [{"driver/a.c": 'error_set(reterr, VIR_ERR_X, _("no %s"), a);\nerror_set(reterr, VIR_ERR_X, "%s:%zu: %s", a, 1, text);\n'
                       'error_set(reterr, VIR_ERR_RPC, "unknown procedure: %d", n);\nlog_debug("x");\n',
         "driver/engine/main.c": 'log_error("x");\n', "daemon/a.c": 'log_info("x");\n', "tests/a.c": 'error_set(e, C, "x");\n',
         "xml/a.c": 'error_set(reterr, f(a, "code"), _("no %s"), "disk");\n'}]
BAD = [
    ({"driver/a.c": 'error_set(reterr, VIR_ERR_X,\n          "no disk");\n'}, "no disk"),
    ({"xml/a.c": 'error_set_errno(reterr, f(x), "cannot open %s", a);\n'}, "cannot open"),
    ({"xml/a.c": 'error_set(reterr, f(a, "code"), "no disk");\n'}, "no disk"),
    ({"driver/a.c": 'log_warning("x");\n'}, "log_warning"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)
