#!/bin/sh
# Makes this container a node of the Ray cluster that RAY_ADDRESS names, with no CPUs to offer, and runs the command:
# a Ray driver needs a node beside it. Without RAY_ADDRESS the command runs as it is, and starts a Ray of its own.
set -eu
if [ -n "${RAY_ADDRESS:-}" ]; then
    # On two networks, Ray has to be told which of its addresses the head can reach.
    own=$(python -c 'import os, socket
host, port = os.environ["RAY_ADDRESS"].rsplit(":", 1)
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
probe.connect((host, int(port)))
print(probe.getsockname()[0])')
    ray start --address="$RAY_ADDRESS" --node-ip-address="${RAY_NODE_ADDRESS:-$own}" --num-cpus=0 \
        --object-store-memory=134217728 --disable-usage-stats >/dev/null
fi
exec "$@"
