"""Which reader turns a file of each kind (see `reading.file_kind`) into rows."""

from __future__ import annotations

from lpd_core.corpus.reading import json_lines, json_list
from lpd_core.corpus.tables import csv_rows, parquet_rows

READERS = {"lines": json_lines, "list": json_list, "csv": csv_rows, "parquet": parquet_rows}
