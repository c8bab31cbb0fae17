#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""po/POTFILES names exactly the source files that have sentences for users: those that use _(), N_() or ngettext()."""

import re

import checklib

USE_RE = re.compile(r"\b(?:_|N_|ngettext)\s*\(\s*\"")
LIST = "po/POTFILES"


def check(tree):
    listed = [line for line in tree.text(LIST).split("\n") if line and not line.startswith("#")]
    using = set()
    for path in tree.files(".c", ".h", under=("driver", "xml", "daemon", "tools")):
        code = checklib.blank_preprocessor(checklib.blank_comments(tree.text(path)))
        if USE_RE.search(code):
            using.add(path)
    problems = [f"{LIST}: add {path}, it has sentences for users" for path in sorted(using - set(listed))]
    problems += [f"{LIST}: remove {path}, it has no sentences for users" for path in sorted(set(listed) - using)]
    problems += [f"{LIST}: {path} stands there twice" for path in sorted(set(listed)) if listed.count(path) > 1]
    return problems


GOOD = [{LIST: "# list\nxml/a.c\n", "xml/a.c": 'f(_("Hello"));\n', "xml/b.c": '/* _("no") */\n#define _(text) x("" text)\n'}]
BAD = [
    ({LIST: "", "driver/a.c": 'f(_("Hello"));\n'}, "add driver/a.c"),
    ({LIST: "", "driver/a.c": 'f(_(\n        "Hello"));\n'}, "add driver/a.c"),
    ({LIST: "driver/a.c\n"}, "remove driver/a.c"),
    ({LIST: "driver/a.c\ndriver/a.c\n", "driver/a.c": 'f(N_("Hello"));\n'}, "twice"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)
