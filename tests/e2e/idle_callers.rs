//! Crowds at all ports of a node, and the members and guests who come meanwhile.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use potluck_tests::{Blob, Host, Lab, Nginx, Node, bytes_of, poll, start_circle, until};

const JOIN_PORT: u16 = Node::CONTROL_PORT + 1;
const SETTINGS: [&str; 1] = ["profile = \"lan\""];
const SIZE: usize = 2 << 20;

mod needs_nginx {
    use super::*;

    #[test]
    fn a_guest_joins_and_gets_its_file_through_a_crowd() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(1, SIZE);
            blob.write(nginx.root(), "file.bin")?;
            let url = nginx.url("file.bin");
            let (a, b) = (lab.host("node")?, lab.host("guest")?);
            let mut circle = vec![Node::new(lab, &a, &SETTINGS)?];
            start_circle(lab, &mut circle)?;
            let node = &circle[0];
            node.get(&url, "file.bin")?;
            let mut guest = Node::new(lab, &b, &SETTINGS)?;
            guest.knows(lab, &[&a])?;
            guest.start()?;
            let code = node.invite()?;

            let crowd = Crowd::around(&lab.host("crowd")?, &a)?;
            guest.join(&code)?;
            guest.await_peers(1)?;
            let job = guest.get(&url, "file.bin")?;
            blob.check(&guest.downloaded("file.bin")?)?;
            ensure!(bytes_of(&job, "bytes_from_peers")? > 0, "{job}");

            let most = [32, 16, 16];
            for ((port, callers), most) in crowd.callers.iter().zip(most) {
                let what = format!("no more than {most} callers on port {port}");
                poll(Duration::from_secs(9), &what, || {
                    Ok(callers.iter().filter(|it| is_open(it)).count() <= most)
                })?;
                let what = format!("the end of the last caller on port {port}");
                poll(Duration::from_secs(20), &what, || {
                    Ok(!callers.iter().any(is_open))
                })?;
            }
            ensure!(node.json(&["peers"])?.as_array().map(Vec::len) == Some(1));
            Ok(())
        });
    }
}

#[test]
fn wrong_codes_fill_no_log() {
    Lab::run(|lab| {
        let (a, b) = (lab.host("node")?, lab.host("guest")?);
        let mut circle = vec![Node::new(lab, &a, &[])?];
        start_circle(lab, &mut circle)?;
        let node = &circle[0];
        let old = node.invite()?;
        std::fs::remove_file(node.data_dir().join("authority/invites.json"))?;
        let code = node.invite()?;
        let guest = Node::new(lab, &b, &[])?;
        for _ in 0..12 {
            let outcome = guest.run(&["domain", "join", &old])?;
            ensure!(!outcome.status.success());
            ensure!(
                outcome.stderr.contains("does not know this code"),
                "{}",
                outcome.stderr
            );
        }
        guest.join(&code)?;
        let counts = until(Duration::from_secs(5), "the tenth refusal", || {
            let events = node.json_lines(&["events"])?;
            let refused = events.iter().filter(|it| it["kind"] == "domain_refused");
            let counts: Vec<_> = refused.map(|it| it["fields"]["count"].as_u64()).collect();
            Ok(counts.contains(&Some(10)).then_some(counts))
        })?;
        ensure!(counts == [Some(1), Some(10)], "{counts:?}");
        Ok(())
    });
}

/// Two hundred callers of each port who say nothing, or the half of something.
struct Crowd {
    callers: Vec<(u16, Vec<TcpStream>)>,
}

impl Crowd {
    fn around(from: &Host, node: &Host) -> Result<Self> {
        let mut callers = Vec::new();
        for port in [Node::CONTROL_PORT, Node::DATA_PORT, JOIN_PORT] {
            let place = SocketAddr::new(node.address(), port);
            callers.push((port, from.inside(|| crowd_at(place))??));
        }
        Ok(Self { callers })
    }
}

fn crowd_at(place: SocketAddr) -> Result<Vec<TcpStream>> {
    let mut callers = Vec::new();
    for n in 0..200 {
        let mut caller = TcpStream::connect(place)?;
        if n % 2 == 0 {
            // The beginning of a greeting, as TLS has it. It may be too late already.
            let _ = caller.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
        }
        caller.set_nonblocking(true)?;
        callers.push(caller);
    }
    Ok(callers)
}

fn is_open(mut caller: &TcpStream) -> bool {
    match caller.read(&mut [0; 64]) {
        Ok(0) => false,
        // An alert.
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
