//! A made-up office full of jobs around one schedule: users that call at random, a network
//! that comes and goes, a node that is started again, on a clock that only moves when it is
//! told to. It checks the promises of schedule and machines after every step.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a failed step is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use potluck_plan::{
    Condition, ErrorContext, JobAction, JobError, JobFiles, JobKey, JobLimits, JobMachine,
    JobState, JobTimes, Priority, Retry, Schedule,
};

/// Turns of five minutes, as by default.
pub const SLICE: Duration = Duration::from_secs(300);

const OWNERS: u32 = 7;

/// One job and what it has had.
struct Job {
    machine: JobMachine,
    owner: u32,
    priority: Priority,
    created: SystemTime,
    /// Seconds of work that each file takes, and how many of them are done.
    files: Vec<File>,
    runs: bool,
}

#[derive(Clone, Copy)]
struct File {
    takes: u64,
    done: u64,
}

/// Who of one level wanted to run, since when nobody came or went, and what each got.
#[derive(Default)]
struct Shares {
    members: BTreeSet<JobKey>,
    had: BTreeMap<JobKey, Duration>,
}

/// The office.
pub struct Office {
    rng: Rng,
    now: SystemTime,
    times: JobTimes,
    schedule: Schedule,
    jobs: BTreeMap<JobKey, Job>,
    made: u64,
    network: bool,
    shares: BTreeMap<Priority, Shares>,
    /// Seconds of work that were done in all.
    worked: u64,
    /// All jobs are looked at after so many steps: of thousands, seldom.
    looks: u64,
    /// Seconds of work of jobs that were given up before they were shown to be whole.
    given_up: u64,
    pub turns: u64,
}

impl Office {
    pub fn new(seed: u64, jobs: u64) -> Self {
        let mut office = Self {
            rng: Rng::with_seed(seed),
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            times: JobTimes::default(),
            schedule: Schedule::new(unbounded(), SLICE),
            jobs: BTreeMap::new(),
            made: 0,
            network: true,
            shares: BTreeMap::new(),
            worked: 0,
            looks: 0,
            given_up: 0,
            turns: 0,
        };
        for _ in 0..jobs {
            office.create();
        }
        office.settle();
        office
    }

    /// So many things happen: calls and faults, or only the passing of time.
    pub fn live(&mut self, steps: u32, quiet: bool) {
        for _ in 0..steps {
            if !quiet {
                self.happen();
            }
            let pause = if quiet { 3600 } else { self.rng.u64(0..1200) };
            self.pass(Duration::from_secs(pause));
        }
    }

    /// Nobody calls and nothing fails any more, until every job has come to rest.
    pub fn end(&mut self) {
        self.set_network(true);
        let mut keys: Vec<JobKey> = self.jobs.keys().copied().collect();
        keys.retain(|key| !self.jobs[key].machine.state().is_final());
        for key in &keys {
            self.resume(*key);
        }
        self.settle();
        for _ in 0..1_000_000 {
            if self.schedule.running().next().is_none() && self.waiting().next().is_none() {
                break;
            }
            self.pass(SLICE);
        }
        for key in keys {
            let job = &self.jobs[&key];
            assert_eq!(job.machine.state(), JobState::Transferred, "{key:?}");
            assert!(job.files.iter().all(|file| file.done == file.takes));
        }
        let held: u64 = self.jobs.values().map(Job::done).sum();
        assert_eq!(
            held + self.given_up,
            self.worked,
            "work was lost or done twice"
        );
    }

    fn waiting(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(|job| {
            matches!(
                job.machine.state(),
                JobState::Queued | JobState::TransientError
            )
        })
    }

    /// One call or fault, whatever comes.
    fn happen(&mut self) {
        let key = JobKey(self.rng.u64(0..self.made.max(1)));
        match self.rng.u32(0..100) {
            0..15 => self.create(),
            15..40 => self.resume(key),
            40..50 => self.change(key, |job, now| job.machine.suspend(now).is_ok()),
            50..54 => self.give_up(key),
            54..64 => self.set_priority(key),
            64..72 => self.fail(key, Retry::At(None)),
            72..74 => self.fail(key, Retry::Never),
            74..80 => self.complete(key),
            80..84 => self.set_network(!self.network),
            84..88 => self.restart(),
            88..92 => {
                let owner = self.rng.u32(0..OWNERS);
                if let Some(job) = self.jobs.get_mut(&key) {
                    job.owner = owner;
                    self.schedule.set_owner(key, owner);
                }
            }
            _ => self.begin_again(key),
        }
        self.settle();
    }

    fn create(&mut self) {
        let key = JobKey(self.made);
        self.made += 1;
        let count = 1 + self.rng.usize(0..3);
        let rng = &mut self.rng;
        let files = std::iter::repeat_with(|| File {
            takes: 1 + rng.u64(0..4_000),
            done: 0,
        });
        let files = files.take(count).collect();
        let job = Job {
            machine: JobMachine::new(self.now),
            owner: self.rng.u32(0..OWNERS),
            priority: Priority::ALL[self.rng.usize(0..4)],
            created: self.now,
            files,
            runs: false,
        };
        self.schedule.add(key, job.owner, job.priority).unwrap();
        self.jobs.insert(key, job);
        self.follow(key);
        if self.rng.bool() {
            self.resume(key);
        }
    }

    fn resume(&mut self, key: JobKey) {
        self.change(key, |job, now| {
            job.machine.resume(job.progress(), now).is_ok()
        });
    }

    /// Changes a job as its driver does: what it says no more runs is stopped.
    fn change(&mut self, key: JobKey, change: impl FnOnce(&mut Job, SystemTime) -> bool) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&key) else {
            return;
        };
        if change(job, now) {
            job.runs &= job.machine.state().is_running();
            self.follow(key);
        }
    }

    fn give_up(&mut self, key: JobKey) {
        let Some(job) = self.jobs.get_mut(&key) else {
            return;
        };
        if job.machine.cancel(self.now).is_ok() {
            self.given_up += job.done();
            job.files.clear();
            job.runs = false;
            self.follow(key);
        }
    }

    /// Also early: what is missing is given up.
    fn complete(&mut self, key: JobKey) {
        self.change(key, |job, now| {
            let progress = job.progress();
            let whole = progress.transferred == progress.total;
            (whole || job.machine.state() == JobState::Suspended)
                && job.machine.complete(progress, now).is_ok()
        });
    }

    fn set_priority(&mut self, key: JobKey) {
        let priority = Priority::ALL[self.rng.usize(0..4)];
        if let Some(job) = self.jobs.get_mut(&key)
            && !job.machine.state().is_final()
        {
            job.priority = priority;
            self.schedule.set_priority(key, priority, self.now);
        }
    }

    fn fail(&mut self, key: JobKey, retry: Retry) {
        let times = self.times;
        self.change(key, |job, now| {
            let error = JobError::new("http_503", ErrorContext::Origin, "busy");
            job.runs && job.machine.fail(error, retry, &times, now).is_ok()
        });
    }

    /// A job waits for the network, and for no time.
    fn park(&mut self, key: JobKey) {
        let times = self.times;
        self.change(key, |job, now| {
            let error = Condition::Network.error();
            job.machine.fail(error, Retry::OnEvent, &times, now).is_ok()
        });
    }

    /// The network goes, and all that may run waits for it; or it is back, and all that
    /// waited is queued.
    fn set_network(&mut self, network: bool) {
        self.network = network;
        let keys: Vec<JobKey> = self.jobs.keys().copied().collect();
        for key in keys {
            let machine = &self.jobs[&key].machine;
            let may_run = machine.state() == JobState::Queued || machine.state().is_running();
            let awaited = machine.error().and_then(Condition::awaited);
            if !network && may_run {
                self.park(key);
            } else if network && awaited == Some(Condition::Network) {
                self.change(key, |job, now| job.machine.wake(now).is_ok());
            }
        }
    }

    fn begin_again(&mut self, key: JobKey) {
        if let Some(job) = self.jobs.get_mut(&key)
            && job.runs
        {
            job.runs = false;
            job.machine.requeue(self.now).unwrap();
            self.schedule.begin_again(key);
        }
    }

    /// The node ends and is started again some time later.
    fn restart(&mut self) {
        self.now += Duration::from_secs(self.rng.u64(0..10_000));
        self.schedule = Schedule::new(unbounded(), SLICE);
        let mut keys: Vec<JobKey> = self.jobs.keys().copied().collect();
        keys.sort_by_key(|key| (self.jobs[key].created, *key));
        for key in keys {
            let job = self.jobs.get_mut(&key).unwrap();
            job.runs = false;
            job.machine.handle_restart(self.now);
            if !job.machine.state().is_final() {
                self.schedule.restore(key, job.owner, job.priority);
            }
            self.follow(key);
        }
        self.shares.clear();
    }

    /// Time goes by: from one thing that is due to the next.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.next_event().map_or(end, |at| at.min(end));
            let next = next.max(self.now);
            let time = next.duration_since(self.now).unwrap();
            self.now = next;
            self.work(time);
            for key in self.schedule.handle_timeout(self.now) {
                let times = self.times;
                self.change(key, |job, now| {
                    job.machine.handle_timeout(&times, now);
                    true
                });
            }
            self.settle();
            if self.now >= end {
                return;
            }
        }
    }

    fn next_event(&self) -> Option<SystemTime> {
        let ends = self.schedule.running().filter_map(|key| {
            let left = self.jobs[&key]
                .files
                .iter()
                .map(|file| file.takes - file.done);
            Some(self.now + Duration::from_secs(left.into_iter().find(|left| *left > 0)?))
        });
        ends.chain(self.schedule.poll_timeout()).min()
    }

    /// Every running job gets on with its first unfinished file.
    fn work(&mut self, time: Duration) {
        // All that happens does so at whole seconds.
        assert_eq!(time.subsec_nanos(), 0);
        let running: Vec<JobKey> = self.schedule.running().collect();
        for key in running {
            let job = self.jobs.get_mut(&key).unwrap();
            assert!(job.runs, "{key:?} has a turn and does not run");
            job.machine.handle_progress(self.now);
            let Some(file) = job.files.iter_mut().find(|file| file.done < file.takes) else {
                continue;
            };
            file.done += time.as_secs();
            assert!(file.done <= file.takes, "more came than there is");
            self.worked += time.as_secs();
            if job.priority.is_background()
                && let Some(shares) = self.shares.get_mut(&job.priority)
            {
                *shares.had.entry(key).or_default() += time;
            }
            if job.files.iter().all(|file| file.done == file.takes) {
                self.change(key, |job, now| job.machine.transferred(now).is_ok());
            }
        }
    }

    /// Does what the schedule decided, until nothing more is to be done, and looks
    /// whether all is as promised.
    fn settle(&mut self) {
        while let Some(action) = self.schedule.poll_action() {
            match action {
                JobAction::Start(key) => self.start(key),
                JobAction::Preempt(key) => {
                    let job = self.jobs.get_mut(&key).unwrap();
                    assert!(job.runs, "{key:?} is to stop and does not run");
                    job.runs = false;
                    job.machine.requeue(self.now).unwrap();
                    self.turns += 1;
                    self.follow(key);
                }
            }
        }
        self.looks += 1;
        if self.looks.is_multiple_of(1 + self.made / 100) {
            self.check();
        }
    }

    fn start(&mut self, key: JobKey) {
        let job = self.jobs.get_mut(&key).unwrap();
        assert!(!job.runs, "{key:?} is to run twice");
        job.runs = true;
        job.machine.start(self.now).unwrap();
        self.follow(key);
        let progress = self.jobs[&key].progress();
        if progress.transferred == progress.total {
            // Nothing is left to fetch.
            self.change(key, |job, now| job.machine.transferred(now).is_ok());
        } else if self.network {
            self.change(key, |job, now| job.machine.connected(now).is_ok());
        } else {
            self.park(key);
        }
    }

    fn follow(&mut self, key: JobKey) {
        let job = &self.jobs[&key];
        self.schedule
            .follow(key, &job.machine, &self.times, self.now);
    }

    fn check(&mut self) {
        let running: BTreeSet<JobKey> = self.schedule.running().collect();
        let background: Vec<Priority> = (running.iter())
            .map(|key| self.jobs[key].priority)
            .filter(|priority| priority.is_background())
            .collect();
        assert!(background.len() <= 1, "{background:?} run at once");
        let mut members: BTreeMap<Priority, BTreeSet<JobKey>> = BTreeMap::new();
        for (key, job) in &self.jobs {
            let state = job.machine.state();
            assert_eq!(state.is_running(), running.contains(key), "{key:?} {state}");
            assert_eq!(state.is_running(), job.runs, "{key:?} {state}");
            match state {
                JobState::Queued => {
                    // There is a reason to wait, and it can be named.
                    let ahead = self.schedule.ahead_of(*key);
                    assert!(ahead.is_some_and(|ahead| ahead > 0), "{key:?} is forgotten");
                    assert!(
                        background[0] <= job.priority,
                        "{key:?} is of a higher level"
                    );
                }
                JobState::TransientError => {
                    let error = job.machine.error().unwrap();
                    let awaited = Condition::awaited(error);
                    if let Some(at) = error.retry_at {
                        let wakes = self.schedule.poll_timeout().unwrap();
                        assert!(wakes <= at, "{key:?} is not tried again");
                    } else {
                        // It waits for no time, so for something that can come.
                        let network = awaited == Some(Condition::Network);
                        assert!(network && !self.network, "{key:?} waits for nothing");
                    }
                }
                _ => assert_eq!(self.schedule.ahead_of(*key), None, "{key:?} {state}"),
            }
            if job.priority.is_background() && (state == JobState::Queued || job.runs) {
                members.entry(job.priority).or_default().insert(*key);
            }
        }
        self.check_shares(members);
    }

    /// While nobody comes or goes, no job of a level gets much more than another.
    fn check_shares(&mut self, members: BTreeMap<Priority, BTreeSet<JobKey>>) {
        self.shares.retain(|level, _| members.contains_key(level));
        for (level, members) in members {
            let shares = self.shares.entry(level).or_default();
            if shares.members != members {
                shares.had = members.iter().map(|key| (*key, Duration::ZERO)).collect();
                shares.members = members;
            }
            let (least, most) = (shares.had.values().min(), shares.had.values().max());
            // One slice by turns, and one that was begun before.
            let most = *most.unwrap() - *least.unwrap();
            assert!(
                most <= 2 * SLICE,
                "{level}: one had {most:?} more: {:?}",
                shares.had
            );
        }
    }
}

impl Job {
    fn progress(&self) -> JobFiles {
        let whole = |file: &&File| file.done == file.takes;
        JobFiles {
            total: self.files.len(),
            transferred: self.files.iter().filter(whole).count(),
        }
    }

    fn done(&self) -> u64 {
        self.files.iter().map(|file| file.done).sum()
    }
}

fn unbounded() -> JobLimits {
    JobLimits {
        jobs_per_machine: usize::MAX,
        jobs_per_user: usize::MAX,
        files_per_job: usize::MAX,
    }
}
