"""Exports a million calls from a server of its own and prints rate a core and peak memory. Linux; needs curl.

    cargo build --release
    python3 benches/export_peak.py target/release/callvault
    cargo run -p callvault-testkit --bin with-services -- python3 benches/export_peak.py target/release/callvault

The calls lie in two accounts: over 30 days, and in one day. `MALLOC_ARENA_MAX=2` in the environment shows how much of the
memory is glibc's. With a PostgreSQL of `with-services` and `psql`, each round also takes the rows of the first export out of a
table with the vault's indexes by `COPY TO STDOUT`: to psql over TCP without TLS, while the vault decrypts and uses TLS. With
`CALLVAULT_BENCH_PYTHON`, a Python that has chDB from PyPI, chDB writes them as well: to /dev/null, without a network.
"""

import datetime
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

ROWS = 1_000_000
ROUNDS = int(os.environ.get("ROUNDS", "3"))
PORT = int(os.environ.get("PORT", "18445"))
DAY = 86_400


def write_calls(path, start, span):
    dice = random.Random(7)
    stamp = lambda at: datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with open(path, "w") as file:
        print("at,source_id,direction,from,to,exophone,status,answered_at,ended_at,duration_s,talk_s,price_micros,caller_name", file=file)
        for n in range(ROWS):
            at, took = start + n * span // ROWS, dice.randrange(5, 305)
            parties = f"+9199{dice.randrange(10**8):08},+9180{dice.randrange(10**8):08},+918047112233"
            times = f"{stamp(at + 4)},{stamp(at + took)},{took},{took - 4}"
            print(f"{stamp(at)},{at}.{n},inbound,{parties},completed,{times},1500000,Caller {n % 5000}", file=file)


def state(pid):
    """CPU seconds, peak and present memory in MB."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    mb = lambda name: int(status[name].split()[0]) // 1024
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks, mb("VmHWM"), mb("VmRSS")


def main(binary, folder):
    environment = os.environ | {"CALLVAULT_PASSPHRASE": "for this measurement"}
    run = lambda *words: subprocess.run([binary, *words], cwd=folder, env=environment, check=True, capture_output=True).stdout
    (folder / "callvault.toml").write_text(f'data_dir = "vault"\n[regions.in]\nlisten = "127.0.0.1:{PORT}"\n')
    today = int(time.time()) // DAY * DAY
    tokens = {}
    for account, start, span in [("month", today - 31 * DAY, 30 * DAY), ("day", today - 5 * DAY, DAY - 400)]:
        write_calls(folder / "calls.csv", start, span)
        run("accounts", "create", account, "--region", "in", "--country", "IN")
        run("import", "calls", account, "calls.csv")
        tokens[account] = json.loads(run("--json", "tokens", "create", account))
    server = subprocess.Popen([binary, "serve"], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(3)
        print(f"idle {state(server.pid)[2]} MB")
        path = folder / "export.csv"
        download(folder, "month", tokens["month"], "csv", path)
        peers = [peer for peer in [Postgres.filled(path), Chdb.filled(path, folder)] if peer]
        path.unlink()
        for _ in range(ROUNDS):
            for peer in peers:
                peer.copy()
            for account, token in tokens.items():
                for name in ["csv", "ndjson", "parquet"]:
                    export(server.pid, folder, account, token, name)
    finally:
        server.terminate()
        server.wait()


def export(pid, folder, account, token, name):
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
    before, began = state(pid), time.monotonic()
    download(folder, account, token, name, os.devnull)
    took, after = time.monotonic() - began, state(pid)
    cpu = after[0] - before[0]
    print(f"{account:6} {name:8} {took:.2f} s, {ROWS / cpu / 1e6:.2f} M rows/s a core, peak {after[1]} MB")


def download(folder, account, token, name, path):
    url = f"https://127.0.0.1:{PORT}/v1/accounts/{account}/exports/calls.{name}"
    trust = ["--cacert", str(folder / "vault/in/tls-cert.pem"), "-u", f"{token['key']}:{token['secret']}"]
    subprocess.run(["curl", "-sf", *trust, url, "-o", str(path)], check=True)


class Postgres:
    """The rows of an export in a table, with the indexes that the vault's readers need."""

    TABLE = """CREATE TABLE calls (sid uuid PRIMARY KEY, at timestamptz, source_id text, direction text, "from" text, "to" text,
        exophone text, status text, answered_at timestamptz, ended_at timestamptz, duration_s int, talk_s int,
        price_micros bigint, caller_name text, extra text);
        CREATE INDEX ON calls (at); CREATE INDEX ON calls ("from"); CREATE INDEX ON calls ("to")"""
    STAT = "SELECT pg_read_file('/proc/self/stat')"

    def __init__(self, address):
        self.psql = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", f"{address}/postgres"]

    @classmethod
    def filled(cls, path):
        address = os.environ.get("CALLVAULT_TEST_POSTGRES")
        if not address:
            return None
        self = cls(address)
        fill = f"\\copy calls FROM '{path}' (FORMAT csv, HEADER)"
        for command in ["DROP TABLE IF EXISTS calls", self.TABLE, fill, "VACUUM ANALYZE calls"]:
            subprocess.run([*self.psql, "-c", command], check=True, stdout=subprocess.DEVNULL)
        return self

    def copy(self):
        began = time.monotonic()
        steps = [self.STAT, "\\o /dev/null", "COPY calls TO STDOUT (FORMAT csv, HEADER)", "\\o", self.STAT]
        words = [word for step in steps for word in ("-c", step)]
        said = subprocess.run([*self.psql, *words], check=True, capture_output=True, text=True).stdout
        took = time.monotonic() - began
        stats = [line.rsplit(")", 1)[1].split() for line in said.splitlines() if ")" in line]
        first, last = [(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") for fields in (stats[0], stats[-1])]
        print(f"PostgreSQL COPY TO {took:.2f} s, {ROWS / (last - first) / 1e6:.2f} M rows/s a core")


class Chdb:
    """The same rows in ClickHouse in a process."""

    def __init__(self, python, path, folder):
        script = pathlib.Path(__file__).parent / "chdb_export.py"
        words = [python, str(script), str(path), str(folder / "chdb")]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert int(self.process.stdout.readline()) == ROWS

    @classmethod
    def filled(cls, path, folder):
        python = os.environ.get("CALLVAULT_BENCH_PYTHON")
        return cls(python, path, folder) if python else None

    def copy(self):
        print(file=self.process.stdin, flush=True)
        took, cpu = map(float, self.process.stdout.readline().split())
        print(f"chDB CSV {took:.2f} s, {ROWS / cpu / 1e6:.2f} M rows/s a core")


with tempfile.TemporaryDirectory() as name:
    main(os.path.abspath(sys.argv[1]), pathlib.Path(name))
