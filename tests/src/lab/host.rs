//! One host of a lab.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use serde_json::Value;

use super::switch::{self, Switch};
use super::{Counters, carry_out};

/// A machine with one address, as far as programs on it can tell.
#[derive(Debug, Clone)]
pub struct Host {
    name: String,
    address: Ipv4Addr,
    link: Option<Link>,
}

#[derive(Debug, Clone)]
struct Link {
    switch: Arc<Switch>,
    number: u8,
    namespace: String,
}

impl Host {
    pub(super) fn namespace(switch: Arc<Switch>, name: &str, number: u8) -> Result<Self> {
        let address = Ipv4Addr::new(10, 77, 0, number);
        let namespace = switch.plug_in(name, number, &address.to_string())?;
        let link = Some(Link {
            switch,
            number,
            namespace,
        });
        Ok(Self {
            name: name.to_owned(),
            address,
            link,
        })
    }

    pub(super) fn loopback(name: &str, number: u8, lab: u32) -> Self {
        // Tests run side by side, each in its own process: the process id keeps their
        // addresses apart, so that all nodes can use the same ports.
        let place = std::process::id().wrapping_mul(8).wrapping_add(lab);
        let [_, _, high, low] = place.to_be_bytes();
        let address = Ipv4Addr::new(127, 1 + high % 254, low, number);
        Self {
            name: name.to_owned(),
            address,
            link: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        IpAddr::V4(self.address)
    }

    /// A command that will run on this host and die with the thread that starts it.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = match &self.link {
            Some(link) => {
                let mut command = Command::new("nsenter");
                command.arg(format!(
                    "--net={}",
                    switch::path_of(&link.namespace).display()
                ));
                command.args(["--", "setpriv"]);
                command
            }
            None => Command::new("setpriv"),
        };
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program.as_ref());
        command
    }

    /// Runs `work` on this host and waits for it: the connections it makes come from
    /// here.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        match &self.link {
            Some(link) => switch::inside(&link.namespace, work),
            None => Ok(work()),
        }
    }

    /// Starts a thread that stays on this host.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let enter = match &self.link {
            Some(link) => Some(switch::entrance(&link.namespace)?),
            None => None,
        };
        Ok(std::thread::spawn(move || {
            if let Some(enter) = enter {
                enter()?;
            }
            Ok(work())
        }))
    }

    /// Lets at most this many bits per second out of the host.
    pub fn limit(&self, bits_per_second: u64) -> Result<()> {
        let link = self.link("a rate limit")?;
        switch::limit(&link.namespace, Switch::INTERFACE, bits_per_second)
    }

    /// Lets at most this many bits per second into the host: what is more waits in the
    /// switch.
    pub fn limit_incoming(&self, bits_per_second: u64) -> Result<()> {
        let link = self.link("a rate limit")?;
        link.switch.limit(link.number, bits_per_second)
    }

    /// Bytes that left the host since [`Self::limit`] was first called, each segment with
    /// its own headers. [`Self::counters`] may count many segments as one packet.
    pub fn sent_on_wire(&self) -> Result<u64> {
        let link = self.link("an interface of its own")?;
        let text = carry_out(Command::new("tc").args(["-n", &link.namespace]).args([
            "-json",
            "-statistics",
            "qdisc",
            "show",
            "dev",
            Switch::INTERFACE,
        ]))?;
        let queues: Value = serde_json::from_str(&text).context("what tc counted")?;
        let mut queues = queues.as_array().into_iter().flatten();
        let limit = queues.find(|queue| queue["kind"] == "tbf");
        let limit = limit.with_context(|| format!("{} has no rate limit", self.name))?;
        limit["bytes"].as_u64().context("bytes that tc counted")
    }

    /// The host's interface, where it has one of its own.
    pub const INTERFACE: &str = Switch::INTERFACE;

    /// Runs `ip` with these arguments on the host, to change its addresses or routes.
    pub fn ip(&self, args: &[&str]) -> Result<()> {
        let link = self.link("interface to change")?;
        carry_out(Command::new("ip").args(["-n", &link.namespace]).args(args))?;
        Ok(())
    }

    /// The second one, once it is there.
    pub const SECOND: &str = Switch::SECOND;

    /// Gives the host a second interface, [`Self::SECOND`], without an address.
    pub fn add_interface(&self) -> Result<()> {
        let link = self.link("place for an interface")?;
        link.switch.plug_in_again(link.number, &link.namespace)
    }

    /// Gives the host IPv6, with link-local addresses that can be used at once.
    pub fn enable_ipv6(&self) -> Result<()> {
        let link = self.link("kernel of its own")?;
        switch::inside(&link.namespace, || {
            for (key, value) in [
                // Nobody else has the addresses: there is nothing to wait for.
                ("all/accept_dad", "0"),
                ("default/accept_dad", "0"),
                ("eth0/accept_dad", "0"),
                ("all/disable_ipv6", "0"),
                ("default/disable_ipv6", "0"),
                ("eth0/disable_ipv6", "0"),
            ] {
                let path = format!("/proc/sys/net/ipv6/conf/{key}");
                fs::write(&path, value).with_context(|| path.clone())?;
            }
            Ok(())
        })?
    }

    /// Pulls the host's cable, or puts it back.
    pub fn set_link(&self, up: bool) -> Result<()> {
        let link = self.link("a cable to pull")?;
        link.switch.set_link(link.number, up)
    }

    /// What crossed its link so far.
    pub fn counters(&self) -> Result<Counters> {
        let link = self.link("an interface of its own")?;
        // The thread's own file: a process's would be that of its first thread.
        let table = switch::inside(&link.namespace, || {
            fs::read_to_string("/proc/thread-self/net/dev")
        })??;
        Counters::parse(&table, Switch::INTERFACE)
    }

    fn link(&self, what: &str) -> Result<&Link> {
        self.link
            .as_ref()
            .with_context(|| format!("a host on loopback has no {what}"))
    }
}
