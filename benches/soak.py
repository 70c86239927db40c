"""Calls for an hour, many of which end badly; says what is left of them. Linux.

    cargo build --release --bins
    python3 benches/soak.py target/release 21600 6       # calls, calls a second: an hour

Of ten calls six hang up; one caller is never heard again after the answer, one never acknowledges it, one gives up (most often
after the answer, which comes at once), and of one only the agent is heard. Once a minute the agents' telephones die, with whatever they were in, and others take their place.
It fails unless every call that was let in has a record and no socket of a call is open, or when memory grows in the second half by more
than a tenth and 10 MB.
"""

import asyncio
import json
import pathlib
import random
import sys
import tempfile
import time

import calls

LEGS = {"hangs up": 6, "is never heard again": 1, "acknowledges nothing": 1, "gives up": 1, "says nothing": 1}


def sdp(port):
    return calls.SDP.format(port=port).replace("\n", "\r\n")


def packet(n):
    return bytes([0x80, 8]) + (n & 0xFFFF).to_bytes(2, "big") + (n * 160 & 0xFFFFFFFF).to_bytes(4, "big") + b"\0\0\0\7" + bytes([0xD5]) * 160


class Speaker(asyncio.DatagramProtocol):
    """A leg's media: says something to whoever it is told, until it is told to stop."""

    def connection_made(self, transport):
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]
        self.task = None

    def speak_to(self, port):
        async def speak():
            for n in range(1_000_000):
                self.transport.sendto(packet(n), ("127.0.0.1", port))
                await asyncio.sleep(0.02)

        self.task = asyncio.create_task(speak())

    def close(self):
        if self.task:
            self.task.cancel()
        self.transport.close()


async def speaker():
    return (await asyncio.get_running_loop().create_datagram_endpoint(Speaker, local_addr=("127.0.0.1", 0)))[1]


def media_port(message):
    return int(message.split("m=audio ", 1)[1].split(" ", 1)[0])


def header(message, name):
    return next((line.split(": ", 1)[1] for line in message.split("\r\n") if line.lower().startswith(name.lower() + ": ")), "")


class Agents(asyncio.DatagramProtocol):
    """Telephones that answer every call, and die when they are told."""

    def connection_made(self, transport):
        self.transport, self.lines = transport, {}

    def datagram_received(self, data, address):
        asyncio.create_task(self.take(data.decode(), address))

    async def take(self, message, address):
        method, call = message.split(" ", 1)[0], header(message, "Call-ID")
        if method not in ("INVITE", "BYE", "CANCEL", "OPTIONS"):
            return
        body = ""
        if method == "INVITE":
            if call not in self.lines:
                self.lines[call] = await speaker()
                # Every tenth says nothing: with a caller who is gone nobody is heard.
                if int(random.random() * 10):
                    self.lines[call].speak_to(media_port(message))
            body = sdp(self.lines[call].port)
        elif call in self.lines:
            self.lines.pop(call).close()
        vias = "".join(line + "\r\n" for line in message.split("\r\n") if line.startswith("Via:"))
        to = header(message, "To")
        to = to if "tag=" in to else to + ";tag=agent"
        answer = (
            f"SIP/2.0 200 OK\r\n{vias}From: {header(message, 'From')}\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {header(message, 'CSeq')}\r\n"
            f"Contact: <sip:agent@127.0.0.1:{calls.AGENT}>\r\n{'Content-Type: application/sdp' + chr(13) + chr(10) if body else ''}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self.transport.sendto(answer.encode(), address)

    def die(self):
        for line in self.lines.values():
            line.close()
        self.lines = {}


class Caller(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport, self.answers = transport, asyncio.Queue()
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data, address):
        # A port may have been a leg's a moment ago, and be spoken to.
        if data[:1] == b"\x80":
            return
        message = data.decode()
        if message.startswith("BYE "):
            vias = "".join(line + "\r\n" for line in message.split("\r\n") if line.startswith("Via:"))
            names = ("From", "To", "Call-ID", "CSeq")
            copied = "".join(f"{name}: {header(message, name)}\r\n" for name in names)
            self.transport.sendto(f"SIP/2.0 200 OK\r\n{vias}{copied}Content-Length: 0\r\n\r\n".encode(), address)
        self.answers.put_nowait(message)

    def send(self, method, number, to_tag, body=""):
        kind = "Content-Type: application/sdp\r\n" if body else ""
        branch = "INVITE" if method == "CANCEL" else method
        message = (
            f"{method} sip:08049501234@127.0.0.1:{calls.SIP} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK-{branch}-{self.port}-{number}\r\n"
            f"From: <sip:+919812345678@127.0.0.1>;tag=c\r\nTo: <sip:08049501234@127.0.0.1>{to_tag}\r\nCall-ID: soak-{self.port}-{number}\r\n"
            f"CSeq: {2 if method == 'BYE' else 1} {method}\r\nContact: <sip:caller@127.0.0.1:{self.port}>\r\nMax-Forwards: 70\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self.transport.sendto(message.encode(), ("127.0.0.1", calls.SIP))

    async def status(self, wanted):
        """The answer with a final status, or a provisional one that is wanted."""
        while True:
            message = await asyncio.wait_for(self.answers.get(), 10)
            status = message.split(" ", 2)[1]
            if message.startswith("SIP/2.0") and (status[0] != "1" or status == wanted):
                return status, message


async def call(number, how, ended):
    _, caller = await asyncio.get_running_loop().create_datagram_endpoint(Caller, local_addr=("127.0.0.1", 0))
    line = await speaker()
    try:
        caller.send("INVITE", number, "", sdp(line.port))
        if how == "gives up":
            await caller.status("180")
            caller.send("CANCEL", number, "")
        status, message = await caller.status("")
        if how == "gives up":
            # The answer may have been quicker.
            while "INVITE" not in header(message, "CSeq"):
                status, message = await caller.status("")
        ended[status] = ended.get(status, 0) + 1
        tag = header(message, "To").split(">", 1)[1]
        if status != "200":
            return caller.send("ACK", number, tag)
        if how == "acknowledges nothing":
            return await asyncio.sleep(40)
        caller.send("ACK", number, tag)
        if how == "is never heard again":
            return
        if how == "hangs up":
            line.speak_to(media_port(message))
        await asyncio.sleep(2 + random.random() * 8)
        caller.send("BYE", number, tag)
        await caller.status("")
    except TimeoutError:
        ended["no answer"] = ended.get("no answer", 0) + 1
    finally:
        line.close()
        caller.transport.close()


def open_sockets(process):
    links = pathlib.Path(f"/proc/{process.pid}/fd").iterdir()
    return sum(1 for link in links if "socket" in str(link.readlink()))


def rss_mb(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:", 1)[1].split()[0]) / 1024


def records(ask):
    found, after = [], ""
    while True:
        page = json.loads(ask(f"/v1/accounts/acme/records/calls?limit=1000{after}"))
        found += page["calls"]
        if not page.get("next_after"):
            return found
        after = f"&after={page['next_after']}"


async def settle(process, base, patience_s):
    """Waits until no socket of a call is left, or it is clear that some stay."""
    for _ in range(patience_s):
        if open_sockets(process) <= base:
            return
        await asyncio.sleep(1)


async def soak(process, ask, count, rate):
    _, agents = await asyncio.get_running_loop().create_datagram_endpoint(Agents, local_addr=("127.0.0.1", calls.AGENT))
    base, ended, running = open_sockets(process), {}, set()
    kinds = [how for how, share in LEGS.items() for _ in range(share)]
    began, died, memory = time.monotonic(), time.monotonic(), []
    for number in range(count):
        running.add(task := asyncio.create_task(call(number, kinds[number % len(kinds)], ended)))
        task.add_done_callback(running.discard)
        if time.monotonic() - died > 60:
            agents.die()
            died = time.monotonic()
        if number % (count // 10) == 0:
            memory.append(rss_mb(process))
            print(f"{number} calls: {memory[-1]:.0f} MB, {open_sockets(process) - base} sockets", flush=True)
        await asyncio.sleep(max(0, began + (number + 1) / rate - time.monotonic()))
    took = time.monotonic() - began
    memory.append(rss_mb(process))
    await asyncio.gather(*running)
    agents.die()
    # Who is never heard again is waited for: 60 s; and then the records are made.
    await settle(process, base, 120)
    await asyncio.sleep(5)
    found = records(ask)
    left = open_sockets(process) - base
    by_status = {}
    for record in found:
        by_status[record["status"]] = by_status.get(record["status"], 0) + 1
    print(f"{count} calls in {took:.0f} s, answered by status: {ended}")
    print(f"records: {len(found)} {by_status}; sockets left: {left}; memory after each tenth, MB: {[round(mb) for mb in memory[1:]]}")
    let_in = sum(n for status, n in ended.items() if status in ("200", "487"))
    # A call that was given up may have been over before its status came.
    wrong = [
        f"{let_in} calls were let in, {len(found)} have records" if len(found) < let_in else None,
        f"{left} sockets are left" if left > 0 else None,
        "memory grows" if memory[-1] > memory[5] * 1.1 + 10 else None,
    ]
    if wrong := [what for what in wrong if what]:
        sys.exit("; ".join(wrong))


def main():
    bin_, count, rate = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2]), float(sys.argv[3])
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        process, ask = calls.vault(bin_, folder, 1_000)
        try:
            asyncio.run(soak(process, ask, count, rate))
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
