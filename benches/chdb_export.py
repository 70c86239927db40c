"""The chDB side of the export bench: fills a table from an export's CSV, then writes it as CSV once for every line of its input.

`python chdb_export.py CALLS.csv FOLDER`, with chDB from PyPI in this Python's environment. Prints seconds and CPU seconds.
"""

import resource
import sys
import time

from chdb import session

COLUMNS = """sid UUID, at DateTime64(6, 'UTC'), source_id String, direction LowCardinality(String), `from` String, `to` String,
exophone String, status LowCardinality(String), answered_at Nullable(DateTime64(6, 'UTC')), ended_at Nullable(DateTime64(6, 'UTC')),
duration_s UInt32, talk_s Nullable(UInt32), price_micros Nullable(Int64), caller_name String, extra String"""


def main() -> None:
    base = session.Session(sys.argv[2])
    base.query("CREATE DATABASE v")
    base.query(f"CREATE TABLE v.calls ({COLUMNS}) ENGINE = MergeTree ORDER BY at SETTINGS default_compression_codec = 'ZSTD(1)'")
    base.query("SET date_time_input_format = 'best_effort', date_time_output_format = 'iso', max_threads = 2")
    base.query(f"INSERT INTO v.calls SELECT * FROM file('{sys.argv[1]}', CSVWithNames)")
    base.query("OPTIMIZE TABLE v.calls FINAL")
    print(str(base.query("SELECT count() FROM v.calls", "TSV")).strip(), flush=True)
    for _ in sys.stdin:
        cpu, began = used(), time.monotonic()
        base.query("SELECT * FROM v.calls ORDER BY at INTO OUTFILE '/dev/null' TRUNCATE FORMAT CSVWithNames")
        print(time.monotonic() - began, used() - cpu, flush=True)


def used() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


main()
