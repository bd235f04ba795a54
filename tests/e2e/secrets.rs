//! Secrets stay in their files: they are in no log, no answer, no event, and not on the
//! wire, and the files are their owner's alone.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Blob, Lab, Needle, Nginx, Node};

/// Everything that is said, said; and whatever is made, made for everybody to read.
const TALKATIVE: [&str; 6] = [
    "env",
    "RUST_LOG=trace",
    "sh",
    "-c",
    "umask 000; exec \"$@\"",
    "sh",
];
const SETTINGS: [&str; 1] = ["control.http = \"127.0.0.1:7380\""];
const DOMAIN: &str = "undercroft-7c";
const SIZE: usize = 600_000;

/// What two nodes said while one let the other in and they shared a file.
struct Said {
    text: Vec<u8>,
    /// The command that prints the join code prints it.
    code: String,
}

mod needs_nginx_namespaces {
    use potluck_tests::Wiretap;

    use super::*;

    #[test]
    fn secrets_are_in_no_log_no_answer_and_not_on_the_wire() {
        Lab::run_in_namespaces(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            Blob::new(1, SIZE).write(nginx.root(), "file.bin")?;
            let mut nodes = [
                Node::new(lab, &lab.host("inviter")?, &SETTINGS)?,
                Node::new(lab, &lab.host("guest")?, &SETTINGS)?,
            ];
            let taps = [Wiretap::on(nodes[0].host())?, Wiretap::on(nodes[1].host())?];
            let said = live(&mut nodes, &nginx.url("file.bin"))?;
            let needles = needles(&nodes, &said.code)?;
            for needle in &needles {
                needle.is_not_in("what was said", &said.text)?;
            }
            for tap in &taps {
                let frames = tap.frames();
                let has = |word: &[u8]| {
                    let mut windows = frames.iter().flat_map(|it| it.windows(word.len()));
                    windows.any(|part| part == word)
                };
                ensure!(has(b"PLB\x01"), "not even a beacon was heard");
                ensure!(frames.iter().map(Vec::len).sum::<usize>() > SIZE);
                for needle in &needles {
                    for frame in &frames {
                        needle.is_not_in("a frame", frame)?;
                    }
                }
                // Neither is a name that strangers need not know.
                ensure!(!has(DOMAIN.as_bytes()), "the domain's name is on the wire");
            }
            Ok(())
        });
    }
}

#[test]
fn files_are_their_owners_alone_whatever_the_umask() {
    Lab::run(|lab| {
        let mut nodes = [
            Node::new(lab, &lab.host("inviter")?, &[])?,
            Node::new(lab, &lab.host("guest")?, &[])?,
        ];
        let (first, second) = (nodes[0].host().clone(), nodes[1].host().clone());
        for (node, other) in nodes.iter_mut().zip([second, first]) {
            node.run_under(&TALKATIVE);
            node.knows(lab, &[&other])?;
            node.start()?;
        }
        nodes[0].create_domain("lab")?;
        nodes[1].join(&nodes[0].invite()?)?;
        nodes[1].await_peers(1)?;
        let mut seen = 0;
        for node in &nodes {
            seen += all_private(&node.data_dir())?;
        }
        ensure!(seen >= 6, "only {seen} files were looked at");
        Ok(())
    });
}

/// Two nodes live: a domain, an invitation, a wrong code, a right one, a download from the
/// origin and one from the peer.
fn live(nodes: &mut [Node; 2], url: &str) -> Result<Said> {
    let mut text = Vec::new();
    let mut say = |node: &Node, args: &[&str]| -> Result<String> {
        let args = [&["-v", "-v", "--json"], args].concat();
        let outcome = node.run(&args)?;
        ensure!(outcome.status.success(), "{args:?}: {}", outcome.stderr);
        text.extend(outcome.stderr.bytes());
        if !args.contains(&"invite") {
            text.extend(outcome.stdout.bytes());
        }
        Ok(outcome.stdout)
    };
    for node in nodes.iter_mut() {
        node.run_under(&TALKATIVE);
        node.start()?;
    }
    let [inviter, guest] = nodes;
    say(inviter, &["domain", "create", DOMAIN])?;
    let invite = say(inviter, &["domain", "invite"])?;
    let invite: serde_json::Value = serde_json::from_str(&invite)?;
    let code = invite["code"].as_str().context("a code")?.to_owned();
    say(guest, &["domain", "join", &code])?;
    for node in [&*inviter, &*guest] {
        node.await_peers(1)?;
        let path = node.downloaded("file.bin")?;
        node.downloads()?;
        say(node, &["get", url, "-o", path.to_str().context("UTF-8")?])?;
        for args in [
            &["domain", "show"][..],
            &["peers"],
            &["peers", "--rejected"],
            &["job", "list"],
            &["stats"],
            &["events"],
            &["doctor"],
        ] {
            say(node, args)?;
        }
    }
    for node in nodes.iter_mut() {
        text.extend(metrics(node)?);
        text.extend(node.daemon()?.output().bytes());
        for file in files_below(&node.data_dir().join("events"))? {
            text.extend(fs::read(file)?);
        }
    }
    let traced = text.windows(5).any(|part| part == b"TRACE");
    ensure!(traced, "it was not talkative");
    Ok(Said { text, code })
}

fn metrics(node: &Node) -> Result<Vec<u8>> {
    node.host().inside(|| {
        let mut stream = TcpStream::connect("127.0.0.1:7380")?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        ensure!(answer.starts_with(b"HTTP/1.1 200"));
        Ok(answer)
    })?
}

/// Every secret that these nodes have.
fn needles(nodes: &[Node; 2], code: &str) -> Result<Vec<Needle>> {
    let mut needles = vec![Needle::text("the join code", code)];
    let groups: Vec<&str> = code.split('-').collect();
    // The secret follows 19 bytes of other things: base32 has five bits a digit.
    needles.push(Needle::text(
        "the middle of the join code",
        &groups[7..10].join("-"),
    ));
    let [inviter, guest] = nodes;
    for (name, file) in [
        (
            "the inviter's key",
            inviter.data_dir().join("identity/node.key"),
        ),
        (
            "the guest's key",
            guest.data_dir().join("identity/node.key"),
        ),
        (
            "the authority's key",
            inviter.data_dir().join("authority/ca.key"),
        ),
    ] {
        let pem = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let key = rcgen::KeyPair::from_pem(&pem)?;
        // PKCS#8 of Ed25519 (RFC 8410, section 7): the seed stands at byte 16.
        let seed = Needle::bytes(name, &key.serialize_der()[16..48]);
        let found = seed.is_not_in("its own file", pem.as_bytes()).is_err();
        ensure!(found, "{name} is not even found where it is");
        needles.push(seed);
        let body = pem.lines().nth(1).context("a PEM file has a body")?;
        needles.push(Needle::text(name, &body[24..]));
    }
    let membership = fs::read_to_string(guest.data_dir().join("domain/membership.json"))?;
    let membership: serde_json::Value = serde_json::from_str(&membership)?;
    let beacon_key = membership["beacon_key"].as_str().context("a beacon key")?;
    let beacon_key: Vec<u8> = (0..beacon_key.len() / 2)
        .map(|at| u8::from_str_radix(&beacon_key[2 * at..2 * at + 2], 16))
        .collect::<Result<_, _>>()?;
    needles.push(Needle::bytes("the beacon key", &beacon_key));
    Ok(needles)
}

/// Checks that nobody else gets into a data directory, and that its secrets would be safe
/// even so; how many files with secrets there are.
fn all_private(data_dir: &Path) -> Result<usize> {
    let check = |path: &Path, wanted| {
        let mode = fs::metadata(path)?.permissions().mode() & 0o777;
        ensure!(mode == wanted, "{} is {mode:o}", path.display());
        Ok(())
    };
    check(data_dir, 0o700)?;
    let mut seen = 0;
    for folder in ["identity", "domain", "authority"] {
        let folder = data_dir.join(folder);
        if !folder.exists() {
            // A guest has no authority.
            continue;
        }
        check(&folder, 0o700)?;
        for file in files_below(&folder)? {
            // Certificates are for everybody.
            if file.extension().is_none_or(|ending| ending != "pem") {
                check(&file, 0o600)?;
                seen += 1;
            }
        }
    }
    Ok(seen)
}

fn files_below(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}
