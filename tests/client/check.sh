# Runs one check (checks/NAME.sh) in a directory of its own on the mount, stopping at the first
# command that fails.  What the checks can use:
#   $TOP, $SECOND   the export's root through two mounts that share no cache
#   $DIR, $DIR2     this check's directory through each; the check starts in $DIR
#   scaled Q F      Q in a quick run, F in a full one
#   as UID GID CMD  runs CMD as that user, with no further groups
#   refused CMD     fails unless CMD fails
#   ask WORDS       asks the harness on the host (control.py); prints its answer
#   skip REASON     ends the check as skipped
set -euo pipefail
NAME=$1
trap 'echo "line $LINENO: $BASH_COMMAND failed"' ERR
set -E

DIR=$TOP/$NAME DIR2=$SECOND/$NAME
export DIR DIR2 NAME

scaled() { [ "$SCALE" = quick ] && echo "$1" || echo "$2"; }
as() { local uid=$1 gid=$2; shift 2; setpriv --reuid "$uid" --regid "$gid" --clear-groups -- "$@"; }
refused() {
  if "$@" 2>/tmp/refused; then
    echo "was not refused: $*"
    return 1
  fi
}
skip() { echo "$*"; exit 77; }
ask() {
  local answer
  exec 9<>"/dev/tcp/$SERVER/$CONTROL"
  echo "$*" >&9
  read -r answer <&9
  exec 9>&-
  echo "$answer"
  [ "${answer%% *}" = ok ]
}
same() {  # A B: equal output, else says both
  [ "$1" = "$2" ] || { echo "expected '$2', got '$1'"; return 1; }
}

rm -rf "$DIR"
mkdir "$DIR"
cd "$DIR"
. "$TESTS/checks/$NAME.sh"
cd /
rm -rf "$DIR"
