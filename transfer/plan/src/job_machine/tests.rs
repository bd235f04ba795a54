use super::*;

const FILES: JobFiles = JobFiles {
    total: 2,
    transferred: 0,
};
const DONE: JobFiles = JobFiles {
    total: 2,
    transferred: 2,
};
const AGAIN: Retry = Retry::At(None);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn trouble() -> JobError {
    JobError::new("http_503", ErrorContext::Origin, "the server is busy")
}

/// A job that transfers since second 0.
fn transferring() -> JobMachine {
    let mut job = JobMachine::new(at(0));
    job.resume(FILES, at(0)).unwrap();
    job.start(at(0)).unwrap();
    job.connected(at(0)).unwrap();
    job
}

#[test]
fn a_good_life() {
    let mut job = JobMachine::new(at(0));
    assert_eq!(job.state(), JobState::Suspended);
    assert_eq!(
        job.resume(JobFiles::default(), at(0)),
        Err(JobRefusal::Empty)
    );
    assert_eq!(job.state(), JobState::Suspended);
    let mut job = transferring();
    assert_eq!(job.resume(FILES, at(1)), Ok(()), "no change on its way");
    assert_eq!(job.state(), JobState::Transferring);
    job.transferred(at(2)).unwrap();
    job.resume(DONE, at(3)).unwrap();
    assert_eq!(job.state(), JobState::Transferred, "nothing left to do");
    assert_eq!(job.complete(DONE, at(4)), Ok(Completion::Whole));
    for refused in [
        job.resume(DONE, at(5)),
        job.suspend(at(5)),
        job.cancel(at(5)),
        job.complete(DONE, at(5)).map(|_| ()),
    ] {
        assert_eq!(refused, Err(JobRefusal::Final(JobState::Acknowledged)));
    }
    assert_eq!(job.poll_timeout(&JobTimes::default()), None);
}

#[test]
fn the_four_calls_are_legal_until_the_end() {
    let states: [fn(&mut JobMachine); 7] = [
        |_| {},
        |job| job.resume(FILES, at(0)).unwrap(),
        |job| {
            *job = {
                let mut job = transferring();
                job.requeue(at(0)).unwrap();
                job.start(at(0)).unwrap();
                job
            }
        },
        |job| *job = transferring(),
        |job| {
            *job = transferring();
            job.fail(trouble(), AGAIN, &JobTimes::default(), at(0))
                .unwrap();
        },
        |job| {
            *job = transferring();
            job.fail(trouble(), Retry::Never, &JobTimes::default(), at(0))
                .unwrap();
        },
        |job| {
            *job = transferring();
            job.transferred(at(0)).unwrap();
        },
    ];
    for prepare in states {
        let mut job = JobMachine::new(at(0));
        prepare(&mut job);
        let before = job.clone();
        assert_eq!(job.suspend(at(1)), Ok(()));
        assert_eq!(job.state(), JobState::Suspended);
        assert_eq!(job.error(), None);
        job = before.clone();
        assert_eq!(job.complete(FILES, at(1)), Ok(Completion::Partial));
        job = before.clone();
        assert_eq!(job.cancel(at(1)), Ok(()));
        job = before.clone();
        assert_eq!(job.resume(FILES, at(1)), Ok(()), "{before:?}");
    }
}

#[test]
fn a_transient_error_is_tried_again_in_ten_minutes() {
    let times = JobTimes::default();
    let mut job = transferring();
    job.fail(trouble(), AGAIN, &times, at(100)).unwrap();
    assert_eq!(job.state(), JobState::TransientError);
    assert_eq!(job.error().unwrap().retry_at, Some(at(700)));
    assert_eq!(job.poll_timeout(&times), Some(at(700)));
    assert!(!job.handle_timeout(&times, at(699)));
    assert!(job.handle_timeout(&times, at(700)));
    assert_eq!((job.state(), job.error()), (JobState::Queued, None));
    job.start(at(700)).unwrap();
    let later = Retry::At(Some(at(9_000)));
    job.fail(trouble(), later, &times, at(701)).unwrap();
    assert_eq!(job.error().unwrap().retry_at, Some(at(9_000)));
    job.resume(FILES, at(702)).unwrap();
    assert_eq!(job.state(), JobState::Queued, "the user need not wait");
}

#[test]
fn the_retry_delay_is_at_least_five_seconds() {
    let times = JobTimes {
        retry_delay: Duration::ZERO,
        ..JobTimes::default()
    };
    let mut job = transferring();
    job.fail(trouble(), AGAIN, &times, at(0)).unwrap();
    assert_eq!(job.error().unwrap().retry_at, Some(at(5)));
}

#[test]
fn errors_without_progress_end_after_two_weeks() {
    let times = JobTimes::default();
    let mut job = transferring();
    job.fail(trouble(), AGAIN, &times, at(0)).unwrap();
    let mut now = at(0);
    while job.state() == JobState::TransientError {
        now = job.poll_timeout(&times).unwrap();
        assert!(job.handle_timeout(&times, now));
        if job.state() == JobState::Queued {
            job.start(now).unwrap();
            job.fail(trouble(), AGAIN, &times, now).unwrap();
        }
    }
    assert_eq!(job.state(), JobState::Error);
    assert_eq!(job.error().unwrap().retry_at, None);
    assert_eq!(now, at(14 * 24 * 3600));
    // Progress gives it another two weeks.
    let mut job = transferring();
    job.fail(trouble(), AGAIN, &times, at(0)).unwrap();
    job.start(at(600)).unwrap();
    job.handle_progress(at(601));
    job.fail(trouble(), AGAIN, &times, at(14 * 24 * 3600))
        .unwrap();
    assert_eq!(job.state(), JobState::TransientError);
}

#[test]
fn without_time_for_a_retry_an_error_is_final() {
    for no_progress_timeout in [Duration::ZERO, Duration::from_secs(599)] {
        let times = JobTimes {
            no_progress_timeout,
            ..JobTimes::default()
        };
        let mut job = transferring();
        job.fail(trouble(), AGAIN, &times, at(0)).unwrap();
        assert_eq!(job.state(), JobState::Error);
    }
}

#[test]
fn an_error_that_waits_for_an_event_has_no_time() {
    let times = JobTimes::default();
    let mut job = transferring();
    job.fail(trouble(), Retry::OnEvent, &times, at(0)).unwrap();
    assert_eq!(job.error().unwrap().retry_at, None);
    assert_eq!(job.poll_timeout(&times), Some(at(14 * 24 * 3600)));
    job.wake(at(5)).unwrap();
    assert_eq!(job.state(), JobState::Queued);
}

#[test]
fn only_running_time_counts_for_the_longest_transfer() {
    let times = JobTimes {
        max_download_time: Duration::from_secs(100),
        ..JobTimes::default()
    };
    let mut job = transferring();
    job.requeue(at(60)).unwrap();
    job.start(at(1_000)).unwrap();
    assert_eq!(job.poll_timeout(&times), Some(at(1_040)));
    job.handle_restart(at(5_000));
    assert_eq!(job.state(), JobState::Queued);
    job.start(at(6_000)).unwrap();
    assert!(job.handle_timeout(&times, at(6_040)));
    assert_eq!(job.state(), JobState::Error);
    assert_eq!(job.error().unwrap().code, "max_download_time");
    job.resume(FILES, at(7_000)).unwrap();
    job.start(at(7_000)).unwrap();
    assert_eq!(job.poll_timeout(&times), Some(at(7_100)), "a fresh limit");
}

#[test]
fn a_forgotten_job_is_cancelled() {
    let times = JobTimes::default();
    let mut job = JobMachine::new(at(0));
    job.handle_activity(at(10));
    let end = job.poll_timeout(&times).unwrap();
    assert_eq!(end, at(10 + 90 * 24 * 3600));
    assert!(job.handle_timeout(&times, end));
    assert_eq!(job.state(), JobState::Cancelled);
}

#[test]
fn what_does_not_follow_is_refused_and_changes_nothing() {
    let mut job = JobMachine::new(at(0));
    let before = job.clone();
    assert!(job.start(at(1)).is_err());
    assert!(job.connected(at(1)).is_err());
    assert!(job.transferred(at(1)).is_err());
    assert!(job.wake(at(1)).is_err());
    let times = JobTimes::default();
    assert!(job.fail(trouble(), AGAIN, &times, at(1)).is_err());
    assert_eq!(job, before);
}

#[test]
fn it_survives_being_written_down() {
    let mut job = transferring();
    job.fail(trouble(), AGAIN, &JobTimes::default(), at(3))
        .unwrap();
    let json = serde_json::to_string(&job).unwrap();
    assert!(json.contains("\"transient_error\""));
    assert_eq!(serde_json::from_str::<JobMachine>(&json).unwrap(), job);
}

#[test]
fn a_retry_can_come_sooner_but_not_later() {
    let mut job = transferring();
    assert!(!job.retry_by(at(5)), "it waits for nothing");
    let times = JobTimes::default();
    job.fail(trouble(), AGAIN, &times, at(1)).unwrap();
    assert!(job.retry_by(at(5)) && !job.retry_by(at(6)));
    assert!(!job.handle_timeout(&times, at(4)));
    assert!(job.handle_timeout(&times, at(5)));
    assert_eq!(job.state(), JobState::Queued);
}
