//! Finished files that the daemon passes to their owners' processes as descriptors.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Blob, Lab, Nginx, Node, User};

const SIZE: usize = 3 << 20;
const ANN: u32 = 64_111;
const BOB: u32 = 64_112;
const SOON: Duration = Duration::from_secs(60);
/// As many callers as are let in.
const CROWD: usize = 64;

/// Asks for the first file of a job, copies it, and tries everything that would write to it.
const ASK: &str = r#"
import os, socket, sys
path, request, copy = sys.argv[1:]
asked = socket.socket(socket.AF_UNIX)
asked.settimeout(60)
asked.connect(path)
asked.sendall(request.encode())
try:
    size, passed, _, _ = socket.recv_fds(asked, 8, 4)
except ConnectionResetError:
    size, passed = b"", []
if not passed:
    sys.exit("refused")
file, = passed
assert os.fstat(file).st_size == int.from_bytes(size, "big")
with open(copy, "wb") as out:
    while part := os.read(file, 1 << 20):
        out.write(part)
again = f"/proc/self/fd/{file}"
tries = [
    lambda: os.write(file, b"x"),
    lambda: os.ftruncate(file, 0),
    lambda: os.fchmod(file, 0o666),
    lambda: os.utime(file),
    lambda: os.open(again, os.O_WRONLY),
    lambda: os.open(again, os.O_RDWR),
    lambda: os.open(again, os.O_RDONLY),
    lambda: os.truncate(again, 0),
]
for number, one in enumerate(tries):
    try:
        one()
    except OSError:
        continue
    sys.exit(f"try {number} went well")
print("only read")
"#;

struct World {
    nginx: Nginx,
    node: Node,
    blob: Blob,
    ann: User,
    bob: User,
}

impl World {
    fn new(lab: &Lab) -> Result<Self> {
        let nginx = Nginx::start(lab, &lab.host("origin")?)?;
        let blob = Blob::new(1, SIZE);
        blob.write(nginx.root(), "file")?;
        let mut node = Node::new(lab, &lab.host("a")?, &[])?;
        let (ann, bob) = (User::new(lab, ANN)?, User::new(lab, BOB)?);
        fs::set_permissions(node.dir(), Permissions::from_mode(0o711))?;
        node.start()?;
        Ok(Self {
            nginx,
            node,
            blob,
            ann,
            bob,
        })
    }

    /// The socket that files are passed on.
    fn socket(&self) -> PathBuf {
        self.node.dir().join("control.sock.files")
    }

    /// A user gets the file, and it is theirs.
    fn gets(&self, user: &User) -> Result<()> {
        let path = user.path("file");
        let url = self.nginx.url("file");
        let args = ["get", &url, "-o", text(&path)?];
        let outcome = self.node.run_as(user, &args)?;
        ensure!(outcome.status.success(), "{outcome:?}");
        self.blob.check(&path)?;
        let owner = fs::metadata(&path)?.uid();
        ensure!(owner == user.uid(), "the file is of {owner}");
        Ok(())
    }

    /// How many files were passed, and how many went as bytes.
    fn handed_over(&self) -> Result<[u64; 2]> {
        let mut stream = UnixStream::connect(self.node.socket())?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let count = |how: &str| {
            let name = format!("potluck_files_handed_over_total{{as=\"{how}\"}} ");
            let line = answer.lines().find_map(|line| line.strip_prefix(&name));
            line.context("no such counter")?.parse().context("a number")
        };
        Ok([count("descriptor")?, count("bytes")?])
    }

    /// A job of a user that waits to be completed.
    fn finished_job(&self, user: &User) -> Result<String> {
        let (url, path) = (self.nginx.url("file"), user.path("later"));
        let args = ["--json", "get", &url, "-o", text(&path)?, "--detach"];
        let outcome = self.node.run_as(user, &args)?;
        let job: serde_json::Value = serde_json::from_str(&outcome.stdout)?;
        let id = job["id"].as_str().context("an id")?.to_owned();
        self.node.await_job(&id, &["transferred"], SOON)?;
        Ok(id)
    }

    /// What [`ASK`] says of a request.
    fn asks(&self, user: &User, request: &str, copy: &Path) -> Result<String> {
        let words = user.words();
        let mut command = self.node.host().command(&words[0]);
        command.args(&words[1..]).args(["python3", "-c", ASK]);
        // One that every user may run.
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.arg(self.socket()).arg(request).arg(copy);
        let output = command.output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&said).trim().to_owned())
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

mod needs_nginx_setpriv_root {
    use super::*;

    #[test]
    fn files_come_as_descriptors_or_else_as_bytes() {
        Lab::run(|lab| {
            let mut world = World::new(lab)?;
            world.gets(&world.ann)?;
            ensure!(world.handed_over()? == [1, 0], "{:?}", world.handed_over()?);
            fs::rename(world.socket(), world.node.dir().join("elsewhere"))?;
            world.gets(&world.bob)?;
            ensure!(world.handed_over()? == [1, 1], "{:?}", world.handed_over()?);
            fs::rename(world.node.dir().join("elsewhere"), world.socket())?;
            world.node.stop()?;
            ensure!(!world.socket().exists(), "the socket was left behind");
            // As after a crash.
            drop(std::os::unix::net::UnixListener::bind(world.socket())?);
            world.node.start()?;
            world.gets(&world.bob)?;
            ensure!(world.handed_over()? == [1, 0], "{:?}", world.handed_over()?);
            Ok(())
        });
    }

    #[test]
    fn silent_callers_keep_nobody_from_their_files() {
        Lab::run(|lab| {
            let world = World::new(lab)?;
            let silent: Result<Vec<_>, _> = (0..CROWD)
                .map(|_| UnixStream::connect(world.socket()))
                .collect();
            world.gets(&world.ann)?;
            for mut stream in silent? {
                stream.set_read_timeout(Some(SOON))?;
                let read = stream.read(&mut [0])?;
                ensure!(read == 0, "it was answered");
            }
            world.gets(&world.bob)?;
            let [passed, bytes] = world.handed_over()?;
            ensure!(passed >= 1 && passed + bytes == 2, "{passed}, {bytes}");
            Ok(())
        });
    }
}

mod needs_nginx_python3_setpriv_root {
    use super::*;

    #[test]
    fn a_passed_file_can_only_be_read_and_by_its_owner_only() {
        Lab::run(|lab| {
            let world = World::new(lab)?;
            let job = world.finished_job(&world.ann)?;
            let copy = world.ann.path("copy");
            let said = world.asks(&world.ann, &format!("{job} 0\n"), &copy)?;
            ensure!(said == "only read", "{said}");
            world.blob.check(&copy)?;
            let by_bob = world.bob.path("copy");
            let said = world.asks(&world.bob, &format!("{job} 0\n"), &by_bob)?;
            ensure!(said == "refused", "he gets her file: {said}");
            let long = "x".repeat(65);
            for wrong in [&format!("{job} 1\n"), &format!("{job}\n"), "\n", &long] {
                let said = world.asks(&world.ann, wrong, &copy)?;
                ensure!(said == "refused", "{wrong:?}: {said}");
            }
            ensure!(world.handed_over()? == [1, 0], "{:?}", world.handed_over()?);
            Ok(())
        });
    }
}
