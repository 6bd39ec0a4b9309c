"""gRPC's server as its authors write it in Python; what it takes and says is in README.md."""

import argparse
import contextlib
import os
import sys
import threading
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


class Peer:
    def __init__(self, name):
        self.name = name
        self.refusal = 0
        self.calls = 0
        self.cancelled = 0
        self.lock = threading.Lock()

    def count(self, what):
        with self.lock:
            setattr(self, what, getattr(self, what) + 1)

    def serve(self, method):
        def handle(requests, context):
            if self.refusal:
                self.count("calls")
                context.abort(code_of(self.refusal), f"{self.name} refuses")
            said = [("x-served-by", self.name)]
            for key, value in context.invocation_metadata():
                if key in ("x-ask", "x-ask-bin"):
                    said.append((key.replace("x-ask", "x-heard"), value))
            context.send_initial_metadata(said)
            context.set_trailing_metadata([("x-parting", "bye"), ("x-detail-bin", b"\x00\x01~")])
            # Whoever waits for the call to be counted may give it up then, and metadata cannot be
            # sent any more.
            self.count("calls")
            yield from method(self, requests, context)

        return handle

    def echo(self, requests, context):
        yield next(requests)

    def fail(self, requests, context):
        code, _, text = next(requests).decode().partition(" ")
        context.abort(code_of(int(code)), text)
        yield b""

    def late(self, requests, context):
        code = int(next(requests))
        yield b"first"
        context.abort(code_of(code), "after all")

    def deadline(self, requests, context):
        next(requests)
        left = context.time_remaining()
        # Python gives calls without a deadline a time that nobody waits for.
        is_endless = left is None or left > 10**6
        yield b"none" if is_endless else str(int(left * 1000)).encode()

    def hang(self, requests, context):
        # The call may be given up before its message has come.
        with contextlib.suppress(grpc.RpcError):
            next(requests, None)
        over = threading.Event()
        if context.add_callback(over.set):
            over.wait()
        self.count("cancelled")
        yield b""

    def numbers(self, requests, context):
        for number in range(int(next(requests))):
            yield str(number).encode()

    def collect(self, requests, context):
        messages = list(requests)
        size = sum(len(message) for message in messages)
        yield f"{len(messages)} messages, {size} bytes".encode()

    def chat(self, requests, context):
        yield from requests

    METHODS = {
        "Echo": echo,
        "Fail": fail,
        "Late": late,
        "Deadline": deadline,
        "Hang": hang,
        "Count": numbers,
        "Collect": collect,
        "Chat": chat,
    }


def code_of(number):
    return next(code for code in grpc.StatusCode if code.value[0] == number)


def obey(peer, servicer):
    for line in sys.stdin:
        match line.split():
            case ["refuse", code]:
                peer.refusal = int(code)
                answer = "ok"
            case ["health", status, *service]:
                value = health_pb2.HealthCheckResponse.ServingStatus.Value(status)
                servicer.set(service[0] if service else "", value)
                answer = "ok"
            case ["cancelled"]:
                answer = peer.cancelled
            case ["calls"]:
                answer = peer.calls
            case _:
                answer = "what?"
        print(answer, flush=True)
    os._exit(0)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("-id", default="python")
    arguments.add_argument("-cert")
    arguments.add_argument("-key")
    arguments.add_argument("-port", type=int, default=0)
    arguments = arguments.parse_args()
    peer = Peer(arguments.id)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=32),
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 << 20)],
    )
    methods = {
        name: grpc.stream_stream_rpc_method_handler(peer.serve(method))
        for name, method in Peer.METHODS.items()
    }
    handler = grpc.method_handlers_generic_handler("callboard.test.Peer", methods)
    server.add_generic_rpc_handlers((handler,))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    address = f"127.0.0.1:{arguments.port}"
    if arguments.cert:
        pair = (open(arguments.key, "rb").read(), open(arguments.cert, "rb").read())
        port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port(address)
    server.start()
    print("listening on", port, flush=True)
    obey(peer, servicer)


main()
