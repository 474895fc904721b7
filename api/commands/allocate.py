"""`offerwright allocate`: the coupon allocation alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

from api.commands.options import Finite, as_json, example, print_json, with_settings

if TYPE_CHECKING:
    from engine.settings import Settings

Number = TypeVar("Number", int, float)


ROW_BYTES = 120
"""Memory that a row of the table takes when it is read whole; above `data.memory_limit_gb` it is read in chunks."""


class _Limits(TypedDict):
    budget: float | None
    segment_budgets: dict[str, float]
    min_sent: int | None
    max_sent: int | None
    offer_caps: dict[str, int]
    contact_limit: int | None
    exclusive: list[list[str]]
    explore: float
    parity: str | None


def _rows(path: Path) -> int:
    """Rows of a Parquet table; 0 for a CSV, and for what cannot be read, which is refused where it is read."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return int(parquet.read_metadata(path).num_rows) if path.suffix.lower() != ".csv" else 0
    except (pa.ArrowException, OSError):
        return 0


def _read_segment_budgets(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> dict[str, float]:
    return _read_named(texts, float, "NAME=MONEY, for example families=2500")


def _read_offer_caps(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> dict[str, int]:
    return _read_named(texts, int, "OFFER=CUSTOMERS, for example ten_off=5000")


def _read_groups(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> list[list[str]]:
    groups = [[name.strip() for name in text.split(",")] for text in texts]
    for text, group in zip(texts, groups, strict=True):
        if not all(group):
            raise click.BadParameter(f"{text!r}: write it as OFFER,OFFER, for example five_off,ten_off")
    return groups


def _read_named(texts: tuple[str, ...], kind: Callable[[str], Number], form: str) -> dict[str, Number]:
    found: dict[str, Number] = {}
    for text in texts:
        name, equals, amount = text.rpartition("=")
        try:
            found[name] = kind(amount)
        except ValueError:
            equals = ""
        if not equals or not name or not found[name] >= 0:
            raise click.BadParameter(f"{text!r}: write it as {form}")
    return found


@click.command(
    epilog=example(
        "offerwright allocate values.parquet --budget 50000 --segment-budget families=20000 --out chosen.parquet"
    )
)
@click.argument("values", type=click.Path(path_type=Path, exists=True))
@click.option("--budget", type=Finite(min=0), help="Money that all coupons may cost [default: no limit].")
@click.option(
    "--segment-budget",
    "segment_budgets",
    multiple=True,
    metavar="NAME=MONEY",
    callback=_read_segment_budgets,
    help="Money for one segment; repeatable.",
)
@click.option("--min-sent", type=click.IntRange(min=0), help="Smallest number of customers who are sent a coupon.")
@click.option("--max-sent", type=click.IntRange(min=0), help="Greatest number of customers who are sent a coupon.")
@click.option(
    "--offer-cap",
    "offer_caps",
    multiple=True,
    metavar="OFFER=CUSTOMERS",
    callback=_read_offer_caps,
    help="Most customers who are sent an offer; repeatable.",
)
@click.option(
    "--contact-limit",
    type=click.IntRange(min=0),
    help="Most contacts of a customer in the period, this coupon and the column contacts included.",
)
@click.option(
    "--exclusive",
    multiple=True,
    metavar="OFFER,OFFER…",
    callback=_read_groups,
    help="Offers of which a customer who holds one (column held) is sent none; repeatable.",
)
@click.option(
    "--explore",
    type=Finite(0, 1),
    default=0.0,
    help="Share of customers whose offer is drawn at random and logged with its chance.",
)
@click.option("--parity", metavar="COLUMN", help="Report parity by a protected attribute, which decides nothing.")
@click.option("--seconds", type=Finite(min=0), default=300.0, help="Time limit [default: 300].")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Where the chosen coupons go (CSV or Parquet)."
)
@as_json
@with_settings
def allocate(
    settings: Settings,
    values: Path,
    budget: float | None,
    segment_budgets: dict[str, float],
    min_sent: int | None,
    max_sent: int | None,
    offer_caps: dict[str, int],
    contact_limit: int | None,
    exclusive: list[list[str]],
    explore: float,
    parity: str | None,
    seconds: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """Choose who is sent which coupon, from a table `coupon_values` of any size.

    VALUES holds customer_id, offer_id, profit (incremental, net of the coupon), cost and, if wanted, segment, contacts
    (of the customer in this period) and held (0 or 1). A Parquet table that does not fit into `data.memory_limit_gb` is
    worked through in chunks; every option means the same there.
    """
    limits: _Limits = {
        "budget": settings.coupons.budget if budget is None else budget,
        "segment_budgets": segment_budgets,
        "min_sent": min_sent,
        "max_sent": max_sent,
        "offer_caps": offer_caps,
        "contact_limit": contact_limit,
        "exclusive": exclusive,
        "explore": explore,
        "parity": parity,
    }
    gap, seed = settings.coupons.gap, settings.seed
    if _rows(values) * ROW_BYTES > settings.data.memory_limit_gb * 1e9:
        from optimizers.coupons.chunks import allocate_large_file

        work = settings.home / "cache"
        result = allocate_large_file(values, **limits, gap=gap, seed=seed, seconds=seconds, out=out, work=work)
    else:
        from optimizers.coupons.allocate_file import allocate_file

        result = allocate_file(values, **limits, gap=gap, seed=seed, seconds=seconds, out=out)
    if as_json:
        print_json(result)
    else:
        _print_result(result, out)


def _print_result(result: dict[str, Any], out: Path | None) -> None:
    for name, value in result.items():
        if name not in ("out", "parity") and value not in (None, {}):
            click.echo(f"{name:<21} {_words(value)}")
    if out is not None:
        click.echo(f"{'chosen':<21} {out}")
    if result.get("parity"):
        _print_parity(result["parity"])


def _words(value: Any) -> str:  # noqa: ANN401 - a figure, a word, or figures by name
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(each)}" for name, each in value.items())
    if value is None:
        return "–"
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _print_parity(parity: dict[str, Any]) -> None:
    """A line for each group of the protected attribute, with the ratio to the group that is sent most often."""
    click.echo(f"\n{parity['attribute']:<20} customers     sent   share   ratio (95 % interval)   cost for each")
    for group in parity["groups"]:
        rate, ratio, cost = (group[name] for name in ("send_rate", "send_rate_ratio", "mean_cost"))
        click.echo(
            f"{group['group'] or '(not known)':<20} {group['customers']:>9,} {group['sent']:>8,} {rate['value']:>7.1%} "
            f"{ratio['value']:>7.2f} ({ratio['low']:.2f} … {ratio['high']:.2f})   {cost['value']:>13,.4g}"
        )
