#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each message id of daemon/systemd/message_ids.h has an entry in virtferry.catalog, with all its headers, and none is left over.
A field that an entry names (@FERRY_X@) is one that daemon/systemd/journal.c writes."""

import re

import checklib

IDS = "daemon/systemd/message_ids.h"
CATALOG = "daemon/systemd/virtferry.catalog"
WRITER = "daemon/systemd/journal.c"
HEADERS = ("Subject", "Defined-By", "Support", "Documentation")


def check(tree):
    if not tree.exists(IDS):
        return []
    ids = {number: name for name, number in re.findall(r'#define (MESSAGE_\w+) "([^"]*)"', tree.text(IDS))}
    entries = dict(re.findall(r"^-- (\S+)\n(.*?)(?=^-- |\Z)", tree.text(CATALOG), re.M | re.S))
    fields = set(re.findall(r'"(FERRY_\w+)"', tree.text(WRITER)))
    problems = [f"{IDS}: {name}: '{number}' is no message id" for number, name in ids.items() if not re.fullmatch("[0-9a-f]{32}", number)]
    problems += [f"{CATALOG}: {name} has no entry" for number, name in ids.items() if number not in entries]
    problems += [f"{CATALOG}: {number} is the id of no message" for number in entries if number not in ids]
    for number, text in entries.items():
        problems += [f"{CATALOG}: {number} has no {header}" for header in HEADERS if not re.search(f"^{header}: .", text, re.M)]
        problems += [f"{CATALOG}: {number}: nobody writes {field}" for field in re.findall(r"@(\w+)@", text) if field not in fields]
    return problems


ENTRY = "Subject: x @FERRY_DOMAIN@\nDefined-By: y\nSupport: z\nDocumentation: z\n\nText.\n"
NUMBER = "0123456789abcdef" * 2


def tree_with(ids=f'#define MESSAGE_A "{NUMBER}"\n', catalog=f"-- {NUMBER}\n{ENTRY}", writer='{ "FERRY_DOMAIN", x }\n'):
    return {IDS: ids, CATALOG: catalog, WRITER: writer}


GOOD = [tree_with(), {"a.c": ""}]
BAD = [
    (tree_with(ids=f'#define MESSAGE_A "{NUMBER}"\n#define MESSAGE_B "{NUMBER[::-1]}"\n'), "MESSAGE_B"),
    (tree_with(ids='#define MESSAGE_A "x"\n', catalog=f"-- x\n{ENTRY}"), "no message id"),
    (tree_with(ids=""), "no message"),
    (tree_with(catalog=f"-- {NUMBER}\nSubject: x\n\nText.\n"), "Support"),
    (tree_with(writer=""), "FERRY_DOMAIN"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)
