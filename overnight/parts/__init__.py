"""Parts: parquet files of rows, named by their content, written once and verified when read."""

from overnight.parts.columns import PART_SCHEMA
from overnight.parts.part import find_row, is_whole, read_columns, read_part, verify_part, write_columns, write_part

__all__ = [
    "PART_SCHEMA",
    "find_row",
    "is_whole",
    "read_columns",
    "read_part",
    "verify_part",
    "write_columns",
    "write_part",
]
