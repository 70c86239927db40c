#!/usr/bin/env bash
# Requests a second and p99 of list, get and create over TLS, with tokens, encryption and the durable access log, beside a
# plain axum and sqlx handler on PostgreSQL. Needs wrk.
#
#   cargo build --release -p callvault-server --bin callvault --example plain_handler
#   benches/load.sh FOLDER postgres://...      # FOLDER on the disk to be measured; the database on the same disk
#   target/release/with-services bash -c 'benches/load.sh FOLDER "$CALLVAULT_TEST_POSTGRES/postgres"'   # one of its own
set -euo pipefail
folder=$1 database=$2 rows=${ROWS:-100000} seconds=${SECONDS_EACH:-10}
here=$(cd "$(dirname "$0")/.." && pwd)
bin=${CARGO_TARGET_DIR:-$here/target}/release
mkdir -p "$folder" && cd "$folder" && rm -rf vault callvault.toml
export CALLVAULT_PASSPHRASE=load CALLVAULT_LOG=warn
printf 'data_dir = "vault"\n[sign_in]\nrequests_per_minute = 100000000\n[regions.in]\nlisten = "127.0.0.1:18543"\n' > callvault.toml
cv=$bin/callvault
"$cv" accounts create acme --region in --plan growth --country IN >/dev/null
"$cv" tokens create acme --role owner --json > token.json
python3 - "$rows" > calls.ndjson <<'PY'
import datetime, sys
start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=10)
for n in range(int(sys.argv[1])):
    at = start + datetime.timedelta(seconds=n * 8)
    print('{"at":"%s","direction":"inbound","from":"+919900011111","to":"+9199%08d","status":"completed","duration_s":50,"talk_s":40,"source_id":"s%d"}'
          % (at.strftime("%Y-%m-%dT%H:%M:%SZ"), n % 100000, n))
PY
"$cv" import calls acme calls.ndjson >/dev/null
basic=$(python3 -c "import base64,json;t=json.load(open('token.json'));print(base64.b64encode((t['key']+':'+t['secret']).encode()).decode())")
"$cv" serve > serve.out 2> serve.err & vault=$!
"$bin/examples/plain_handler" "$database" 127.0.0.1:18544 "$rows" & plain=$!
trap 'kill $vault $plain 2>/dev/null || true' EXIT
for door in https://127.0.0.1:18544/calls?limit=1 https://127.0.0.1:18543/health; do
  curl -ks --retry 60 --retry-delay 1 --retry-connrefused --max-time 60 "$door" >/dev/null
  kill -0 $vault $plain
done
base=https://127.0.0.1:18543/v1/accounts/acme
sid=$(curl -ks -H "authorization: Basic $basic" "$base/records/calls?limit=1" | python3 -c 'import json,sys;print(json.load(sys.stdin)["calls"][0]["sid"])')
cat > create.lua <<'LUA'
local n = 0
local id = tostring({}):sub(8)
local plain = os.getenv("PLAIN") == "1"
function request()
  n = n + 1
  local body
  if plain then
    body = string.format('{"sid":"%s-%d-%d","at":%d,"direction":"inbound","from_number":"+919900011111","to_number":"+919900000001","status":"completed","duration_s":50,"talk_s":40}', id, os.time(), n, os.time() * 1000000)
  else
    body = string.format('{"class":"call","at":"%s","direction":"inbound","from":"+919900011111","to":"+919900000001","status":"completed","duration_s":50,"talk_s":40,"source_id":"%s-%d-%d"}', os.date("!%Y-%m-%dT%H:%M:%SZ"), id, os.time(), n)
  end
  return wrk.format("POST", nil, nil, body)
end
LUA
report() { awk -v what="$1" '/99%/ {p=$2} /Requests\/sec/ {r=$2} /Non-2xx/ {bad=$0} END {printf "%-28s %10s requests/s   p99 %s %s\n", what, r, p, bad}'; }
measure() { what=$1; shift; wrk -t2 -c"${CONNECTIONS:-32}" -d"${seconds}s" --latency "$@" | report "$what"; }
echo "== fsync: $(dd if=/dev/zero of=sync.tmp bs=4k count=500 oflag=dsync 2>&1 | awk '/copied/ {split($0,a,", "); print 500/a[3] " a second"}')"; rm -f sync.tmp
measure "list 50, vault" -H "authorization: Basic $basic" "$base/records/calls?limit=50"
measure "list 50, plain" "https://127.0.0.1:18544/calls?limit=50"
measure "get, vault" -H "authorization: Basic $basic" "$base/records/calls/$sid"
measure "get, plain" "https://127.0.0.1:18544/calls/$(printf '%032x' 777)"
measure "create, vault" -s create.lua -H "authorization: Basic $basic" -H 'content-type: application/json' "$base/records"
PLAIN=1 measure "create, plain" -s create.lua -H 'content-type: application/json' https://127.0.0.1:18544/records
