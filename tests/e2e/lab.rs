//! The lab itself: what the other tests take for granted.

use anyhow::{Result, ensure};
use potluck_tests::{BadOrigin, Blob, Host, Lab, Misdeed};

#[test]
fn hosts_have_addresses_of_their_own() {
    Lab::run(|lab| {
        let (a, b) = (lab.host("a")?, lab.host("b")?);
        ensure!(a.address() != b.address());
        let origin = BadOrigin::start(&a, Blob::new(1, 1000), Misdeed::NoLength)?;
        let answer = ask(&b, &origin.address().to_string())?;
        ensure!(answer.ends_with(Blob::new(1, 1000).bytes()), "{answer:?}");
        Ok(())
    });
}

mod needs_namespaces {
    use std::time::Duration;

    use potluck_tests::poll;

    use super::*;

    #[test]
    fn bytes_are_counted_and_cables_can_be_pulled() {
        Lab::run_in_namespaces(|lab| {
            let (a, b) = (lab.host("a")?, lab.host("b")?);
            let blob = Blob::new(2, 4 << 20);
            let origin = BadOrigin::start(&a, blob.clone(), Misdeed::NoLength)?;
            let address = origin.address().to_string();
            let before = a.counters()?;
            ensure!(ask(&b, &address)?.len() as u64 > blob.size());
            let sent = a.counters()?.since(before).payload_sent();
            // On a busy machine TCP sends a segment or two twice.
            let right = blob.size()..blob.size() + 300_000;
            ensure!(right.contains(&sent), "{sent} bytes were counted");

            a.set_link(false)?;
            let connect = || b.inside(|| try_connect(&address));
            poll(Duration::from_secs(5), "the link to be down", || {
                Ok(connect()?.is_err())
            })?;
            a.set_link(true)?;
            poll(Duration::from_secs(5), "the link to be up", || {
                Ok(connect()?.is_ok())
            })
        });
    }

    fn try_connect(address: &str) -> Result<()> {
        std::net::TcpStream::connect_timeout(&address.parse()?, Duration::from_millis(300))?;
        Ok(())
    }
}

mod needs_tc_namespaces {
    use std::time::{Duration, Instant};

    use super::*;

    const SIZE: u64 = 4 << 20;

    #[test]
    fn a_link_can_be_slowed_down() {
        Lab::run_in_namespaces(|lab| {
            let (a, b) = (lab.host("a")?, lab.host("b")?);
            a.limit(32_000_000)?;
            ask_slowly(&a, &b)?;
            // Each segment of at most 1448 bytes has headers of its own.
            let sent = a.sent_on_wire()?;
            let right = SIZE * 1514 / 1448..SIZE * 1514 / 1448 + 300_000;
            ensure!(right.contains(&sent), "{sent} bytes were counted");
            Ok(())
        });
    }

    #[test]
    fn the_way_into_a_host_can_be_slowed_down() {
        Lab::run_in_namespaces(|lab| {
            let (a, b) = (lab.host("a")?, lab.host("b")?);
            b.limit_incoming(32_000_000)?;
            ask_slowly(&a, &b)
        });
    }

    fn ask_slowly(a: &Host, b: &Host) -> Result<()> {
        let blob = Blob::new(3, SIZE as usize);
        let origin = BadOrigin::start(a, blob, Misdeed::NoLength)?;
        let start = Instant::now();
        ask(b, &origin.address().to_string())?;
        // 4 MiB at 4 MB/s; the first burst goes out at once.
        let took = start.elapsed();
        ensure!(took > Duration::from_millis(800), "{took:?}");
        Ok(())
    }
}

mod needs_nginx_curl_tc_namespaces {
    use potluck_tests::crowd::{Scene, System, measure};

    use super::*;

    #[test]
    fn a_crowd_is_counted() {
        Lab::run_in_namespaces(|lab| {
            let outcome = measure(lab, &Scene::cold(3, 1 << 20, 1), System::Curl)?;
            ensure!((2.95..3.3).contains(&outcome.copies), "{outcome:?}");
            ensure!(outcome.body_bytes == 3 << 20, "{outcome:?}");
            ensure!(outcome.finishes.len() == 3, "{outcome:?}");
            // Three copies cannot come in the time of one.
            ensure!(outcome.last() > outcome.bound, "{outcome:?}");
            Ok(())
        });
    }

    #[test]
    fn those_that_die_do_not_count() {
        Lab::run_in_namespaces(|lab| {
            let scene = Scene::churn(3, 4 << 20, 1);
            let outcome = measure(lab, &scene, System::Curl)?;
            ensure!(outcome.finishes.len() == 4, "{outcome:?}");
            ensure!(outcome.apart.is_empty(), "{outcome:?}");
            Ok(())
        });
    }
}

mod needs_nginx_curl {
    use potluck_tests::Nginx;

    use super::*;

    #[test]
    fn nginx_serves_and_writes_down() {
        Lab::run(|lab| {
            let (origin, a) = (lab.host("origin")?, lab.host("a")?);
            let nginx = Nginx::start(lab, &origin)?;
            let blob = Blob::new(4, 100_000);
            blob.write(nginx.root(), "file.bin")?;
            let plain = a
                .command("curl")
                .args(["-sf", &nginx.url("file.bin")])
                .output()?;
            ensure!(plain.stdout == blob.bytes(), "{plain:?}");
            let mut tls = a.command("curl");
            tls.arg("--cacert")
                .arg(nginx.ca())
                .args(["-sf", "-r", "0-9"]);
            let tls = tls.arg(nginx.https_url("file.bin")).output()?;
            ensure!(tls.stdout == blob.bytes()[..10], "{tls:?}");
            potluck_tests::poll(std::time::Duration::from_secs(5), "two log lines", || {
                Ok(nginx.requests()?.len() == 2)
            })?;
            let requests = nginx.requests()?;
            ensure!(requests[0].body == 100_000 && requests[0].range.is_empty());
            ensure!(requests[1].status == 206 && requests[1].range == "bytes=0-9");
            Ok(())
        });
    }
}

fn ask(host: &Host, address: &str) -> Result<Vec<u8>> {
    use std::io::{Read, Write};
    host.inside(|| {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    })?
}
