-- Sends the requests of a file, one path per line, in turn.
-- Prints what wrk does not: percentiles as numbers, statuses that were not expected.
local paths, headers, number, expected = {}, {}, 0, os.getenv("BENCH_STATUS")

function init(_)
  for line in io.lines(os.getenv("BENCH_PATHS")) do paths[#paths + 1] = line end
  headers["Authorization"] = os.getenv("BENCH_AUTHORIZATION")
  local etag = os.getenv("BENCH_ETAG")
  if etag and etag ~= "" then headers["If-None-Match"] = etag end
end

function request()
  number = number + 1
  return wrk.format("GET", paths[1 + number % #paths], headers)
end

-- A window moves by the minute: then the answer comes once more, with the ETag that is sent from then on.
-- Where no other answer than 200 can come but a refusal, which wrk counts itself, nobody looks at them: wrk would copy
-- each body for us.
unexpected, renewed = 0, 0
local function look(status, answered)
  if tostring(status) == expected then return end
  local etag = answered["etag"] or answered["ETag"]
  if expected == "304" and status == 200 and etag then
    headers["If-None-Match"] = etag
    renewed = renewed + 1
  else
    unexpected = unexpected + 1
  end
end

if expected ~= "200" then response = look end

local threads = {}
function setup(thread) threads[#threads + 1] = thread end

function done(summary, latency, _)
  local wrong, again = summary.errors.status, 0
  for _, thread in ipairs(threads) do
    wrong, again = wrong + thread:get("unexpected"), again + thread:get("renewed")
  end
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(95), latency:percentile(99), errors, wrong, again))
end
