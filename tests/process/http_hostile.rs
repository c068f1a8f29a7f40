//! The HTTP surface among enemies: whatever comes, it answers the next one.

use super::http::Served;
use super::web::Web;

/// What is no request is answered 400 or nothing, and never harms.
#[test]
fn garbage_is_refused_and_nothing_falls() {
    let served = Served::started(1, "");
    let mut random = fastrand::Rng::with_seed(7);
    let long = [b"GET /".as_slice(), &[b'a'; 40_000], b" HTTP/1.1\r\n\r\n"].concat();
    let mut texts: Vec<Vec<u8>> = [
        &b"\r\n\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /%00 HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /set HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /set HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /set HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"PUT /v1/kv/k HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PUT /v1/kv/k HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"PUT /v1/kv/k HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &long,
    ]
    .iter()
    .map(|bytes| bytes.to_vec())
    .collect();
    for _ in 0..50 {
        texts.push((0..random.usize(1..2000)).map(|_| random.u8(..)).collect());
    }
    for text in texts {
        let mut web = served.web(0);
        web.send(&text);
        let _ = web.stream.shutdown(std::net::Shutdown::Write);
        while let Some(answer) = web.answer(false) {
            let shown = String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
            assert!((400..500).contains(&answer.status), "{shown:?}: {answer:?}");
        }
    }
    assert_eq!(served.web(0).get("/livez").status, 200);
}

#[test]
fn heads_have_a_bound() {
    let served = Served::started(1, "");
    let mut web = served.web(0);
    let large = format!("X-Large: {}", "x".repeat(20_000));
    assert_eq!(web.ask("GET /livez", &[&large], b"").status, 431);
    assert!(web.is_closed());
    let many = vec!["X-Many: 1"; 150];
    assert_eq!(served.web(0).ask("GET /livez", &many, b"").status, 431);
    // The longest key, all of it escaped, fits.
    let key = "%FF".repeat(1024);
    assert_eq!(served.web(0).ask(&format!("PUT /v1/kv/{key}"), &[], b"v").status, 200);
    let answer = served.web(0).ask(&format!("PUT /v1/kv/{key}%FF"), &[], b"v");
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"));
}

#[test]
fn bodies_have_a_bound() {
    let served = Served::started(1, "");
    let most = 1 << 20;
    let mut web = served.web(0);
    assert_eq!(web.ask("PUT /v1/kv/k", &[], &vec![1; most]).status, 200);
    assert_eq!(web.get("/v1/kv/k").body.len(), most);
    let answer = served.web(0).ask("PUT /v1/kv/k", &[], &vec![1; most + 1]);
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
    // Of a body that is far too long nothing is read for a client that waits for the word.
    let mut web = served.web(0);
    web.send(
        b"PUT /v1/kv/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999999\r\n\
          Expect: 100-continue\r\n\r\n",
    );
    assert_eq!(web.answer(false).unwrap().status, 413);
    // A value in base64 that is too long.
    let value = "AAAA".repeat(most / 3 + 1);
    let txn = format!(r#"{{"then":[{{"put":{{"key":"aw==","value":"{value}"}}}}]}}"#);
    assert_eq!(served.web(0).post("/v1/txn", &txn).status, 413);
    assert_eq!(served.web(0).post("/set", &"x".repeat(3 << 20)).status, 413);
}

#[test]
fn chunks_and_pipelines_are_understood() {
    let served = Served::started(1, "");
    let mut web = served.web(0);
    web.send(
        b"PUT /v1/kv/c HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n\
          3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    assert_eq!(web.answer(false).unwrap().status, 200);
    assert_eq!(web.get("/v1/kv/c").body, b"abcde");
    let one = "GET /v1/kv/c HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    web.send(one.repeat(50).as_bytes());
    for _ in 0..50 {
        assert_eq!(web.answer(false).unwrap().body, b"abcde");
    }
    // One byte at a time.
    for byte in one.as_bytes() {
        web.send(&[*byte]);
    }
    assert_eq!(web.answer(false).unwrap().status, 200);
}

/// A client that sends a part of a request and then nothing gets no place for ever.
#[test]
fn whoever_is_slow_is_told_so() {
    let served = Served::started(1, "");
    let mut half_head = served.web(0);
    half_head.send(b"GET /livez HTTP/1.1\r\nHos");
    let mut half_body = served.web(0);
    half_body.send(b"PUT /v1/kv/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nhalf");
    let mut idle = served.web(0);
    let of = |web: &mut Web| web.answer(false).map(|answer| answer.status);
    assert_eq!(of(&mut half_body), Some(408));
    assert_eq!(of(&mut half_head), Some(408));
    assert!(half_head.is_closed());
    assert!(idle.is_closed(), "nothing was asked, and nothing is said");
    assert_eq!(served.web(0).get("/v1/kv/k").status, 404);
}
