#!/bin/bash
# Process 1 of a user-mode Linux guest that runs hostile/run.sh inside, with a limit of open files
# that the host does not give.  OUT and the words in ARGUMENTS (commas between) come from the kernel
# command line.
. "$TESTS/../guest/begin.sh"
export DUET_BIN STRANGERS_WORK=/tmp
ip addr add 10.9.9.9/32 dev lo # getaddrinfo of nfs-ganesha wants more than loopback
"$TESTS/hostile/run.sh" ${ARGUMENTS//,/ } >/mnt/out/strangers.log 2>&1
finish $?
