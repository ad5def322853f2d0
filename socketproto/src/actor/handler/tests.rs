//! Tests of what the actor of a service keeps.

use super::*;
use crate::actor::lifeline::Lifeline;
use crate::id::{DataId, ServiceId, Status};
use crate::message::{Header, Json};
use crate::service::ServiceTable;

const SERVICE: ServiceId = ServiceId::EXECUTE_REQUEST;
const DATUM: DataId = DataId::new(1);

/// Its one method never ends.
struct Waits;

impl Service for Waits {
    const SERVICE: &'static ServiceTable =
        &ServiceTable::new("waits", "", &[Entry::new(SERVICE, DATUM, "wait").exclusive()]);

    fn dispatch(&mut self, _: &State<Self>, _: usize, _: &Request, _: &mut Vec<u8>) -> Step {
        Step::Later(Box::pin(std::future::pending()))
    }
}

fn actor() -> HandlerActor<Waits> {
    HandlerActor {
        state: State::new(Waits, Door::new(drop)),
        waiting: FuturesUnordered::new(),
        aborts: FxHashMap::default(),
        exclusive: None,
        queue: VecDeque::new(),
        aside: Vec::new(),
        replies: Replies::default(),
        watch: Watch::default(),
        _alive: Lifeline::new().alive().unwrap(),
    }
}

fn batch(link: &Arc<Link>, requests: &[RequestId]) -> Batch {
    let header = Header { service_id: SERVICE, data_id: DATUM, status: Status::OKAY, message_id: None };
    let job = |request: &RequestId| {
        let request = *request;
        Incoming { request, handler: 0, entry: 0, name: "wait", header, data: Json::NULL }
    };
    Batch::new(Arc::clone(link), requests.iter().map(job).collect())
}

#[test]
fn nothing_is_kept_of_a_batch_whose_requests_were_all_given_up() {
    let link = Arc::new(Link::new("mem://test".into(), Arc::default(), 1024 * 1024));
    let mut actor = actor();
    for requests in [&[1][..], &[2, 3], &[4]] {
        actor.take(batch(&link, requests));
    }
    assert_eq!(actor.queue.len(), 2);
    actor.cancel(connection_id(&link), Some(2));
    assert_eq!(actor.queue.len(), 2);
    actor.cancel(connection_id(&link), Some(3));
    assert_eq!(actor.queue.len(), 1);
    actor.cancel(connection_id(&link), None);
    assert!(actor.queue.is_empty() && actor.exclusive.is_none());
}
