//! The promises of the serving queue, whatever its clients do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use potluck_plan::{ClientKey, ServeAction, ServeQueue, ServeQueueConfig, ServeRequest};
use proptest::prelude::{prop, proptest};
use proptest::{prop_assert, prop_assert_eq};

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some instant to start from"
)]
fn start() -> Instant {
    Instant::now()
}

proptest! {
    #[test]
    fn few_are_served_at_once_and_in_order(
        max_clients in 1..5u32,
        steps in prop::collection::vec((0..6u8, 0..64u32, 0..20u64), 0..200),
    ) {
        let config = ServeQueueConfig {
            max_clients,
            requests_per_client: 3,
            waiting_per_client: 4,
            max_waiting: 12,
            ..ServeQueueConfig::default()
        };
        let mut queue = ServeQueue::new(config);
        let mut now = start();
        let mut client_of: BTreeMap<ServeRequest, ClientKey> = BTreeMap::new();
        let mut serving: BTreeSet<ServeRequest> = BTreeSet::new();
        let mut waiting: VecDeque<ServeRequest> = VecDeque::new();
        for (what, one, seconds) in steps {
            let client = ClientKey(one % 7);
            let known = client_of.keys().nth(one as usize % client_of.len().max(1)).copied();
            match (what, known) {
                (0 | 1, _) => {
                    let before = waiting.len();
                    if let Ok(request) = queue.handle_request(client, now) {
                        prop_assert!(client_of.insert(request, client).is_none());
                        waiting.push_back(request);
                    } else {
                        let own = waiting.iter().filter(|request| client_of[request] == client);
                        prop_assert!(before >= 12 || own.count() >= 4, "refused without need");
                    }
                }
                (2, Some(request)) => {
                    queue.handle_end(request, now);
                    serving.remove(&request);
                    waiting.retain(|waiting| *waiting != request);
                }
                (3, _) => {
                    queue.handle_left(client, now);
                    serving.retain(|request| client_of[request] != client);
                    waiting.retain(|request| client_of[request] != client);
                }
                (4, Some(request)) => queue.handle_progress(request, 10_000, now),
                (5, _) => {
                    now += Duration::from_secs(seconds);
                    queue.handle_timeout(now);
                }
                _ => {}
            }
            while let Some(action) = queue.poll_action() {
                match action {
                    ServeAction::Serve(request) => {
                        let clients: BTreeSet<_> =
                            serving.iter().map(|request| client_of[request]).collect();
                        let place = waiting.iter().position(|waiting| *waiting == request);
                        let place = place.expect("only who waits is served");
                        // Whoever came before either has a slot or has no need of one.
                        if !clients.contains(&client_of[&request]) {
                            let passed = waiting.iter().take(place);
                            let all_served = passed
                                .map(|request| client_of[request])
                                .all(|client| clients.contains(&client));
                            prop_assert!(all_served, "{request:?} jumped the queue");
                        }
                        waiting.remove(place);
                        serving.insert(request);
                    }
                    ServeAction::Evict(request) => {
                        prop_assert!(serving.remove(&request));
                    }
                }
            }
            let clients: BTreeSet<_> = serving.iter().map(|request| client_of[request]).collect();
            prop_assert!(clients.len() <= max_clients as usize);
            prop_assert_eq!(clients.len(), queue.clients());
            prop_assert_eq!(waiting.len(), queue.waiting());
            prop_assert!(waiting.len() <= 12);
            // Nobody waits for a slot while one is free.
            let waits = waiting.iter().any(|request| !clients.contains(&client_of[request]));
            prop_assert!(!waits || clients.len() == max_clients as usize);
            prop_assert!(queue.poll_timeout().is_some() != serving.is_empty());
        }
    }
}
