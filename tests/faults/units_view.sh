#!/bin/sh
# Shows a machine its own sessions to the units as /dev/duet: units_view.sh WHO COMMAND...
# In a mount namespace of its own (`ip netns exec` makes one).
set -e
if [ -d "/run/duet-$1" ]; then mount --bind "/run/duet-$1" /dev/duet; fi
shift
exec "$@"
