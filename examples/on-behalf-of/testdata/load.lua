-- Sends requests of many users, one at random each time, and checks what they
-- are answered. wrk must run as many threads as connections: a thread, which
-- has an environment of its own, then knows which request an answer is to.
--
-- Its argument is a file with a user on each line: a name for the answers to
-- users of this kind to be counted under, the JWT, and the ARN to be answered.

local threads = {}

function setup(thread)
   table.insert(threads, thread)
   thread:set("number", #threads)
end

function init(args)
   math.randomseed(number)
   users, counts, wrong = {}, {}, {}
   for line in io.lines(args[1]) do
      local kind, jwt, arn = line:match("^(%S+) (%S+) (%S+)$")
      table.insert(users, {
         kind = kind,
         request = wrk.format("GET", "/whoami", {Authorization = "Bearer " .. jwt}),
         answer = '{"arn":"' .. arn .. '"}\n',
      })
   end
end

function request()
   user = users[math.random(#users)]
   return user.request
end

function response(status, headers, body)
   local name = user.kind .. "/" .. status
   counts[name] = (counts[name] or 0) + 1
   local right = body == user.answer
   if status ~= 200 then
      right = body:find('^{"error":"[^"]+"}\n$') and not body:find("arn:", 1, true)
   end
   if not right then
      counts.wrong = (counts.wrong or 0) + 1
      if #wrong < 3 then
         table.insert(wrong, status .. " " .. body:gsub("%c", " ") .. " instead of " .. user.answer:gsub("%c", " "))
      end
   end
end

-- Each line is a name and a number, or an answer that was wrong.
function done(summary, latency)
   local all = {requests = summary.requests, microseconds = summary.duration}
   for _, thread in ipairs(threads) do
      for name, n in pairs(thread:get("counts")) do
         all[name] = (all[name] or 0) + n
      end
      for _, text in ipairs(thread:get("wrong")) do
         print("wrong " .. text)
      end
   end
   for _, kind in ipairs({"connect", "read", "write", "timeout"}) do
      all["errors/" .. kind] = summary.errors[kind]
   end
   for _, p in ipairs({50, 90, 99, 99.9}) do
      all["latency/p" .. p] = latency:percentile(p)
   end
   all["latency/max"] = latency.max
   for name, n in pairs(all) do
      print(string.format("count %s %.0f", name, n))
   end
end
