//! Several nodes of one domain.

use anyhow::{Context, Result};

use crate::{Host, Lab, Node};

/// Starts a daemon on a new host per name, puts all of them into one domain, which the
/// first one makes, and waits until each lists all the others. Each gets the same
/// `settings`.
pub fn circle(lab: &Lab, names: &[&str], settings: &[&str]) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for name in names {
        nodes.push(Node::new(lab, &lab.host(name)?, settings)?);
    }
    start_circle(lab, &mut nodes)?;
    Ok(nodes)
}

/// The same for nodes that are there and not started.
pub fn start_circle(lab: &Lab, nodes: &mut [Node]) -> Result<()> {
    let hosts: Vec<Host> = nodes.iter().map(|node| node.host().clone()).collect();
    for node in nodes.iter_mut() {
        let others: Vec<&Host> = hosts
            .iter()
            .filter(|host| host.address() != node.host().address())
            .collect();
        node.knows(lab, &others)?;
        node.start()?;
    }
    let (first, rest) = nodes.split_first().context("a circle of nobody")?;
    first.create_domain("lab")?;
    for node in rest {
        node.join(&first.invite()?)?;
    }
    for node in nodes.iter() {
        node.await_peers(hosts.len() - 1)?;
    }
    Ok(())
}
