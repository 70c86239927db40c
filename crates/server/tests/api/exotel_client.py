"""The `exotel` package from PyPI, unchanged, against a door. Prints what it saw as JSON."""

import json
import sys
import time

from exotel import Exotel

base, account, secret = sys.argv[1:4]
client = Exotel(account, secret, baseurl=base)


def wait_for(read, done):
    for _ in range(100):
        answer = read()
        if done(answer.json()):
            break
        time.sleep(0.05)
    return answer


def show(answer):
    return {"status": answer.status_code, "kind": answer.headers["content-type"], "body": answer.json()}


call = client.call_number("09900012345", "08049501234", "09900054321", custom_data="order 7")
call_sid = call.json()["Call"]["Sid"]
details = wait_for(lambda: client.call_details(call_sid), lambda seen: seen["Call"]["EndTime"])
flow = client.call_flow("09900012345", "08049501234", 42)
sms = client.sms("VM-TEST", "09900012345", "Your code is 1234")
sms_sid = sms.json()["SMSMessage"]["Sid"]
sent = wait_for(lambda: client.sms_details(sms_sid), lambda seen: seen["SMSMessage"]["Status"] == "sent")
missing = client.call_details("0" * 32)
nobody = Exotel(account, "0" * 64, baseurl=base).call_details(call_sid)
bad = client.sms("VM-TEST", "not a number!", "x")
seen = {
    "call": call,
    "details": details,
    "flow": flow,
    "sms": sms,
    "sent": sent,
    "missing": missing,
    "nobody": nobody,
    "bad": bad,
}
print(json.dumps({name: show(answer) for name, answer in seen.items()}))
