#!/usr/bin/env python3
"""Checks Callvault certificates and copies of a transparency log, offline.

Written from docs/formats.md alone; needs Python 3.11 and the package `cryptography`.

    callvault_verify.py --key KEYFILE CERTIFICATE...
    callvault_verify.py --key KEYFILE --log DIR [--since CHECKPOINT] CERTIFICATE...

Prints one line per certificate and ends with 0 if all are good, 1 if anything is refused, 2 for wrong usage.
"""

import argparse
import base64
import binascii
import hashlib
import json
import sys
import unicodedata
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Refused(Exception):
    """Something that does not hold, with the reason."""


def need(condition, reason):
    if not condition:
        raise Refused(reason)


# --- Plain encodings -------------------------------------------------------------------------------------------------


def base64_bytes(text, what):
    """RFC 4648, section 4, in its one canonical form."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"{what}: not base64") from error
    need(base64.b64encode(raw).decode() == text, f"{what}: base64 is not canonical")
    return raw


def decimal(text, what):
    digits = text != "" and all(c in "0123456789" for c in text)
    need(digits and (text == "0" or text[0] != "0"), f"{what}: not a decimal number")
    value = int(text)
    need(value < 1 << 64, f"{what}: too large")
    return value


def read_text(path):
    try:
        return Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise Refused(f"cannot read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Refused("not UTF-8") from error


# --- C2SP signed-note ------------------------------------------------------------------------------------------------


class VerifierKey:
    """`name+hash+base64`, the public key of a log."""

    def __init__(self, text):
        parts = text.split("+", 2)
        need(len(parts) == 3, "key: not name+hash+base64")
        self.name = parts[0]
        named = self.name != "" and not any(c.isspace() or unicodedata.category(c) == "Cc" for c in self.name)
        need(named, "key: bad name")
        raw = base64_bytes(parts[2], "key")
        need(len(raw) == 33 and raw[0] == 1, "key: not Ed25519")
        self.id = hashlib.sha256(self.name.encode() + b"\n" + raw).digest()[:4]
        need(self.id.hex() == parts[1], "key: hash does not fit")
        self.public = Ed25519PublicKey.from_public_bytes(raw[1:])

    def open_note(self, note, what):
        """The text of a note that this key signed and nobody else."""
        need(not any(ord(c) < 0x20 and c != "\n" for c in note), f"{what}: control characters")
        at = note.rfind("\n\n")
        need(at >= 0, f"{what}: no signature")
        text, signatures = note[: at + 1], note[at + 2 :]
        need(signatures.endswith("\n"), f"{what}: malformed signature")
        lines = signatures[:-1].split("\n")
        need(len(lines) == 1, f"{what}: more than one signature")
        start = f"\u2014 {self.name} "
        need(lines[0].startswith(start), f"{what}: not signed by this key")
        raw = base64_bytes(lines[0][len(start) :], f"{what} signature")
        need(raw[:4] == self.id, f"{what}: not signed by this key")
        need(len(raw) == 68, f"{what}: malformed signature")
        try:
            self.public.verify(raw[4:], text.encode())
        except InvalidSignature as error:
            raise Refused(f"{what}: the signature is wrong") from error
        return text


# --- C2SP tlog-checkpoint and RFC 6962 -------------------------------------------------------------------------------


def open_checkpoint(note, key, what="checkpoint"):
    """The size and root of a signed checkpoint of the key's log."""
    lines = key.open_note(note, what)[:-1].split("\n")
    need(len(lines) == 3, f"{what}: malformed")
    need(lines[0] == key.name, f"{what}: of another log")
    root = base64_bytes(lines[2], what)
    need(len(root) == 32, f"{what}: root is not 32 bytes")
    return decimal(lines[1], what), root


def leaf_hash(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def tree_root(leaves):
    """MTH of RFC 6962, section 2.1: complete subtrees are merged as soon as two of a height stand side by side."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    stack = []
    for leaf in leaves:
        height = 0
        while stack and stack[-1][0] == height:
            leaf = node_hash(stack.pop()[1], leaf)
            height += 1
        stack.append((height, leaf))
    root = stack.pop()[1]
    while stack:
        root = node_hash(stack.pop()[1], root)
    return root


def root_of_proof(entry, index, size, proof):
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2)."""
    need(index < size, "proof: index outside the log")
    node, last, value = index, size - 1, leaf_hash(entry)
    for sibling in proof:
        need(last > 0, "proof: too long")
        if node & 1 or node == last:
            value = node_hash(sibling, value)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            value = node_hash(value, sibling)
        node >>= 1
        last >>= 1
    need(last == 0, "proof: too short")
    return value


def parse_proof(text):
    """C2SP tlog-proof, without extra data."""
    head, blank, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    need(blank and len(lines) >= 2 and lines[0] == "c2sp.org/tlog-proof@v1", "proof: malformed")
    need(lines[1].startswith("index "), "proof: malformed")
    index = decimal(lines[1][len("index ") :], "proof index")
    hashes = [base64_bytes(line, "proof") for line in lines[2:]]
    need(len(hashes) <= 63 and all(len(value) == 32 for value in hashes), "proof: malformed")
    return index, hashes, checkpoint


# --- Certificates ----------------------------------------------------------------------------------------------------


def open_certificate(text, key):
    """Checks form, signatures and inclusion; returns what the certificate holds."""
    body = key.open_note(text, "certificate")
    lines = body[:-1].split("\n")
    need(len(lines) == 4 and lines[0] == "callvault.certificate/v1" and lines[1] != "", "certificate: malformed")
    need(lines[2].startswith("leaf ") and lines[3].startswith("proof "), "certificate: malformed")
    leaf = base64_bytes(lines[2][len("leaf ") :], "leaf")
    try:
        proof = base64_bytes(lines[3][len("proof ") :], "proof").decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("proof: not UTF-8") from error
    index, hashes, checkpoint = parse_proof(proof)
    size, root = open_checkpoint(checkpoint, key)
    need(root_of_proof(leaf, index, size, hashes) == root, "proof: does not lead to the log's root")
    return {"json": lines[1], "leaf": leaf, "index": index, "size": size, "root": root}


def parse_object(text, what):
    def unique(pairs):
        names = [name for name, _ in pairs]
        need(len(set(names)) == len(names), f"{what}: a name appears twice")
        return dict(pairs)

    def no_constant(_):
        raise Refused(f"{what}: not JSON")

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{what}: not JSON") from error
    need(isinstance(value, dict), f"{what}: not a JSON object")
    return value


def check_agreement(certificate_json, leaf):
    """That the readable statement says what the log says, and names the account the log knows by its hash.

    The certificate has `account` and `salt` (hex) in place of the leaf's `account_hash`, and `copies` and `issued_at`
    besides; every other field must be there in both, and equal.
    """
    try:
        leaf_text = leaf.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("leaf: not UTF-8") from error
    said, logged = parse_object(certificate_json, "statement"), parse_object(leaf_text, "leaf")
    account, salt = said.get("account"), said.get("salt")
    need(isinstance(account, str) and isinstance(salt, str), "statement: account or salt is missing")
    try:
        salt_bytes = bytes.fromhex(salt)
    except ValueError as error:
        raise Refused("statement: salt is not hex") from error
    need(salt_bytes.hex() == salt, "statement: salt is not lower-case hex")
    account_hash = hashlib.sha256(salt_bytes + account.encode()).hexdigest()
    need(logged.get("account_hash") == account_hash, "statement: account is not the one in the log")
    said_only, logged_only = {"account", "salt", "copies", "issued_at"}, {"account_hash"}
    shared = set(said) - said_only
    need(shared == set(logged) - logged_only, "statement: other fields than the log's leaf")
    for name in sorted(shared):
        # As text, so that 1, 1.0 and true are three things.
        same = json.dumps(said[name], sort_keys=True) == json.dumps(logged[name], sort_keys=True)
        need(same, f"statement: {name} differs from the log's leaf")


# --- C2SP tlog-tiles: a copy of the log ------------------------------------------------------------------------------


def tile_name(index, width):
    name = f"{index % 1000:03}"
    while index >= 1000:
        index //= 1000
        name = f"x{index % 1000:03}/{name}"
    return name if width == 256 else f"{name}.p/{width}"


def read_tile(directory, kind, index, width):
    """A tile's bytes; the full one stands in for a partial one that is gone."""
    for wanted in (width, 256):
        path = Path(directory, "tile", kind, tile_name(index, wanted))
        try:
            return path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Refused(f"log: cannot read a tile: {error.strerror}") from error
    raise Refused(f"log: tile/{kind}/{tile_name(index, width)} is missing")


def read_entries(directory, size):
    entries = []
    for index in range((size + 255) // 256):
        width = min(256, size - index * 256)
        bundle, here = read_tile(directory, "entries", index, width), []
        while bundle:
            length = int.from_bytes(bundle[:2])
            need(len(bundle) >= 2 + length, "log: an entry bundle is cut short")
            here.append(bundle[2 : 2 + length])
            bundle = bundle[2 + length :]
        need(width <= len(here) <= 256, "log: an entry bundle has the wrong number of entries")
        entries.extend(here[:width])
    return entries


def check_log(directory, key, since):
    """Recomputes the whole log from its entries; returns the entries and their hashes."""
    size, root = open_checkpoint(read_text(Path(directory, "checkpoint")), key, "log checkpoint")
    entries = read_entries(directory, size)
    leaves = [leaf_hash(entry) for entry in entries]
    need(tree_root(leaves) == root, "log: entries do not lead to the checkpoint's root")
    hashes, level = leaves, 0
    while hashes:
        for index in range((len(hashes) + 255) // 256):
            expected = hashes[index * 256 : (index + 1) * 256]
            tile = read_tile(directory, str(level), index, len(expected))
            need(tile[: 32 * len(expected)] == b"".join(expected), f"log: a tile of level {level} is wrong")
        full = len(hashes) // 256
        hashes, level = [tree_root(hashes[i * 256 : (i + 1) * 256]) for i in range(full)], level + 1
    if since is not None:
        old_size, old_root = open_checkpoint(read_text(since), key, "earlier checkpoint")
        need(old_size <= size, "log: smaller than the earlier checkpoint")
        need(tree_root(leaves[:old_size]) == old_root, "log: does not extend the earlier checkpoint")
    return entries, leaves


def check_in_log(opened, entries, leaves):
    need(opened["size"] <= len(leaves), "log: smaller than when the certificate was issued")
    need(entries[opened["index"]] == opened["leaf"], "log: holds another leaf at the certificate's index")
    need(tree_root(leaves[: opened["size"]]) == opened["root"], "log: not the one the certificate was issued from")


def check(path, key, log):
    opened = open_certificate(read_text(path), key)
    check_agreement(opened["json"], opened["leaf"])
    if log is not None:
        check_in_log(opened, *log)
    return opened


def main(arguments):
    parser = argparse.ArgumentParser(description="Checks Callvault certificates offline.")
    parser.add_argument("certificate", nargs="+", help="certificate files")
    parser.add_argument("--key", required=True, help="file with the log's verifier key")
    parser.add_argument("--log", help="directory with a copy of the log: checkpoint and tile/")
    parser.add_argument("--since", help="an earlier checkpoint that the log must extend (needs --log)")
    options = parser.parse_args(arguments)
    if options.since and not options.log:
        parser.error("--since needs --log")
    try:
        key_text = read_text(options.key)
        key = VerifierKey(key_text[:-1] if key_text.endswith("\n") else key_text)
        log = check_log(options.log, key, options.since) if options.log else None
    except Refused as reason:
        print(f"refused: {reason}")
        return 1
    code = 0
    for path in options.certificate:
        try:
            opened = check(path, key, log)
            print(f"good {path}: leaf {opened['index']} of {opened['size']}")
        except Refused as reason:
            print(f"refused {path}: {reason}")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
