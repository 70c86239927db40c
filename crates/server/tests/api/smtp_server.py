"""A mail server for tests: STARTTLS, a password, and answers by recipient. One JSON line for each mail it took.

Arguments: port, certificate, key, file, and a file that names a process to kill once a mail for `kill@` was taken.
"""

import email
import email.policy
import json
import os
import signal
import ssl
import sys
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

port, certificate, key, out, victim = sys.argv[1:6]
refusals = {"later@example.in": 1}


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address == "never@example.in":
            return "550 5.1.1 no such mailbox"
        if refusals.get(address, 0) > 0:
            refusals[address] -= 1
            return "451 4.7.1 greylisted"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        seen = {
            "from": envelope.mail_from, "rcpt": envelope.rcpt_tos, "id": mail["Message-ID"], "to": mail["To"],
            "subject": mail["Subject"], "headers": sorted(mail.keys()), "text": mail.get_content(), "tls": session.ssl is not None,
        }
        with open(out, "a") as file:
            file.write(json.dumps(seen) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if "kill@example.in" in envelope.rcpt_tos and os.path.exists(victim):
            pid = int(open(victim).read())
            os.remove(victim)
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)
        return "250 OK"


def check(server, session, envelope, mechanism, data):
    good = data.login == b"vault" and data.password == b"a password"
    # The server itself answers 235 or 535.
    return AuthResult(success=good, handled=False)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
controller = Controller(
    Handler(), hostname="127.0.0.1", port=int(port), tls_context=context, require_starttls=True, auth_required=True,
    auth_require_tls=True, authenticator=check,
)
controller.start()
print("ready", flush=True)
while True:
    time.sleep(60)
