//! What is sent: calls and answers become frames.

use std::time::Instant;

use tracing::{debug, trace};

use crate::fault::Fault;
use crate::frame::{self, EncodeError, Format};
use crate::id::{DataId, ServiceId, Status};
use crate::limits::{Breach, Limit, Limits};
use crate::message::{Header, Json};
use crate::session::Session;
use crate::session::calls::{NewCall, Pairing};
use crate::session::event::{CallFailure, CallKey, CallOutcome, CloseReason, Event, RequestId, count};
use crate::session::hello::Cancel;
use crate::session::requests::{Origin, Parked};

impl Session {
    /// The response id of a call. One that the call brings along is remembered for this connection.
    #[inline]
    pub(super) fn response_of(&mut self, new: &NewCall) -> Result<ServiceId, CallFailure> {
        let Some(response) = new.response else {
            return self.config.dispatch.response_of(new.service_id).ok_or(CallFailure::UnknownService);
        };
        let request = new.service_id;
        if self.learnt.get(&response) == Some(&request) {
            return Ok(response);
        }
        let clashes = |(other, asked): (&ServiceId, &ServiceId)| {
            [*other, *asked].contains(&request) || [*other, *asked].contains(&response)
        };
        if self.learnt.iter().any(clashes) || !self.config.dispatch.may_pair(request, response) {
            let id = response.value();
            let reason = format!("answered by service {id}: this side uses one of the two ids otherwise");
            return Err(CallFailure::NotSendable(reason));
        }
        self.learnt.insert(response, request);
        Ok(response)
    }

    /// Whether messages of this id are responses.
    #[inline]
    pub(super) fn is_response(&self, service_id: ServiceId) -> bool {
        self.config.dispatch.is_response(service_id) || self.learnt.contains_key(&service_id)
    }

    #[inline]
    pub(super) fn completed(&mut self, call: CallKey, outcome: CallOutcome) {
        self.events.push_back(Event::Completed { call, outcome });
    }

    pub(super) fn expire_requests(&mut self, now: Instant) {
        for request in self.requests.expired(now) {
            let Some(running) = self.requests.give_up(request) else { continue };
            count(&mut self.counters.expired);
            self.events.push_back(Event::Expired { request, handler: running.handler });
            if let Some(origin) = running.origin {
                let (service_id, data_id) = (origin.response, origin.data_id);
                let status = Status::CALLBACK_ERROR;
                let header = Header { service_id, data_id, status, message_id: origin.message_id };
                let message = self.config.dispatch.describe(&header).to_string();
                debug!(message, "the handler took too long");
                self.note(Breach::bare(Limit::HandlerTimeout).with_detail(message));
                let data = self.fault_data("handler timed out");
                self.answer(request, &origin, Status::CALLBACK_ERROR, &data, now);
            }
        }
        self.resume(now);
    }

    /// Whether another request may run. Those whose handlers wait for the peer do not count, else two sides that call
    /// each other back would wait for ever (protocol.md 8.1); memory bounds them, as if they were parked.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        let limits = &self.config.limits;
        let running = self.requests.working();
        let busy = running.saturating_sub(self.calls.nested());
        let most = limits.max_in_flight.saturating_add(limits.max_parked / Limits::PARKED_OVERHEAD);
        busy < if self.paused { 1 } else { limits.max_in_flight } && running < most
    }

    /// Starts parked requests while there is room.
    #[inline]
    pub(super) fn resume(&mut self, now: Instant) {
        while self.has_room() && self.closed.is_none() {
            let Some(Parked { incoming, origin, timeout }) = self.requests.unpark() else { return };
            self.requests.start(&incoming, origin, timeout, now);
            self.events.push_back(Event::Dispatch(incoming));
        }
    }

    #[inline]
    pub(super) fn send_calls(&mut self, now: Instant) {
        if !self.ready || self.closed.is_some() {
            return;
        }
        while let Some((waiting, message_id)) = self.calls.next_to_send(self.pairing(), self.agreement.window)
        {
            let header = Header {
                service_id: waiting.new.service_id,
                data_id: waiting.new.data_id,
                status: Status::OKAY,
                message_id,
            };
            let format = self.format_for(message_id);
            match self.send(&header, &waiting.new.data, format, now) {
                Ok(()) => self.calls.sent(&waiting, message_id),
                Err(error) => {
                    self.note_unsent(&error);
                    self.completed(waiting.new.call, Err(CallFailure::NotSendable(error.to_string())));
                }
            }
            if self.closed.is_some() {
                return;
            }
        }
    }

    /// How answers find their calls.
    #[inline]
    fn pairing(&self) -> Pairing {
        match (self.agreement.message_id, self.config.lossy) {
            (true, _) => Pairing::ById,
            (false, false) => Pairing::InOrder,
            (false, true) => Pairing::OneAtATime,
        }
    }

    /// Tells the peer that a call has been given up (protocol.md 7.6).
    pub(super) fn send_cancel(&mut self, message_id: u64, now: Instant) {
        if self.agreement.cancel && self.closed.is_none() {
            let data = Json::encode(&Cancel { message_id }).unwrap_or_default();
            self.ask(ServiceId::CANCEL, DataId::CANCEL, &data, now);
        }
    }

    /// A struct frame has no room for a message id.
    #[inline]
    pub(super) fn format_for(&self, message_id: Option<u64>) -> Format {
        if message_id.is_some() { Format::Json } else { self.format }
    }

    /// Sends a request of the protocol's own.
    pub(super) fn ask(&mut self, service_id: ServiceId, data_id: DataId, data: &Json, now: Instant) {
        self.ask_under(None, service_id, data_id, data, now);
    }

    /// The same under a message id.
    pub(super) fn ask_under(
        &mut self,
        message_id: Option<u64>,
        service_id: ServiceId,
        data_id: DataId,
        data: &Json,
        now: Instant,
    ) {
        let header = Header { service_id, data_id, status: Status::OKAY, message_id };
        if let Err(error) = self.send(&header, data.as_str().as_bytes(), self.format_for(message_id), now) {
            debug!(message = %self.config.dispatch.describe(&header), %error, "not sent");
        }
    }

    /// Gives an answer its turn, and those that were held for it.
    #[inline]
    pub(super) fn answer(
        &mut self,
        request: RequestId,
        origin: &Origin,
        status: Status,
        data: impl AsRef<[u8]>,
        now: Instant,
    ) {
        let data = data.as_ref();
        if !self.requests.may_leave(origin, request) {
            return self.requests.hold(origin, request, status, Json::from_written(data));
        }
        self.respond(origin, status, data, now);
        while let Some((origin, held)) = self.requests.next_held(origin) {
            self.respond(&origin, held.status, held.data.as_str(), now);
        }
    }

    /// Sends an answer; one that cannot be sent becomes status 2 with the reason.
    #[inline]
    pub(super) fn respond(&mut self, origin: &Origin, status: Status, data: impl AsRef<[u8]>, now: Instant) {
        let header = Header {
            service_id: origin.response,
            data_id: origin.data_id,
            status,
            message_id: origin.message_id,
        };
        let Err(error) = self.send(&header, data.as_ref(), origin.format, now) else { return };
        debug!(message = %self.config.dispatch.describe(&header), %error, "not sent; the caller gets status 2");
        let breach = self.unsent_breach(&error);
        let header = Header { status: Status::CALLBACK_ERROR, ..header };
        let text = self.fault_data(&format!("response {error}"));
        let told = self
            .send(&header, text.as_bytes(), origin.format, now)
            .or_else(|_| self.send(&header, b"null", origin.format, now));
        match told {
            Ok(()) => breach.into_iter().for_each(|breach| self.note(breach)),
            Err(_) if self.config.serial && self.rekey.is_some() && self.records.is_none() => {
                // Whoever asks in clear does not end the line of those who know the secret.
            }
            // Not even the bare status fits: the peer does not take what it asked for.
            Err(error) => self.close(match error {
                NotSent::TooLarge { size: found, max_frame: limit } => {
                    CloseReason::FrameTooLarge { found, limit, setting: "the peer's max_frame" }
                }
                NotSent::NoRoom { size, setting, .. } => {
                    let (limit, _) = self.unsent_limit();
                    CloseReason::BufferTooLarge { found: self.unsent().saturating_add(size), limit, setting }
                }
                NotSent::Encode(error) => CloseReason::Transport(error.to_string()),
            }),
        }
    }

    /// The data of an error outcome; a peer that is not trusted gets no text (protocol.md section 1).
    pub(super) fn fault_data(&self, message: &str) -> String {
        let message = if self.is_gated() { "" } else { message };
        Fault::callback_error(message).data()
    }

    /// The line takes nothing, and yet bytes move that it has taken before: it has to send a whole frame of them first.
    pub(crate) fn handle_progress(&mut self, now: Instant) {
        if let Some(progress) = &mut self.progress {
            *progress = now;
        }
        self.heartbeat.say(1, self.sent, now);
    }

    /// Appends one frame to what is to be sent.
    #[inline]
    pub(super) fn send(
        &mut self,
        header: &Header,
        data: &[u8],
        format: Format,
        now: Instant,
    ) -> Result<(), NotSent> {
        let (max_unsent, setting) = self.unsent_limit();
        let free = max_unsent.saturating_sub(self.unsent());
        let max_frame = self.agreement.max_frame;
        let nesting = self.config.limits.max_nesting;
        let mut bytes = 0;
        let stash = self.rekey.as_mut().filter(|_| self.records.is_some());
        let out = match (stash.and_then(|rekey| rekey.stash_for(header)), &mut self.records) {
            (Some(stash), _) => stash,
            (None, Some(records)) => records.plain(),
            (None, None) => &mut self.out,
        };
        let before = out.len();
        self.framer.frame(out, |frame| {
            let start = frame.len();
            frame::encode_within(nesting, format, header, data, frame)?;
            let size = frame.len().saturating_sub(start);
            bytes = size;
            if size > max_frame {
                return Err(NotSent::TooLarge { size, max_frame });
            }
            if size > free {
                return Err(NotSent::NoRoom { size, free, setting });
            }
            Ok(())
        })?;
        let framed = out.len().saturating_sub(before);
        trace!(message = %self.config.dispatch.describe(header), bytes, "sent");
        self.progress.get_or_insert(now);
        self.note_ahead(header, framed);
        Ok(())
    }
}

/// Why a frame is not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSent {
    #[error("of {size} bytes exceeds max_frame of {max_frame}")]
    TooLarge { size: usize, max_frame: usize },
    #[error("of {size} bytes exceeds the {free} bytes free of {setting}")]
    NoRoom { size: usize, free: usize, setting: &'static str },
    #[error("cannot be sent: {0}")]
    Encode(#[from] EncodeError),
}
