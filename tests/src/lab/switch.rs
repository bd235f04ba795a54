//! The bridge that joins a lab's hosts, in a namespace of its own so that the
//! machine's own network stays as it is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::carry_out;

/// A bridge in the namespace `<name>-sw`; its hosts' namespaces are `<name>-<host>`.
#[derive(Debug)]
pub(super) struct Switch {
    name: String,
}

impl Switch {
    /// Every namespace's name begins so, followed by the process id of the test.
    pub(super) const PREFIX: &str = "plk";
    /// A host's second interface, where it has one.
    pub(super) const SECOND: &str = "eth1";
    /// A host's interface in its own namespace.
    pub(super) const INTERFACE: &str = "eth0";

    pub(super) fn new(name: String) -> Result<Self> {
        let switch = Self { name };
        let namespace = switch.namespace("sw");
        carry_out(Command::new("ip").args(["netns", "add", &namespace]))?;
        inside(&namespace, || {
            // A switch has no firewall. Where this one has none either there is nothing
            // to switch off.
            let _ = fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
        })?;
        // Without a multicast router on it, snooping would only lose what the hosts
        // have not asked for yet.
        let made = switch.in_switch(&[
            "link",
            "add",
            "br0",
            "type",
            "bridge",
            "forward_delay",
            "0",
            "mcast_snooping",
            "0",
        ]);
        made.and_then(|()| switch.in_switch(&["link", "set", "br0", "up"]))
            .inspect_err(|_| switch.remove())?;
        Ok(switch)
    }

    pub(super) fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.name)
    }

    /// Makes a namespace with one interface on the bridge.
    pub(super) fn plug_in(&self, host: &str, number: u8, address: &str) -> Result<String> {
        let namespace = self.namespace(host);
        carry_out(Command::new("ip").args(["netns", "add", &namespace]))?;
        inside(&namespace, || {
            // Its chatter would be counted as if it were ours. Where it cannot be
            // switched off there is none.
            let _ = fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
            // What Linux does unless told otherwise, whatever this machine is told.
            let _ = fs::write("/proc/sys/net/ipv4/tcp_congestion_control", "cubic");
        })?;
        let port = port(number);
        self.in_switch(&[
            "link",
            "add",
            &port,
            "type",
            "veth",
            "peer",
            "name",
            Self::INTERFACE,
            "netns",
            &namespace,
        ])?;
        self.in_switch(&["link", "set", &port, "master", "br0", "up"])?;
        let ip = |args: &[&str]| carry_out(Command::new("ip").args(["-n", &namespace]).args(args));
        ip(&[
            "address",
            "add",
            &format!("{address}/24"),
            "broadcast",
            "+",
            "dev",
            Self::INTERFACE,
        ])?;
        ip(&["link", "set", "lo", "up"])?;
        ip(&["link", "set", Self::INTERFACE, "up"])?;
        Ok(namespace)
    }

    /// Gives a host a second interface on the same bridge, without an address.
    pub(super) fn plug_in_again(&self, number: u8, namespace: &str) -> Result<()> {
        let port = format!("{}b", port(number));
        self.in_switch(&[
            "link",
            "add",
            &port,
            "type",
            "veth",
            "peer",
            "name",
            Self::SECOND,
            "netns",
            namespace,
        ])?;
        self.in_switch(&["link", "set", &port, "master", "br0", "up"])?;
        let up = ["-n", namespace, "link", "set", Self::SECOND, "up"];
        carry_out(Command::new("ip").args(up)).map(drop)
    }

    /// Pulls a host's cable out of the switch, or puts it back.
    pub(super) fn set_link(&self, number: u8, up: bool) -> Result<()> {
        self.in_switch(&["link", "set", &port(number), if up { "up" } else { "down" }])
    }

    /// Lets at most this many bits per second out of the switch to a host.
    pub(super) fn limit(&self, number: u8, bits_per_second: u64) -> Result<()> {
        limit(&self.namespace("sw"), &port(number), bits_per_second)
    }

    fn in_switch(&self, args: &[&str]) -> Result<()> {
        carry_out(
            Command::new("ip")
                .args(["-n", &self.namespace("sw")])
                .args(args),
        )?;
        Ok(())
    }

    /// Ends what still runs on the hosts and removes them.
    pub(super) fn remove(&self) {
        for namespace in namespaces() {
            if namespace
                .strip_prefix(&self.name)
                .is_some_and(|rest| rest.starts_with('-'))
            {
                remove(&namespace);
            }
        }
    }

    /// Removes what tests left behind that were killed before they could.
    pub(super) fn remove_leftovers() {
        for namespace in namespaces() {
            let owner = namespace
                .strip_prefix(Self::PREFIX)
                .and_then(|rest| rest.split('-').next());
            let Some(owner) = owner.and_then(|pid| pid.parse::<u32>().ok()) else {
                continue;
            };
            if !Path::new(&format!("/proc/{owner}")).exists() {
                remove(&namespace);
            }
        }
    }
}

/// Runs `work` on a thread of its own that is on the host; sockets that it makes, and
/// threads that it starts, are too.
pub(super) fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    let enter = entrance(namespace)?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter()?;
            Ok(work())
        });
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// What a thread calls to go onto the host.
pub(super) fn entrance(namespace: &str) -> Result<impl FnOnce() -> Result<()> + Send + 'static> {
    let path = path_of(namespace);
    let door = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    Ok(move || {
        use std::os::fd::AsFd;
        move_into_link_name_space(door.as_fd(), Some(LinkNameSpaceType::Network))
            .context("entering a network namespace")
    })
}

/// Lets at most this many bits per second out of an interface, exact to half a percent.
pub(super) fn limit(namespace: &str, interface: &str, bits_per_second: u64) -> Result<()> {
    let rate = format!("{bits_per_second}bit");
    let mut command = Command::new("tc");
    command.args(["-n", namespace, "qdisc", "replace", "dev", interface]);
    // Room for the largest that the kernel sends at a time, which is cut up otherwise.
    command.args(["root", "tbf", "rate", &rate, "burst", "80kb"]);
    command.args(["latency", "200ms"]);
    carry_out(&mut command).map(drop)
}

/// The file that stands for a namespace.
pub(super) fn path_of(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}

fn port(number: u8) -> String {
    format!("port{number}")
}

fn namespaces() -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn remove(namespace: &str) {
    let pids = carry_out(Command::new("ip").args(["netns", "pids", namespace])).unwrap_or_default();
    for pid in pids
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .filter_map(Pid::from_raw)
    {
        // A thread of this very process may still be there.
        if pid != rustix::process::getpid() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    if let Err(error) = carry_out(Command::new("ip").args(["netns", "del", namespace])) {
        // Another test that found the same leftover may have been quicker.
        if path_of(namespace).exists() {
            eprintln!("left behind: {error:#}");
        }
    }
}
