//! A customer's site: what a flow asks and tells.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread::sleep,
    time::Duration,
};

use url::Url;

/// A request that came.
#[derive(Clone, Debug)]
pub(super) struct Came {
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    /// The whole request.
    pub(super) text: String,
}

/// Path, status, content type, body.
pub(super) type Page = (&'static str, u16, &'static str, Vec<u8>);

pub(super) struct Site {
    port: u16,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Site {
    /// A site with these pages; any other is answered 200 with nothing. A status of 0 is no answer for eight seconds.
    pub(super) fn open(pages: Vec<Page>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let came = Arc::new(Mutex::new(Vec::new()));
        let (pages, seen) = (Arc::new(pages), Arc::clone(&came));
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (pages, seen) = (Arc::clone(&pages), Arc::clone(&seen));
                std::thread::spawn(move || answer(socket, &pages, &seen));
            }
        });
        Self { port, came }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Requests of a path, once there is one.
    pub(super) fn wait_for(&self, path: &str) -> Vec<Came> {
        for _ in 0..100 {
            let came: Vec<Came> = self
                .came
                .lock()
                .expect("requests")
                .iter()
                .filter(|came| came.path == path)
                .cloned()
                .collect();
            if !came.is_empty() {
                return came;
            }
            sleep(Duration::from_millis(100));
        }
        panic!("nobody asked for {path}")
    }
}

fn answer(mut socket: TcpStream, pages: &[Page], seen: &Mutex<Vec<Came>>) {
    let _ = socket.set_read_timeout(Some(Duration::from_secs(10)));
    let (mut request, mut buffer) = (Vec::new(), [0; 4_096]);
    let head = loop {
        match socket.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&buffer[..length]),
        }
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break String::from_utf8_lossy(&request[..end]).to_lowercase();
        }
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().expect("a number"));
    while request.len() < head.len() + 4 + length {
        match socket.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&buffer[..length]),
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let target = text.split(' ').nth(1).unwrap_or_default();
    let url = Url::parse(&format!("http://site{target}")).expect("a target");
    let path = url.path().to_owned();
    let query = url.query_pairs().into_owned().collect();
    let page = pages.iter().find(|page| page.0 == path);
    seen.lock().expect("requests").push(Came { path, query, text });
    let (status, kind, body) = page.map_or((200, "text/plain", &[][..]), |page| (page.1, page.2, &page.3));
    if status == 0 {
        return sleep(Duration::from_secs(8));
    }
    let head = format!(
        "HTTP/1.1 {status} x\r\nlocation: /elsewhere\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = socket.write_all(&[head.as_bytes(), body].concat());
}
