//! Finished files that the daemon passes to their owners' processes as descriptors.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Lab, TwoUsers, User};

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

struct World(TwoUsers);

impl World {
    fn new(lab: &Lab) -> Result<Self> {
        TwoUsers::new(lab, [ANN, BOB], None, &[]).map(Self)
    }

    /// The socket that files are passed on.
    fn socket(&self) -> PathBuf {
        self.0.node.dir().join("control.sock.files")
    }

    /// How many files were passed, and how many went as bytes.
    fn handed_over(&self) -> Result<[u64; 2]> {
        let mut stream = UnixStream::connect(self.0.node.socket())?;
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
        let id = self.0.begun(user, "later")?;
        self.0.node.await_job(&id, &["transferred"], SOON)?;
        Ok(id)
    }

    /// What [`ASK`] says of a request.
    fn asks(&self, user: &User, request: &str, copy: &Path) -> Result<String> {
        let words = user.words();
        let mut command = self.0.node.host().command(&words[0]);
        command.args(&words[1..]).args(["python3", "-c", ASK]);
        // One that every user may run.
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.arg(self.socket()).arg(request).arg(copy);
        let output = command.output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&said).trim().to_owned())
    }
}

mod needs_nginx_setpriv_root {
    use super::*;

    #[test]
    fn files_come_as_descriptors_or_else_as_bytes() {
        Lab::run(|lab| {
            let mut world = World::new(lab)?;
            world.0.gets(&world.0.ann, "file")?;
            ensure!(world.handed_over()? == [1, 0], "{:?}", world.handed_over()?);
            fs::rename(world.socket(), world.0.node.dir().join("elsewhere"))?;
            world.0.gets(&world.0.bob, "file")?;
            ensure!(world.handed_over()? == [1, 1], "{:?}", world.handed_over()?);
            fs::rename(world.0.node.dir().join("elsewhere"), world.socket())?;
            world.0.node.stop()?;
            ensure!(!world.socket().exists(), "the socket was left behind");
            // As after a crash.
            drop(std::os::unix::net::UnixListener::bind(world.socket())?);
            world.0.node.start()?;
            world.0.gets(&world.0.bob, "file")?;
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
            world.0.gets(&world.0.ann, "file")?;
            for mut stream in silent? {
                stream.set_read_timeout(Some(SOON))?;
                let read = stream.read(&mut [0])?;
                ensure!(read == 0, "it was answered");
            }
            world.0.gets(&world.0.bob, "file")?;
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
            let job = world.finished_job(&world.0.ann)?;
            let copy = world.0.ann.path("copy");
            let said = world.asks(&world.0.ann, &format!("{job} 0\n"), &copy)?;
            ensure!(said == "only read", "{said}");
            world.0.blob.check(&copy)?;
            let by_bob = world.0.bob.path("copy");
            let said = world.asks(&world.0.bob, &format!("{job} 0\n"), &by_bob)?;
            ensure!(said == "refused", "he gets her file: {said}");
            let long = "x".repeat(65);
            for wrong in [&format!("{job} 1\n"), &format!("{job}\n"), "\n", &long] {
                let said = world.asks(&world.0.ann, wrong, &copy)?;
                ensure!(said == "refused", "{wrong:?}: {said}");
            }
            ensure!(world.handed_over()? == [1, 0], "{:?}", world.handed_over()?);
            Ok(())
        });
    }
}
