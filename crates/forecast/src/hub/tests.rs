//! A small server plays the hub.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server has and what it was asked.
#[derive(Default)]
struct Served {
    /// By `/owner/name/resolve/revision/file`.
    files: HashMap<String, Vec<u8>>,
    /// Status for paths that begin like this.
    refused: Vec<(String, u16)>,
    /// The connection is cut after so many bytes, this many times.
    cut: Option<(usize, usize)>,
    /// Method and path, with ` +token` if a token came along.
    requests: Vec<String>,
}

struct PlayedHub {
    served: Arc<Mutex<Served>>,
    hub: Hub,
    _cache: tempfile::TempDir,
}

impl PlayedHub {
    /// Serves a checkpoint with this README (none if empty) as `owner/name` at
    /// `main` and at its commit.
    fn new(readme: &str) -> Self {
        let mut served = Served::default();
        for revision in ["main", COMMIT] {
            let mut add = |file: &str, bytes: Vec<u8>| {
                served.files.insert(format!("/owner/name/resolve/{revision}/{file}"), bytes);
            };
            add(CONFIG, b"{}".to_vec());
            add(WEIGHTS, weights());
            if !readme.is_empty() {
                add(README, readme.as_bytes().to_vec());
            }
        }
        let served = Arc::new(Mutex::new(served));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::clone(&served);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        let cache = tempfile::tempdir().expect("a temporary folder");
        let hub = Hub {
            endpoint,
            cache: cache.path().join("hub"),
            token: Some(Secret::new("secret")),
            is_offline: false,
        };
        Self { served, hub, _cache: cache }
    }

    /// Fetches what a checkpoint is opened from.
    fn open(&self, accepted: Option<&str>) -> Result<Snapshot, LoadError> {
        let repository = Repository::parse("owner/name", None)?;
        let snapshot = self.hub.snapshot(&repository, accepted, &mut ())?;
        let weights = std::fs::read(snapshot.folder.join(WEIGHTS)).expect("readable");
        snapshot.check(&format!("sha256:{}", hexadecimal(&Sha256::digest(weights))))?;
        Ok(snapshot)
    }

    fn refused(&self, accepted: Option<&str>) -> String {
        self.open(accepted).expect_err("refused").to_string()
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.served.lock().expect("the server lives").requests)
    }

    fn set(&self, change: impl FnOnce(&mut Served)) {
        change(&mut self.served.lock().expect("the server lives"));
    }
}

/// Some thousand bytes that begin as a safetensors file does.
fn weights() -> Vec<u8> {
    let header = br#"{"tensor":{}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend((0..30_000_u32).map(|index| (index % 251) as u8));
    bytes
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Answers one request as the hub does: large files are elsewhere.
fn answer(stream: TcpStream, served: &Mutex<Served>) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let headers: HashMap<String, String> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_lowercase(), value.trim().to_owned()))
        })
        .collect();
    let path = first.split(' ').nth(1).unwrap_or("/").to_owned();
    let mut served = served.lock().expect("the test lives");
    let has_token = headers.get("authorization").is_some_and(|value| value == "Bearer secret");
    served.requests.push(format!("{path}{}", if has_token { " +token" } else { "" }));
    let mut out = &stream;
    let mut head = |status: u16, more: &str| {
        let text = format!("HTTP/1.1 {status} Status\r\nconnection: close\r\n{more}\r\n");
        out.write_all(text.as_bytes()).ok();
    };
    if let Some((_, status)) = served.refused.iter().find(|(start, _)| path.starts_with(start)) {
        return head(*status, "content-length: 0\r\n");
    }
    let at = path.strip_prefix("/cdn").unwrap_or(&path);
    let Some(bytes) = served.files.get(at).cloned() else {
        return head(404, "content-length: 0\r\n");
    };
    let sha = hexadecimal(&Sha256::digest(&bytes));
    let host = &headers["host"];
    if at.ends_with(WEIGHTS) && !path.starts_with("/cdn") {
        return head(
            302,
            &format!(
                "x-repo-commit: {COMMIT}\r\nx-linked-etag: \"{sha}\"\r\n\
                 location: http://{host}/cdn{path}\r\ncontent-length: 0\r\n"
            ),
        );
    }
    let range = headers.get("range").and_then(|range| range.strip_prefix("bytes="));
    let (start, end) = range.and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
    let start: usize = start.parse().unwrap_or(0);
    let end = end.parse().map_or(bytes.len(), |end: usize| end + 1);
    let body = &bytes[start.min(bytes.len())..end];
    head(
        206,
        &format!(
            "x-repo-commit: {COMMIT}\r\netag: \"blob{}\"\r\ncontent-length: {}\r\n\
             content-range: bytes {start}-{}/{}\r\n",
            &sha[..8],
            body.len(),
            end.saturating_sub(1),
            bytes.len()
        ),
    );
    let sent = match &mut served.cut {
        Some((after, times)) if *times > 0 && body.len() > *after => {
            *times -= 1;
            &body[..*after]
        }
        _ => body,
    };
    out.write_all(sent).ok();
}

#[test]
fn a_checkpoint_is_fetched_once_and_then_comes_from_the_cache() {
    let hub = PlayedHub::new("---\nlicense: apache-2.0\n---\n");
    let first = hub.open(None).expect("loads");
    assert_eq!(first.commit, COMMIT);
    assert_eq!(first.licence.as_deref(), Some("apache-2.0"));
    let asked = hub.requests();
    assert!(asked.iter().all(|path| path.contains("+token")), "{asked:?}");
    let second = hub.open(None).expect("loads");
    assert_eq!((first.folder, first.commit), (second.folder, second.commit));
    assert_eq!(hub.requests(), Vec::<String>::new());
    let offline = Hub { is_offline: true, endpoint: "http://127.0.0.1:1".into(), ..hub.hub };
    let pinned = Repository::parse(&format!("owner/name@{COMMIT}"), None).expect("a repository");
    offline.snapshot(&pinned, None, &mut ()).expect("loads by its commit, too");
    let other = Repository::parse("owner/name", Some("v2")).expect("a repository");
    let error = offline.snapshot(&other, None, &mut ()).expect_err("not there");
    assert!(error.to_string().contains("nothing may be downloaded here"), "{error}");
}

#[test]
fn restricted_weights_are_not_even_fetched_before_their_licence_is_accepted() {
    let hub = PlayedHub::new("---\nlicense: cc-by-nc-4.0\n---\n");
    let refused = hub.refused(None);
    assert!(refused.contains("'license.accept'='cc-by-nc-4.0'"), "{refused}");
    let asked = hub.requests();
    assert!(!asked.iter().any(|path| path.contains(WEIGHTS)), "{asked:?}");
    hub.open(Some("cc-by-nc-4.0")).expect("loads");
    let again = hub.refused(Some("mit"));
    assert!(again.contains("`mit` was accepted"), "{again}");
}

#[test]
fn weights_without_a_stated_licence_have_the_one_that_is_known() {
    let hub = PlayedHub::new("");
    let repository = Repository::parse("owner/name", None).expect("a repository");
    let repository = repository.known_licence(Some("cc-by-nc-4.0".to_owned()));
    let refused = hub.hub.snapshot(&repository, None, &mut ()).expect_err("refused");
    assert!(refused.to_string().contains("`cc-by-nc-4.0`"), "{refused}");
    assert!(!hub.requests().iter().any(|path| path.contains(WEIGHTS)));
    let snapshot = hub.hub.snapshot(&repository, Some("cc-by-nc-4.0"), &mut ()).expect("fetched");
    assert_eq!(snapshot.licence.as_deref(), Some("cc-by-nc-4.0"));
}

#[test]
fn an_interrupted_download_goes_on_where_it_was_cut() {
    let hub = PlayedHub::new("");
    hub.set(|served| served.cut = Some((5000, 2)));
    let snapshot = hub.open(None).expect("loads");
    assert_eq!(snapshot.licence, None);
    assert_eq!(std::fs::read(snapshot.folder.join(WEIGHTS)).expect("readable"), weights());
}

#[test]
fn a_damaged_file_of_the_cache_is_named() {
    let hub = PlayedHub::new("");
    hub.open(None).expect("loads");
    let repository = Repository::parse("owner/name", None).expect("a repository");
    let snapshot = hub.hub.snapshot(&repository, None, &mut ()).expect("in the cache");
    let weights = std::fs::canonicalize(snapshot.folder.join(WEIGHTS)).expect("a blob");
    let mut bytes = std::fs::read(&weights).expect("readable");
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).expect("written");
    let error = hub.refused(None);
    assert!(error.contains("is damaged: its SHA-256 is not"), "{error}");
}

#[test]
fn what_the_hub_refuses_is_said_with_the_remedy() {
    let hub = PlayedHub::new("");
    for (status, expected) in [
        (401, "the access token does not open it"),
        (403, "accept the model's terms on"),
        (404, "`config.json` is not there at revision `main`"),
        (500, "answered 500"),
    ] {
        hub.set(|served| served.refused = vec![("/owner".to_owned(), status)]);
        let error = hub.refused(None);
        assert!(error.starts_with("`hf://owner/name`: ") && error.contains(expected), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let weights = format!("/owner/name/resolve/{COMMIT}/{WEIGHTS}");
    hub.set(|served| served.refused = vec![(weights, 404)]);
    assert!(hub.refused(None).contains("`model.safetensors` is not there"));
    hub.set(|served| served.refused.clear());
    let nameless = Hub { token: None, ..hub.hub };
    hub.served.lock().expect("lives").refused = vec![("/owner".to_owned(), 401)];
    let repository = Repository::parse("owner/name", None).expect("a repository");
    let error = nameless.snapshot(&repository, None, &mut ()).expect_err("refused");
    assert!(error.to_string().contains("set HF_TOKEN"), "{error}");
    let nowhere = Hub { endpoint: "http://127.0.0.1:1".into(), ..nameless };
    let error = nowhere.snapshot(&repository, None, &mut ()).expect_err("refused");
    assert!(error.to_string().contains("could not be fetched from http://127.0.0.1:1"), "{error}");
}

#[test]
fn an_address_that_is_none_is_refused() {
    for (address, revision) in [
        ("name", None),
        ("owner/name/more", None),
        ("owner/", None),
        ("own er/name", None),
        ("owner/../name", None),
        ("owner/name@", None),
        ("owner/name@a b", None),
        ("owner/name@one", Some("two")),
    ] {
        let error = Repository::parse(address, revision).expect_err("refused");
        assert!(error.to_string().starts_with("`hf://"), "{error}");
    }
    let at = Repository::parse("owner/name@v1.0", Some("v1.0")).expect("a repository");
    assert_eq!((at.id.as_str(), at.revision.as_str()), ("owner/name", "v1.0"));
}

/// The server reads nothing but heads.
#[test]
fn the_played_hub_serves_ranges() {
    let hub = PlayedHub::new("");
    let address = hub.hub.endpoint.trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).expect("connects");
    let path = format!("/cdn/owner/name/resolve/main/{WEIGHTS}");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nrange: bytes=8-9\r\n\r\n")
        .expect("asks");
    let mut text = Vec::new();
    stream.read_to_end(&mut text).expect("answers");
    assert!(text.ends_with(b"{\""), "the header of a safetensors file begins after eight bytes");
}
