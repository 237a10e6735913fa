#!/usr/bin/env python3
"""mutate.py MUTANT SOURCE_DIR OUT: applies one seeded bug to one source file.

A mutant file names a source file and a text that must stand in it exactly once, and what takes
its place.  Anything else is an error, so that a mutant cannot quietly become the original.
"""
import sys


def main():
    mutant, source_dir, out = sys.argv[1:4]
    text = open(mutant).read()
    head, _, rest = text.partition("\n--- from\n")
    before, separator, after = rest.partition("\n--- to\n")
    after = after.removesuffix("\n")
    lines = head.splitlines()
    if not separator or not lines[0].startswith("file: "):
        sys.exit(f"{mutant}: no mutant")
    path = f"{source_dir}/{lines[0].removeprefix('file: ')}"
    source = open(path).read()
    count = source.count(before)
    if count != 1:
        sys.exit(f"{mutant}: its text stands {count} times in {path}: bring the mutant up to date")
    with open(out, "w") as f:
        f.write(source.replace(before, after))


main()
