-- POST with a body of BODY_BYTES bytes (1024 unless set).

wrk.method = "POST"
wrk.headers["content-type"] = "application/octet-stream"
wrk.body = string.rep("x", tonumber(os.getenv("BODY_BYTES")) or 1024)

dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")
