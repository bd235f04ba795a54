//! How much a node gives, and to how many at once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use potluck_tests::{Blob, Host, Lab, Nginx, Node, bytes_of, circle, start_circle, until};

/// What the default profile serves: 1 Mbit/s.
const RATE: f64 = 125_000.0;

mod needs_nginx_namespaces {
    use super::*;

    /// Two pieces, so that a slot is given on in the middle.
    const SIZE: usize = 512 << 10;
    const LOOK: Duration = Duration::from_millis(500);

    #[test]
    fn alone_by_default_three_at_once_and_one_megabit() {
        Lab::run_in_namespaces(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(1, SIZE);
            blob.write(nginx.root(), "file.bin")?;
            // The origin is kept out, and only one serves.
            let mut circle = Vec::new();
            for name in ["a", "b", "c", "d", "e", "f"] {
                let serves = format!("peering.serve = {}", name == "a");
                let settings = ["peering.origin_delay = \"10m\"", &serves];
                circle.push(Node::new(lab, &lab.host(name)?, &settings)?);
            }
            start_circle(lab, &mut circle)?;
            let (server, clients) = (&circle[0], &circle[1..]);
            server.get(&nginx.url("file.bin"), "file.bin")?;
            let asked = nginx.requests()?.len();

            let jobs = start_in_order(clients, &nginx.url("file.bin"))?;
            let watch = watch(server.host(), clients)?;
            watch.check_rate()?;
            watch.check_at_most_three()?;
            watch.check_order()?;
            for (client, id) in clients.iter().zip(&jobs) {
                let job =
                    client.await_job(id, &["acknowledged", "error"], Duration::from_secs(90))?;
                ensure!(bytes_of(&job, "bytes_from_peers")? == SIZE as u64, "{job}");
                blob.check(&client.downloaded("file.bin")?)?;
            }
            ensure!(nginx.body_bytes_since(asked)? == 0, "the origin helped");
            Ok(())
        });
    }

    /// Starts a job on each, the next when the last one's question is in the queue.
    fn start_in_order(clients: &[Node], url: &str) -> Result<Vec<String>> {
        let mut jobs = Vec::new();
        for client in clients {
            let job = client.get_with(url, "file.bin", &["--detach"])?;
            let id = job["id"].as_str().context("an id")?.to_owned();
            client.await_job(
                &id,
                &["transferring", "acknowledged"],
                Duration::from_secs(20),
            )?;
            jobs.push(id);
        }
        Ok(jobs)
    }

    /// Bytes that each client got and the server sent, second by second.
    #[derive(Debug)]
    struct Watch {
        server: Vec<(f64, u64)>,
        clients: Vec<Vec<u64>>,
    }

    /// Looks on until each client has got its share and it is quiet for two seconds.
    fn watch(server: &Host, clients: &[Node]) -> Result<Watch> {
        let start = Instant::now();
        let mut watch = Watch {
            server: Vec::new(),
            clients: vec![Vec::new(); clients.len()],
        };
        let mut next = Duration::ZERO;
        until(Duration::from_secs(60), "all to be served", || {
            if start.elapsed() < next {
                return Ok(None);
            }
            next += LOOK;
            watch.server.push((
                start.elapsed().as_secs_f64(),
                server.counters()?.payload_sent(),
            ));
            for (client, seen) in clients.iter().zip(&mut watch.clients) {
                seen.push(client.host().counters()?.payload_received());
            }
            // The first had got some of it before the first look, so what counts is that
            // everybody got something and nobody gets anything any more.
            let done = |seen: &Vec<u64>| {
                let (now, before) = (seen[seen.len() - 1], seen[seen.len().saturating_sub(5)]);
                now > seen[0] + 20_000 && now < before + 2_000
            };
            Ok(watch.clients.iter().all(done).then_some(()))
        })?;
        Ok(watch)
    }

    impl Watch {
        /// Who came first is served first.
        fn check_order(&self) -> Result<()> {
            let begins = |seen: &Vec<u64>| seen.iter().position(|now| *now > seen[0] + 20_000);
            let begun: Vec<usize> = self.clients.iter().filter_map(begins).collect();
            ensure!(
                begun.is_sorted_by_key(|look| look / 4),
                "served from look {begun:?} on"
            );
            ensure!(
                begun[3] > begun[2] + 4,
                "the fourth did not wait: {begun:?}"
            );
            Ok(())
        }

        fn check_rate(&self) -> Result<()> {
            let first = self.server[0];
            let after = self.server.iter().find(|look| look.0 - first.0 >= 10.0);
            let last = after.context("it took less than ten seconds")?;
            let seconds = last.0 - first.0;
            let rate = (last.1 - first.1) as f64 / seconds;
            let off = rate / RATE - 1.0;
            println!(
                "{:.4} Mbit/s over {seconds:.2} s, {:+.2} %",
                rate * 8e-6,
                off * 100.0
            );
            ensure!(
                off.abs() <= 0.02,
                "{:.4} Mbit/s is {:+.2} %",
                rate * 8e-6,
                off * 100.0
            );
            Ok(())
        }

        fn check_at_most_three(&self) -> Result<()> {
            let looks = self.clients[0].len();
            // Who got something before a moment's half second, in it and after it was
            // being served all through it: a slot that was given on does not count twice.
            let got = |client: &Vec<u64>, look: usize| {
                client[look + 1].saturating_sub(client[look]) > 2_000
            };
            let mut most = 0;
            for look in 0..looks.saturating_sub(3) {
                let through = |client: &&Vec<u64>| (look..look + 3).all(|look| got(client, look));
                most = most.max(self.clients.iter().filter(through).count());
            }
            ensure!(most <= 3, "{most} were served at once");
            ensure!(most == 3, "only {most} were served at once");
            Ok(())
        }
    }
}

mod needs_nginx {
    use super::*;

    #[test]
    fn on_a_fast_lan_all_at_full_speed() {
        Lab::run(|lab| {
            let size = 8 << 20;
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(2, size);
            blob.write(nginx.root(), "file.bin")?;
            let circle = circle(lab, &["a", "b", "c", "d", "e", "f"], &["profile = \"lan\""])?;
            let (server, clients) = (&circle[0], &circle[1..]);
            let url = nginx.url("file.bin");
            server.get(&url, "file.bin")?;
            let asked = nginx.requests()?.len();

            let jobs: Vec<Result<serde_json::Value>> = std::thread::scope(|scope| {
                let threads: Vec<_> = clients
                    .iter()
                    .map(|client| scope.spawn(|| client.get(&url, "file.bin")))
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().expect("no panic"))
                    .collect()
            });
            for (client, job) in clients.iter().zip(jobs) {
                let job = job?;
                ensure!(bytes_of(&job, "bytes_from_peers")? == size as u64, "{job}");
                blob.check(&client.downloaded("file.bin")?)?;
            }
            // At 1 Mbit/s, which is below the minimum peer rate, it would have.
            ensure!(nginx.body_bytes_since(asked)? == 0, "the origin helped");
            Ok(())
        });
    }

    #[test]
    fn a_slow_peer_is_enough_when_told_so() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(4, 512 << 10);
            blob.write(nginx.root(), "file.bin")?;
            let circle = circle(lab, &["a", "b"], &["peering.min_peer_rate = \"0 KB/s\""])?;
            circle[0].get(&nginx.url("file.bin"), "file.bin")?;
            let job = circle[1].get(&nginx.url("file.bin"), "file.bin")?;
            ensure!(bytes_of(&job, "bytes_from_peers")? == blob.size(), "{job}");
            ensure!(bytes_of(&job, "bytes_discarded")? == 0, "{job}");
            blob.check(&circle[1].downloaded("file.bin")?)
        });
    }

    #[test]
    fn a_slow_peer_does_not_make_it_slower() {
        Lab::run(|lab| {
            let size = 4 << 20;
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(3, size);
            blob.write(nginx.root(), "file.bin")?;
            // The default 1 Mbit/s is below the default minimum peer rate.
            let circle = circle(lab, &["a", "b"], &[])?;
            let url = nginx.url("file.bin");
            circle[0].get(&url, "file.bin")?;
            let job = circle[1].get_with(&url, "file.bin", &["--priority", "foreground"])?;
            let (peers, origin) = (
                bytes_of(&job, "bytes_from_peers")?,
                bytes_of(&job, "bytes_from_origin")?,
            );
            ensure!(peers + origin == size as u64 && origin > 0, "{job}");
            // The peer gives 125 kB in a second, the origin the rest in the same time.
            ensure!(peers < origin, "{job}");
            blob.check(&circle[1].downloaded("file.bin")?)
        });
    }
}
