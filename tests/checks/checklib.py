# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the checks share: the tree as a list of files, C text without comments, functions, and the runner.

A check is a function check(tree) that returns a list of sentences, one for each violation. run() first proves on small
made-up trees that the check can fail and can pass, and only then looks at the real tree.
"""

import argparse
import os
import pathlib
import re
import sys
import tempfile

SKIPPED_DIRS = {".git", "__pycache__", ".ruff_cache"}


class Tree:
    """The files of a source tree; build is the build directory that belongs to it, or None."""

    def __init__(self, root, build=None):
        self.root = pathlib.Path(root).resolve()
        self.build = pathlib.Path(build).resolve() if build else None
        self.paths = sorted(self._walk())
        self._texts = {}

    def _walk(self):
        for folder, names, files in os.walk(self.root):
            if os.path.isdir(os.path.join(folder, "meson-private")):
                names[:] = []
                continue
            names[:] = [name for name in names if name not in SKIPPED_DIRS]
            if folder == str(self.root):
                names[:] = [name for name in names if not name.startswith("build")]
            for name in files:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path) and not name.startswith(".git"):
                    yield os.path.relpath(path, self.root)

    def files(self, *suffixes, under=()):
        """Paths that end in one of suffixes (none: all) below one of the folders (none: everywhere)."""
        return [path for path in self.paths
                if (not suffixes or path.endswith(suffixes))
                and (not under or path.startswith(tuple(folder + "/" for folder in under)))]

    def text(self, path):
        if path not in self._texts:
            data = (self.root / path).read_bytes()
            self._texts[path] = data.decode("utf-8", errors="replace")
        return self._texts[path]

    def is_text(self, path):
        with open(self.root / path, "rb") as file:
            return b"\0" not in file.read(4096)

    def exists(self, path):
        return (self.root / path).is_file()

    def allowed(self, name):
        """An allow list tests/checks/NAME.allow: {item: reason} from lines 'item: reason'."""
        path = f"tests/checks/{name}.allow"
        result = {}
        if self.exists(path):
            for line in self.text(path).splitlines():
                if line.strip() and not line.startswith("#"):
                    item, _, reason = line.partition(": ")
                    result[item.strip()] = reason.strip()
        return result


def unused(allowed, seen, name):
    """Sentences for entries of an allow list that nothing needs any more, and for those without a reason."""
    path = f"tests/checks/{name}.allow"
    return ([f"{path}: '{item}' is not needed any more, remove it" for item in allowed if item not in seen] +
            [f"{path}: '{item}' has no reason" for item, reason in allowed.items() if not reason])


CODE_RE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank_comments(text, keep_strings=False):
    """C text of the same shape, with comments (and, unless kept, the insides of strings) turned into spaces."""
    def blank(match):
        piece = match.group(0)
        if piece[0] in "\"'":
            return piece if keep_strings else piece[0] + " " * (len(piece) - 2) + piece[-1]
        return re.sub(r"[^\n]", " ", piece)
    return CODE_RE.sub(blank, text)


def blank_preprocessor(text):
    """Turns directives, with their continuation lines, into spaces."""
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.M)


def functions(text):
    """(name, first line, last line) of each function defined at file scope."""
    code = blank_preprocessor(blank_comments(text))
    depth = 0
    head_start = 0
    for match in re.finditer(r"[{};]", code):
        char, at = match.group(0), match.start()
        if char == "{":
            if depth == 0:
                head = code[head_start:at].strip()
                name = re.match(r"[^=(]*?\b(\w+)\s*\(", head)
                is_function = bool(name) and head.endswith(")")
                start = code.count("\n", 0, head_start + len(code[head_start:at]) - len(code[head_start:at].lstrip())) + 1
            depth += 1
        elif char == "}":
            depth = max(depth - 1, 0)
            if depth == 0:
                if is_function:
                    yield name.group(1), start, code.count("\n", 0, at) + 1
                head_start = at + 1
        elif depth == 0:
            head_start = at + 1


class Executable(str):
    """The text of a file that make_tree() makes executable."""


def make_tree(folder, files):
    for path, text in files.items():
        target = pathlib.Path(folder) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        if isinstance(text, Executable):
            target.chmod(0o755)
    return Tree(folder)


def self_test(check, good, bad):
    """good: trees ({path: text}) that must pass; bad: (tree, word that a violation must name)."""
    for files in good:
        with tempfile.TemporaryDirectory() as folder:
            problems = check(make_tree(folder, files))
            if problems:
                return f"self-test: a good tree with {sorted(files)} is refused: {problems}"
    for files, word in bad:
        with tempfile.TemporaryDirectory() as folder:
            problems = check(make_tree(folder, files))
            if not any(word in problem for problem in problems):
                return f"self-test: in a tree with {sorted(files)} nothing names '{word}': {problems}"
    return None


def run(check, good, bad):
    """The main program of a check."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--build")
    args = parser.parse_args()

    failure = self_test(check, good, bad)
    if failure:
        print(failure)
        sys.exit(1)
    problems = check(Tree(args.root, args.build))
    for problem in problems:
        print(problem)
    print(f"{len(problems)} violations; self-test: {len(good)} good and {len(bad)} bad trees told apart")
    sys.exit(1 if problems else 0)
