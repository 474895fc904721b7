"""Settings: read from config.yaml, overridden with ``--set key.sub=value``, checked once, frozen ever after.

Every key is documented in config.yaml itself; a test holds that file and this module against each other.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from engine.errors import ConfigurationError

CONFIG_VARIABLE = "OFFERWRIGHT_CONFIG"


def _none_from_word(value: object) -> object:
    """Read the words ``none``, ``null`` and the empty string as "no limit"."""
    return None if isinstance(value, str) and value.strip().lower() in {"", "none", "null"} else value


def _as_tuple(value: object) -> object:
    """Read one number, or text such as ``.99,.49``, as a list of them."""
    value = _none_from_word(value)
    if isinstance(value, str):
        return tuple(part.strip() for part in value.strip("[]() ").split(",") if part.strip())
    if isinstance(value, int | float):
        return (value,)
    return value


def _plain_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Optional_ = BeforeValidator(_none_from_word)
Share = Annotated[float, Field(ge=0, le=1)]
Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    """Common behaviour of all sections: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, field: ValidationInfo) -> object:
        """Python counts true as 1: a budget of `true` would be one unit of money."""
        if isinstance(value, bool) and cls.model_fields[str(field.field_name)].annotation is not bool:
            raise ValueError("true and false are no numbers")
        return value


class DataSettings(Section):
    """Where the data come from and where what is derived from them is kept."""

    source: str = "complete_journey"
    home: str = ".offerwright"
    memory_limit_gb: Annotated[float, Field(gt=0.2, le=1024)] = 1.5
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    max_quarantined_share: Share = 0.05
    default_margin: Annotated[float, Field(gt=0, lt=1)] | Annotated[None, Optional_] = 0.28
    margin_by_department: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$", description="three capital letters, such as EUR")] = "USD"


class StoreSettings(Section):
    """The operational database."""

    url: str = "sqlite:///{home}/offerwright.db"


class DemandSettings(Section):
    """The demand models."""

    horizon_weeks: Annotated[int, Field(ge=1, le=52)] = 8
    top_products: Annotated[int, Field(ge=1, le=200_000)] = 1000
    min_weeks_sold: Annotated[int, Field(ge=1, le=520)] = 20
    trees: Annotated[int, Field(ge=10, le=5000)] = 200
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    draws: Annotated[int, Field(ge=50, le=5000)] = 400
    max_elasticity_se: Annotated[float, Field(gt=0, le=10)] = 1.0
    backtest: bool = True


class PricingSettings(Section):
    """The rules of the price plan."""

    max_change: Annotated[float, Field(gt=0, le=0.5)] = 0.10
    step: Annotated[float, Field(ge=0.001, le=0.25)] = 0.025
    index_band: Annotated[float, Field(ge=0, le=0.5)] | Annotated[None, Optional_] = 0.002
    min_margin: Annotated[float, Field(ge=-1, lt=1)] | Annotated[None, Optional_] = 0.0
    max_changed: Annotated[int, Field(ge=0)] | Annotated[None, Optional_] = None
    endings: Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], ...] | None, BeforeValidator(_as_tuple)] = None
    rules: Annotated[str | tuple[dict[str, Any], ...] | None, Optional_] = None
    risk: Literal["mean", "lower", "tail", "worst"] = "mean"
    gap: Annotated[float, Field(gt=0, le=0.1)] = 1e-4
    seconds: Annotated[float, Field(ge=0, le=86_400)] = 60.0


class CouponSettings(Section):
    """The coupon plan."""

    budget: Money | Annotated[None, Optional_] = None
    offers: Annotated[tuple[Annotated[str, BeforeValidator(_plain_text)], ...] | None, BeforeValidator(_as_tuple)] = (
        None
    )
    min_profit: Money = 0.0
    min_sent: Annotated[int, Field(ge=0)] | Annotated[None, Optional_] = None
    max_sent: Annotated[int, Field(ge=0)] | Annotated[None, Optional_] = None
    offer_caps: dict[Annotated[str, BeforeValidator(_plain_text)], Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict
    )
    contact_limit: Annotated[int, Field(ge=0)] | Annotated[None, Optional_] = None
    contact_waves: Annotated[int, Field(ge=1, le=520)] = 4
    exclusive: tuple[Annotated[tuple[Annotated[str, BeforeValidator(_plain_text)], ...], Field(min_length=2)], ...] = ()
    explore: Share = 0.0
    protected: Annotated[tuple[str, ...] | None, BeforeValidator(_as_tuple)] = None
    risk: Literal["mean", "lower", "tail", "worst"] = "mean"
    method: Literal["auto", "exact", "dual"] = "auto"
    gap: Annotated[float, Field(gt=0, le=0.1)] = 1e-4
    seconds: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    send_unless_credible: bool = False


class ServerSettings(Section):
    """Web pages and JSON API."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    session_hours: Annotated[float, Field(gt=0, le=720)] = 12.0
    behind_proxy: bool = False
    language: Literal["en", "zh"] = "en"


class JobSettings(Section):
    """Scheduled jobs."""

    enabled: bool = True
    reoptimise: Annotated[str | None, Optional_] = "0 5 * * mon"
    lease_seconds: Annotated[int, Field(ge=5, le=86_400)] = 900


class LogSettings(Section):
    """What is logged and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "human", "json"] = "auto"


class Settings(Section):
    """All settings of one process."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 1
    data: DataSettings = DataSettings()
    store: StoreSettings = StoreSettings()
    demand: DemandSettings = DemandSettings()
    pricing: PricingSettings = PricingSettings()
    coupons: CouponSettings = CouponSettings()
    server: ServerSettings = ServerSettings()
    jobs: JobSettings = JobSettings()
    log: LogSettings = LogSettings()

    @property
    def home(self) -> Path:
        """Folder of the store, the caches and the data that `make data` fetched."""
        return Path(self.data.home).expanduser()

    @property
    def store_url(self) -> str:
        """URL of the operational database with ``{home}`` filled in."""
        return self.store.url.replace("{home}", str(self.home))


def known_keys() -> tuple[str, ...]:
    """All settable keys in dotted form, such as ``pricing.max_change``."""
    keys: list[str] = []
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            keys.extend(f"{name}.{sub}" for sub in section.model_fields)
        else:
            keys.append(name)
    return tuple(keys)


def _nearest(key: str, candidates: Iterable[str]) -> str:
    """The most alike of all candidates, however far: a word that nobody knows is answered with one that is known."""
    return f"; did you mean '{difflib.get_close_matches(key, list(candidates), n=1, cutoff=0.0)[0]}'?"


def _allowed(key: str) -> str:
    """Say in words what the key accepts, from the same declaration that checks it."""
    section, _, sub = key.partition(".")
    schema = Settings.model_json_schema()
    part = schema["properties"].get(section, {})
    if sub:
        name = str(part.get("$ref", "")).rsplit("/", 1)[-1]
        part = schema["$defs"].get(name, {}).get("properties", {}).get(sub, {})
    choices = part.get("anyOf", [part])
    return " or ".join(filter(None, (_one_allowed(choice) for choice in choices)))


def _one_allowed(choice: Mapping[str, Any]) -> str:
    if "enum" in choice:
        return "one of " + ", ".join(str(v) for v in choice["enum"])
    if choice.get("type") == "null":
        return "none"
    words = {"number": "a number", "integer": "a whole number", "string": "text", "boolean": "true or false"}
    text = words.get(str(choice.get("type")), "a list" if choice.get("type") == "array" else "")
    text = str(choice.get("description", text))
    bounds = [
        f"{word} {choice[name]:g}"
        for name, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "below"),
        )
        if name in choice
    ]
    return " ".join([text, *[" and ".join(bounds)]]).strip()


def _explain(error: ValidationError, origin: str) -> str:
    lines: list[str] = []
    seen: set[str] = set()
    for fault in error.errors():
        location = [str(part) for part in fault["loc"]]
        key = ".".join(location[:2]) if location[0] in Settings.model_fields and len(location) > 1 else location[0]
        if key in seen:
            continue
        seen.add(key)
        if fault["type"] == "extra_forbidden":
            lines.append(f"unknown setting '{key}'{_nearest(key, known_keys())}")
        else:
            allowed = _allowed(key)
            says = f"allowed: {allowed}" if allowed else str(fault["msg"])
            lines.append(f"{key} = {fault['input']!r} is refused; {says}")
    return f"{origin}: " + "\n  ".join(lines)


def parse_override(text: str) -> tuple[list[str], object]:
    """Split ``key.sub=value`` and read the value as YAML does.

    Raises:
        ConfigurationError: there is no ``=``, or the value is not readable.
    """
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise ConfigurationError(f"--set {text!r}: write it as key.sub=value, for example pricing.max_change=0.05")
    try:
        value = yaml.safe_load(raw) if raw.strip() else None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"--set {text!r}: the value cannot be read ({error})") from error
    return key.strip().split("."), value


def load_settings(path: Path | None = None, overrides: Iterable[str] = ()) -> Settings:
    """Read settings.

    Args:
        path: a YAML file; None looks at ``$OFFERWRIGHT_CONFIG``, then at ``./config.yaml``, then takes the defaults.
        overrides: ``key.sub=value`` texts, later ones win.

    Raises:
        ConfigurationError: unknown key (the nearest valid one is named), value out of range, unreadable file.
    """
    tree, origin = _read_tree(path)
    for text in overrides:
        keys, value = parse_override(text)
        _put(tree, keys, value, text)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, origin)) from error
    _check_ladder(settings.pricing, origin)
    return settings


def _check_ladder(pricing: PricingSettings, origin: str) -> None:
    if pricing.step > pricing.max_change:
        raise ConfigurationError(
            f"{origin}: pricing.step = {pricing.step:g} is refused, since no price of such a ladder lies within "
            f"pricing.max_change = {pricing.max_change:g}; allowed: at most {pricing.max_change:g}"
        )


def _read_tree(path: Path | None) -> tuple[dict[str, Any], str]:
    if path is None:
        named = os.environ.get(CONFIG_VARIABLE)
        path = Path(named) if named else Path("config.yaml")
        if not named and not path.exists():
            return {}, "settings"
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path}: no such configuration file; give one with --config FILE") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: cannot be read as YAML ({error})") from error
    if tree is None:
        return {}, str(path)
    if not isinstance(tree, dict):
        raise ConfigurationError(f"{path}: expected sections such as 'pricing:', found {type(tree).__name__}")
    return {str(key): value for key, value in tree.items() if value is not None}, str(path)


def _put(tree: dict[str, Any], keys: list[str], value: object, text: str) -> None:
    dotted = ".".join(keys)
    is_map = len(keys) == 3 and ".".join(keys[:2]) in known_keys()
    if dotted not in known_keys() and not is_map:
        raise ConfigurationError(f"--set {text!r}: unknown setting '{dotted}'{_nearest(dotted, known_keys())}")
    for key in keys[:-1]:
        child = tree.get(key)
        tree[key] = dict(child) if isinstance(child, Mapping) else {}
        tree = tree[key]
    tree[keys[-1]] = value
