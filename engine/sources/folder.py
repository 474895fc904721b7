"""A folder of Parquet or CSV files as a source: TABLE.parquet, TABLE.csv, TABLE.csv.gz, or TABLE/ with part files."""

# ruff: noqa: S608 - names come from the contract, the rest goes through frames.quoted and frames.column_sql

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from engine.contract import TABLES
from engine.errors import DataError
from engine.frames import DuckDbBackend, quoted
from engine.landing.raw import Part, RawShop, RawTable, csv_part, parquet_part
from engine.proposal import Reason, Sentence
from engine.shop import Fault
from engine.sources.encoding import Encoding, detect, open_binary, to_utf8

SUFFIXES = (".parquet", ".csv", ".csv.gz")
DELIMITERS = (",", ";", "\t", "|")


def find_files(folder: Path) -> dict[str, list[Path]]:
    """The files of each table of the contract, sorted by name.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        kind = "is a file, not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {kind}; name a folder of Parquet or CSV files, a database URL, or a data set")
    found: dict[str, list[Path]] = {}
    for name in TABLES:
        files = [folder / (name + suffix) for suffix in SUFFIXES if (folder / (name + suffix)).is_file()]
        if (folder / name).is_dir():
            files += sorted(path for path in (folder / name).rglob("*") if _is_part(path))
        if files:
            found[name] = files
    return found


def _is_part(path: Path) -> bool:
    return path.is_file() and path.name.endswith(SUFFIXES) and not path.name.startswith((".", "_"))


def ignored_files(folder: Path) -> tuple[str, ...]:
    """Data files of the folder that are no table of the contract."""
    known = {path for files in find_files(folder).values() for path in files}
    return tuple(sorted(path.name for path in folder.iterdir() if path.name.endswith(SUFFIXES) and path not in known))


@dataclass
class _Opened:
    """What was found while opening files."""

    parts: list[Part] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[Sentence] = field(default_factory=list)


def read_folder(folder: Path, work: Path, backend: DuckDbBackend) -> RawShop:
    """Open every table of the folder.

    Args:
        folder: the data set.
        work: files that had to be converted to UTF-8 go here.
        backend: DuckDB.

    Raises:
        DataError: there is no such folder.
    """
    tables: list[RawTable] = []
    faults: list[Fault] = []
    notes: list[Sentence] = []
    for name, files in find_files(folder).items():
        opened = _Opened()
        if _ambiguous(name, files, folder):
            listed = ", ".join(str(path.relative_to(folder)) for path in files[:4])
            problem, remedy = f"the table is there more than once ({listed})", "keep one of them"
            faults.append(Fault(name, listed, "", None, "", problem, remedy, refuses=True))
            files = files[:1]  # noqa: PLW2901 - more than one would only repeat every row
        for number, path in enumerate(files):
            _open(path, str(path.relative_to(folder)), name, work / f"{name}-{number}.csv", backend, opened)
        faults += opened.faults
        notes += opened.notes
        if opened.parts:
            tables.append(RawTable(name, tuple(opened.parts)))
    name = folder.resolve().name
    return RawShop(name, tuple(tables), tuple(faults), tuple(notes), ignored=ignored_files(folder))


def _ambiguous(name: str, files: list[Path], folder: Path) -> bool:
    single = [path for path in files if path.parent == folder]
    return len(single) > 1 or (bool(single) and len(files) > len(single))


def _open(path: Path, label: str, table: str, converted: Path, backend: DuckDbBackend, opened: _Opened) -> None:
    try:
        if path.suffix == ".parquet":
            opened.parts.append(_open_parquet(path, label, backend))
        else:
            _open_csv(path, label, table, converted, opened)
    except (OSError, EOFError, csv.Error, duckdb.Error) as error:
        first = str(error).strip().splitlines()[0].replace(str(path), path.name)
        problem = f"the file cannot be read ({first})"
        remedy = "write it again; it was probably cut off or damaged on the way"
        opened.faults.append(Fault(table, label, "", None, "", problem, remedy, refuses=True))


def _open_parquet(path: Path, label: str, backend: DuckDbBackend) -> Part:
    described = backend.connection.execute(f"DESCRIBE SELECT * FROM read_parquet({quoted(str(path))})").fetchall()
    columns = {str(name): str(kind) for name, kind, *_ in described}
    instants = [name for name, kind in columns.items() if kind == "TIMESTAMP WITH TIME ZONE"]
    return parquet_part(label, str(path), columns, _zones(path, instants) if instants else {})


def _zones(path: Path, instants: list[str]) -> dict[str, str]:
    """Time zones of these columns where the file names one; DuckDB knows the instants only."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    zones = {name: str(schema.field(name).type.tz) for name in instants}
    return {name: zone for name, zone in zones.items() if zone != "UTC"}


def _open_csv(path: Path, label: str, table: str, converted: Path, opened: _Opened) -> None:
    encoding = detect(path)
    if not encoding.name:
        opened.faults.append(_refused(table, label, encoding))
        return
    if encoding.name == "gb18030":
        to_utf8(path, converted)
        opened.notes.append(Reason("{file} is not UTF-8; it was read as GB18030 (Chinese).", {"file": label}))
        path = converted
    header, delimiter = _header(path)
    if not header:
        problem, remedy = "the file is empty: not even a header", "write the column names in the first line"
        opened.faults.append(Fault(table, label, "", None, "", problem, remedy, refuses=True))
        return
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        problem, remedy = "the column is there twice", "rename one of them"
        opened.faults.append(Fault(table, label, repeated[0], None, "", problem, remedy, refuses=True))
        return
    columns = dict.fromkeys(header, "VARCHAR")
    opened.parts.append(csv_part(label, str(path), columns, delimiter, f"rejects_{table}"))


def _refused(table: str, label: str, encoding: Encoding) -> Fault:
    remedy = "save the whole file as UTF-8"
    return Fault(table, label, "", encoding.row, encoding.shown, encoding.problem, remedy, refuses=True)


def _header(path: Path) -> tuple[list[str], str]:
    """Column names and separator, from the first line (a byte-order mark is skipped).

    Raises:
        csv.Error: there is only one line, or it is no line of a CSV file.
    """
    with open_binary(path) as stream:
        line = stream.readline().decode("utf-8-sig").rstrip("\r\n")
    if not line.strip():
        return [], ","
    if "\r" in line:
        raise csv.Error("its lines end in carriage returns alone; save it with the line ends of Unix or Windows")
    delimiter = max(DELIMITERS, key=line.count)
    return [
        name.strip() or f"column_{i + 1}"
        for i, name in enumerate(next(csv.reader(io.StringIO(line), delimiter=delimiter)))
    ], delimiter
