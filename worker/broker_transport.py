"""Celery's way to the broker, to which a broker without memory is one that is away for a moment.

Kombu takes `OutOfMemoryError` for a fault of ours, and the program would end. As a lost connection
it is tried again after a pause, and the relay sends the hint that was just being taken once more.
Over a Unix socket Kombu picks a transport by itself.
"""

from kombu.transport.redis import Transport as RedisTransport
from redis.exceptions import OutOfMemoryError


class Transport(RedisTransport):
    connection_errors = (*RedisTransport.connection_errors, OutOfMemoryError)
