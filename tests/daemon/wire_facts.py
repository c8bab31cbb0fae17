#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The .x files against what is known of the protocol: wire_facts.py FACTS FILE.x...

FACTS has one line for each type and procedure, taken from libvirt's protocol and not from our files: kind, name, then members in
wire order as name:type with constants written out as numbers. A member that moves, grows or changes its type shows here.
"""

import re
import sys


def parse(text):
    """Lines like those of FACTS from the text of one .x file."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"^%.*$", " ", text, flags=re.M)
    constants = {m[1]: m[2] for m in re.finditer(r"\bconst (\w+) = (\w+);", text)}

    def member(declaration):
        declaration = " ".join(declaration.split())
        m = re.fullmatch(r"(.+?) ?(\*?)(\w+)(?:([<\[])(\w+)([>\]]))?", declaration)
        kind, star, name, opening, size, closing = m.groups()
        kind = re.sub(r"^unsigned ", "u", kind) if kind != "unsigned" else "uint"
        if opening:
            kind += opening + str(int(constants.get(size, size), 0)) + closing
        return name, kind + ("*" if star else "")

    for m in re.finditer(r"\bstruct (\w+) \{(.*?)\};", text, flags=re.S):
        members = [member(d) for d in m[2].split(";") if d.strip()]
        yield " ".join([f"struct {m[1]}"] + [f"{name}:{kind}" for name, kind in members])
    for m in re.finditer(r"\btypedef ([^;]*);", text):
        name, kind = member(m[1])
        yield f"typedef {name} {kind}"
    for m in re.finditer(r"\bunion (\w+) switch \(int type\) \{(.*?)\};", text, flags=re.S):
        cases = re.findall(r"case (\d+):\s*([^;]*);", m[2])
        yield " ".join([f"union {m[1]}"] + [f"{number}:{member(d)[1]}" for number, d in cases])
    for m in re.finditer(r"\benum (\w+) \{(.*?)\};", text, flags=re.S):
        values = [v.replace(" ", "").strip() for v in m[2].split(",")]
        if not m[1].endswith("_procedure"):
            yield " ".join([f"enum {m[1]}"] + ["".join(v.split()) for v in values])
            continue
        for value in values:
            name, number = "".join(value.split()).split("=")
            yield f"number {m[1].removesuffix('_procedure')} {number} {name}"


def main():
    facts = set()
    for line in open(sys.argv[1], encoding="utf-8"):
        words = line.split()
        if words and words[0] == "proc":
            facts.add(f"number {words[1]} {words[2]} {words[3]}")
        elif words:
            facts.add(line.strip())
    ours = set()
    for path in sys.argv[2:]:
        ours.update(parse(open(path, encoding="utf-8").read()))
    ours = {line for line in ours if not line.startswith("number keepalive")}
    for line in sorted(ours - facts):
        print(f"only in the .x files: {line}")
    for line in sorted(facts - ours):
        print(f"only in the facts:    {line}")
    return 1 if ours != facts else 0


if __name__ == "__main__":
    sys.exit(main())
