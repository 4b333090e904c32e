-- The simplest load: GET of the URL's own path, with wrk's few headers.

wrk.method = "GET"

dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")
