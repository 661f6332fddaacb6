-- wrk's pipelining script: each send has 16 requests, and wrk counts each response.

local requests

init = function()
    requests = string.rep(wrk.format("GET"), 16)
end

request = function()
    return requests
end
