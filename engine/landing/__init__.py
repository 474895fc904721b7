"""Landing: raw tables of any source become a shop, checked against the contract.

All faults are found before anything is decided: a data set that is refused is refused with every fault in one block.
What is set aside is counted, named by file, column, row and value, and written to `quarantine/TABLE.csv` beside the
landed tables. Everything is written into a folder that the caller renames into place when all of it is on the disk.
"""

from __future__ import annotations

from engine.landing.land import Landed, land
from engine.landing.raw import Part, RawShop, RawTable, csv_part, parquet_part

__all__ = ["Landed", "Part", "RawShop", "RawTable", "csv_part", "land", "parquet_part"]
