"""Exits with 0 when four exports (CSV, NDJSON, JSON, Parquet) hold the same rows."""

import csv
import datetime
import json
import sys

import duckdb
import pyarrow.parquet as parquet

csv_file, ndjson_file, json_file, parquet_file, count = sys.argv[1:]
NUMBERS = {"duration_s", "talk_s", "price_micros", "status_code", "units"}
MOMENTS = {"at", "answered_at", "ended_at", "sent_at"}
REQUIRED_TEXTS = {"from", "to", "exophone"}


def of_csv(name, text):
    if text.lstrip("'")[:1] in {*"=+-@\t\r\n"} and text.startswith("'"):
        text = text[1:]
    if text == "" and name not in REQUIRED_TEXTS:
        return None
    if name in NUMBERS:
        return int(text)
    if name == "extra":
        return json.loads(text)
    return moment(text) if name in MOMENTS else text


def moment(text):
    return datetime.datetime.fromisoformat(text)


def of_json(row):
    assert row.pop("class") in {"call", "message"}
    return {name: moment(value) if name in MOMENTS else value for name, value in row.items()}


def of_parquet(row):
    row = {name: value for name, value in row.items() if value is not None}
    if "extra" in row:
        row["extra"] = json.loads(row["extra"])
    return row


with open(csv_file, newline="", encoding="utf-8") as file:
    reader = csv.DictReader(file, strict=True)
    rows = [{name: of_csv(name, text) for name, text in row.items()} for row in reader]
rows = [{name: value for name, value in row.items() if value is not None} for row in rows]
with open(csv_file, newline="", encoding="utf-8") as file:
    for row in csv.reader(file, strict=True):
        for text in row:
            formula = text[:1] in {*"=+-@\t\r\n"} and text
            assert not formula or text.lstrip("+-").replace(".", "", 1).isdigit(), text
with open(ndjson_file, encoding="utf-8", newline="\n") as file:
    lines = [of_json(json.loads(line)) for line in file]
with open(json_file, encoding="utf-8") as file:
    array = [of_json(row) for row in json.load(file)]
table = [of_parquet(row) for row in parquet.read_table(parquet_file).to_pylist()]
assert len(rows) == int(count), len(rows)


def of_duckdb(path, guess):
    """The CSV as DuckDB reads it, every field as text; `guess` leaves quotes and header to it."""
    dialect = "" if guess else """, delim=',', quote='"', escape='"', header=true"""
    found = duckdb.sql(f"SELECT * FROM read_csv('{path}', all_varchar=true{dialect})")
    return found.columns, found.fetchall()


with open(csv_file, newline="", encoding="utf-8") as file:
    header, *texts = csv.reader(file, strict=True)
for guess in (False, True):
    columns, read = of_duckdb(csv_file, guess)
    assert columns == header, (columns, header)
    # DuckDB reads an empty field as NULL.
    for at, (one, two) in enumerate(zip(texts, read, strict=True)):
        assert one == [text or "" for text in two], f"DuckDB row {at}: {one} {two}"
for name, other in [("NDJSON", lines), ("JSON", array), ("Parquet", table)]:
    for at, (one, two) in enumerate(zip(rows, other, strict=True)):
        assert one == two, f"{name} row {at}: {one} {two}"
