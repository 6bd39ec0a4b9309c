"""Does what clients of Redis do, through the port given: commands, large values, pipelines and
subscriptions. Fails loudly."""

import sys

import redis

port = int(sys.argv[1])
client = redis.Redis(host="127.0.0.1", port=port, socket_timeout=20)
assert client.ping()

large = bytes(range(256)) * 16_384
client.set("large", large)
assert client.get("large") == large

with client.pipeline(transaction=False) as pipeline:
    for _ in range(5_000):
        pipeline.incr("count")
    assert pipeline.execute() == list(range(1, 5_001))

subscriber = redis.Redis(host="127.0.0.1", port=port, socket_timeout=20)
subscription = subscriber.pubsub(ignore_subscribe_messages=False)
subscription.subscribe("news")
assert subscription.get_message(timeout=20)["type"] == "subscribe"
for number in range(200):
    assert client.publish("news", number) == 1
heard = [int(subscription.get_message(timeout=20)["data"]) for _ in range(200)]
assert heard == list(range(200)), heard
subscription.close()
client.close()
