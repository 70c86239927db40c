//! Which call a recording belongs to, by the name its recorder gave it.

/// The source id of the call that a recording file belongs to, or our own SID. `None` when the name says nothing.
///
/// | written by | name | call id |
/// |---|---|---|
/// | Asterisk `MixMonitor(${UNIQUEID}.wav)` | `1738315800.12.wav` | `1738315800.12` |
/// | the same with a system name | `pbx1-1738315800.12.wav` | `pbx1-1738315800.12` |
/// | Asterisk `Monitor`, one leg a file | `1738315800.12-in.wav`, `-out` | `1738315800.12` |
/// | FreePBX | `exten-1001-9900012345-20260131-093000-1738315800.12.wav` | `1738315800.12` |
/// | FreeSWITCH `record_session` | `c37517e6-7fe3-42f7-8560-03df6cca0306.wav`, also with `a_`, or after a date and `_` | the UUID |
/// | Callvault | 32 lower-case hexadecimal digits | the SID |
#[must_use]
pub fn match_recording(file_name: &str) -> Option<&str> {
    let base = file_name.rsplit(['/', '\\']).next()?;
    let (stem, extension) = base.rsplit_once('.')?;
    if !["wav", "wave", "mp3"]
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
    {
        return None;
    }
    let stem = ["-in", "-out", "-r", "-t"]
        .iter()
        .find_map(|side| stem.strip_suffix(side))
        .unwrap_or(stem);
    if stem.len() == 32
        && stem
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    {
        return Some(stem);
    }
    let from = stem.len().checked_sub(36).filter(|&from| stem.is_char_boundary(from));
    if let Some(uuid) = from.map(|from| &stem[from..]).filter(|uuid| is_uuid(uuid)) {
        let before = &stem[..stem.len() - 36];
        return (before.is_empty() || before.ends_with(['_', '-', '.'])).then_some(uuid);
    }
    let mut dashes = stem.rsplit('-');
    let last = dashes.next().filter(|last| is_unique_id(last))?;
    let before = &stem[..stem.len() - last.len()];
    let is_date_name =
        dashes.next().is_some_and(|time| is_digits(time, 6)) && dashes.next().is_some_and(|date| is_digits(date, 8));
    // Without a date in front, what stands before the number is Asterisk's system name, a part of the unique id.
    Some(if before.is_empty() || is_date_name { last } else { stem })
}

fn is_digits(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_unique_id(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.')
        .is_some_and(|(seconds, serial)| seconds.len() >= 9 && digits(seconds) && digits(serial))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::match_recording;

    #[test]
    fn names_as_recorders_give_them() {
        let uuid = "c37517e6-7fe3-42f7-8560-03df6cca0306";
        let sid = "019c1a2b3c4d00112233445566778899";
        for (name, id) in [
            ("1738315800.12.wav", Some("1738315800.12")),
            ("pbx1-1738315800.12.wav", Some("pbx1-1738315800.12")),
            ("1738315800.12-in.wav", Some("1738315800.12")),
            ("1738315800.12-out.WAV", Some("1738315800.12")),
            (
                "exten-1001-9900012345-20260131-093000-1738315800.12.wav",
                Some("1738315800.12"),
            ),
            (
                "/var/spool/asterisk/monitor/2026/01/31/q-100-9900012345-20260131-093000-1738315800.12.mp3",
                Some("1738315800.12"),
            ),
            (&format!("{uuid}.wav"), Some(uuid)),
            (&format!("a_{uuid}.wav"), Some(uuid)),
            (&format!("2026-01-31-09-30-00_{uuid}.mp3"), Some(uuid)),
            (&format!("{sid}.mp3"), Some(sid)),
            (&format!("x{uuid}.mp3"), None),
            ("1738315800.12.txt", None),
            ("voicemail.wav", None),
            ("exten-1001-9900012345-20260131-093000.wav", None),
            ("ü-0000-0000-0000-00000000000000000é.wav", None),
            (".wav", None),
            ("", None),
        ] {
            assert_eq!(match_recording(name), id, "{name}");
        }
    }
}
