-- Shared by the other scripts: says plainly when something went wrong.

function done(summary)
	local errors = summary.errors
	local socket = errors.connect + errors.read + errors.write
	io.write(string.format(
		"socket errors %d, timeouts %d, statuses of 400 and above %d\n",
		socket, errors.timeout, errors.status
	))
	if socket + errors.timeout + errors.status > 0 then
		io.write("NOT CLEAN\n")
	end
end
