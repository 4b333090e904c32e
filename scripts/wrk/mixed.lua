-- A mixture of paths, methods and sizes. With "ringway-bench origin" as the origin, /bytes/N is
-- answered with N bytes; any other origin sees a few paths that repeat.

local mixture = {
	-- how often of 100, method, path, bytes of body
	{ 65, "GET", "/", 0 },
	{ 15, "GET", "/bytes/10240", 0 },
	{ 10, "GET", "/search?q=proxy&page=2", 0 },
	{ 5, "POST", "/items", 512 },
	{ 4, "PUT", "/items/17", 16384 },
	{ 1, "GET", "/bytes/262144", 0 },
}

local requests = {}

function init()
	for _, kind in ipairs(mixture) do
		local share, method, path, bytes = kind[1], kind[2], kind[3], kind[4]
		local body = nil
		if bytes > 0 then
			body = string.rep("x", bytes)
		end
		local text = wrk.format(method, path, nil, body)
		for _ = 1, share do
			requests[#requests + 1] = text
		end
	end
	-- The same order in every run.
	math.randomseed(1)
end

function request()
	return requests[math.random(#requests)]
end

dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")
