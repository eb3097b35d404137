#!/usr/bin/env bash
# bash test_document.sh BENCH [JULIA]: a run writes what results.schema.json says, and has every part in it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1" --quick --rounds 1 --seconds 0.01 --sizes 64,64KB --json "$work/results.json" ${2:+--julia "$2"} >"$work/said" ||
    { cat "$work/said"; exit 1; }
python3 - "$here/results.schema.json" "$work/results.json" ${2:+julia} <<'END'
import json, jsonschema, sys
schema, results = (json.load(open(path)) for path in sys.argv[1:3])
jsonschema.Draft7Validator.check_schema(schema)
errors = list(jsonschema.Draft7Validator(schema).iter_errors(results))
for e in errors[:20]:
    print("/".join(map(str, e.absolute_path)), ":", e.message[:300])
parts = set(schema["definitions"]["record"]["properties"]["part"]["enum"])
if len(sys.argv) < 4:
    parts = {p for p in parts if not p.startswith("julia")}
missing = parts - {r["part"] for r in results["records"]} - {"idle senders"}  # few descriptors: none of those
if missing:
    print("not measured:", *sorted(missing))
# The schema refuses what it should: one that takes everything says nothing.
def refused(change):
    broken = json.loads(json.dumps(results))
    change(broken)
    return not jsonschema.Draft7Validator(schema).is_valid(broken)
changes = {
    "a record of an unknown part": lambda r: r["records"][0].update(part="unknown"),
    "a figure without its median": lambda r: next(iter(r["records"][0]["figures"].values())).pop("median"),
    "a latency without its counts": lambda r: next(x for x in r["records"] if "latency" in x)["latency"].pop("counts"),
    "an unknown figure": lambda r: r["records"][0]["figures"].update(other=1),
    "no word on the machine": lambda r: r.pop("machine"),
}
taken = [name for name, change in changes.items() if not refused(change)]
for name in taken:
    print("the schema takes", name)
sys.exit(1 if errors or missing or taken else 0)
END
