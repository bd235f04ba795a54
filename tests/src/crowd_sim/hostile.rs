//! What hostile hosts do.

use std::time::Duration;

use potluck_plan::{Leader, MemberId};

use super::auditing::doubt_of;
use super::event::{Event, Place};
use super::member_host::Piece;
use super::network::Crowd;
use super::settings::Manner;

/// How often one that pretends says something new.
const EVERY: Duration = Duration::from_millis(100);

impl Manner {
    /// Whether it has no plan, only words.
    pub(super) const fn pretends(self) -> bool {
        matches!(
            self,
            Self::ClaimsOnly { .. } | Self::AnnouncesAll | Self::MakesUpLeaders | Self::DoubtsAll
        )
    }
}

impl Crowd {
    /// One that pretends says what it says.
    pub(super) fn do_mischief(&mut self, place: Place) {
        let (layout, now) = (self.layout, self.events.now());
        let host = &mut self.hosts[place];
        let manner = host.settings.manner;
        if host.program.is_none() {
            return;
        }
        host.gossip.tell(&self.entity, |teller| match manner {
            Manner::ClaimsOnly { rising } => {
                let millis = u64::try_from(now.as_millis()).unwrap_or(0);
                let fetched = if rising { millis * 10_000 } else { 0 };
                teller.set_fetching(std::iter::once(0..layout.pieces()).collect(), fetched);
            }
            Manner::MakesUpLeaders => {
                let mut id = [0; 16];
                let second = u32::try_from(now.as_secs()).unwrap_or(0);
                fastrand::Rng::with_seed(u64::from(second / 2)).fill(&mut id);
                teller.set_leader(Some(&Leader {
                    id: MemberId(id),
                    beat: u32::try_from(now.as_millis()).unwrap_or(0),
                    fetchers: Vec::new(),
                    instead_of: None,
                }));
            }
            Manner::DoubtsAll => layout.indices().for_each(|index| {
                let signer = place;
                teller.doubt(doubt_of(
                    index,
                    Piece {
                        right: true,
                        signer,
                    },
                ));
            }),
            _ => layout.indices().for_each(|index| teller.offer(index)),
        });
        self.tell(place);
        self.events.put_in(EVERY, Event::Mischief(place));
    }
}
