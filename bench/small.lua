-- The small requests of the benchmark, made by wrk:
--   wrk ... -s small.lua URL -- get FIRST_ID IDS   ids that are stored, in turn
--   wrk ... -s small.lua URL -- put FILE           its bytes to ids never used before
-- With one more argument, a file of values for Authorization, one a line, each request
-- has the next of them; the two threads share none.
-- At the end it says as JSON what the report needs.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

-- Returns a list of headers to be used in turn; nil is those of the command line.
local function read_tokens(name)
  if not name then
    return { false }
  end
  local found, line_number = {}, 0
  for line in io.lines(name) do
    line_number = line_number + 1
    if line_number % 2 == number then
      found[#found + 1] = { Authorization = line }
    end
  end
  return found
end

local function prepare_get(first_id, ids, tokens)
  local requests = {}
  local fields = read_tokens(tokens)
  local count = math.max(ids, #fields)
  for i = 1, count do
    local path = string.format("/%d", first_id + (i - 1) % ids)
    requests[i] = wrk.format("GET", path, fields[(i - 1) % #fields + 1] or nil)
  end
  -- The threads do not walk side by side.
  local turn = number * 97
  request = function()
    turn = turn + 1
    return requests[turn % count + 1]
  end
end

local function prepare_put(name, tokens)
  local file = assert(io.open(name, "rb"))
  local body = file:read("*a")
  file:close()
  local rests = {}
  for i, fields in ipairs(read_tokens(tokens)) do
    local whole = wrk.format("PUT", "/", fields or nil, body)
    rests[i] = whole:sub((assert(whole:find(" HTTP/1.1\r\n", 1, true))))
  end
  -- Far above the ids that are stored beforehand.
  local id = (number + 1) * 1000000000
  request = function()
    id = id + 1
    return string.format("PUT /%d", id) .. rests[id % #rests + 1]
  end
end

function init(args)
  if args[1] == "get" then
    prepare_get(tonumber(args[2]), tonumber(args[3]), args[4])
  else
    prepare_put(args[2], args[3])
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
