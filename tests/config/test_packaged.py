import pytest

from alpaca_lora import errors
from alpaca_lora.config.packaged import PRESETS, PROFILES


def test_there_are_profiles_for_a_laptop_and_for_what_was_published():
    assert PROFILES.names() == ("alpaca-lora-2023", "alpaca-qlora-24gb", "laptop", "stanford-2023")


@pytest.mark.parametrize(
    ("packaged", "name", "said"),
    [
        (
            PROFILES,
            "stanford",
            "unknown profile 'stanford'; did you mean 'stanford-2023'? profiles: alpaca-lora-",
        ),
        (PRESETS, "stanford", "unknown preset 'stanford'; did you mean 'stanford-7b'? presets: alpaca-lora-"),
        (PRESETS, "zzz", "unknown preset 'zzz'; presets: alpaca-lora-"),
    ],
)
def test_a_name_that_no_file_has_gets_the_closest_one(packaged, name, said):
    with pytest.raises(errors.ConfigError) as caught:
        packaged.document(name)
    assert str(caught.value).startswith(said)
