"""A shop: its tables in the contract's form, as Parquet files, with what was found wrong on the way in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.proposal import Reason, Sentence

OF_A_TABLE = "{place}: {problem}; {remedy}"
OF_ROWS = "{place}: {problem} (value {value}; rows: {count:,}); {remedy}"
OF_ROWS_WITH_CONSEQUENCE = "{place}: {problem} (value {value}; rows: {count:,}); {remedy}; {consequence}"


@dataclass(frozen=True)
class Fault:
    """One thing wrong with the input, or one kind of thing with its count."""

    table: str
    file: str
    column: str
    row: int | None
    """Row number in the file, the first data row being 1; None for a fault of the whole column or file."""
    value: str
    problem: str
    remedy: str
    refuses: bool
    """True: the data set cannot be used. False: the rows were counted and set aside, or only a remark is due."""
    count: int = 1
    """How many rows have this fault; `row` and `value` are those of the first."""
    template: Reason | None = None
    """The problem as a template, where it holds figures."""

    def sentence(self) -> str:
        """The fault in one line: where, what, and what to do."""
        place = self.file + (f", column {self.column}" if self.column else "")
        place += f", row {self.row}" if self.row is not None else ""
        shown = f" (value {self.value!r})" if self.value else ""
        more = f" [{self.count:,} rows]" if self.count > 1 else ""
        return f"{place}: {self.problem}{shown}{more}; {self.remedy}"

    def reason(self) -> Reason:
        """The fault as a template whose values hold problem and remedy, so that each can be read in any language."""
        row = f"#{self.row}" if self.row is not None else ""
        values: dict[str, object] = {
            "place": " · ".join(part for part in (self.file, self.column, row) if part),
            "problem": self.template or self.problem,
            "remedy": self.remedy,
        }
        remedy, _, consequence = self.remedy.rpartition("; ")
        if self.row is None:
            return Reason(OF_A_TABLE, values)
        values |= {"value": repr(self.value) if self.value else "–", "count": self.count}
        if not remedy:
            return Reason(OF_ROWS, values)
        return Reason(OF_ROWS_WITH_CONSEQUENCE, values | {"remedy": remedy, "consequence": consequence})


@dataclass(frozen=True)
class Shop:
    """A data set that passed the contract.

    `tables` maps a table's name in the contract to a Parquet file (or a folder of them) whose columns have the
    contract's names and types: identifiers are text, `week` is a running integer (weeks start on Monday; where the
    source gave dates, `week_start_of(week)` gives them back), timestamps are naive, money is float64.
    """

    name: str
    tables: Mapping[str, Path]
    fingerprint: str
    """SHA-256 over the content of every table."""
    faults: tuple[Fault, ...] = ()
    notes: tuple[Sentence, ...] = ()
    """Sentences that every proposal made from these data must print, such as the margin assumption."""
    first_monday: str | None = None
    """ISO date of the Monday on which the week numbered `first_week` begins; None where the calendar is unknown."""
    first_week: int = 0
    prices_reconstructed: bool = False
    """True where prices were rebuilt from purchases rather than logged."""
    costs_assumed: bool = False
    """True where any unit_cost came from an assumed margin."""
    quarantine: Path | None = None
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns outside the contract, kept by table."""

    def has(self, table: str) -> bool:
        """Whether the shop came with this table."""
        return table in self.tables
