#!/usr/bin/env python3
"""Checks what clang-format does not know of, and prints what is wrong.

usage: tests/lint/form.py CHECK FILE...      CHECK: columns, lines, glob, once or fuzzer
"""
import pathlib
import sys

MAX_COLUMNS = 100
MAX_LINES = 450   # "about 400"


def columns(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_COLUMNS:
            yield f"{path}:{number}: {len(line)} columns, want at most {MAX_COLUMNS}"


def lines(path, text):
    count = len(text.splitlines())
    if count > MAX_LINES:
        yield f"{path}: {count} lines, want about 400 at most"


def glob(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        if "file(GLOB" in line:
            yield f"{path}:{number}: names no sources: write the list"


def once(path, text):
    if "\n#pragma once\n" not in text:
        yield f"{path}: a header without #pragma once"


def fuzzer(path, text):
    """`path` is NAME_fuzz.cc in the folder of the fuzzers."""
    source = pathlib.Path(path)
    folder, name = source.parent, source.name.removesuffix("_fuzz.cc")
    if not any((folder / "corpus" / name).glob("*")):
        yield f"{path}: no input in {folder / 'corpus' / name}"
    for file, entry in (("README.md", f"| `{name}` |"),
                        ("CMakeLists.txt", f"arenad_fuzzer({name} ")):
        if entry not in (folder / file).read_text(encoding="utf-8"):
            yield f"{path}: {folder / file} has no '{entry}'"


def main():
    check = {f.__name__: f for f in (columns, lines, glob, once, fuzzer)}[sys.argv[1]]
    for path in sys.argv[2:]:
        for wrong in check(path, pathlib.Path(path).read_text(encoding="utf-8")):
            print(wrong)


if __name__ == "__main__":
    main()
