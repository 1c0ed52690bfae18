#!/usr/bin/env bash
# The main job on real data: `make demo` calls this with the folder of the environment's programs.
set -euo pipefail
bin=$(cd "$1" && pwd)
cd "$(dirname "$0")"

echo "== modelwright run   (examples/income: the UCI Adult data, 48,842 rows)"
code=0
"$bin/modelwright" run || code=$?
if [ "$code" -ne 0 ] && [ "$code" -ne 1 ]; then exit "$code"; fi

echo
echo "== modelwright serve income   and one request"
log=$(mktemp)
"$bin/modelwright" serve income --port 0 >"$log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 150); do
  if grep -q '^Serving' "$log"; then break; fi
  if ! kill -0 $server 2>/dev/null; then cat "$log"; exit 1; fi
  sleep 0.2
done
address=$(sed -n 's/^Serving.* on //p' "$log")
echo "POST $address/predict"
"$bin/python" - "$address" <<'PY'
import json, sys, urllib.request

row = {"age": 47, "workclass": "Private", "fnlwgt": 190000, "education": "Masters",
       "education_num": 14, "marital_status": "Married-civ-spouse", "occupation": "Exec-managerial",
       "relationship": "Husband", "race": "White", "sex": "Male", "capital_gain": 0,
       "capital_loss": 0, "hours_per_week": 50, "native_country": "United-States"}
request = urllib.request.Request(sys.argv[1] + "/predict", json.dumps({"rows": [row]}).encode(),
                                 {"content-type": "application/json"})
print(urllib.request.urlopen(request, timeout=10).read().decode())
PY
exit "$code"
