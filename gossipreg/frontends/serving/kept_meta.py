"""Kept meta: what compatibility APIs keep in the meta of an instance, since no field of it holds what was posted.

The native API shows it. To clients of another API, to Prometheus and in DNS it would be noise.
"""

from __future__ import annotations

from typing import Final

from gossipreg.model import Instance

#: The keys: one for each API that keeps something.
CONSUL: Final = "consul.service"
EUREKA: Final = "eureka.instance"

#: The key of what both have registered of one instance.
JOINT: Final = "joint.registration"

_KEPT: Final = frozenset({CONSUL, EUREKA, JOINT})


def meta_as_given(instance: Instance) -> dict[str, str]:
    """The meta of an instance without what compatibility APIs keep there."""
    return {key: value for key, value in instance.meta.items() if key not in _KEPT}
