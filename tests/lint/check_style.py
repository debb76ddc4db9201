#!/usr/bin/env python3
"""House rules that a compiler does not know. usage: check_style.py TOP

Headers open with a comment; files stay short; no note left for later, no silenced check, no path or
host of somebody's machine; links in the documents lead somewhere; scripts parse and can be run.
Python 3, standard library only.
"""
import ast
import pathlib
import re
import subprocess
import sys

CODE = {".cpp", ".hpp", ".h", ".c"}
FOLDERS = ("src", "hw", "bpf", "tools", "tests", "docs", ".ci")
LINES_MAX = 500

# Longer than they should be, and why; they may shrink, not grow.
LONG_FILES = {
    "src/lock/engine_locks.cpp": 530,  # what one request does to one lock, every way it may go
}

LEFT_FOR_LATER = re.compile(r"\b(?:TODO|FIXME|NOLINT\w*)\b")
MACHINE = re.compile(r"(?<![\w.])/(?:work|home|root)/|deb\.debian\.org|registry\.npmjs")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def tracked_files(top):
    done = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                          cwd=top, capture_output=True, text=True)
    if done.returncode == 0:
        names = done.stdout.splitlines()
    else:  # an unpacked source archive, or another user's clone
        names = [str(path.relative_to(top)) for folder in FOLDERS
                 for path in (top / folder).rglob("*") if path.is_file()]
        names += [path.name for path in top.iterdir() if path.is_file()]
    return [top / name for name in sorted(names)
            if (top / name).is_file() and "/corpus/" not in name and "__pycache__" not in name]


def check_code(path, where, text):
    if path.suffix in (".hpp", ".h") and not text.lstrip().startswith(("//", "/*")):
        yield f"{where}: a header opens with a comment: what it is, who owns it, what it keeps"
    lines = text.count("\n")
    limit = LONG_FILES.get(where, LINES_MAX)
    if where.split("/")[0] in ("src", "hw", "bpf") and lines > limit:
        yield f"{where}: {lines} lines, more than {limit}: which two things is it?"


def check_text(where, text):
    if where == "tests/lint/check_style.py":
        return
    for number, line in enumerate(text.splitlines(), 1):
        for rule in (LEFT_FOR_LATER, MACHINE):
            found = rule.search(line)
            if found:
                yield f"{where}:{number}: {found.group(0)!r} does not belong in the tree"


def anchors(text):
    """Anchors of a document's headings, as code hosts make them."""
    names = set()
    for heading in re.findall(r"^#+\s+(.*)$", text, re.M):
        plain = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", ""))
        names.add(plain.replace(" ", "-"))
    return names


def check_links(path, where, text, top):
    in_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        if in_code:
            continue
        for target in LINK.findall(re.sub(r"`[^`]*`", "", line)):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (path.parent / name).resolve() if name else path
            if not file.exists() or top not in (file, *file.parents):
                yield f"{where}:{number}: link to {target}, which is not there"
            elif anchor and file.suffix == ".md" and anchor not in anchors(
                    file.read_text(encoding="utf-8")):
                yield f"{where}:{number}: link to {target}: no such heading"


def check_script(path, where, text):
    first = text.split("\n", 1)[0]
    if first.startswith("#!"):
        if not path.stat().st_mode & 0o111 and where.startswith("tools/"):
            yield f"{where}: a script in tools can be run: chmod +x"
    if re.match(r"#!.*\b(?:bash|sh)\b", first) or path.suffix == ".sh":
        done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
        if done.returncode != 0:
            yield f"{where}: bash -n: {done.stderr.strip()}"
    if path.suffix == ".py" or re.match(r"#!.*\bpython3?\b", first):
        try:
            ast.parse(text, filename=where)
        except SyntaxError as error:
            yield f"{where}:{error.lineno}: {error.msg}"


def main():
    top = pathlib.Path(sys.argv[1]).resolve()
    problems = []
    files = tracked_files(top)
    for path in files:
        where = str(path.relative_to(top))
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if path.suffix in CODE:
            problems.extend(check_code(path, where, text))
        if path.suffix == ".md":
            problems.extend(check_links(path, where, text, top))
        problems.extend(check_text(where, text))
        problems.extend(check_script(path, where, text))
    for problem in problems:
        print(problem)
    print(f"{len(files)} files checked, {len(problems)} problems")
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
