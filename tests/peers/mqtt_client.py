"""Publishes to a broker of MQTT through the port given, and hears all of it on another connection.
Fails loudly."""

import queue
import sys

import paho.mqtt.client as mqtt

COUNT = 200
port = int(sys.argv[1])
heard = queue.Queue()
subscribed = queue.Queue()


def connect(name):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
    client.on_message = lambda _client, _data, message: heard.put(message.payload)
    client.on_subscribe = lambda *_: subscribed.put(True)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


subscriber = connect("subscriber")
subscriber.subscribe("orders/#", qos=1)
subscribed.get(timeout=20)
publisher = connect("publisher")
for number in range(COUNT):
    publisher.publish(f"orders/{number}", b"%d:" % number + b"x" * 5_000, qos=1).wait_for_publish(20)
payloads = [heard.get(timeout=20) for _ in range(COUNT)]
assert sorted(int(payload.split(b":")[0]) for payload in payloads) == list(range(COUNT))
assert all(len(payload) > 5_000 for payload in payloads)
for client in (publisher, subscriber):
    client.disconnect()
    client.loop_stop()
