"""What every client must be able to do, told with python-socketio: the steps of `../story.mjs`.

    story.py sync|async URL polling|websocket|upgrade default|msgpack

Prints `cut` when the connection is to be lost: whoever runs it cuts it then. Ends with 0 if all went well.
"""

import asyncio
import functools
import inspect
import sys
import time
import uuid

import engineio.payload
import socketio

# Of an answer to a poll that has more packets this client takes none; its documentation says to raise it.
engineio.payload.Payload.max_decode_packets = 500

WAYS = {
    "polling": (["polling"], "polling"),
    "websocket": (["websocket"], "websocket"),
    "upgrade": (None, "websocket"),
}
TEXT = 'wörter "und" ключ 😀 \u2028 \\ \n & = ?'
# Every type that JSON has, and bytes at any depth.
EVERYTHING = [
    0,
    -1,
    1.5,
    2**53 - 1,
    "",
    TEXT,
    True,
    False,
    None,
    [],
    {},
    [1, [2, [None, {"three": [3]}]]],
    {"": 0, TEXT: TEXT, "list": [True, {"deep": {"deeper": None}}]},
    b"\x00\x01\x1e\x7f\x80\xff",
    {"bytes": [b"", {"more": TEXT.encode()}], "beside": "text", "large": b"abc" * 25_000},
]
# From a lost connection to the next attempt, in seconds.
RECONNECTION_DELAY = 0.02


async def until(what, condition, within=10):
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(0.01)


class Client:
    """A client of either kind: what it hears is kept, what it is told to do is awaited."""

    living = []

    def __init__(self, story, namespaces=("/",), url=None):
        kind = socketio.Client if story.kind == "sync" else socketio.AsyncClient
        self.client = kind(
            reconnection_delay=RECONNECTION_DELAY, randomization_factor=0, serializer=story.serializer
        )
        self.story, self.namespaces, self.url = story, list(namespaces), url or story.url
        self.heard = {namespace: [] for namespace in self.namespaces}
        for namespace in self.namespaces:
            for event in ("connect", "connect_error", "disconnect"):
                self.client.on(event, self.keeper(namespace, event), namespace=namespace)
            self.client.on("question", self.answer, namespace=namespace)
            self.client.on("*", functools.partial(self.keep, namespace), namespace=namespace)
        Client.living.append(self)

    def keeper(self, namespace, event):
        return lambda *args: self.keep(namespace, event, *args)

    def keep(self, namespace, event, *args):
        self.heard[namespace].append((event, list(args)))

    @staticmethod
    def answer(question):
        return {**question, "number": question["number"] * 2, "bytes": question["bytes"] * 2}

    def events(self, name, namespace="/"):
        return [args for event, args in self.heard[namespace] if event == name]

    async def do(self, method, *args, **kwargs):
        method = getattr(self.client, method)
        if inspect.iscoroutinefunction(method):
            return await method(*args, **kwargs)
        return await asyncio.to_thread(method, *args, **kwargs)

    async def connect(self, auth=None, wait=True):
        transports, end = self.story.way
        await self.do(
            "connect", self.url, auth=auth, transports=transports, namespaces=self.namespaces, wait=wait, wait_timeout=10
        )
        await until("all namespaces answer", lambda: all(self.heard.values()))
        assert not wait or self.client.transport() == end, self.client.transport()
        return self

    async def emit(self, event, *args, namespace="/"):
        await self.do("emit", event, tuple(args), namespace=namespace)

    async def call(self, event, *args, namespace="/"):
        answer = await self.do("call", event, tuple(args), namespace=namespace, timeout=10)
        return [] if answer is None else list(answer) if isinstance(answer, tuple) else [answer]

    async def close(self):
        await self.do("disconnect")


class Story:
    def __init__(self, kind, url, way, serializer):
        self.kind, self.url, self.way, self.serializer = kind, url, WAYS[way], serializer

    async def connected(self, namespaces=("/",), auth=None):
        return await Client(self, namespaces).connect(auth)

    async def tell(self):
        try:
            await self.connects_with_auth()
            await self.is_refused()
            await self.exchanges_every_type()
            await self.answers_and_is_answered()
            await self.shares_rooms()
            await self.joins_namespaces()
            await self.stays_away_when_disconnected()
            await self.comes_back_after_loss()
        finally:
            for client in Client.living:
                await client.close()

    async def connects_with_auth(self):
        auth = {"token": "secret", "more": TEXT}
        client = await self.connected(["/", "/custom"], auth)
        for namespace in client.namespaces:
            await until("the server says what it was given", lambda: client.events("auth", namespace))
            assert client.events("auth", namespace) == [[auth]], client.heard

    async def is_refused(self):
        words = {"message": "not authorized", "data": {"code": 401, "hint": ["ask", None]}}
        client = Client(self)
        try:
            await client.connect({"token": "wrong"})
            raise AssertionError("was not refused")
        except socketio.exceptions.ConnectionError:
            pass
        assert client.events("connect_error") == [[words]], client.heard
        # One namespace is refused, the others of the connection are not.
        client = await Client(self, ["/", "/nowhere", "/dynamic-x"]).connect(wait=False)
        for namespace in ["/nowhere", "/dynamic-x"]:
            assert client.events("connect_error", namespace) == [[{"message": "Invalid namespace"}]], client.heard
        assert await client.call("message-with-ack", "still here") == ["still here"]

    async def exchanges_every_type(self):
        client = await self.connected()
        await client.emit("message", *EVERYTHING)
        for value in EVERYTHING:
            await client.emit("message", value)
        await client.emit("message")
        expected = [EVERYTHING, *([value] for value in EVERYTHING), []]
        await until("every message comes back", lambda: len(client.events("message-back")) == len(expected))
        # The threads of a client may run its handlers in any order.
        heard = client.events("message-back")
        assert all(message in heard for message in expected), heard

    async def answers_and_is_answered(self):
        client = await self.connected()
        assert await client.call("message-with-ack", *EVERYTHING) == EVERYTHING
        assert await client.call("message-with-ack") == []
        answers = await asyncio.gather(*(client.call("message-with-ack", n) for n in range(20)))
        assert answers == [[n] for n in range(20)], answers
        # The server asks back, and the answer to that is its answer.
        question = {"text": TEXT, "number": 1.5, "bytes": b"\x01\x02\x03"}
        assert await client.call("ask", question) == [Client.answer(question)]

    async def shares_rooms(self):
        room = f"room {uuid.uuid4()}"
        actor, member, stranger = clients = [await self.connected() for _ in range(3)]
        for client in (actor, member):
            await client.call("join", room)
        await actor.emit("say", room, 1)
        await stranger.emit("say", room, 2, b"bytes")
        await until("the members hear what is said", lambda: [len(c.events("say")) for c in clients] == [1, 2, 0])
        await member.call("leave", room)
        await stranger.emit("say", room, 3)
        await until("who stayed hears on", lambda: len(actor.events("say")) == 2)
        for client in clients:
            await client.call("message-with-ack")
        said = [sorted((args[1:] for args in client.events("say")), key=lambda rest: rest[0]) for client in clients]
        assert said == [[[2, b"bytes"], [3]], [[1], [2, b"bytes"]], []], said
        await actor.emit("announce", room)
        await actor.emit("shout", room)
        mine = lambda event: [client.events(event).count([room]) for client in clients]
        await until("all hear an announcement, the others a shout", lambda: (mine("announce"), mine("shout")) == ([1] * 3, [0, 1, 1]))

    async def joins_namespaces(self):
        unique = str(uuid.uuid4())
        client = await self.connected(["/", "/custom", "/dynamic-1", "/dynamic-2"])
        await client.emit("announce", unique, namespace="/custom")
        await client.emit("announce", unique, namespace="/dynamic-1")
        await client.emit("tell the family", unique, namespace="/dynamic-1")
        heard = lambda event: [client.events(event, namespace).count([unique]) for namespace in client.namespaces]
        await until("each namespace hears its own", lambda: heard("announce") == [0, 1, 1, 0])
        await until("the children hear what their parent is told", lambda: heard("family") == [0, 0, 1, 1])
        for namespace in client.namespaces:
            assert await client.call("message-with-ack", unique, namespace=namespace) == [unique]

    async def stays_away_when_disconnected(self):
        kicked, thrown_out, witness = [await self.connected() for _ in range(2)] + [await self.through_proxy()]
        await kicked.emit("kick")
        await thrown_out.emit("kick out")
        await until("both are disconnected", lambda: kicked.events("disconnect") and thrown_out.events("disconnect"))
        reasons = [client.events("disconnect")[0][0] for client in (kicked, thrown_out)]
        assert reasons == [kicked.client.reason.SERVER_DISCONNECT] * 2, reasons
        # Another client loses its connection later, and is back first: the two would have been, if they tried.
        for _ in range(3):
            await self.lose(witness)
        assert not kicked.client.connected and not thrown_out.client.connected

    async def comes_back_after_loss(self):
        client = await self.through_proxy(["/", "/custom"])
        ids = [client.client.get_sid(namespace) for namespace in client.namespaces]
        await self.lose(client)
        for namespace, before in zip(client.namespaces, ids):
            assert client.client.get_sid(namespace) != before, "the sockets are new ones"
            assert await client.call("message-with-ack", "back", namespace=namespace) == ["back"]

    async def through_proxy(self, namespaces=("/",)):
        return await Client(self, namespaces, url=sys.argv[5]).connect()

    async def lose(self, client):
        """Has the connection cut, and waits until the client is back."""
        lost = len(client.events("disconnect"))
        back = len(client.events("connect"))
        deadline = time.monotonic() + 10
        # Between two polls there is no connection to cut.
        while len(client.events("disconnect")) == lost:
            assert time.monotonic() < deadline, "the client does not notice that its connection is lost"
            print("cut", flush=True)
            await asyncio.sleep(0.1)
        await until("the client comes back", lambda: len(client.events("connect")) > back and client.client.connected)


asyncio.run(Story(*sys.argv[1:5]).tell())
