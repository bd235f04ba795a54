//! Places for callers that have not proven yet who they are.
//!
//! Who proves itself needs a place for milliseconds; who says nothing would keep it to
//! the end of a time limit. So nobody is turned away for want of a place: when all are
//! taken, the one goes that has had its place longest, and it is taken from the address
//! that has the most. A crowd from one address is in its own way only.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// A bounded number of places, in all and for each address. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CallerPlaces {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    in_all: usize,
    of_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    next: u64,
    /// The places of each address, the oldest first; no address has none.
    by_address: BTreeMap<IpAddr, VecDeque<(u64, CancellationToken)>>,
}

/// A caller's place; free again when dropped.
#[derive(Debug)]
pub struct CallerPlace {
    places: CallerPlaces,
    address: IpAddr,
    number: u64,
    lost: CancellationToken,
}

impl CallerPlaces {
    /// So many places in all, and so many for one address; at least one of each.
    #[must_use]
    pub fn new(in_all: usize, of_address: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                in_all: in_all.max(1),
                of_address: of_address.max(1),
                taken: Mutex::default(),
            }),
        }
    }

    /// A place for a caller from this address; another caller may lose its own for it.
    #[must_use]
    pub fn take(&self, address: IpAddr) -> CallerPlace {
        let mut taken = self.taken();
        let own = taken.by_address.get(&address).map_or(0, VecDeque::len);
        if own >= self.inner.of_address {
            taken.free_oldest(address);
        } else if taken.count >= self.inner.in_all
            && let Some(crowded) = taken.most_crowded()
        {
            taken.free_oldest(crowded);
        }
        let (number, lost) = (taken.next, CancellationToken::new());
        taken.next += 1;
        taken.count += 1;
        let line = taken.by_address.entry(address).or_default();
        line.push_back((number, lost.clone()));
        CallerPlace {
            places: self.clone(),
            address,
            number,
            lost,
        }
    }

    /// Places that are taken now.
    #[must_use]
    pub fn taken_now(&self) -> usize {
        self.taken().count
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        let taken = self.inner.taken.lock();
        taken.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn most_crowded(&self) -> Option<IpAddr> {
        let lines = self.by_address.iter();
        let most = lines.max_by_key(|(_, line)| line.len());
        most.map(|(address, _)| *address)
    }

    fn free_oldest(&mut self, address: IpAddr) {
        let line = self.by_address.get(&address);
        if let Some((number, lost)) = line.and_then(VecDeque::front).cloned() {
            lost.cancel();
            self.free(address, number);
        }
    }

    fn free(&mut self, address: IpAddr, number: u64) {
        let Some(line) = self.by_address.get_mut(&address) else {
            return;
        };
        let before = line.len();
        line.retain(|(other, _)| *other != number);
        self.count -= before - line.len();
        if line.is_empty() {
            self.by_address.remove(&address);
        }
    }
}

impl CallerPlace {
    /// Carries out what the place was taken for; `None` when the place is lost first.
    pub async fn hold<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.lost.cancelled() => None,
        }
    }
}

impl Drop for CallerPlace {
    fn drop(&mut self) {
        self.places.taken().free(self.address, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn places_are_free_again() {
        let places = CallerPlaces::new(4, 2);
        drop((places.take(address(1)), places.take(address(2))));
        assert_eq!(places.taken_now(), 0);
        assert!(places.taken().by_address.is_empty());
    }

    #[test]
    fn a_crowd_from_one_address_is_in_its_own_way() {
        let places = CallerPlaces::new(4, 2);
        let honest = places.take(address(1));
        let crowd: Vec<_> = (0..9).map(|_| places.take(address(2))).collect();
        assert!(!honest.lost.is_cancelled());
        let lost: Vec<_> = crowd.iter().map(|it| it.lost.is_cancelled()).collect();
        assert_eq!(lost.iter().filter(|&&lost| lost).count(), 7);
        assert!(!lost[7] && !lost[8], "the latest have their places");
        assert_eq!(places.taken_now(), 3);
    }

    #[test]
    fn when_all_is_full_the_most_crowded_address_gives() {
        let places = CallerPlaces::new(4, 3);
        let crowd: Vec<_> = (0..3).map(|_| places.take(address(2))).collect();
        let (first, second) = (places.take(address(1)), places.take(address(3)));
        assert!(crowd[0].lost.is_cancelled() && !crowd[1].lost.is_cancelled());
        assert!(!first.lost.is_cancelled() && !second.lost.is_cancelled());
        assert_eq!(places.taken_now(), 4);
        drop(crowd);
        assert_eq!(places.taken_now(), 2);
    }

    #[tokio::test]
    async fn who_loses_its_place_is_told() {
        let places = CallerPlaces::new(1, 1);
        let first = places.take(address(1));
        let second = places.take(address(1));
        assert_eq!(first.hold(std::future::pending::<()>()).await, None);
        assert_eq!(second.hold(async { 7 }).await, Some(7));
        drop(first);
        assert_eq!(places.taken_now(), 1, "only its own place is freed");
    }
}
