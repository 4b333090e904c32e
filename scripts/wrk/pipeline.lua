-- DEPTH requests (16 unless set) written at once on each connection, before any answer is read.

local depth = tonumber(os.getenv("DEPTH")) or 16
local requests

function init()
	local one = wrk.format("GET")
	requests = string.rep(one, depth)
end

function request()
	return requests
end

dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")
