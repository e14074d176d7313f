#!/bin/sh
# Balances connections over those roundels that are ready, in the kernel of this machine.
#
#   balance.sh ADDRESS:PORT ROUNDEL:PORT...
#
# Asks each of them for /ready at port 9000 once a second, and where that has changed, replaces the one
# rule, at once and as a whole. What is connected stays where it is: the kernel remembers each
# connection (conntrack). Where none is ready all get connections: their answers say best what is wrong.
set -eu

inside=$1
shift

ready_ones() {
    for roundel; do
        if curl -fsS -m 1 -o /dev/null "http://${roundel%:*}:9000/ready" 2>/dev/null; then
            echo "$roundel"
        fi
    done
}

# The rule for the roundels that are named: each is a number, and they take turns.
rule_for() {
    count=0
    places=
    for roundel; do
        places="$places${places:+, }$count : ${roundel%:*} . ${roundel##*:}"
        count=$((count + 1))
    done
    cat <<RULE
table ip roundels {
    chain clients {
        type nat hook prerouting priority dstnat;
    }
}
flush chain ip roundels clients
table ip roundels {
    chain clients {
        ip daddr ${inside%:*} tcp dport ${inside##*:} dnat ip to numgen inc mod $count map { $places }
    }
}
RULE
}

used=none
while :; do
    ready=$(ready_ones "$@")
    if [ "${ready:-$*}" != "$used" ]; then
        used=${ready:-$*}
        # shellcheck disable=SC2086
        rule_for $used | nft -f -
        echo "balancing over" $used
    fi
    sleep 1
done
