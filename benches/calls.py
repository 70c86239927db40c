"""Holds calls, both legs relayed, recorded and encrypted, and says what a core carries. Linux; needs sipp, espeak-ng, taskset.

    cargo build --release --bins --example media_load
    python3 benches/calls.py target/release 50 100 200       # calls at once, step by step

The vault has core 0 for itself, everything else core 1. Each step holds its calls for `HOLD` seconds (20) and prints the CPU time of the
vault in that window, the delay from end to end (p99 of the worst second) and packets lost. With rtpengine (Debian: rtpengine-daemon), it
relays the same calls on the same core afterwards, in userspace, without recording.
"""

import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HOLD = int(os.environ.get("HOLD", "20"))
SIP, AGENT, CALLER, CALLERS, AGENTS = 15060, 15070, 15080, 15092, 15094
NG = 15098
TICKS = os.sysconf("SC_CLK_TCK")

SDP = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio {port} RTP/AVP 8
a=rtpmap:8 PCMA/8000
"""
FROM = "From: <sip:+919812345678@127.0.0.1:15080>;tag=c[call_number]"
CALL = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="caller">
  <send retrans="500"><![CDATA[
INVITE sip:08049501234@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
{from_}
To: <sip:08049501234@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:caller@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

{sdp}]]></send>
  <recv response="100" optional="true"></recv>
  <recv response="180" optional="true"></recv>
  <recv response="200" rrs="true"></recv>
  <send><![CDATA[
ACK sip:08049501234@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
{from_}
To: <sip:08049501234@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
  <pause/>
  <send retrans="500"><![CDATA[
BYE sip:08049501234@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
{from_}
To: <sip:08049501234@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
  <recv response="200"></recv>
</scenario>
"""
ANSWER = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="agent">
  <recv request="INVITE"></recv>
  <send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=a[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:agent@[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

{sdp}]]></send>
  <recv request="ACK"></recv>
  <recv request="BYE" timeout="600000"></recv>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>
"""


def on(core, *command, **options):
    return subprocess.Popen(["taskset", "-c", str(core), *map(str, command)], **options)


def cpu_s(process):
    """User and system time of the process, in seconds."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Media:
    """Both ends."""

    def __init__(self, bin_):
        self.process = on(1, bin_ / "examples/media_load", CALLERS, AGENTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, line):
        print(line, file=self.process.stdin, flush=True)

    def second(self):
        return json.loads(self.process.stdout.readline())

    def measure(self, who, calls, process):
        """The window: every second of it counts."""
        for _ in range(60):
            last = self.second()
            if last["legs"] == [calls, calls] and last["received"] > 0:
                break
        else:
            sys.exit(f"{who}: {calls} calls do not come up: {last}")
        for _ in range(3):
            self.second()
        spent, began = cpu_s(process), time.monotonic()
        seconds = [self.second() for _ in range(HOLD)]
        spent, took = cpu_s(process) - spent, time.monotonic() - began
        received, lost = (sum(second[key] for second in seconds) for key in ("received", "lost"))
        p99 = max(second["p99_us"] or 0 for second in seconds) / 1_000
        core = spent / took
        print(
            f"{who:10} {calls:5} calls  core {core:5.1%}  {spent / max(received, 1) * 1e6:5.1f} us a packet"
            f"  {received / took:7.0f} of {calls * 100} packets/s  lost {lost}  p99 of the worst second {p99:.1f} ms",
            flush=True,
        )

    def close(self):
        self.process.kill()
        self.process.wait()


def vault(bin_, folder, most):
    folder = pathlib.Path(folder)
    (folder / "callvault.toml").write_text(
        f"""data_dir = "vault"
[regions.in]
listen = "127.0.0.1:15443"
[regions.in.voice]
listen = "127.0.0.1:{SIP}"
ports = [20000, 59998]
[[regions.in.voice.trunks]]
account = "acme"
peers = ["127.0.0.1"]
proxy = "127.0.0.1:{AGENT}"
most_calls = {most}
"""
    )
    environment = os.environ | {"CALLVAULT_PASSPHRASE": "load", "CALLVAULT_LOG": "warn"}
    run = dict(cwd=folder, env=environment)
    binary = bin_ / "callvault"
    subprocess.run([binary, "accounts", "create", "acme", "--region", "in", "--plan", "growth", "--country", "IN"], check=True, stdout=subprocess.DEVNULL, **run)
    token = json.loads(subprocess.run([binary, "tokens", "create", "acme", "--json"], check=True, stdout=subprocess.PIPE, **run).stdout)
    process = on(0, binary, "serve", stdout=subprocess.DEVNULL, **run)

    def ask(path, *data):
        return subprocess.run(
            ["curl", "-ksf", "--retry", "60", "--retry-delay", "1", "--retry-connrefused", "-u", f"{token['key']}:{token['secret']}",
             f"https://127.0.0.1:15443{path}", *data],
            check=True, stdout=subprocess.PIPE,
        ).stdout

    flow = {"name": "Load", "start": "greet", "applets": {
        "greet": {"kind": "greeting", "say": "Recorded.", "next": "agent"},
        "agent": {"kind": "connect", "numbers": ["agent"], "record": True, "channels": "dual"}}}
    flow = json.loads(ask("/v1/accounts/acme/flows", "-H", "content-type: application/json", "-d", json.dumps(flow)))["id"]
    ask("/v2_beta/accounts/acme/incomingphonenumbers", "-d", "PhoneNumber=08049501234",
        "-d", f"VoiceUrl=https://v.example.in/acme/exoml/start_voice/{flow}")
    return process, ask


def sipp(folder, name, scenario, *arguments):
    path = pathlib.Path(folder) / f"{name}.xml"
    path.write_text(scenario)
    return on(1, "sipp", "-sf", path, "-i", "127.0.0.1", "-nostdin", *arguments, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def bencode(value):
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    value = value.encode()
    return str(len(value)).encode() + b":" + value


def relay(calls, bin_):
    """rtpengine, in userspace, with one thread."""
    engine = on(0, "rtpengine", "--table=-1", "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{NG}", "--port-min=20000", "--port-max=59998",
                "--num-threads=1", "--foreground", "--log-level=3", stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    media, control = Media(bin_), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    control.settimeout(5)
    time.sleep(2)

    def ng(**body):
        control.sendto(f"{random.random()} ".encode() + bencode(body), ("127.0.0.1", NG))
        answer = control.recv(65_536).decode()
        return answer.split("m=audio ")[1].split(" ")[0]

    try:
        for n in range(calls):
            call = {"call-id": f"call-{n}", "from-tag": "c"}
            sdp = {"sdp": SDP.format(port=CALLERS).replace("\n", "\r\n")}
            media.tell("agents " + ng(command="offer", **call, **sdp))
            sdp = {"sdp": SDP.format(port=AGENTS).replace("\n", "\r\n")}
            media.tell("callers " + ng(command="answer", **call, **{"to-tag": "a"}, **sdp))
        media.measure("rtpengine", calls, engine)
    finally:
        media.close()
        engine.kill()
        engine.wait()


def main():
    bin_, steps = pathlib.Path(sys.argv[1]).absolute(), [int(step) for step in sys.argv[2:]]
    for calls in steps:
        with tempfile.TemporaryDirectory() as folder:
            process, ask = vault(bin_, folder, calls)
            media = Media(bin_)
            agents = sipp(folder, "agent", ANSWER.format(sdp=SDP.format(port=AGENTS)), "-p", AGENT)
            stay = (HOLD + 20 + calls // 20) * 1_000
            caller = sipp(folder, "caller", CALL.format(from_=FROM, sdp=SDP.format(port=CALLERS)), "-p", CALLER, "-r", 20, "-l", calls, "-m", calls,
                          "-d", stay, f"127.0.0.1:{SIP}")
            try:
                media.measure("callvault", calls, process)
                if caller.wait(timeout=120) != 0:
                    print("           SIPp: not every call ended as it should")
                # What was recorded is there, of every call.
                for _ in range(60):
                    found = json.loads(ask("/v1/accounts/acme/records/recordings?limit=1000"))["recordings"]
                    if len(found) == calls:
                        break
                    time.sleep(1)
                print(f"           {len(found)} recordings")
            finally:
                media.close()
                for other in (caller, agents, process):
                    other.kill()
                    other.wait()
        if shutil.which("rtpengine"):
            relay(calls, bin_)
        else:
            print("rtpengine is not here: not compared")


if __name__ == "__main__":
    main()
