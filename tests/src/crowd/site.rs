//! The place of a scene: the origin, the hosts and their links.

use anyhow::{Result, ensure};

use super::{Load, Scene};
use crate::{Host, Lab, Nginx};

/// Of the links while a plain download is looked at: a link without a limit does not
/// count segments, and faster ones may lose some on a busy machine.
const PROBE: u64 = 500_000_000;

/// What nodes leave free on a disk by default.
const LEFT_FREE: u64 = 1 << 30;

/// An origin and hosts of a lab.
#[derive(Debug)]
pub struct Site<'lab> {
    lab: &'lab Lab,
    origin: Host,
    nginx: Nginx,
    hosts: Vec<Host>,
    load: Load,
    overhead: f64,
}

impl<'lab> Site<'lab> {
    /// Makes it, without limits to any link. One copy goes to the origin's own neighbour,
    /// to see what a copy is on the wire.
    pub fn new(lab: &'lab Lab, scene: &Scene) -> Result<Self> {
        let (origin, probe) = (lab.host("origin")?, lab.host("probe")?);
        let nginx = Nginx::start(lab, &origin)?;
        let load = Load::write(scene.wanted, scene.seed, nginx.root())?;
        check_room(lab, load.size() * (2 * scene.parts.len() as u64 + 1))?;
        let mut hosts = Vec::new();
        for number in 1..=scene.parts.len() {
            let host = lab.host(&format!("h{number}"))?;
            // What others find each other by is multicast, and needs a route.
            host.ip(&["route", "add", "224.0.0.0/4", "dev", Host::INTERFACE])?;
            hosts.push(host);
        }
        let mut site = Self {
            lab,
            origin,
            nginx,
            hosts,
            load,
            overhead: 1.0,
        };
        site.overhead = site.bytes_of_one_copy(&probe)? as f64 / site.load.size() as f64;
        Ok(site)
    }

    fn bytes_of_one_copy(&self, probe: &Host) -> Result<u64> {
        self.origin.limit(PROBE)?;
        let dir = self.lab.subdir("probe")?;
        let mut least = u64::MAX;
        for _ in 0..2 {
            let before = self.origin.sent_on_wire()?;
            let base = self.nginx.url("");
            let status = super::curl::command(&self.load, probe, &base, &dir)?.status()?;
            ensure!(status.success(), "curl of one copy: {status}");
            self.load.check(&dir)?;
            least = least.min(self.origin.sent_on_wire()? - before);
        }
        std::fs::remove_dir_all(dir)?;
        Ok(least)
    }

    /// Gives every link its rate.
    pub(super) fn limit(&self, scene: &Scene) -> Result<()> {
        self.origin.limit(scene.origin_up)?;
        for (host, part) in self.hosts.iter().zip(&scene.parts) {
            host.limit(part.up)?;
            if let Some(down) = part.down {
                host.limit_incoming(down)?;
            }
        }
        Ok(())
    }

    /// The lab that it is in.
    pub fn lab(&self) -> &'lab Lab {
        self.lab
    }

    /// Where the files come from.
    pub fn origin(&self) -> &Host {
        &self.origin
    }

    /// The web server there.
    pub fn nginx(&self) -> &Nginx {
        &self.nginx
    }

    /// The hosts of the scene, in its order.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The files.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// Bytes on the wire for each byte of the files, in one plain download.
    pub fn overhead(&self) -> f64 {
        self.overhead
    }

    /// Bytes that one copy is on the wire.
    pub fn copy(&self) -> f64 {
        self.load.size() as f64 * self.overhead
    }
}

/// Fails where a run would end for lack of room: a node keeps a file in its cache and in
/// its place.
fn check_room(lab: &Lab, bytes: u64) -> Result<()> {
    let disk = rustix::fs::statvfs(lab.dir())?;
    let (free, wanted) = (disk.f_bavail * disk.f_frsize, bytes + LEFT_FREE);
    ensure!(
        free >= wanted,
        "{} has {free} bytes free and the scene takes {wanted}; TMPDIR names another place",
        lab.dir().display()
    );
    Ok(())
}
