"""The differences between profiles."""

from __future__ import annotations

import attrs

from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.reproduce.profiles import (
    BUDDY,
    COMPARED,
    LHA_PROBE,
    LHA_SUSPICION,
    LIFEGUARD,
    MEMBERLIST,
    OURS,
    SWIM,
)


def differences(one: EngineSettings, other: EngineSettings) -> set[str]:
    return {key for key, value in attrs.asdict(one).items() if value != attrs.asdict(other)[key]}


def test_each_part_of_lifeguard_is_swim_with_that_part() -> None:
    assert differences(SWIM.settings, LHA_PROBE.settings) == {"local_health_max"}
    assert differences(SWIM.settings, LHA_SUSPICION.settings) == {"suspicion_beta", "suspicion_confirmations"}
    assert differences(SWIM.settings, BUDDY.settings) == {"buddy"}


def test_lifeguard_is_all_its_parts() -> None:
    parts = [differences(SWIM.settings, part.settings) for part in (LHA_PROBE, LHA_SUSPICION, BUDDY)]
    assert differences(SWIM.settings, LIFEGUARD.settings) == set.union(*parts)


def test_mechanisms_beyond_the_papers_are_off_in_their_profiles() -> None:
    for profile in (*COMPARED, MEMBERLIST):
        settings = profile.settings
        assert not any((settings.failure_witness, settings.late_acks, settings.tell_accused))
        assert settings.lag_tolerance > 1e6
        assert profile.ticks


def test_our_profile_has_the_default_settings() -> None:
    assert OURS.settings == EngineSettings()


def test_profile_names_are_distinct() -> None:
    profiles = (*COMPARED, MEMBERLIST, OURS)
    assert len({profile.name for profile in profiles}) == len(profiles)
