"""How many cases hypothesis draws."""

import os

from hypothesis import settings

MANY = int(os.environ.get("GRADSCOPE_EXAMPLES", "1"))
"""Times as many as usual: `make thorough` sets it. Every run draws new cases."""


def examples(count: int) -> settings:
    """So many, times `MANY`; none has a time limit, since other work may run beside the tests."""
    return settings(max_examples=count * MANY, deadline=None)
