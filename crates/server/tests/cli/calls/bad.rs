//! Messages that no telephone sends.

use std::{
    fs,
    io::Write as _,
    net::{TcpStream, UdpSocket},
    thread::sleep,
    time::Duration,
};

use super::office::Office;

/// How many mutilated invitations are sent.
const MUTILATED: u64 = 3_000;

fn invite(n: u64, port: u16, body: &str) -> String {
    format!(
        "INVITE sip:08049501234@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK-{n}\r\n\
         From: <sip:+919812345678@127.0.0.1:{port}>;tag={n}\r\nTo: <sip:08049501234@127.0.0.1>\r\nCall-ID: bad-{n}\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:caller@127.0.0.1:{port}>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn description(audio: &str) -> String {
    format!("v=0\r\no=caller 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{audio}\r\n")
}

/// Numbers that are the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(below).expect("small")).expect("small")
    }
}

fn open_files(office: &Office) -> usize {
    let id = office.running.as_ref().expect("it runs").id();
    fs::read_dir(format!("/proc/{id}/fd")).expect("a process").count()
}

pub(super) fn bad_messages_leave_nothing_behind() {
    let office = Office::open();
    let before = open_files(&office);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_nonblocking(true).expect("a socket");
    let port = socket.local_addr().expect("an address").port();
    let sip = ("127.0.0.1", office.sip);
    let send = |bytes: &[u8]| {
        let _ = socket.send_to(bytes, sip);
        // Nobody acknowledges anything.
        let mut buffer = [0; 4_096];
        while socket.recv_from(&mut buffer).is_ok() {}
        sleep(Duration::from_micros(500));
    };
    let good = description("m=audio 9 RTP/AVP 8");
    let whole = invite(0, port, &good);
    let mut fixed: Vec<Vec<u8>> = [
        "",
        "\r\n\r\n",
        "\0",
        "INVITE",
        "INVITE sip:08049501234@127.0.0.1 SIP/2.0\r\n\r\n",
        "SIP/2.0 200 OK\r\n\r\n",
        "SIP/2.0 99999 X\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    // Without each of its headers, and cut off after each of them.
    let lines: Vec<&str> = whole.split("\r\n").collect();
    for n in 0..lines.len() {
        let without: Vec<&str> = lines
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != n)
            .map(|(_, line)| *line)
            .collect();
        fixed.push(without.join("\r\n").into_bytes());
        fixed.push(lines[..n].join("\r\n").into_bytes());
    }
    for (from, to) in [
        ("Content-Length: ", "Content-Length: -"),
        ("Content-Length: ", "Content-Length: 99999999999999999999"),
        ("Max-Forwards: 70", "Max-Forwards: 0"),
        ("CSeq: 1 INVITE", "CSeq: 99999999999 INVITE"),
        ("INVITE sip", "CANCEL sip"),
        ("INVITE sip", "BYE sip"),
        ("INVITE sip", "ACK sip"),
        ("INVITE sip", "REGISTER sip"),
        ("INVITE sip", "SUBSCRIBE sip"),
        ("INVITE sip", "OPTIONS sip"),
        ("INVITE sip", "NONSENSE sip"),
    ] {
        fixed.push(whole.replacen(from, to, 1).into_bytes());
    }
    for (n, audio) in (100..).zip([
        String::new(),
        "m=audio 0 RTP/AVP 8".to_owned(),
        "m=audio 99999 RTP/AVP 8".to_owned(),
        "m=audio 9 RTP/AVP".to_owned(),
        "m=audio 9 RTP/AVP 8\r\na=rtpmap:8 PCMA/0".to_owned(),
        format!("m=audio 9 RTP/AVP {}", "8 ".repeat(3_000)),
        "m=audio 9 RTP/AVP 8\r\na=x\r\n".repeat(1_500),
        format!("m=audio 9 RTP/AVP 8\r\na={}", "x".repeat(60_000)),
    ]) {
        fixed.push(invite(n, port, &description(&audio)).into_bytes());
    }
    for message in &fixed {
        send(message);
    }
    let mut dice = Dice(0x0dd_ba11);
    for n in 0..MUTILATED {
        let mut message = invite(1_000 + n, port, &good).into_bytes();
        for _ in 0..=dice.roll(8) {
            let at = dice.roll(message.len());
            match dice.roll(3) {
                0 => message[at] = u8::try_from(dice.roll(256)).expect("a byte"),
                1 => drop(message.remove(at)),
                _ => message.insert(at, b"\r\n:;<>@ \0\xff"[dice.roll(10)]),
            }
        }
        send(&message);
    }
    // Connections: that say nothing, that say nonsense, that promise a gigabyte.
    let connections: Vec<TcpStream> = (0..60)
        .map(|n| {
            let mut connection = TcpStream::connect(sip).expect("a connection");
            let said = match n % 3 {
                0 => Vec::new(),
                1 => vec![0xff; 4_096],
                _ => whole
                    .replacen("Content-Length: ", "Content-Length: 9999999", 1)
                    .into_bytes(),
            };
            let _ = connection.write_all(&said);
            connection
        })
        .collect();
    // Media that are none, at every port there is.
    for media in office.media..=office.media + 100 {
        for length in [0, 1, 11, 12, 13, 172, 1_500] {
            let _ = socket.send_to(&vec![0x80; length], ("127.0.0.1", media));
        }
    }
    drop(connections);
    // Whatever was let in ends by itself: its files, its ports, its place among the calls.
    let mut now = 0;
    let is_over = (0..90).any(|_| {
        sleep(Duration::from_secs(1));
        now = open_files(&office);
        now <= before + 3
    });
    assert!(is_over, "{now} files, and before {before}");
    let let_in = office.list("calls");
    assert!(!let_in.is_empty(), "some of it was good enough to be answered");
    assert!(let_in.iter().all(|call| call["ended_at"].is_string()), "{let_in:?}");
    // A good call goes through. Records of bad ones may still come in behind their files.
    office.call(Vec::new(), 500);
    let is_kept = (0..50).any(|_| {
        sleep(Duration::from_millis(100));
        let calls = office.list("calls");
        calls
            .iter()
            .any(|call| call["status"] == "completed" && !let_in.iter().any(|bad| bad["sid"] == call["sid"]))
    });
    assert!(is_kept, "{:?}", office.list("calls"));
    assert!(!office.was_captured());
    office.close();
}
