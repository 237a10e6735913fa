#!/bin/bash
# must_fail.sh PROGRAM ARGUMENTS...: the checker finds the bug, by a complaint or by an assertion.
out=$("$@" 2>&1)
result=$?
printf '%s\n' "$out" | grep -a -A3 -E 'FAILED|check failed|^duet_' | head -6 | cut -c1-300
case $result in
  0) echo "SURVIVED: the checker did not find this bug"; exit 1 ;;
  2 | 126 | 127) echo "the checker did not run"; exit 1 ;;
esac
echo "caught (exit $result)"
