import pytest

from alpaca_lora import errors
from alpaca_lora.replication.profile_files import available_profiles, profile_document


def test_there_are_profiles_for_a_laptop_and_for_what_was_published():
    assert available_profiles() == ("alpaca-lora-2023", "alpaca-qlora-24gb", "laptop", "stanford-2023")


def test_a_name_that_no_profile_has_gets_the_closest_one():
    with pytest.raises(errors.ConfigError, match="unknown profile 'stanford'; did you mean 'stanford-2023'"):
        profile_document("stanford")
