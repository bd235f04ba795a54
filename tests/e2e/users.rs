//! Several users and one daemon: who sees what, whose files they are, and what is refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Lab, TwoUsers, User, text, until};

const ANN: u32 = 64_101;
const BOB: u32 = 64_102;
const DAEMON: u32 = 64_103;
const SOON: Duration = Duration::from_secs(60);

/// With a daemon of root, or of `daemon`.
fn world(lab: &Lab, daemon: Option<&User>, settings: &[&str]) -> Result<TwoUsers> {
    TwoUsers::new(lab, [ANN, BOB], daemon, settings)
}

mod needs_nginx_setpriv_root {
    use super::*;

    #[test]
    fn jobs_are_their_owner_s_and_root_s() {
        Lab::run(|lab| {
            let world = world(lab, None, &[])?;
            let (ann, bob) = (&world.ann, &world.bob);
            let job = world.ok(ann, &["job", "create", "--name", "hers"])?;
            let id = job["id"].as_str().context("an id")?;
            ensure!(job["owner"] == format!("uid:{ANN}"), "{job}");
            ensure!(job["priority"] == "normal", "{job}");
            let (url, path) = (world.nginx.url("file"), ann.path("file"));
            let path = text(&path)?;
            world.ok(ann, &["job", "add", id, &url, path])?;

            ensure!(world.jobs_of(bob)? == 0, "he sees her job");
            ensure!(world.jobs_of(ann)? == 1, "she does not see her job");
            let calls: [&[&str]; 9] = [
                &["job", "show", id],
                &["job", "add", id, &url, path],
                &["job", "resume", id],
                &["job", "suspend", id],
                &["job", "cancel", id],
                &["job", "complete", id],
                &["job", "set", id, "priority", "high"],
                &["job", "watch", id],
                &["why", id],
            ];
            for call in calls {
                world.refused(bob, call, "there is no job")?;
            }
            let events = world.node.run_as(bob, &["--json", "events"])?;
            ensure!(!events.stdout.contains(id), "he reads of her job");
            ensure!(!events.stdout.contains(&url), "he reads her URL");

            let all = world.node.json(&["job", "list"])?;
            ensure!(all.as_array().is_some_and(|all| all.len() == 1), "{all}");
            world.node.ok(&["job", "set", id, "priority", "high"])?;
            world.ok(ann, &["job", "resume", id])?;
            world.node.await_job(id, &["transferred"], SOON)?;
            world.ok(ann, &["job", "complete", id])?;
            world.is_of(ann, Path::new(path))
        });
    }

    #[test]
    fn files_are_of_who_asked_for_them() {
        Lab::run(|lab| {
            let world = world(lab, None, &[])?;
            let (ann, bob) = (&world.ann, &world.bob);
            world.gets(ann, "file")?;
            // The same content again: from the cache, and his own.
            let asked = world.nginx.body_bytes_since(0)?;
            world.gets(bob, "file")?;
            ensure!(world.nginx.body_bytes_since(0)? == asked, "fetched twice");

            // Nobody is logged in, and the command has ended: the job goes on.
            let (id, path) = (world.begun(bob, "later")?, bob.path("later"));
            world.node.await_job(&id, &["transferred"], SOON)?;
            ensure!(!path.exists(), "only he may write it");
            world.ok(bob, &["job", "complete", &id])?;
            world.is_of(bob, &path)
        });
    }

    #[test]
    fn hooks_run_as_the_owner_until_they_succeed() {
        Lab::run(|lab| {
            let hook = lab.subdir("hooks")?.join("told");
            let told = User::new(lab, ANN)?.path("told");
            // It fails the first time.
            let script = format!(
                "#!/bin/sh\n{{ id -u; id -G; env; }} > {0}\n[ -e {0}.again ] || {{ touch {0}.again; exit 1; }}\n",
                told.display()
            );
            fs::write(&hook, script)?;
            fs::set_permissions(&hook, Permissions::from_mode(0o755))?;
            let allowed = format!("hooks.allowed = [\"{}\"]", hook.display());
            let world = world(lab, None, &[&allowed])?;
            let ann = &world.ann;
            let (url, path) = (world.nginx.url("file"), ann.path("file"));
            let get = ["get", &url, "-o", text(&path)?, "--detach", "--on-complete"];
            let refused = [&get[..], &["/bin/true"]].concat();
            world.refused(ann, &refused, "hooks.allowed")?;
            let job = world.ok(ann, &[&get[..], &[text(&hook)?]].concat())?;
            let id = job["id"].as_str().context("an id")?;
            until(SOON, "the hook to succeed", || {
                let events = world.node.json_lines(&["events", "--job", id])?;
                let ended = events.iter().filter(|event| event["kind"] == "hook_ended");
                let statuses: Vec<_> = ended.map(|event| &event["fields"]["status"]).collect();
                ensure!(statuses.len() < 3, "{events:?}");
                Ok((statuses == ["failed", "done"]).then_some(()))
            })?;
            let told = fs::read_to_string(&told)?;
            ensure!(
                told.starts_with(&format!("{ANN}\n65534\n")),
                "run as: {told}"
            );
            for line in [&format!("POTLUCK_JOB={id}"), "POTLUCK_STATE=transferred"] {
                ensure!(told.contains(line), "{line} is missing: {told}");
            }
            ensure!(!told.contains("HOME="), "it has our environment: {told}");
            Ok(())
        });
    }

    #[test]
    fn nobody_writes_with_the_rights_of_the_daemon() {
        Lab::run(|lab| {
            let world = world(lab, None, &[])?;
            let (ann, bob) = (&world.ann, &world.bob);
            let url = world.nginx.url("file");
            let hers = ann.path("file");
            world.refused(bob, &["get", &url, "-o", text(&hers)?], "")?;
            ensure!(world.nginx.requests()?.is_empty(), "asked for nothing");
            // Past the check of the command: the job is made, and completed by him.
            let job = world.ok(bob, &["job", "create"])?;
            let id = job["id"].as_str().context("an id")?;
            world.ok(bob, &["job", "add", id, &url, text(&hers)?])?;
            world.ok(bob, &["job", "resume", id])?;
            world.node.await_job(id, &["transferred"], SOON)?;
            world.refused(bob, &["job", "complete", id], "")?;
            ensure!(!hers.exists(), "written with the rights of root");
            for call in [&["cache", "clear"][..], &["domain", "create", "x"]] {
                world.refused(bob, call, "")?;
            }
            world.refused(bob, &["cache", "list"], "")
        });
    }

    #[test]
    fn certificates_are_read_with_the_rights_of_the_owner() {
        Lab::run(|lab| {
            let world = world(lab, None, &[])?;
            // Everybody might read it, but nobody gets there.
            let closed = lab.subdir("closed")?;
            fs::set_permissions(&closed, Permissions::from_mode(0o700))?;
            let (there, absent) = (closed.join("there.pem"), closed.join("absent.pem"));
            fs::write(&there, "no certificate")?;
            let (ann, url) = (&world.ann, world.nginx.url("file"));
            let hers = ann.path("hers.pem");
            fs::write(&hers, "no certificate")?;
            let says = |path: &Path| -> Result<String> {
                let property = format!("ca_files={}", text(path)?);
                let out = ann.path("out");
                let args = ["get", &url, "-o", text(&out)?, "--property", &property];
                let outcome = world.node.run_as(ann, &args)?;
                ensure!(outcome.code()? == 3, "{outcome:?}");
                Ok(outcome.stderr.replace(text(path)?, "FILE"))
            };
            let (there, absent, hers) = (says(&there)?, says(&absent)?, says(&hers)?);
            ensure!(
                there == absent,
                "she learns what is there: {there} {absent}"
            );
            ensure!(there.contains("may not read"), "{there}");
            ensure!(hers.contains("no certificate in it"), "{hers}");
            Ok(())
        });
    }

    #[test]
    fn root_takes_over_a_job_and_none_of_its_owner_s_places() {
        Lab::run(|lab| {
            let world = world(lab, None, &[])?;
            let ann = &world.ann;
            let (url, hers) = (world.nginx.url("file"), ann.path("file"));
            let job = world.ok(ann, &["get", &url, "-o", text(&hers)?, "--detach"])?;
            let id = job["id"].as_str().context("an id")?;
            world.node.await_job(id, &["transferred"], SOON)?;
            world.refused(&world.bob, &["job", "takeover", id], "there is no job")?;
            world.refused(ann, &["job", "takeover", id], "only root")?;
            world.node.ok(&["job", "takeover", id])?;
            world.refused(ann, &["job", "complete", id], "there is no job")?;
            let refused = world.node.run(&["job", "complete", id])?;
            ensure!(refused.code()? != 0, "{refused:?}");
            ensure!(refused.stderr.contains("path 0=PATH"), "{refused:?}");
            ensure!(!hers.exists(), "it was written where she said");
            let roots = world.node.downloads()?.join("file");
            let place = format!("0={}", text(&roots)?);
            world.node.ok(&["job", "set", id, "path", &place])?;
            world.node.ok(&["job", "complete", id])?;
            world.blob.check(&roots)?;
            ensure!(fs::metadata(&roots)?.uid() == 0, "it is not root's");
            ensure!(!hers.exists(), "it was written where she said");
            Ok(())
        });
    }

    #[test]
    fn a_daemon_without_root_serves_everybody_where_it_is_told_to() {
        Lab::run(|lab| {
            let daemon = User::new(lab, DAEMON)?;
            let world = world(lab, Some(&daemon), &["control.users = \"all\""])?;
            let owner = fs::metadata(world.node.data_dir())?.uid();
            ensure!(owner == DAEMON, "the daemon runs as {owner}");
            world.gets(&world.ann, "file")?;
            world.gets(&world.bob, "file")?;
            let job = world.ok(&world.ann, &["job", "create"])?;
            let id = job["id"].as_str().context("an id")?;
            world.refused(&world.bob, &["job", "cancel", id], "there is no job")?;
            // Nor does the daemon's own user see it.
            let all = world.node.json(&["job", "list"])?;
            ensure!(all.as_array().is_some_and(Vec::is_empty), "{all}");
            Ok(())
        });
    }

    #[test]
    fn a_user_s_own_daemon_is_theirs_alone() {
        Lab::run(|lab| {
            let daemon = User::new(lab, DAEMON)?;
            let world = world(lab, Some(&daemon), &[])?;
            let path = daemon.path("file");
            let url = world.nginx.url("file");
            let job = world
                .node
                .json(&["get", &url, "-o", text(&path)?, "--detach"])?;
            let id = job["id"].as_str().context("an id")?;
            // It may write its own user's files, so nobody has to complete it.
            world.node.await_job(id, &["acknowledged"], SOON)?;
            world.is_of(&daemon, &path)?;
            world.refused(&world.bob, &["job", "list"], "")?;
            until(SOON, "the job to be in the log", || {
                let events = world.node.json_lines(&["events"])?;
                let done = events.iter().any(|event| event["kind"] == "job_completed");
                Ok(done.then_some(()))
            })
        });
    }
}
