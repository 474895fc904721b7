"""Settings at their bounds and beyond: what cannot be meant is refused, with the allowed values named."""

from __future__ import annotations

import pytest

from engine.errors import ConfigurationError
from engine.settings import Settings, known_keys, load_settings


def _flags() -> set[str]:
    sections = {name: field.annotation for name, field in Settings.model_fields.items() if name != "seed"}
    return {
        f"{name}.{key}"
        for name, section in sections.items()
        for key, field in section.model_fields.items()  # type: ignore[union-attr]
        if field.annotation is bool
    }


@pytest.mark.parametrize("key", sorted(set(known_keys()) - _flags()))
def test_true_is_neither_a_number_nor_a_text(key: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{key} = True is refused"):
        load_settings(None, [f"{key}=true"])


@pytest.mark.parametrize("key", sorted(_flags()))
def test_a_flag_takes_true_and_false(key: str) -> None:
    section, name = key.split(".")
    for word, value in (("true", True), ("false", False)):
        assert getattr(getattr(load_settings(None, [f"{key}={word}"]), section), name) is value


@pytest.mark.parametrize("step", ["0", "1e-6", "0.0009", "0.26"])
def test_a_ladder_of_countless_rungs_is_refused_with_the_nearest_step(step: str) -> None:
    with pytest.raises(ConfigurationError, match=r"pricing.step = .* at least 0.001 and at most 0.25"):
        load_settings(None, [f"pricing.step={step}"])


def test_a_step_beyond_the_largest_change_is_refused_before_anything_is_read() -> None:
    with pytest.raises(
        ConfigurationError, match=r"pricing.step = 0.25 .* pricing.max_change = 0.1; allowed: at most 0.1"
    ):
        load_settings(None, ["pricing.step=0.25"])
    assert load_settings(None, ["pricing.step=0.25", "pricing.max_change=0.25"]).pricing.step == 0.25


@pytest.mark.parametrize("currency", ["x", "nan", "usd", "EURO", "€"])
def test_a_currency_is_an_iso_code(currency: str) -> None:
    with pytest.raises(ConfigurationError, match="allowed: three capital letters, such as EUR"):
        load_settings(None, [f"data.currency={currency}"])
    assert load_settings(None, ["data.currency=CNY"]).data.currency == "CNY"


@pytest.mark.parametrize(("key", "nearest"), [("nokey", ""), ("x", ""), ("pricing.maxchange", "pricing.max_change")])
def test_an_unknown_key_always_gets_the_nearest_one(key: str, nearest: str) -> None:
    with pytest.raises(ConfigurationError, match=f"unknown setting '{key}'; did you mean '.*{nearest}.*'"):
        load_settings(None, [f"{key}=1"])
