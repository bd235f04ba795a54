use std::time::Duration;

use super::*;

const SLICE: Duration = Duration::from_secs(300);
const START: SystemTime = SystemTime::UNIX_EPOCH;

fn after(seconds: u64) -> SystemTime {
    START + Duration::from_secs(seconds)
}

fn queue() -> JobQueue {
    JobQueue::new(JobLimits::default(), SLICE)
}

fn add(queue: &mut JobQueue, job: u64, priority: Priority) -> JobKey {
    let key = JobKey(job);
    queue.add(key, 1000, priority).unwrap();
    queue.set_ready(key, START);
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
    queue.set_idle(urgent, START);
    assert_eq!(actions(&mut queue), []);
    queue.remove(first, START);
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
    queue.set_idle(high, START);
    assert_eq!(
        actions(&mut queue),
        [JobAction::Start(low)],
        "its turn is kept"
    );
    queue.set_priority(other, Priority::Normal, START);
    assert_eq!(
        actions(&mut queue),
        [JobAction::Preempt(low), JobAction::Start(other)]
    );
    queue.set_priority(low, Priority::Foreground, START);
    assert_eq!(actions(&mut queue), [JobAction::Start(low)]);
    queue.set_priority(low, Priority::Normal, START);
    assert_eq!(queue.running().count(), 1);
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
    queue.set_priority(job, Priority::Low, START);
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
    queue.set_idle(job, START);
    assert_eq!(actions(&mut queue), []);
}

#[test]
fn limits_bind_users_but_not_the_administrator() {
    let limits = JobLimits {
        jobs_per_machine: 3,
        jobs_per_user: 2,
        files_per_job: 5,
    };
    let mut queue = JobQueue::new(limits, SLICE);
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

#[test]
fn jobs_of_one_level_take_turns() {
    let mut queue = queue();
    let first = add(&mut queue, 1, Priority::Normal);
    assert_eq!(queue.poll_timeout(), None, "it is alone");
    let second = add(&mut queue, 2, Priority::Normal);
    add(&mut queue, 3, Priority::Low);
    actions(&mut queue);
    assert_eq!(queue.poll_timeout(), Some(after(300)));
    queue.handle_timeout(after(299));
    assert_eq!(actions(&mut queue), []);
    queue.handle_timeout(after(300));
    let turn = [JobAction::Preempt(first), JobAction::Start(second)];
    assert_eq!(actions(&mut queue), turn);
    queue.handle_timeout(after(600));
    let turn = [JobAction::Preempt(second), JobAction::Start(first)];
    assert_eq!(actions(&mut queue), turn);
}

#[test]
fn who_ran_alone_for_long_gives_way_at_once() {
    let mut queue = queue();
    let first = add(&mut queue, 1, Priority::Normal);
    let second = JobKey(2);
    queue.add(second, 1000, Priority::Normal).unwrap();
    actions(&mut queue);
    queue.set_ready(second, after(1000));
    let turn = [JobAction::Preempt(first), JobAction::Start(second)];
    assert_eq!(actions(&mut queue), turn);
}

#[test]
fn what_is_left_of_a_slice_is_not_lost_to_a_higher_level() {
    let mut queue = queue();
    let first = add(&mut queue, 1, Priority::Normal);
    let second = add(&mut queue, 2, Priority::Normal);
    let high = JobKey(3);
    queue.add(high, 1000, Priority::High).unwrap();
    queue.set_ready(high, after(200));
    let all = [
        JobAction::Start(first),
        JobAction::Preempt(first),
        JobAction::Start(high),
    ];
    assert_eq!(actions(&mut queue), all);
    queue.set_idle(high, after(1000));
    assert_eq!(actions(&mut queue), [JobAction::Start(first)]);
    assert_eq!(queue.poll_timeout(), Some(after(1100)));
    queue.handle_timeout(after(1100));
    let turn = [JobAction::Preempt(first), JobAction::Start(second)];
    assert_eq!(actions(&mut queue), turn);
}

#[test]
fn without_slices_each_runs_to_its_end() {
    let mut queue = JobQueue::new(JobLimits::default(), Duration::ZERO);
    let first = add(&mut queue, 1, Priority::Normal);
    let second = add(&mut queue, 2, Priority::Normal);
    assert_eq!(queue.poll_timeout(), None);
    queue.handle_timeout(after(1_000_000));
    assert_eq!(actions(&mut queue), [JobAction::Start(first)]);
    queue.set_idle(first, after(1_000_001));
    assert_eq!(actions(&mut queue), [JobAction::Start(second)]);
}

#[test]
fn a_clock_that_is_set_back_stops_no_turn() {
    let mut queue = queue();
    let first = JobKey(1);
    queue.add(first, 1000, Priority::Normal).unwrap();
    queue.set_ready(first, after(1_000_000));
    let second = add(&mut queue, 2, Priority::Normal);
    assert_eq!(actions(&mut queue), [JobAction::Start(first)]);
    assert_eq!(queue.poll_timeout(), Some(after(300)));
    queue.handle_timeout(after(300));
    let turn = [JobAction::Preempt(first), JobAction::Start(second)];
    assert_eq!(actions(&mut queue), turn);
}

#[test]
fn a_foreground_job_that_is_demoted_runs_on_if_its_turn_is_first() {
    let mut queue = queue();
    let urgent = add(&mut queue, 1, Priority::Foreground);
    let normal = add(&mut queue, 2, Priority::Normal);
    actions(&mut queue);
    queue.set_priority(urgent, Priority::Normal, START);
    assert_eq!(actions(&mut queue), [JobAction::Preempt(normal)]);
    queue.set_priority(urgent, Priority::Foreground, START);
    assert_eq!(actions(&mut queue), [JobAction::Start(normal)]);
    queue.set_priority(urgent, Priority::Low, START);
    assert_eq!(actions(&mut queue), [JobAction::Preempt(urgent)]);
    assert_eq!(queue.running().collect::<Vec<_>>(), [normal]);
}

#[test]
fn a_job_that_changes_its_owner_counts_for_the_new_one() {
    let limits = JobLimits {
        jobs_per_user: 1,
        ..JobLimits::default()
    };
    let mut queue = JobQueue::new(limits, SLICE);
    queue.add(JobKey(1), 1, Priority::Low).unwrap();
    queue.set_owner(JobKey(1), 2);
    assert_eq!(queue.check_room(1), Ok(()));
    assert_eq!(queue.check_room(2), Err(LimitReached::JobsPerUser(1)));
    queue.remove(JobKey(1), START);
    assert_eq!(queue.check_room(2), Ok(()));
}
