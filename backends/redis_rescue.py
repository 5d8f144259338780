"""Gives back the messages that dead workers had fetched.

Dramatiq's own script looks for what a dead worker has left with KEYS, which an operator may well forbid; and from then
on no worker gets a message. The queues are known here, so no key has to be looked for.
"""

from __future__ import annotations

SCRIPT = """
local namespace, deadline = KEYS[1], ARGV[1]
local heartbeats = namespace .. ':__heartbeats__'
for _, worker in ipairs(redis.call('zrangebyscore', heartbeats, '-inf', deadline)) do
    for i = 2, #ARGV, 2 do
        local queue, wake = namespace .. ':' .. ARGV[i], ARGV[i + 1]
        local fetched = namespace .. ':__acks__.' .. worker .. '.' .. ARGV[i]
        for _, id in ipairs(redis.call('smembers', fetched)) do
            if redis.call('hexists', queue .. '.msgs', id) == 1 then
                redis.call('rpush', queue, id)
                redis.call('rpush', wake, '1')
            end
        end
        redis.call('del', fetched)
    end
    redis.call('zrem', heartbeats, worker)
end
"""
