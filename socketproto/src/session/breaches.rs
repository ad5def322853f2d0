//! Limits that were exceeded: gathered here, counted and logged by the owner, who has the endpoint's counts.

use crate::frame::EncodeError;
use crate::limits::{Breach, Limit};
use crate::session::Session;
use crate::session::transmit::NotSent;

impl Session {
    /// Keeps in mind that a limit was exceeded; several times between two looks are one entry.
    pub(super) fn note(&mut self, breach: Breach) {
        match self.breaches.iter_mut().find(|known| known.limit == breach.limit) {
            Some(known) => known.times = known.times.saturating_add(breach.times),
            None => self.breaches.push(breach),
        }
    }

    /// The same where something could not be sent for a limit.
    pub(super) fn note_unsent(&mut self, error: &NotSent) {
        if let Some(breach) = self.unsent_breach(error) {
            self.note(breach);
        }
    }

    /// The limit for which something could not be sent.
    pub(super) fn unsent_breach(&self, error: &NotSent) -> Option<Breach> {
        let breach = match error {
            NotSent::TooLarge { size, max_frame } => Breach::new(Limit::MaxFrame, *size, *max_frame),
            NotSent::NoRoom { size, setting, .. } => {
                let (allowed, _) = self.unsent_limit();
                let limit = Limit::named(setting).unwrap_or(Limit::MaxUnsent);
                Breach::new(limit, self.out.len().saturating_add(*size), allowed)
            }
            NotSent::Encode(EncodeError::TooDeep { limit }) => {
                Breach::new(Limit::MaxNesting, limit.saturating_add(1), *limit)
            }
            NotSent::Encode(_) => return None,
        };
        Some(breach.with_detail("not sent"))
    }

    /// Whether `take_breaches` has something.
    #[inline]
    pub(crate) fn has_breaches(&self) -> bool {
        !self.breaches.is_empty()
    }

    /// What was exceeded since the last time.
    pub(crate) fn take_breaches(&mut self) -> Vec<Breach> {
        std::mem::take(&mut self.breaches)
    }
}
