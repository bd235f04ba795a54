//! What `peering.enabled`, `peering.download` and `peering.serve` switch off.

use anyhow::{Result, ensure};
use potluck_tests::{Blob, Lab, Nginx, Node, bytes_of, start_circle};

const SIZE: u64 = 2 << 20;
const LAN: &str = "profile = \"lan\"";

/// How many bytes of a file a node takes from peers; all others come from the origin.
fn from_peers(node: &Node, nginx: &Nginx, name: &str) -> Result<u64> {
    let job = node.get(&nginx.url(name), name)?;
    let peers = bytes_of(&job, "bytes_from_peers")?;
    ensure!(
        peers + bytes_of(&job, "bytes_from_origin")? == SIZE,
        "{job}"
    );
    Ok(peers)
}

mod needs_nginx {
    use super::*;

    #[test]
    fn each_switch_of_peering_does_what_it_says() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            for (seed, name) in ["of_a", "of_no_client", "of_no_server"].iter().enumerate() {
                Blob::new(seed as u64 + 1, SIZE as usize).write(nginx.root(), name)?;
            }
            let node =
                |name: &str, setting: &str| Node::new(lab, &lab.host(name)?, &[LAN, setting]);
            let mut circle = vec![
                Node::new(lab, &lab.host("a")?, &[LAN])?,
                node("b", "peering.download = false")?,
                node("c", "peering.serve = false")?,
            ];
            start_circle(lab, &mut circle)?;
            let [a, no_client, no_server] = &circle[..] else {
                unreachable!("three nodes")
            };
            for (holder, name) in [
                (a, "of_a"),
                (no_client, "of_no_client"),
                (no_server, "of_no_server"),
            ] {
                ensure!(
                    from_peers(holder, &nginx, name)? == 0,
                    "nobody has {name} yet"
                );
            }
            ensure!(
                from_peers(no_client, &nginx, "of_a")? == 0,
                "it takes from peers"
            );
            ensure!(
                from_peers(a, &nginx, "of_no_server")? == 0,
                "it gives to peers"
            );
            // Each switch is for one way only.
            ensure!(from_peers(a, &nginx, "of_no_client")? == SIZE);
            ensure!(from_peers(no_server, &nginx, "of_a")? == SIZE);

            let mut off = node("d", "peering.enabled = false")?;
            off.knows(lab, &[a.host()])?;
            off.start()?;
            off.join(&a.invite()?)?;
            ensure!(
                from_peers(&off, &nginx, "of_a")? == 0,
                "it takes from peers"
            );
            let peers = off.json(&["peers"])?;
            ensure!(peers.as_array().is_some_and(Vec::is_empty), "{peers}");
            ensure!(a.await_peers(2)?.len() == 2, "others see it");
            Ok(())
        });
    }
}
