use super::*;

const A: ClientKey = ClientKey(1);
const B: ClientKey = ClientKey(2);
const C: ClientKey = ClientKey(3);

fn queue(max_clients: u32) -> (ServeQueue, Instant) {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    let now = Instant::now();
    let config = ServeQueueConfig {
        max_clients,
        ..ServeQueueConfig::default()
    };
    (ServeQueue::new(config), now)
}

fn served(queue: &mut ServeQueue) -> Vec<ServeRequest> {
    std::iter::from_fn(|| queue.poll_action())
        .map(|action| match action {
            ServeAction::Serve(request) => request,
            ServeAction::Evict(request) => panic!("{request:?} was evicted"),
        })
        .collect()
}

#[test]
fn others_wait_their_turn_in_order() {
    let (mut queue, now) = queue(1);
    let mut ask = |client| queue.handle_request(client, now).unwrap();
    let [a, b, c] = [ask(A), ask(B), ask(C)];
    assert_eq!(served(&mut queue), [a]);
    assert_eq!(queue.position(c), Some(1));
    queue.handle_end(a, now);
    assert_eq!(served(&mut queue), [b]);
    queue.handle_left(C, now);
    queue.handle_end(b, now);
    assert_eq!(served(&mut queue), []);
    assert_eq!((queue.clients(), queue.waiting()), (0, 0));
}

#[test]
fn a_slot_is_shared_only_while_nobody_waits() {
    let (mut queue, now) = queue(1);
    let a1 = queue.handle_request(A, now).unwrap();
    let a2 = queue.handle_request(A, now).unwrap();
    assert_eq!(served(&mut queue), [a1, a2]);
    let b = queue.handle_request(B, now).unwrap();
    let a3 = queue.handle_request(A, now).unwrap();
    queue.handle_end(a1, now);
    assert_eq!(served(&mut queue), [], "a2 still runs in the slot");
    queue.handle_end(a2, now);
    assert_eq!(served(&mut queue), [b], "B came before A's third");
    queue.handle_end(b, now);
    assert_eq!(served(&mut queue), [a3]);
}

#[test]
fn a_slow_reader_loses_its_slot() {
    let (mut queue, now) = queue(1);
    let a = queue.handle_request(A, now).unwrap();
    let b = queue.handle_request(B, now).unwrap();
    assert_eq!(served(&mut queue), [a]);
    let soon = now + Duration::from_secs(20);
    queue.handle_progress(a, 1_000_000, soon);
    let late = queue.poll_timeout().unwrap();
    assert_eq!(late, soon + Duration::from_secs(30));
    // A trickle is no progress.
    queue.handle_progress(a, 1, late - Duration::from_secs(1));
    queue.handle_timeout(late);
    assert_eq!(queue.poll_action(), Some(ServeAction::Evict(a)));
    assert_eq!(queue.poll_action(), Some(ServeAction::Serve(b)));
}

#[test]
fn a_full_queue_refuses_and_says_when_to_come_back() {
    let (mut queue, now) = queue(1);
    queue.config.max_waiting = 3;
    queue.config.waiting_per_client = 2;
    queue.handle_request(A, now).unwrap();
    queue.handle_request(B, now).unwrap();
    queue.handle_request(B, now).unwrap();
    let refused = queue.handle_request(B, now).unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_secs(10));
    queue.handle_request(C, now).unwrap();
    assert!(queue.handle_request(ClientKey(4), now).is_err());
    assert_eq!(queue.waiting(), 3);
}

#[test]
fn the_number_of_clients_changes_at_run_time() {
    let (mut queue, now) = queue(0);
    let mut ask = |client| queue.handle_request(client, now).unwrap();
    let [a, b, c] = [ask(A), ask(B), ask(C)];
    assert_eq!(served(&mut queue), []);
    queue.set_max_clients(2, now);
    assert_eq!(served(&mut queue), [a, b]);
    queue.set_max_clients(1, now);
    queue.handle_end(a, now);
    assert_eq!(served(&mut queue), []);
    queue.handle_end(b, now);
    assert_eq!(served(&mut queue), [c]);
}
