//! The main job: a file crosses the uplink once.

use std::time::Duration;

use anyhow::{Result, ensure};
use potluck_tests::{Blob, Lab, Nginx, Node, bytes_of, circle, poll};

const SIZE: u64 = 24 << 20;

mod needs_nginx {
    use super::*;

    #[test]
    fn the_second_host_takes_it_from_the_first() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(1, SIZE as usize);
            blob.write(nginx.root(), "file.bin")?;
            let url = nginx.url("file.bin");
            let circle = circle(lab, &["a", "b"], &["profile = \"lan\""])?;
            let (a, b) = (&circle[0], &circle[1]);

            let first = a.get(&url, "file.bin")?;
            ensure!(bytes_of(&first, "bytes_from_origin")? == SIZE, "{first}");
            ensure!(bytes_of(&first, "bytes_from_peers")? == 0, "{first}");
            blob.check(&a.downloaded("file.bin")?)?;

            let asked = settled(&nginx)?;
            let second = b.get(&url, "file.bin")?;
            ensure!(bytes_of(&second, "bytes_from_peers")? == SIZE, "{second}");
            ensure!(bytes_of(&second, "bytes_from_origin")? == 0, "{second}");
            ensure!(
                second["files"][0]["content_id"] == format!("b3:{}", blob.hash()),
                "{second}"
            );
            blob.check(&b.downloaded("file.bin")?)?;
            settled(&nginx)?;
            let requests = nginx.requests()?.split_off(asked);
            ensure!(!requests.is_empty(), "the origin was not even asked");
            for request in &requests {
                ensure!(request.method == "HEAD" && request.body == 0, "{request:?}");
            }

            // A host of another domain and one of none see nothing of the two.
            let mut c = Node::new(lab, &lab.host("c")?, &["profile = \"lan\""])?;
            c.knows(lab, &[a.host(), b.host()])?;
            c.start()?;
            c.create_domain("elsewhere")?;
            let mut d = Node::new(lab, &lab.host("d")?, &["profile = \"lan\""])?;
            d.knows(lab, &[a.host(), b.host()])?;
            d.start()?;
            for stranger in [&c, &d] {
                let job = stranger.get(&url, "file.bin")?;
                ensure!(bytes_of(&job, "bytes_from_origin")? == SIZE, "{job}");
                ensure!(bytes_of(&job, "bytes_from_peers")? == 0, "{job}");
                blob.check(&stranger.downloaded("file.bin")?)?;
                let peers = stranger.json(&["peers"])?;
                ensure!(peers.as_array().is_some_and(Vec::is_empty), "{peers}");
            }
            Ok(())
        });
    }

    #[test]
    fn without_a_daemon_it_comes_from_the_origin_with_a_hint() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(2, 3 << 20);
            blob.write(nginx.root(), "file.bin")?;
            let alone = Node::new(lab, &lab.host("a")?, &[])?;
            let path = alone.downloaded("file.bin")?;
            let outcome =
                alone.run(&["get", &nginx.url("file.bin"), "-o", &path.to_string_lossy()])?;
            ensure!(outcome.status.success(), "{outcome:?}");
            let said = format!("{}{}", outcome.stdout, outcome.stderr);
            ensure!(
                said.contains("domain join"),
                "no hint how to find peers: {said}"
            );
            blob.check(&path)?;

            let again = alone.get(&nginx.url("file.bin"), "again.bin")?;
            ensure!(bytes_of(&again, "bytes_total")? == blob.size(), "{again}");
            ensure!(bytes_of(&again, "bytes_from_peers")? == 0, "{again}");
            ensure!(sources(&again)? == blob.size(), "{again}");
            blob.check(&alone.downloaded("again.bin")?)
        });
    }

    #[test]
    fn https_with_an_authority_of_one_s_own() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(3, 3 << 20);
            blob.write(nginx.root(), "file.bin")?;
            let trust = format!("transfer.ca_files = [\"{}\"]", nginx.ca().display());
            let trusting = Node::new(lab, &lab.host("a")?, &[&trust])?;
            let job = trusting.get(&nginx.https_url("file.bin"), "file.bin")?;
            ensure!(bytes_of(&job, "bytes_from_origin")? == blob.size(), "{job}");
            blob.check(&trusting.downloaded("file.bin")?)?;

            let patience = [
                "transfer.retry_delay = \"5s\"",
                "transfer.no_progress_timeout = \"60s\"",
            ];
            let careful = Node::new(lab, &lab.host("b")?, &patience)?;
            let path = careful.downloaded("file.bin")?;
            let args = [
                "get",
                &nginx.https_url("file.bin"),
                "-o",
                &path.to_string_lossy(),
            ];
            let outcome = careful.run(&args)?;
            ensure!(outcome.code()? == 3, "{outcome:?}");
            ensure!(outcome.stderr.contains("certificate"), "{}", outcome.stderr);
            ensure!(!path.exists());
            Ok(())
        });
    }

    #[test]
    fn what_is_here_is_not_fetched_again() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(4, 5 << 20);
            blob.write(nginx.root(), "file.bin")?;
            let mut node = Node::new(lab, &lab.host("a")?, &[])?;
            node.start()?;
            node.get(&nginx.url("file.bin"), "one.bin")?;
            let second = node.get(&nginx.url("file.bin"), "two.bin")?;
            ensure!(
                bytes_of(&second, "bytes_from_cache")? == blob.size(),
                "{second}"
            );
            blob.check(&node.downloaded("two.bin")?)?;
            settled(&nginx)?;
            ensure!(nginx.body_bytes_since(0)? == blob.size());

            // A new version of the file is noticed.
            let newer = Blob::new(5, 5 << 20);
            newer.write(nginx.root(), "file.bin.new")?;
            std::fs::rename(
                nginx.root().join("file.bin.new"),
                nginx.root().join("file.bin"),
            )?;
            let file = std::fs::File::options()
                .append(true)
                .open(nginx.root().join("file.bin"))?;
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600))?;
            let third = node.get(&nginx.url("file.bin"), "three.bin")?;
            ensure!(
                bytes_of(&third, "bytes_from_origin")? == newer.size(),
                "{third}"
            );
            newer.check(&node.downloaded("three.bin")?)
        });
    }

    #[test]
    fn two_at_once_are_one_transfer() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(6, 4 << 20);
            blob.write(nginx.root(), "file.bin")?;
            let settings = ["transfer.origin_connections = 1"];
            let mut node = Node::new(lab, &lab.host("a")?, &settings)?;
            node.start()?;
            // The origin takes some seconds, so the second comes while the first runs.
            let url = nginx.url("slow/file.bin");
            let (one, two) = std::thread::scope(|scope| {
                let one = scope.spawn(|| node.get(&url, "one.bin"));
                let two = node.get(&url, "two.bin");
                (
                    one.join().map_err(|_| anyhow::anyhow!("a thread panicked")),
                    two,
                )
            });
            for (job, name) in [(one??, "one.bin"), (two?, "two.bin")] {
                ensure!(sources(&job)? == blob.size(), "{job}");
                blob.check(&node.downloaded(name)?)?;
            }
            settled(&nginx)?;
            let sent = nginx.body_bytes_since(0)?;
            ensure!(sent == blob.size(), "the origin sent {sent} bytes");
            Ok(())
        });
    }

    #[test]
    fn a_checksum_is_checked() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(7, 1 << 20);
            blob.write(nginx.root(), "file.bin")?;
            let mut node = Node::new(lab, &lab.host("a")?, &[])?;
            node.start()?;
            let url = nginx.url("file.bin");
            let right = format!("b3:{}", blob.hash());
            node.get_with(&url, "right.bin", &["--checksum", &right])?;
            blob.check(&node.downloaded("right.bin")?)?;

            let wrong = format!("b3:{}", Blob::new(8, 10).hash());
            let path = node.downloaded("wrong.bin")?;
            let args = [
                "get",
                &url,
                "-o",
                &path.to_string_lossy(),
                "--checksum",
                &wrong,
            ];
            let outcome = node.run(&args)?;
            ensure!(outcome.code()? == 3, "{outcome:?}");
            ensure!(
                !path.exists(),
                "a file with the wrong bytes was put in place"
            );
            Ok(())
        });
    }

    /// Waits for the log to stand still; the answer is how many requests it has.
    fn settled(nginx: &Nginx) -> Result<usize> {
        let mut last = usize::MAX;
        let mut same = 0;
        poll(
            Duration::from_secs(5),
            "the access log to stand still",
            || {
                let now = nginx.requests()?.len();
                same = if now == last { same + 1 } else { 0 };
                last = now;
                Ok(same == 10)
            },
        )?;
        Ok(last)
    }

    fn sources(job: &serde_json::Value) -> Result<u64> {
        Ok(bytes_of(job, "bytes_from_peers")?
            + bytes_of(job, "bytes_from_origin")?
            + bytes_of(job, "bytes_from_cache")?)
    }
}

mod needs_b3sum {
    use super::*;

    #[test]
    fn a_content_id_is_what_b3sum_prints() {
        Lab::run(|lab| {
            let mut node = Node::new(lab, &lab.host("a")?, &[])?;
            node.start()?;
            for (seed, size) in [(1, 0), (2, 1000), (3, 256 << 10), (4, (1 << 20) + 1)] {
                let path = Blob::new(seed, size).write(lab.dir(), &format!("{size}.bin"))?;
                let printed = node.ok(&["cache", "add", &path.to_string_lossy()])?;
                let expected = std::process::Command::new("b3sum")
                    .arg("--no-names")
                    .arg(&path)
                    .output()?;
                let expected = String::from_utf8(expected.stdout)?;
                ensure!(
                    printed.contains(expected.trim()),
                    "{printed} instead of {expected}"
                );
            }
            Ok(())
        });
    }
}
