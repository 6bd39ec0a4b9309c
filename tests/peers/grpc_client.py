"""gRPC's client as its authors write it in Python; what it takes and says is in README.md."""

import argparse
import json
import queue
import re
import threading
import time

import grpc

UNITS = {"ms": 1e-3, "s": 1, "m": 60}


def duration(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", text).groups()
    return int(number) * UNITS[unit]


def payload(text):
    return b"x" * int(text[1:]) if text.startswith("@") else text.encode()


def fields(metadata):
    found = {}
    for key, value in metadata or ():
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        found.setdefault(key, []).append(value)
    return found


def one(channel, arguments):
    found = {"code": 0, "message": "", "messages": []}
    outbox = queue.Queue()
    messages = [payload(text) for text in arguments.messages]
    chats = arguments.method == "Chat"

    def sending():
        while (message := outbox.get()) is not None:
            yield message

    call = channel.stream_stream(f"/callboard.test.Peer/{arguments.method}")(
        sending(),
        timeout=arguments.deadline,
        metadata=[("x-ask", arguments.ask), ("x-ask-bin", arguments.ask.encode())]
        if arguments.ask
        else None,
        compression=grpc.Compression.Gzip if arguments.gzip else None,
    )
    if arguments.cancel:
        threading.Timer(arguments.cancel, call.cancel).start()

    def listen():
        message = next(call)
        text = message.decode() if len(message) <= 100 else f"{len(message)} bytes"
        found["messages"].append(text)

    try:
        for message in messages:
            outbox.put(message)
            if chats:
                listen()
            time.sleep(arguments.pause)
        outbox.put(None)
        while True:
            listen()
    except StopIteration:
        pass
    except grpc.RpcError as error:
        found["code"] = error.code().value[0]
        found["message"] = error.details() or ""
    outbox.put(None)
    found["headers"] = fields(call.initial_metadata())
    found["trailers"] = fields(call.trailing_metadata())
    return found


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("-target")
    arguments.add_argument("-authority")
    arguments.add_argument("-ca")
    arguments.add_argument("-method", default="Echo")
    arguments.add_argument("-deadline", type=duration)
    arguments.add_argument("-cancel", type=duration)
    arguments.add_argument("-times", type=int, default=1)
    arguments.add_argument("-gzip", action="store_true")
    arguments.add_argument("-ask")
    arguments.add_argument("-pause", type=duration, default=0)
    arguments.add_argument("messages", nargs="*")
    arguments = arguments.parse_args()
    options = [
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", 64 << 20),
        ("grpc.default_authority", arguments.authority),
    ]
    if arguments.ca:
        options.append(("grpc.ssl_target_name_override", arguments.authority))
        trust = grpc.ssl_channel_credentials(open(arguments.ca, "rb").read())
        channel = grpc.secure_channel(arguments.target, trust, options)
    else:
        channel = grpc.insecure_channel(arguments.target, options)
    for _ in range(arguments.times):
        print(json.dumps(one(channel, arguments)), flush=True)


main()
