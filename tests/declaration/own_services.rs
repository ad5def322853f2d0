//! `#[sid(name, request = N, response = M)]`

use socketproto::Json;

use super::*;

#[derive(Service, Client)]
#[allow(clippy::duplicated_attributes, reason = "clippy compares words, not their numbers")]
#[service(name = "recorder")]
#[sid(history, request = 40, response = 41)]
#[sid(erase, request = 43, response = 42)]
#[did(1, history = fn last(count: usize) -> Vec<f64>, public)]
#[did(1, erase = async fn erase(cx))]
struct Recorder {
    #[did(1, read, write = record)]
    value: f64,
    values: Vec<f64>,
}

impl Recorder {
    fn new() -> Self {
        Self { value: 0.0, values: Vec::new() }
    }

    fn record(&mut self, value: f64) {
        self.value = value;
        self.values.push(value);
    }

    fn last(&mut self, count: usize) -> Vec<f64> {
        self.values.iter().rev().take(count).rev().copied().collect()
    }

    async fn erase(cx: Call<Self>) -> Result<(), Fault> {
        assert_eq!(cx.service_id().value(), 43);
        cx.actor(|this| this.values.clear()).await;
        Ok(())
    }
}

/// The same pair under another name.
#[derive(Service, Client)]
#[service(name = "journal")]
#[sid(journal, request = 40, response = 41)]
#[did(2, journal = fn lines() -> u8)]
struct Journal;

impl Journal {
    fn lines(&self) -> u8 {
        2
    }
}

/// Another answer to the same request.
#[derive(Service)]
#[service(name = "rebel")]
#[sid(rebellion, request = 40, response = 51)]
struct Rebel;

async fn exercise(recorder: &RecorderClient) -> Result<()> {
    for value in [1.0, 2.0, 3.0] {
        recorder.set_value(value).await?;
    }
    assert_eq!(recorder.last(2).await?, [2.0, 3.0]);
    recorder.erase().await?;
    assert_eq!(recorder.last(2).await?, [0.0; 0]);
    assert_eq!(recorder.value().await?, 3.0);
    Ok(())
}

#[tokio::test]
async fn a_typed_client_needs_no_declaration_by_hand() -> Result<()> {
    let (_server, client) = serve(Recorder::new()).await?;
    exercise(&RecorderClient::new(&client)).await
}

#[tokio::test]
async fn own_services_work_over_tcp_and_shifted() -> Result<()> {
    let server = Server::bind("tcp://127.0.0.1:0").service_at(100, Recorder::new()).start().await?;
    let client = Client::connect(server.address()).await?;
    exercise(&RecorderClient::at(&client, 100)).await
}

#[tokio::test]
async fn own_services_work_without_message_ids() -> Result<()> {
    let server = Server::bind("mem://").service(Recorder::new()).start().await?;
    let client = Client::connect(server.address()).old_peer().await?;
    exercise(&RecorderClient::new(&client)).await
}

#[tokio::test]
async fn a_server_calls_an_own_service_of_its_client() -> Result<()> {
    #[derive(Service)]
    #[did(1, execute = async fn ask(cx) -> Vec<f64>)]
    struct Asking;

    impl Asking {
        async fn ask(cx: Call<Self>) -> Result<Vec<f64>> {
            let recorder = RecorderClient::new(cx.peer());
            recorder.set_value(7.0).await?;
            recorder.last(9).await
        }
    }

    let server = Server::bind("mem://").service(Asking).start().await?;
    let client = Client::connect(server.address()).service(Recorder::new()).await?;
    assert_eq!(client.execute::<_, Vec<f64>>(1, &()).await?, [7.0]);
    Ok(())
}

#[tokio::test]
async fn an_untyped_call_has_to_be_declared() -> Result<()> {
    let server = Server::bind("mem://").service(Recorder::new()).start().await?;
    let client = Client::connect(server.address()).await?;
    let outcome = client.call::<_, Json>(40, 1, &5).await;
    assert!(matches!(outcome, Err(Error::UnknownService { .. })), "{outcome:?}");
    let client = Client::connect(server.address()).add_service(40, 41).await?;
    assert_eq!(client.call::<_, Vec<f64>>(40, 1, &5).await?, [0.0; 0]);
    assert_eq!(RecorderClient::new(&client).last(5).await?, [0.0; 0]);
    Ok(())
}

#[tokio::test]
async fn an_id_that_this_side_uses_otherwise_is_not_called() -> Result<()> {
    let server = Server::bind("mem://").service(Recorder::new()).start().await?;
    let client = Client::connect(server.address()).add_service(41, 50).await?;
    let error = RecorderClient::new(&client).last(1).await.unwrap_err();
    let expected = "service 40 of last (data 1) at mem://";
    assert!(error.to_string().starts_with(expected), "{error}");
    let expected = "not sent: request answered by service 41: this side uses one of the two ids otherwise";
    assert!(error.to_string().ends_with(expected), "{error}");
    Ok(())
}

#[tokio::test]
async fn the_gate_and_unknown_data_treat_own_services_as_any_other() -> Result<()> {
    let server = Server::bind("mem://").secret(Secret::generate()?).service(Recorder::new()).start().await?;
    let client = Client::connect(server.address()).await?;
    let recorder = RecorderClient::new(&client);
    assert_eq!(recorder.last(1).await?, [0.0; 0], "public");
    assert_eq!(fault(recorder.erase().await), "authentication required (3)");
    let (_server, client) = serve(Recorder::new()).await?;
    assert_eq!(fault(RecorderClient::at(&client, 7).last(1).await), "service or data unknown (4)");
    Ok(())
}

#[tokio::test]
async fn services_of_one_server_share_a_pair() -> Result<()> {
    let server =
        Server::bind("mem://").add_service(40, 41).service(Recorder::new()).service(Journal).start().await?;
    let client = Client::connect(server.address()).await?;
    assert_eq!(JournalClient::new(&client).lines().await?, 2);
    assert_eq!(RecorderClient::new(&client).last(1).await?, [0.0; 0]);
    Ok(())
}

#[tokio::test]
async fn services_that_contradict_each_other_are_an_error_that_names_both() {
    let error = Server::bind("mem://").service(Recorder::new()).service(Rebel).start().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "sid: `#[sid(rebellion, request = 40, response = 51)]` of rebel contradicts \
         `#[sid(history, request = 40, response = 41)]` of recorder; one id has one role"
    );
    let declared = Server::bind("mem://").add_service(40, 50).service(Recorder::new()).start().await;
    assert!(matches!(declared, Err(Error::RequestSidExists { .. })), "{declared:?}");
}
