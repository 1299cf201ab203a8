"""What may still be called of a service when most of it is lost at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.model import Health, Instance, Status
from gossipreg.policy import Maintenance, Rule, Split, WeightOverride
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.panic import AT_ONCE_SECONDS, Lost
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.service_view import ServiceView
from gossipreg.protocol.registry.view import View
from tests.protocol.making import BORN, instance, law, update


@attrs.define
class Scene:
    """A view over owners of one instance of ``orders`` each; the instance's id is its owner's name."""

    view: View = attrs.field(factory=lambda: View(BORN))
    registry: Registry = attrs.field(factory=lambda: Registry("me"))
    owners: dict[str, MemberUpdate] = attrs.field(factory=dict)
    failed_at: dict[str, float] = attrs.field(factory=dict)
    deprioritized: dict[str, None] = attrs.field(factory=dict)
    rules: Mapping[str, Rule] = attrs.field(factory=dict)

    def offer(self, owner: str, **fields: Any) -> None:
        told = Registry(owner)
        record, _ = told.offer(instance(owner, **fields), BORN)
        self.registry.apply(record)
        self.owners[owner] = update(owner)

    def fail(self, *owners: str, at: float = 0.0, status: Status = Status.FAILED) -> None:
        for owner in owners:
            self.owners[owner] = update(owner, status)
            self.failed_at[owner] = at

    def seen(self) -> ServiceView:
        self.registry.touch_service("orders")
        self.view.refresh(
            self.registry.take_dirty(),
            self.registry,
            lambda owner, _: self.owners.get(owner),
            self.deprioritized,
            lambda _: self.rules,
            since=self.failed_at.get,
        )
        return self.view.service("orders")

    def lost(self) -> Lost:
        lost = self.seen().lost
        assert lost is not None
        return lost


def scene(*owners: str) -> Scene:
    made = Scene()
    for owner in owners:
        made.offer(owner)
    return made


def ids(instances: tuple[Instance, ...], *, stale: bool | None = None) -> str:
    return "".join(each.id for each in instances if stale is None or each.stale is stale)


def test_while_all_owners_are_present_nothing_is_lost() -> None:
    assert scene("a", "b").seen().lost is None


def test_what_failed_at_once_is_called_again_as_it_was_and_says_that_it_is_stale() -> None:
    made = scene("a", "b")
    made.offer("c", health=Health.WARNING, reason="slow", weight=3)
    made.fail("b", "c")
    lost = made.lost()
    assert lost.share == 1 / 3
    assert (ids(lost.instances), ids(lost.instances, stale=True)) == ("abc", "bc")
    assert lost.instances[2] == instance("c", owner="c", health=Health.WARNING, reason="slow", weight=3, stale=True)
    assert ids(made.seen().healthy) == "a"


def test_all_may_be_lost() -> None:
    made = scene("a", "b")
    made.fail("a", "b")
    assert (made.lost().share, ids(made.lost().instances)) == (0.0, "ab")


def test_a_positive_word_is_always_obeyed() -> None:
    made = scene("a", "b")
    made.offer("critical", health=Health.CRITICAL, reason="http: 500")
    made.offer("out", health=Health.MAINTENANCE, reason="upgrade")
    made.offer("drained", weight=0)
    made.offer("ruled")
    made.offer("left")
    made.rules = {"maintenance:orders:ruled": Maintenance("orders", "ruled", "disk")}
    made.fail("b", "critical", "out", "drained", "ruled")
    made.fail("left", status=Status.LEFT)
    assert (ids(made.lost().instances), made.lost().share) == ("ab", 0.5)


def test_owners_that_went_one_by_one_were_not_lost_at_once() -> None:
    made = scene("a", "b", "c", "d", "e")
    made.fail("b", at=0)
    made.fail("c", at=1000)
    made.fail("d", at=1000 + AT_ONCE_SECONDS)
    made.fail("e", at=1001 + 2 * AT_ONCE_SECONDS)
    assert (ids(made.lost().instances), made.lost().share) == ("acd", 1 / 3)


def test_of_two_losses_alike_the_later_counts() -> None:
    made = scene("a", "b", "c")
    made.fail("b", at=5000)
    made.fail("c", at=0)
    assert ids(made.lost().instances) == "ab"


def test_the_doubted_are_called_too_and_are_not_stale() -> None:
    made = scene("a", "b", "c")
    made.deprioritized = {"b": None, "c": None}
    lost = made.lost()
    assert (ids(lost.instances), lost.share, ids(lost.instances, stale=True)) == ("abc", 1 / 3, "")


def test_a_split_holds_in_a_panic_too() -> None:
    made = Scene(rules={"split:orders": Split("orders", {"v1": 90, "v2": 10})})
    for owner, tag in (("a", "v1"), ("b", "v1"), ("c", "v2")):
        made.offer(owner, tags=[tag])
    made.fail("b", "c")
    assert [each.weight for each in made.lost().instances] == [9, 9, 2]


def test_the_lost_have_the_weight_that_was_set_for_them() -> None:
    made = scene("a", "b")
    made.rules = {"weight:orders:b": WeightOverride("orders", "b", 5)}
    made.fail("b")
    assert [(each.weight, each.health) for each in made.lost().instances] == [(1, Health.PASSING), (5, Health.PASSING)]


def test_a_lookup_of_all_shows_instances_of_deprioritized_owners() -> None:
    made = scene("a", "b")
    made.offer("c", health=Health.WARNING, reason="slow")
    made.deprioritized = {"b": None, "c": None}
    seen = made.seen()
    assert [each.reason for each in seen.instances] == ["", "its owner b is suspected", "slow"]
    assert ids(seen.healthy) == "a"


def test_an_instance_that_is_called_for_lack_of_a_better_one_does_not_change_by_that() -> None:
    made = scene("a")
    before = made.seen()
    made.deprioritized = {"a": None}
    assert made.seen().healthy == before.healthy
    assert made.seen().instances[0].reason == "its owner a is suspected"


@law
@given(st.permutations("abcdef"), st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 200)))
def test_the_answer_hangs_on_what_is_known_and_not_on_the_order_in_which_it_came(
    order: list[str], failed: dict[str, int]
) -> None:
    seen = []
    for owners in (order, sorted(order)):
        made = scene(*owners)
        for owner in owners:
            if owner in failed:
                made.fail(owner, at=failed[owner])
        seen.append(made.seen().lost)
    assert seen[0] == seen[1]


# What was known before


def test_what_was_known_before_is_answered_until_anything_else_is_known() -> None:
    made = Scene()
    before = instance("x", owner="b", stale=True)
    index = made.view.service("orders").index
    made.view.recall({"orders": (before,)})
    assert made.view.service("orders").healthy == (before,)
    assert made.view.service("orders").shares == (1,)
    assert made.view.service("orders").index > index
    made.offer("a")
    assert ids(made.seen().healthy) == "a"
    made.owners["a"] = update("a", Status.LEFT)
    assert made.seen().healthy == (before,)


def test_what_was_known_before_and_is_forgotten_is_gone() -> None:
    made = Scene()
    made.view.recall({"orders": (instance("x", owner="b", stale=True),)})
    index = made.view.service("orders").index
    assert made.view.forget_recalled() == ["orders"]
    assert made.seen().instances == ()
    assert made.view.service("orders").index > index
