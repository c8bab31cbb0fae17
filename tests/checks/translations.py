#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sentences can be extracted, and each translation that po/LINGUAS names is sound for msgfmt and for xgettext's current
sentences: formats agree, and what it translates still exists."""

import subprocess

import checklib

# A translation with fewer sentences than this (or than there are) is no translation.
MIN_SENTENCES = 20


def call(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def message_ids(pot):
    """The msgids of a catalogue, obsolete entries left out, each as one line of msgcat's output."""
    lines = call("msgattrib", "--no-obsolete", "--no-wrap", "--no-location", "-", input=pot).stdout.splitlines()
    return {line for line in lines if line.startswith("msgid ") and line != 'msgid ""'}


def check(tree):
    sources = [line for line in tree.text("po/POTFILES").split("\n") if line and not line.startswith("#")]
    languages = tree.text("po/LINGUAS").split()
    extracted = call("xgettext", "--from-code=UTF-8", "--keyword=_", "--keyword=N_", "--language=C", "-o", "-",
                     *sources, cwd=tree.root)
    problems = [f"xgettext: {line}" for line in extracted.stderr.splitlines()] if sources else []
    current = message_ids(extracted.stdout)

    present = {path[3:-3] for path in tree.files(".po", under=("po",))}
    problems += [f"po/{language}.po is not named in po/LINGUAS" for language in sorted(present - set(languages))]
    for language in languages:
        path = f"po/{language}.po"
        if language not in present:
            problems.append(f"{path} is missing")
            continue
        result = call("msgfmt", "--check", "-o", "/dev/null", path, cwd=tree.root)
        if result.returncode != 0 or "warning" in result.stderr:
            problems.append(f"{path}: {result.stderr.strip()}")
            continue
        done = call("msgattrib", "--translated", "--no-fuzzy", path, cwd=tree.root).stdout
        known = len(message_ids(done) & current)
        if known < min(MIN_SENTENCES, len(current)):
            problems.append(f"{path}: translates {known} of {len(current)} sentences; bring it up to date")
    return problems


HEADER = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\nLanguage: de\\nMIME-Version: 1.0\\n' \
         'Project-Id-Version: x\\nLast-Translator: x <x@x>\\nLanguage-Team: x\\nPO-Revision-Date: 2026-01-01 00:00+0000\\n' \
         'Content-Transfer-Encoding: 8bit\\nReport-Msgid-Bugs-To: \\nPOT-Creation-Date: 2026-01-01 00:00+0000\\n"\n\n'


def tree_with(translation, languages="de\n"):
    return {"po/POTFILES": "a.c\n", "po/LINGUAS": languages, "a.c": 'f(_("size %d"), _("name"));\n',
            "po/de.po": HEADER + translation}


GOOD = [tree_with('#, c-format\nmsgid "size %d"\nmsgstr "Größe %d"\n\nmsgid "name"\nmsgstr "Name"\n')]
BAD = [
    (tree_with('#, c-format\nmsgid "size %d"\nmsgstr "Größe %s"\n'), "de.po"),
    (tree_with('msgid "gone"\nmsgstr "fort"\n'), "0 of 2"),
    (tree_with('#~ msgid "name"\n#~ msgstr "Name"\n'), "0 of 2"),
    (tree_with('msgid "name"\nmsgstr "Name\n'), "de.po"),
    (tree_with('msgid "name"\nmsgstr "Name"\n', languages="de\nfr\n"), "fr.po is missing"),
    (tree_with('msgid "name"\nmsgstr "Name"\n', languages=""), "not named"),
]

if __name__ == "__main__":
    checklib.run(check, GOOD, BAD)
