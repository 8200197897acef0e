#!/usr/bin/env python3
"""Fails when a document or a comment names a file of the project that does not exist.

usage: tests/docs/check_paths.py PROJECT_ROOT

Looked at: links of Markdown files, paths in back quotes, and in comments of sources the names that
begin with a top folder or end with .md. A path begins at the root, or at a folder below the
file's own.
"""
import pathlib
import re
import sys

TOP = "allocator|server|client|proto|tests|deploy|docker"
SUFFIXES = "h|cc|md|py|proto|txt|yaml|cmake|pml|svg"
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
QUOTED = re.compile(rf"`((?:{TOP})/[\w./*-]+|[\w./-]+\.(?:{SUFFIXES}))`")
NAMED = re.compile(rf"\b((?:{TOP})/[\w./-]*\w\.(?:{SUFFIXES})|[\w./-]*\w\.md)\b")
SOURCES = (".h", ".cc", ".py", ".proto", ".sh", ".txt", ".yaml", ".pml", ".cmake", "")
# Written by a program or an example's own: no file of the project.
ELSEWHERE = re.compile(r"^(https?://|mailto:|/)|\.pb\.(h|cc)$|^(camera|example|your\w*)\.(cc|py)$")


def exists(root, folder, name):
    if "*" in name:
        return any(root.glob(name)) or any(folder.glob(name))
    if name.endswith(".md"):
        return (folder / name).exists() or (root / name).exists()
    # A name or a path: from the root, or somewhere below the folder that speaks of it.
    return (root / name).exists() or any(folder.rglob(name))


def names_in(path, text):
    if path.suffix == ".md":
        yield from (m.group(1) for m in LINK.finditer(text))
        yield from (m.group(1) for m in QUOTED.finditer(text))
    else:
        for line in text.splitlines():
            comment = re.search(r"(//|#(?!include)|\"\"\"|^\s*\*)(.*)", line)
            if comment and not line.lstrip().startswith("#include"):
                yield from (m.group(1) for m in NAMED.finditer(comment.group(2)))


def files_of(root):
    for top in sorted(root.iterdir()):
        if top.name.startswith(".") or top.name == "build":
            continue
        yield from [top] if top.is_file() else sorted(p for p in top.rglob("*") if p.is_file())


def main(root):
    root, wrong, seen = pathlib.Path(root).resolve(), [], 0
    for path in files_of(root):
        if path.suffix != ".md" and path.suffix not in SOURCES or "__pycache__" in path.parts:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for name in names_in(path, text):
            if ELSEWHERE.search(name):
                continue
            seen += 1
            if not exists(root, path.parent, name):
                wrong.append(f"{path.relative_to(root)}: '{name}' does not exist")
    print("\n".join(wrong + [f"{seen} names of files looked at, {len(wrong)} wrong"]))
    return 1 if wrong or seen < 100 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
