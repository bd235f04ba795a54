use std::time::Duration;

use super::*;

fn queue() -> JobQueue {
    JobQueue::new(JobLimits::default())
}

fn add(queue: &mut JobQueue, job: u64, priority: Priority) -> JobKey {
    let key = JobKey(job);
    queue.add(key, 1000, priority).unwrap();
    queue.set_ready(key);
    key
}

fn actions(queue: &mut JobQueue) -> Vec<JobAction> {
    std::iter::from_fn(|| queue.poll_action()).collect()
}

#[test]
fn all_foreground_jobs_run_beside_one_background_job() {
    let mut queue = queue();
    let first = add(&mut queue, 1, Priority::Normal);
    let second = add(&mut queue, 2, Priority::Normal);
    let urgent = add(&mut queue, 3, Priority::Foreground);
    let more = add(&mut queue, 4, Priority::Foreground);
    let started = [first, urgent, more].map(JobAction::Start);
    assert_eq!(actions(&mut queue), started);
    assert_eq!(queue.ahead_of(second), Some(1));
    assert_eq!(queue.ahead_of(first), None);
    queue.set_idle(urgent);
    assert_eq!(actions(&mut queue), []);
    queue.remove(first);
    assert_eq!(actions(&mut queue), [JobAction::Start(second)]);
}

#[test]
fn a_higher_level_preempts_and_the_lower_goes_on_after() {
    let mut queue = queue();
    let low = add(&mut queue, 1, Priority::Low);
    let other = add(&mut queue, 2, Priority::Low);
    let high = add(&mut queue, 3, Priority::High);
    assert_eq!(
        actions(&mut queue),
        [
            JobAction::Start(low),
            JobAction::Preempt(low),
            JobAction::Start(high)
        ]
    );
    queue.set_idle(high);
    assert_eq!(
        actions(&mut queue),
        [JobAction::Start(low)],
        "its turn is kept"
    );
    queue.set_priority(other, Priority::Normal);
    assert_eq!(
        actions(&mut queue),
        [JobAction::Preempt(low), JobAction::Start(other)]
    );
    queue.set_priority(low, Priority::Foreground);
    assert_eq!(actions(&mut queue), [JobAction::Start(low)]);
    queue.set_priority(low, Priority::Normal);
    assert_eq!(queue.running().count(), 1);
}

#[test]
fn a_retry_blocks_nobody_and_comes_at_its_time() {
    let mut queue = queue();
    let start = SystemTime::UNIX_EPOCH;
    let high = add(&mut queue, 1, Priority::High);
    let low = add(&mut queue, 2, Priority::Low);
    assert_eq!(actions(&mut queue), [JobAction::Start(high)]);
    let at = start + Duration::from_secs(600);
    queue.set_retry(high, at);
    assert_eq!(actions(&mut queue), [JobAction::Start(low)]);
    assert_eq!(queue.poll_timeout(), Some(at));
    queue.handle_timeout(at - Duration::from_secs(1));
    assert_eq!(actions(&mut queue), []);
    queue.handle_timeout(at);
    assert_eq!(
        actions(&mut queue),
        [JobAction::Preempt(low), JobAction::Start(high)]
    );
    assert_eq!(queue.poll_timeout(), None);
}

#[test]
fn what_is_begun_again_keeps_its_turn() {
    let mut queue = queue();
    let job = add(&mut queue, 1, Priority::Normal);
    let other = add(&mut queue, 2, Priority::Normal);
    assert_eq!(actions(&mut queue), [JobAction::Start(job)]);
    queue.begin_again(job);
    queue.begin_again(other);
    assert_eq!(actions(&mut queue), [JobAction::Start(job)]);
    queue.set_priority(job, Priority::Low);
    queue.begin_again(job);
    assert_eq!(
        actions(&mut queue),
        [JobAction::Preempt(job), JobAction::Start(other)]
    );
}

#[test]
fn what_stops_before_it_is_started_is_not_started() {
    let mut queue = queue();
    let job = add(&mut queue, 1, Priority::Normal);
    queue.set_idle(job);
    assert_eq!(actions(&mut queue), []);
}

#[test]
fn limits_bind_users_but_not_the_administrator() {
    let mut queue = JobQueue::new(JobLimits {
        jobs_per_machine: 3,
        jobs_per_user: 2,
        files_per_job: 5,
    });
    queue.add(JobKey(1), 1, Priority::Low).unwrap();
    queue.add(JobKey(2), 1, Priority::Low).unwrap();
    assert_eq!(queue.check_room(1), Err(LimitReached::JobsPerUser(2)));
    queue.add(JobKey(3), 2, Priority::Low).unwrap();
    assert_eq!(queue.check_room(2), Err(LimitReached::JobsPerMachine(3)));
    queue.add(JobKey(4), 0, Priority::Low).unwrap();
    queue.restore(JobKey(5), 1, Priority::Low);
    assert_eq!(queue.len(), 5);
    assert_eq!(queue.check_files(1, 3, 2), Ok(()));
    let error = queue.check_files(1, 3, 3).unwrap_err();
    assert_eq!(error, LimitReached::FilesPerJob(5));
    assert!(error.to_string().contains("at most 5 files"));
    assert_eq!(queue.check_files(0, 3, 3), Ok(()));
}
