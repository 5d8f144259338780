"""Gives back the messages that dead workers had fetched, and those that a living worker cannot run soon.

Dramatiq's own script looks for what a dead worker has left with KEYS, which an operator may well forbid; and from then
on no worker gets a message. The queues are known here, so no key has to be looked for. What a living worker gives back
Dramatiq puts behind all that waits, and wakes nobody for it; here it is first in line again.
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

GIVE_BACK = """
local namespace, worker, name, wake, wakes = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local queue = namespace .. ':' .. name
local fetched = namespace .. ':__acks__.' .. worker .. '.' .. name
for i = #ARGV, 5, -1 do
    if redis.call('srem', fetched, ARGV[i]) == 1 and redis.call('hexists', queue .. '.msgs', ARGV[i]) == 1 then
        redis.call('lpush', queue, ARGV[i])
        redis.call('rpush', wake, '1')
    end
end
redis.call('ltrim', wake, -wakes, -1)
"""
