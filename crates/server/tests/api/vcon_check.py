"""Judges vCons: reads {"schema": ..., "unsigned": [...], "signed": [...]} and exits with 0 when all are good.

A signature is checked twice, by jwcrypto and by hand with cryptography; a changed payload, certificate or header must fail.
Prints algorithm and SHA-256 of the certificate of each signed one.
"""

import base64
import copy
import hashlib
import json
import sys

import jsonschema
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from jwcrypto import jwk, jws


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def certificate_of(signed):
    return x509.load_der_x509_certificate(base64.b64decode(signed["signatures"][0]["header"]["x5c"][0]))


def verify(signed):
    """The payload, if signature, header and certificate hold."""
    [signature] = signed["signatures"]
    header, protected = signature["header"], json.loads(decode(signature["protected"]))
    assert not set(header) & set(protected), "a name is in both headers"
    certificate = certificate_of(signed)
    public, data = certificate.public_key(), decode(signature["signature"])
    message = f"{signature['protected']}.{signed['payload']}".encode()
    if header["alg"] == "ES256":
        half = len(data) // 2
        der = utils.encode_dss_signature(int.from_bytes(data[:half], "big"), int.from_bytes(data[half:], "big"))
        public.verify(der, message, ec.ECDSA(hashes.SHA256()))
    else:
        assert header["alg"] == "RS256"
        public.verify(data, message, padding.PKCS1v15(), hashes.SHA256())
    der = base64.b64decode(header["x5c"][0])
    assert protected["x5t#S256"] == encode(hashlib.sha256(der).digest()), "the certificate is not the one that is meant"
    assert protected["cty"] == "application/vcon"
    token = jws.JWS()
    token.deserialize(json.dumps(signed), jwk.JWK.from_pyca(public))
    assert token.is_valid and token.payload == decode(signed["payload"])
    vcon = json.loads(token.payload)
    assert vcon["uuid"] == header["uuid"], "the header is of another vCon"
    return vcon


def refused(signed):
    try:
        verify(signed)
    except (InvalidSignature, AssertionError, ValueError, jws.InvalidJWSSignature):
        return True
    return False


given = json.load(sys.stdin)
validator = jsonschema.Draft7Validator(given["schema"], format_checker=jsonschema.FormatChecker())
for vcon in given["unsigned"]:
    validator.validate(vcon)
    for at, attachment in enumerate(vcon["attachments"]):
        assert attachment["dialog"] < len(vcon["dialog"]) and attachment["party"] < len(vcon["parties"]), at
        broken = copy.deepcopy(vcon)
        del broken["attachments"][at]["body"]["lawful_basis"]
        assert not validator.is_valid(broken), "the schema asks for nothing"
for signed in given["signed"]:
    validator.validate(verify(signed))
    certificate = certificate_of(signed)
    other = copy.deepcopy(signed)
    other["payload"] = encode(decode(signed["payload"]).replace(b"recording", b"recordinG", 1))
    assert refused(other), "a changed payload passes"
    other = copy.deepcopy(signed)
    other["signatures"][0]["header"]["uuid"] = "00000000-0000-8000-8000-000000000000"
    assert refused(other), "another vCon's header passes"
    print(signed["signatures"][0]["header"]["alg"], certificate.fingerprint(hashes.SHA256()).hex())
