#!/bin/sh
# Announces the address of the service while the roundel of this host is ready.
#
#   announce.sh [birdc's options, such as -s SOCKET]
set -u

said=none
while :; do
    if curl -fsS -m 1 -o /dev/null http://127.0.0.1:9000/ready 2>/dev/null; then
        wanted=enable
    else
        wanted=disable
    fi
    if [ "$wanted" != "$said" ] && birdc "$@" "$wanted" service >/dev/null; then
        said=$wanted
        echo "service: $wanted"
    fi
    sleep 1
done
