"""Values of our own classes are sent to attached processes by their names."""

from __future__ import annotations

import pytest

from gossipreg.attach import values


@pytest.mark.parametrize("name", sorted(values._MODULES))
def test_each_class_that_may_be_sent_is_where_its_name_says(name: str) -> None:
    kind = values._class(name)
    assert (kind.__name__, kind.__module__) == (name, values._MODULES[name])
