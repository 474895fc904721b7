"""The reference of kinds in docs/rules.md, written from the code; ``python -m docs.rules`` brings it up to date."""

from __future__ import annotations

from pathlib import Path

from optimizers.rules.kinds import KINDS, Kind, Parameter

PAGE = Path(__file__).parent / "rules.md"
BEGIN, END = "<!-- kinds: begin -->\n", "<!-- kinds: end -->\n"


def reference() -> str:
    """Every kind with its parameters, as Markdown."""
    return "\n".join(_kind(kind) for kind in KINDS.values())


def _kind(kind: Kind) -> str:
    rows = "".join(_row(parameter, kind) for parameter in kind.parameters)
    table = f"\n| parameter | value | meaning |\n| --- | --- | --- |\n{rows}" if rows else ""
    return f"### `{kind.name}`\n\n{kind.asks}\nOne unit of violation: {kind.unit}.\n{table}"


def _row(parameter: Parameter, kind: Kind) -> str:
    return f"| `{parameter.name}` | {_value(parameter, kind)} | {parameter.help} |\n"


def _value(parameter: Parameter, kind: Kind) -> str:
    words = {
        "number": f"{parameter.low:g} … {parameter.high:g}",
        "whole": f"whole number, {parameter.low:g} … {parameter.high:g}",
        "numbers": f"list of numbers, {parameter.low:g} … {parameter.high:g}",
        "choice": " or ".join(parameter.choices),
    }.get(parameter.type, parameter.type)
    if parameter.required:
        return f"{words}; required"
    if parameter.default is None:
        return f"{words}; none" + (" (give at least one)" if parameter.name in kind.at_least_one else "")
    default = ", ".join(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
    return f"{words}; {default}"


def page(text: str) -> str:
    """The page with its reference brought up to date."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "\n" + reference() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
