-- The small requests of the benchmark, made by wrk:
--   wrk ... -s small.lua URL -- get FIRST_ID IDS   ids that are stored, in turn
--   wrk ... -s small.lua URL -- put FILE           its bytes to ids never used before
-- At the end it says as JSON what the report needs.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local function prepare_get(first_id, ids)
  local requests = {}
  for i = 1, ids do
    requests[i] = wrk.format("GET", string.format("/%d", first_id + i - 1))
  end
  -- The threads do not walk side by side.
  local turn = number * 97
  request = function()
    turn = turn + 1
    return requests[turn % ids + 1]
  end
end

local function prepare_put(name)
  local file = assert(io.open(name, "rb"))
  local body = file:read("*a")
  file:close()
  local whole = wrk.format("PUT", "/", nil, body)
  local rest = whole:sub((assert(whole:find(" HTTP/1.1\r\n", 1, true))))
  -- Far above the ids that are stored beforehand.
  local id = (number + 1) * 1000000000
  request = function()
    id = id + 1
    return string.format("PUT /%d", id) .. rest
  end
end

function init(args)
  if args[1] == "get" then
    prepare_get(tonumber(args[2]), tonumber(args[3]))
  else
    prepare_put(args[2])
  end
end

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "bytes": %d, "connect": %d, "read": %d,'
    .. ' "write": %d, "status": %d, "timeout": %d}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, errors.connect,
    errors.read, errors.write, errors.status, errors.timeout))
end
