"""Encrypts or decrypts a file with Google Tink: encrypt|decrypt KEY_HEX AAD SEGMENT_BYTES IN OUT."""

import io
import sys

import tink
from tink import secret_key_access, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

mode, key_hex, aad, segment_bytes, source, target = sys.argv[1:]
streaming_aead.register()
key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(version=0, key_value=bytes.fromhex(key_hex))
key.params.ciphertext_segment_size = int(segment_bytes)
key.params.derived_key_size = 32
key.params.hkdf_hash_type = common_pb2.SHA256
keyset = tink_pb2.Keyset(primary_key_id=1)
entry = keyset.key.add(key_id=1, status=tink_pb2.ENABLED, output_prefix_type=tink_pb2.RAW)
entry.key_data.type_url = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
entry.key_data.value = key.SerializeToString()
entry.key_data.key_material_type = tink_pb2.KeyData.SYMMETRIC
handle = tink.proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
primitive = handle.primitive(streaming_aead.StreamingAead)

with open(source, "rb") as file:
    data = file.read()
if mode == "encrypt":
    with open(target, "wb") as out, primitive.new_encrypting_stream(out, aad.encode()) as stream:
        stream.write(data)
else:
    with primitive.new_decrypting_stream(io.BytesIO(data), aad.encode()) as stream:
        plain = stream.read()
    with open(target, "wb") as out:
        out.write(plain)
