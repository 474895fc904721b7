"""Options that every command has, and what they turn into."""

from __future__ import annotations

import functools
import getpass
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from engine.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


class Finite(click.FloatRange):
    """A number within bounds that is neither infinite nor none (click lets both through)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - as click hands it in
        """Read it, or refuse it by name."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number


def with_settings(command: Command) -> Command:
    """Give a command --config, --set and --debug, and call it with `settings` and with logging set up."""

    @click.option("--config", type=click.Path(path_type=Path), help="Settings file [default: ./config.yaml].")
    @click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one setting; repeatable.")
    @click.option("--debug", is_flag=True, help="On an error, show the traceback too.")
    @functools.wraps(command)
    def wrapped(config: Path | None, overrides: tuple[str, ...], debug: bool, **rest: object) -> object:
        from engine.logs import configure_logs
        from engine.settings import load_settings

        settings = load_settings(config, overrides)
        configure_logs(settings.log.model_copy(update={"level": "debug"}) if debug else settings.log)
        return command(settings=settings, **rest)

    return wrapped  # type: ignore[return-value]


def with_source(settings: Settings, *, data: str | None = None, seed: int | None = None) -> Settings:
    """Put --data and --seed over what the settings say."""
    changes: dict[str, object] = {}
    if data is not None:
        changes["data"] = settings.data.model_copy(update={"source": data})
    if seed is not None:
        changes["seed"] = seed
    return settings.model_copy(update=changes)


def example(*lines: str) -> str:
    """Write the example that ends the help of a command."""
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)])


as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def alpha_option(text: str = "1 − confidence.", *, default: float | None = 0.05) -> Callable[[Command], Command]:
    """Option --alpha, between 0 and 1; without a default it may be left out."""
    between = click.FloatRange(0, 1, min_open=True, max_open=True)
    return click.option("--alpha", type=between, default=default, show_default=default is not None, help=text)


def metric_options(command: Command) -> Command:
    """Options that say what the deciding metric is, beside its column: --kind, --denominator and --cost."""
    for option in (
        click.option("--cost", help="Column of the coupons' cost, for a profit: metric less cost."),
        click.option("--denominator", help="Column below the metric, for a ratio."),
        click.option(
            "--kind",
            type=click.Choice(["mean", "proportion", "ratio", "profit"]),
            default="mean",
            show_default=True,
            help="What the metric is.",
        ),
    ):
        command = option(command)
    return command


def print_json(value: object) -> None:
    """Print any record as JSON on standard output."""
    from engine.files import to_json

    click.echo(to_json(value, indent=2))


def current_time() -> datetime:
    """Tell the time at the edge of the program; everything inside is handed it."""
    return datetime.now(UTC)


def operator() -> str:
    """Name who typed the command, for the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def open_settled_store(settings: Settings) -> Any:  # noqa: ANN401
    """Open the store, with its schema created where it is a fresh SQLite file."""
    from engine.store import open_store

    return open_store(settings.store_url, upgrade=True)
