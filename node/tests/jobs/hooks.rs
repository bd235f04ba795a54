//! Calls of hooks that are not to be lost.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use potluck::events::Event;
use potluck::jobs::{Change, Hook, HookCause, JobStore, NewJob};
use potluck_plan::JobState;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::world::{ME, ROOT, World, until};

/// A program that waits for a line from the pipe where the job is in error, and fails
/// where it is not.
fn program(world: &World) -> (Hook, PathBuf) {
    let (program, pipe) = (
        world.dir.path().join("program"),
        world.dir.path().join("pipe"),
    );
    let text = "#!/bin/sh\n[ \"$POTLUCK_STATE\" = error ] && read -r line <\"$1\"\n";
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let arguments = vec![pipe.display().to_string()];
    (Hook { program, arguments }, pipe)
}

async fn ended(world: &World, count: usize) -> Vec<Event> {
    let all = async {
        loop {
            let events = world.events.read(|event| event.kind == "hook_ended");
            let events = events.unwrap();
            if events.len() >= count {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), all).await;
    ended.expect("the calls end in time")
}

#[tokio::test]
async fn a_call_that_is_due_is_not_forgotten_when_another_ends() {
    let mut world = World::new();
    let (hook, pipe) = program(&world);
    world.config.hooks_allowed = vec![hook.program.clone()];
    world.config.own_uid = rustix::process::geteuid().as_raw();
    let me = potluck::jobs::Caller {
        uid: world.config.own_uid,
    };
    let jobs = world.start();
    let new = NewJob {
        changes: vec![
            Change::OnError(Some(hook.clone())),
            Change::OnComplete(Some(hook)),
        ],
        ..world.job(&["missing"])
    };
    let job = jobs.create(me, new).await.unwrap();
    until(&jobs, &job.id, JobState::Error).await;
    let url = json!({ "url": { "file": 0, "url": "http://origin/here" } });
    let changes = Change::read(url.as_object().unwrap().clone()).unwrap();
    // The error is being told, which takes its time.
    let mut writer = OpenOptions::new();
    let telling = tokio::task::spawn_blocking(move || writer.write(true).open(pipe).unwrap());
    let mut line = telling.await.unwrap();
    jobs.set(me, job.id.clone(), changes).await.unwrap();
    jobs.resume(me, job.id.clone()).await.unwrap();
    until(&jobs, &job.id, JobState::Transferred).await;
    // The success could not be told: that is tried again.
    ended(&world, 1).await;
    std::io::Write::write_all(&mut line, b"go on\n").unwrap();
    let ended = ended(&world, 2).await;
    assert_eq!(ended[0].fields["status"], "failed", "{ended:?}");
    assert_eq!(ended[1].fields["status"], "done", "{ended:?}");
    world.stop().await;
    let kept = JobStore::open(&world.dir.path().join("jobs"))
        .unwrap()
        .load()
        .unwrap();
    let due = kept[0].hook_due.as_ref().expect("it is still to be made");
    assert_eq!((due.cause, due.failures), (HookCause::Complete, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_calls_holds_nothing_up_that_is_due() {
    let mut world = World::new();
    world.config.limits.jobs_per_machine = 1_000;
    let jobs = world.start();
    // So many that each call takes longer than the next one to come.
    let many = vec![NewJob::default(); 400];
    jobs.create_many(ROOT, many).await.unwrap();
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let jobs = jobs.clone();
        flood.spawn(async move { while jobs.list(ROOT, Default::default()).await.is_ok() {} });
    }
    let hook = Hook {
        program: "/bin/true".into(),
        arguments: Vec::new(),
    };
    let new = NewJob {
        changes: vec![Change::OnComplete(Some(hook))],
        ..world.job(&["here"])
    };
    jobs.create(ME, new).await.unwrap();
    let told = ended(&world, 1).await;
    assert_eq!(told[0].fields["status"], "done", "{told:?}");
    flood.shutdown().await;
}
