"""What the generator has no words for: telephone numbers, audio, and lines of JSON."""

import io
import wave

import schemathesis
from hypothesis import strategies as st

NUMBERS = st.from_regex(r"\A\+9199000[0-9]{5}\Z") | st.sampled_from(["100", "agent-7", "+6565123456", "09900012345"])
schemathesis.openapi.format("telephone", NUMBERS)


def tone() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(8000)
        wav.writeframes(b"\x00\x10" * 800)
    return out.getvalue()


LINE = '{"at":"2026-11-01T09:30:00Z","direction":"inbound","from":"100","to":"101","status":"completed"}\n'
schemathesis.openapi.media_type("audio/wav", st.just(tone()))
schemathesis.openapi.media_type("audio/mpeg", st.just(tone()))
schemathesis.openapi.media_type("application/x-ndjson", st.sampled_from([LINE, LINE + "{\n"]).map(str.encode))


@schemathesis.serializer("audio/wav", "audio/mpeg", "application/x-ndjson")
def write_bytes(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
