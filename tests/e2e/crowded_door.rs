//! One user with very many connections to the control socket, and the others meanwhile.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Lab, Node, TwoUsers, User};

const ANN: u32 = 64_121;
const BOB: u32 = 64_122;
const SOON: Duration = Duration::from_secs(60);
/// More than the threads that a runtime has for what blocks.
const CROWD: usize = 600;
/// Connections that one user may have.
const MOST: usize = 128;
/// Files that one user may read at once.
const READINGS: usize = 16;

/// Asks again and again for the same without reading more than the first line of the
/// answer, says what came of it, and keeps all connections until its input ends.
const CALL: &str = r#"
import collections, select, socket, sys, time
path, what, count, enough = sys.argv[1:]
calls, said = [], collections.Counter()
for _ in range(int(count)):
    call = socket.socket(socket.AF_UNIX)
    call.connect(path)
    try:
        call.sendall(f"GET {what} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    except BrokenPipeError:
        pass
    calls.append(call)
waiting, end = set(calls), time.monotonic() + 30
while waiting and said["200"] < int(enough) and time.monotonic() < end:
    for call in select.select(waiting, [], [], 1)[0]:
        waiting.discard(call)
        try:
            said[call.recv(12).decode()[9:] or "gone"] += 1
        except ConnectionResetError:
            said["gone"] += 1
print(said["200"], said["429"], said["gone"], flush=True)
sys.stdin.read()
"#;

/// A user's many connections.
struct Crowd(Child);

impl Crowd {
    /// How many of `count` are answered, refused, and cut off.
    fn around(
        node: &Node,
        user: &User,
        what: &str,
        [count, enough]: [usize; 2],
    ) -> Result<(Self, [usize; 3])> {
        let words = user.words();
        let mut command = node.host().command(&words[0]);
        command.args(&words[1..]).args(["python3", "-c", CALL]);
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.arg(node.socket()).arg(what);
        command.args([count.to_string(), enough.to_string()]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut crowd = Self(command.spawn()?);
        let said = crowd.0.stdout.take().context("its output")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let counts: Result<Vec<usize>, _> = line.split_whitespace().map(str::parse).collect();
        let counts = counts?.try_into();
        let counts = counts.map_err(|_| anyhow::anyhow!("it said {line:?}"))?;
        Ok((crowd, counts))
    }

    fn leave(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        self.0.wait()?;
        Ok(())
    }
}

mod needs_nginx_python3_setpriv_root {
    use super::*;

    #[test]
    fn slow_readers_keep_nobody_else_from_their_files() {
        Lab::run(|lab| {
            let world = TwoUsers::new(lab, [ANN, BOB], None, &[])?;
            let job = world.begun(&world.ann, "later")?;
            world.node.await_job(&job, &["transferred"], SOON)?;
            // The bytes, not the descriptor.
            let what = format!("/v1/jobs/{job}/files/0/content");
            let (crowd, [answered, _, _]) =
                Crowd::around(&world.node, &world.ann, &what, [CROWD, READINGS])?;
            ensure!(answered == READINGS, "{answered} files are read at once");
            let passing = world.node.dir().join("control.sock.files");
            fs::rename(&passing, world.node.dir().join("elsewhere"))?;
            world.gets(&world.bob, "file")?;
            world.node.ok(&["stats"])?;
            crowd.leave()?;
            world.gets(&world.ann, "file")
        });
    }

    #[test]
    fn one_user_does_not_take_all_connections() {
        Lab::run(|lab| {
            let world = TwoUsers::new(lab, [ANN, BOB], None, &[])?;
            let what = "/v1/events?follow=true";
            let (crowd, [answered, refused, gone]) =
                Crowd::around(&world.node, &world.ann, what, [CROWD; 2])?;
            ensure!(answered == MOST, "{answered} connections");
            ensure!(refused > 0, "nobody is told why");
            ensure!(answered + refused + gone == CROWD, "some hear nothing");
            world.gets(&world.bob, "file")?;
            world.node.ok(&["stats"])?;
            crowd.leave()?;
            world.gets(&world.ann, "file")
        });
    }

    #[test]
    fn two_hundred_commands_at_once_all_work() {
        Lab::run(|lab| {
            let world = TwoUsers::new(lab, [ANN, BOB], None, &[])?;
            // She leaves herself few places.
            let busy = MOST - 4;
            let what = "/v1/events?follow=true";
            let (crowd, [answered, ..]) = Crowd::around(&world.node, &world.ann, what, [busy; 2])?;
            ensure!(answered == busy, "{answered} connections");
            std::thread::scope(|scope| {
                let commands: Vec<_> = (0..200)
                    .map(|_| scope.spawn(|| world.jobs_of(&world.ann)))
                    .collect();
                for command in commands {
                    let jobs = command.join().expect("no panic")?;
                    ensure!(jobs == 0, "{jobs} jobs");
                }
                anyhow::Ok(())
            })?;
            crowd.leave()
        });
    }
}
