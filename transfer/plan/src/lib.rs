//! Deciding where bytes come from, who is served, how fast, and which job runs.
//!
//! Everything here is pure: no clock, no socket, no random number. Time is an
//! argument, peers and requests are small keys that the caller hands out or is
//! handed. Each core takes events through its `handle_*` methods; afterwards the
//! caller drains `poll_action` and arms one timer for `poll_timeout`.
//!
//! | core | decides |
//! |---|---|
//! | [`FilePlan`] | which piece of one file is asked of which peer, and what the origin gives |
//! | [`Gossip`] | what the members of swarms are told of what this node has and fetches, and when |
//! | [`DiscoveryWindow`] | how long a transfer waits for peers before the first origin byte |
//! | [`ServeQueue`] | which peers this node serves now, and who waits |
//! | [`Governor`] | how fast bytes may flow, per class |
//! | [`JobMachine`] | what state a job is in, when it is tried again |
//! | [`JobQueue`] | which jobs run now, and how many there may be |
//! | [`Schedule`] | when something is due with any job; keeps the queue in line with their states |
//!
//! Carrying decisions out, reading clocks and moving bytes is `potluck-transfer`'s
//! and `potluck`'s work.

mod accounting;
mod condition;
mod counted;
mod file_plan;
mod governor;
mod job_error;
mod job_limits;
mod job_machine;
mod job_queue;
mod job_state;
mod job_times;
mod origin_trouble;
mod piece_runs;
mod priority;
mod ranges;
mod rate;
mod rate_meter;
mod schedule;
mod serve_queue;
mod source;
mod swarm;
mod token_bucket;
mod window;

pub use accounting::Accounting;
pub use condition::Condition;
pub use counted::Counted;
pub use file_plan::{
    Action, Deadline, FilePlan, FilePlanConfig, OriginFailure, OriginUse, Outcome, PieceUse,
    StuckReason,
};
pub use governor::{Governor, GovernorConfig};
pub use job_error::{ErrorContext, JobError, Retry, StatusClass, classify_status};
pub use job_limits::{JobLimits, LimitReached};
pub use job_machine::{Completion, JobFiles, JobMachine, JobRefusal};
pub use job_queue::{JobAction, JobKey, JobQueue};
pub use job_state::JobState;
pub use job_times::JobTimes;
pub use origin_trouble::OriginTrouble;
pub use priority::{Priority, PriorityError};
pub use ranges::{FileRange, FileRanges, RangesError};
pub use rate::{Rate, RateError};
pub use schedule::Schedule;
pub use serve_queue::{
    ClientKey, Refused, ServeAction, ServeQueue, ServeQueueConfig, ServeRequest,
};
pub use source::{DropReason, Holding, PeerFault, PeerKey, RequestId, Source};
pub use swarm::{
    AuditDice, BadNews, Doubt, Doubts, Gossip, Heard, Leader, MAX_DOUBTS, MAX_NEWS, MemberId, News,
    NewsCursor, NewsKind, ServeLimits, SwarmCounts, Teller, decode_news, encode_news,
};
pub use token_bucket::TokenBucket;
pub use window::DiscoveryWindow;
