#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manual pages render without a warning, and name each option that the programs print for --help, each key of
virtferryd.conf and each setting of a migration policy.

usage: manpages.py ROOT --build FOLDER
"""

import re
import shutil
import subprocess
import tempfile

import checklib

PAGES = "docs/man"
OPTION_RE = re.compile(r"(?<![\w-])(--?[a-zA-Z][\w-]*)")
KEY_RE = re.compile(r"^#(\w+) = ", re.M)
# In the table of settings: names with a dot, in backquotes, in the first column.
SETTING_RE = re.compile(r"^\|([^|]*)\|", re.M)


def plain(page):
    """A page's source as the text that one reads: no requests, no font changes, hyphens as they are."""
    text = re.sub(r'^\.\\".*$', "", page, flags=re.M)
    text = re.sub(r"\\f.|\\\||\"", "", text)
    return text.replace(r"\-", "-").replace(r"\&", "")


def render(path):
    """What groff and, where it is there, mandoc have to complain about."""
    complaints = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", path], capture_output=True, text=True, check=False).stderr
    if shutil.which("mandoc"):
        done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], capture_output=True, text=True, check=False)
        complaints += "".join(line + "\n" for line in done.stdout.splitlines() if "missing date" not in line)
    return complaints.strip()


def printed_help(tree):
    """[(page, help text)] of the programs in the build folder."""
    def run(*words):
        return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=30, check=True).stdout
    texts = [("virtferryd.8.in", run(tree.build / "daemon/virtferryd", "--help"))]
    tool = tree.build / "tools/virt-ferry/virt-ferry"
    overview = run(tool, "help")
    texts.append(("virt-ferry.1.in", overview))
    for name in re.findall(r"^  ([\w-]+) ", overview, re.M):
        texts.append(("virt-ferry.1.in", name + "\n" + run(tool, name, "--help")))
    return texts


def missing(tree, page, words, what):
    text = plain(tree.text(f"{PAGES}/{page}"))
    return [f"{PAGES}/{page}: does not name {what} {word}" for word in sorted(set(words))
            if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)]


def check(tree):
    problems = []
    for path in tree.files(".in", under=(PAGES,)):
        with tempfile.NamedTemporaryFile("w", suffix=".man", encoding="utf-8") as copy:
            copy.write(tree.text(path).replace("@VERSION@", "1"))
            copy.flush()
            complaints = render(copy.name)
        problems += [f"{path}: {line}" for line in complaints.replace(copy.name, "").splitlines()]
    if tree.exists("daemon/virtferryd.conf"):
        problems += missing(tree, "virtferryd.conf.5.in", KEY_RE.findall(tree.text("daemon/virtferryd.conf")), "the key")
    if tree.exists("docs/policy.md"):
        cells = " ".join(SETTING_RE.findall(tree.text("docs/policy.md")))
        problems += missing(tree, "virtferry-domain.5.in", re.findall(r"`(\w+\.[\w-]+)`", cells), "the setting")
    if tree.build:
        for page, text in printed_help(tree):
            problems += missing(tree, page, OPTION_RE.findall(text), "the option")
            problems += missing(tree, page, re.findall(r"^  ([a-z][\w-]+)  ", text, re.M), "the command")
    return problems


GOOD_PAGE = '.TH X 1 "" "Ferry @VERSION@"\n.SH NAME\nx \\- y\n.SH OPTIONS\n.TP\n.BR \\-a ", " \\-\\-all\n.B some_key\nand stall.window.\n'
GOOD = [{f"{PAGES}/virtferryd.conf.5.in": GOOD_PAGE, f"{PAGES}/virtferry-domain.5.in": GOOD_PAGE,
         "daemon/virtferryd.conf": '# text\n#some_key = ""\n', "docs/policy.md": "| `stall.window` | 5 |\n"}]
BAD = [
    ({f"{PAGES}/a.1.in": '.TH X 1\n.SH NAME\nx \\- \\[nonsense]\n'}, "nonsense"),
    ({f"{PAGES}/virtferryd.conf.5.in": GOOD_PAGE, "daemon/virtferryd.conf": "#key = 1\n"}, "the key key"),
    ({f"{PAGES}/virtferry-domain.5.in": GOOD_PAGE, "docs/policy.md": "| `stall.window`, `stall.x` | 5 |\n"}, "stall.x"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)
