"""`ray start` for one more node on the loopback.

Ray has a switch that keeps it on the loopback (it is there for macOS, whose firewall would ask), and the command
refuses a second node where it is set. The node itself works: here the command is shown a machine without the switch
whose one address is the loopback, while all that it starts inherits the switch as it is.
"""

from __future__ import annotations

from ray._private import ray_constants, services
from ray.scripts.scripts import main

LOOPBACK = "127.0.0.1"


def address_of_this_node(address: str | None = None) -> str:
    """Where other nodes find this one; Ray would look for the address at which other machines do."""
    return LOOPBACK


if __name__ == "__main__":
    ray_constants.ENABLE_RAY_CLUSTER = True
    services.get_node_ip_address = address_of_this_node
    main()
