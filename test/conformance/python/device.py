"""A device as another program would write it: grpcio and the interface's
descriptors, nothing of ours and nothing generated.

The server's address, the program that prints tokens and the descriptors come
in the environment (see ../conformance_test.go).
"""

import os
import queue
import subprocess
import threading

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

ADDRESS = os.environ["PORCHLIGHT_GRPC"]
PROGRAM = os.environ["PORCHLIGHT_PROGRAM"]
SERVICE = "isonline.v1.IsOnlineService"

# No answer in this many seconds is a failure; it bounds waiting, it measures
# nothing.
PATIENCE = 10


def _load_pool():
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet()
    with open(os.environ["PORCHLIGHT_DESCRIPTORS"], "rb") as f:
        files.ParseFromString(f.read())
    for one in files.file:
        pool.Add(one) if hasattr(pool, "Add") else pool.AddSerializedFile(one.SerializeToString())
    return pool


POOL = _load_pool()


def message_class(name):
    """The class of a message, with the old and the new protobuf library."""
    descriptor = POOL.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(POOL).GetPrototype(descriptor)


def someone(name):
    """A user id that no other test uses."""
    someone.count = getattr(someone, "count", 0) + 1
    return f"python-{name}-{os.getpid()}-{someone.count}"


def token_for(user):
    """The access token of a user, as the command line prints it."""
    out = subprocess.run(
        [PROGRAM, "token", "--app", "demo", "--user", user], check=True, capture_output=True, text=True
    )
    return out.stdout.strip()


class Refused(Exception):
    """A gRPC error, with the reason its details give."""

    def __init__(self, error):
        super().__init__(f"{error.code().name}: {error.details()}")
        self.code = error.code().name
        self.reason = self.domain = None
        packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
        if packed is None:
            return
        for detail in message_class("google.rpc.Status").FromString(packed).details:
            if detail.type_url.endswith("/google.rpc.ErrorInfo"):
                info = message_class("google.rpc.ErrorInfo").FromString(detail.value)
                self.reason, self.domain = info.reason, info.domain


class Device:
    """One session of one user, over a connection of its own."""

    def __init__(self, user, token=None):
        self.user = user
        self.channel = grpc.insecure_channel(ADDRESS, options=[("grpc.use_local_subchannel_pool", 1)])
        token = token_for(user) if token is None else token
        self.metadata = [("authorization", "Bearer " + token)] if token else []
        self.stream = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.stream:
            self.stream.cancel()
        self.channel.close()

    def call(self, method, **fields):
        """Calls a unary method; raises Refused."""
        request, stub = self._prepare(method, fields, self.channel.unary_unary)
        try:
            return stub(request, metadata=self.metadata, timeout=PATIENCE)
        except grpc.RpcError as error:
            raise Refused(error) from None

    def on(self, method, **fields):
        """The same with the session's token."""
        return self.call(method, session_token=self.token, **fields)

    def make(self, **client):
        """Makes the session; it is invisible until connect."""
        self.made = self.call("MakeIsOnlineSession", client={"platform": "python", "locale": "en_US", **client})
        self.token = self.made.session_token
        return self

    def connect(self, **fields):
        """Opens the stream and waits for its first event."""
        request, stub = self._prepare(
            "ConnectToIsOnlineSession", {"session_token": self.token, **fields}, self.channel.unary_stream
        )
        self.stream = Stream(stub(request, metadata=self.metadata))
        self.connected = self.stream.next("connected")
        return self

    def _prepare(self, method, fields, kind):
        descriptor = POOL.FindServiceByName(SERVICE).FindMethodByName(method)
        request = json_format.ParseDict(fields, message_class(descriptor.input_type.full_name)())
        answer = message_class(descriptor.output_type.full_name)
        stub = kind(
            f"/{SERVICE}/{method}",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return request, stub


def online(user, initial=None, **client):
    """A session that is made and connected."""
    device = Device(user).make(**client)
    return device.connect(initial=initial) if initial else device.connect()


class Stream:
    """The events of one stream, in order, as something a test can wait for."""

    def __init__(self, raw):
        self.raw = raw
        self.sequence = 0
        self.events = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for event in self.raw:
                self.events.put(event)
            self.events.put(None)
        except grpc.RpcError as error:
            self.events.put(error)

    def cancel(self):
        """Ends the call from this side, without a word to the session."""
        self.raw.cancel()

    def next(self, kind):
        """The next event, which must be of the given kind; its content."""
        while True:
            event = self._take(kind)
            name = event.WhichOneof("event")
            if self.sequence and event.sequence != self.sequence + 1:
                raise AssertionError(f"sequence {event.sequence} follows {self.sequence}")
            self.sequence = event.sequence
            if name == kind:
                return getattr(event, kind)
            if name != "keep_alive":
                raise AssertionError(f"got {event}, want {kind}")

    def end(self):
        """Waits for the stream to end: None when it ended OK, else Refused."""
        event = self.events.get(timeout=PATIENCE)
        if event is not None and not isinstance(event, grpc.RpcError):
            raise AssertionError(f"got {event}, want the end of the stream")
        return None if event is None else Refused(event)

    def _take(self, kind):
        try:
            event = self.events.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"no {kind} within {PATIENCE} s") from None
        if event is None:
            raise AssertionError(f"the stream ended OK, want {kind}")
        if isinstance(event, grpc.RpcError):
            raise Refused(event)
        return event
