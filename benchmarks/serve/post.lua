-- wrk: posts the bodies of $BODIES in turn with the headers of $HEADERS, and prints one JSON line.
local requests, place = {}, 0

function init()
  for line in (os.getenv("HEADERS") or ""):gmatch("[^\n]+") do
    local name, value = line:match("^(.-): (.*)$")
    wrk.headers[name] = value
  end
  local file = assert(io.open(os.getenv("BODIES"), "rb"))
  local length = file:read("*l")
  while length do
    requests[#requests + 1] = wrk.format("POST", nil, nil, file:read(tonumber(length)))
    length = file:read("*l")
  end
  file:close()
end

function request()
  place = place % #requests + 1
  return requests[place]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    'RESULT {"per_second": %.3f, "p50": %.4f, "p95": %.4f, "p99": %.4f, "requests": %d, "failed": %d}\n',
    (summary.requests - errors.status) / summary.duration * 1e6, latency:percentile(50) / 1e3,
    latency:percentile(95) / 1e3, latency:percentile(99) / 1e3, summary.requests, failed))
end
