"""The chDB side of the bench: reads a JSON configuration, prints one JSON object of results on the last line.

`python chdb_peer.py CONFIG.json`, with chDB from PyPI in this Python's environment.
"""

import json
import os
import statistics
import sys
import time

from chdb import session

COLUMNS = """account LowCardinality(String) CODEC({text}), sid UUID CODEC({text}), at DateTime64(3, 'UTC') CODEC({time}),
source_id String CODEC({text}), direction LowCardinality(String) CODEC({text}), from_number String CODEC({text}),
to_number String CODEC({text}), exophone String CODEC({text}), status LowCardinality(String) CODEC({text}),
answered_at DateTime64(3, 'UTC') CODEC({time}), ended_at DateTime64(3, 'UTC') CODEC({time}),
duration_s UInt32 CODEC({text}), talk_s UInt32 CODEC({text}), price_micros Int64 CODEC({text}),
caller_name String CODEC({text})"""
PLAIN = {"text": "ZSTD(1)", "time": "ZSTD(1)"}
TUNED = {"text": "ZSTD(1)", "time": "Delta, ZSTD(1)"}
DURABLE = "fsync_after_insert = 1, fsync_part_directory = 1"


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    place = config["dir"]
    base = session.Session(place)

    def run(sql: str, form: str = "Null") -> str:
        answer = base.query(sql, form)
        return str(answer) if form == "TSV" else ""

    def timed(sql: str, form: str = "Null") -> float:
        start = time.perf_counter()
        run(sql, form)
        return time.perf_counter() - start

    def number(sql: str) -> int:
        return int(run(sql, "TSV").strip() or 0)

    def create(name: str, codecs: dict, partition: str = "") -> None:
        columns = COLUMNS.format(**codecs)
        run(f"CREATE TABLE v.{name} ({columns}) ENGINE = MergeTree {partition} ORDER BY (account, at) SETTINGS {DURABLE}")

    def size(name: str) -> int:
        return number(
            f"SELECT sum(bytes_on_disk) FROM system.parts WHERE database = 'v' AND table = '{name}' AND active"
        )

    def evict() -> None:
        for what in ("MARK CACHE", "UNCOMPRESSED CACHE", "QUERY CACHE"):
            run(f"SYSTEM DROP {what}")
        for folder, _, names in os.walk(place):
            for name in names:
                try:
                    handle = os.open(os.path.join(folder, name), os.O_RDONLY)
                except OSError:
                    continue
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(handle)

    def find(account: str, subject: str) -> str:
        return (
            f"SELECT * FROM v.calls WHERE account = '{account}' AND (from_number = '{subject}' OR "
            f"to_number = '{subject}') ORDER BY at DESC"
        )

    out = {}
    out["version"] = run("SELECT version()", "TSV").strip()
    run("CREATE DATABASE IF NOT EXISTS v ENGINE = Atomic")
    for setting in ("date_time_input_format = 'best_effort'", "input_format_csv_empty_as_default = 1", "max_threads = 2",
                    "max_insert_threads = 2", "mutations_sync = 2"):
        run(f"SET {setting}")
    create("calls", PLAIN)
    rows = config["rows"]
    glob = config["parts"]
    out["import_rows_s"] = rows / timed(f"INSERT INTO v.calls FROM INFILE '{glob}' FORMAT CSV")
    stored = number("SELECT count() FROM v.calls")
    assert stored == rows, f"chDB holds {stored} rows of {rows}"
    out["bytes_a_row_after_import"] = size("calls") / rows
    out["optimize_s"] = timed("OPTIMIZE TABLE v.calls FINAL")
    out["bytes_a_row"] = size("calls") / rows
    create("tuned", TUNED)
    run("INSERT INTO v.tuned SELECT * FROM v.calls")
    run("OPTIMIZE TABLE v.tuned FINAL")
    out["bytes_a_row_tuned"] = size("tuned") / rows
    run("DROP TABLE v.tuned SYNC")
    names = ",".join(f"'{name}'" for name in config["smallest"])
    create("small", PLAIN)
    run(f"INSERT INTO v.small SELECT * FROM v.calls WHERE account IN ({names})")
    run("OPTIMIZE TABLE v.small FINAL")
    out["bytes_a_row_smallest"] = size("small") / max(1, number("SELECT count() FROM v.small"))
    run("DROP TABLE v.small SYNC")

    for kind in ("large", "small"):
        account, numbers = config[kind]["account"], config[kind]["numbers"]
        warm = [timed(find(account, subject), "RowBinary") for subject in numbers for _ in range(2)]
        out[f"number_{kind}_warm_ms"] = 1e3 * statistics.median(warm)
        cold = []
        for subject in numbers[:7]:
            evict()
            cold.append(timed(find(account, subject), "RowBinary"))
        out[f"number_{kind}_cold_ms"] = 1e3 * statistics.median(cold)
    large = config["large"]["account"]
    out["number_heavy_warm_ms"] = 1e3 * statistics.median(
        timed(find(large, config["heavy"]), "RowBinary") for _ in range(9)
    )
    page = f"SELECT * FROM v.calls WHERE account = '{large}' ORDER BY at DESC LIMIT 50"
    out["page_ms"] = 1e3 * statistics.median(timed(page, "RowBinary") for _ in range(20))
    sids = run(f"SELECT sid FROM v.calls WHERE account = '{large}' ORDER BY rand() LIMIT 15", "TSV").split()
    by_sid = [timed(f"SELECT * FROM v.calls WHERE account = '{large}' AND sid = '{sid}'", "RowBinary") for sid in sids]
    out["get_ms"] = 1e3 * statistics.median(by_sid)

    create("days", PLAIN, "PARTITION BY toYYYYMMDD(at)")
    for kind, path in (("thousand", config["thousand"]), ("million", config["million"])):
        run("TRUNCATE TABLE v.days")
        run(f"INSERT INTO v.days FROM INFILE '{path}' FORMAT CSV")
        parts = run("SELECT DISTINCT partition FROM system.parts WHERE table = 'days' AND active", "TSV").split()
        for part in parts[:1]:
            for shift in (1, 2):
                run(f"INSERT INTO v.days SELECT * REPLACE (at + INTERVAL {shift} DAY AS at) FROM v.days "
                    f"WHERE toYYYYMMDD(at) = {part}")
        parts = run("SELECT DISTINCT partition FROM system.parts WHERE table = 'days' AND active", "TSV").split()
        drops = [timed(f"ALTER TABLE v.days DROP PARTITION {part} SETTINGS mutations_sync = 2") for part in parts]
        out[f"drop_{kind}_ms"] = 1e3 * statistics.median(drops)
    run("DROP TABLE v.days SYNC")

    subjects = config["large"]["numbers"]
    condition = "account = '{0}' AND (from_number = '{1}' OR to_number = '{1}')"
    lightweight = [timed("DELETE FROM v.calls WHERE " + condition.format(large, s)) for s in subjects[:3]]
    out["erase_lightweight_s"] = statistics.median(lightweight)
    alter = [timed("ALTER TABLE v.calls DELETE WHERE " + condition.format(large, s)) for s in subjects[3:6]]
    out["erase_alter_s"] = statistics.median(alter)
    base.close()
    print(json.dumps(out))


main()
