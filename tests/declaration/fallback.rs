//! `#[did(.., read, fallback = method)]`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use socketproto::Json;

use super::*;

#[derive(Service, Client)]
#[service(name = "store")]
#[sid(search, request = 60, response = 61)]
#[did(.., read, search, fallback = get)]
#[did(.., write, fallback = put)]
#[did(5, execute = fn count() -> usize)]
struct Store {
    #[did(1, read)]
    version: u8,
    puts: Arc<AtomicUsize>,
}

impl Store {
    fn new() -> Self {
        Self { version: 3, puts: Arc::default() }
    }

    fn get(&mut self, data_id: DataId, data: Json) -> Result<Json, Fault> {
        match data_id.value() {
            13 => Err(Fault::custom(7, "unlucky")),
            id => Json::encode(&(id, data)).map_err(|error| Fault::callback_error(error.to_string())),
        }
    }

    /// Without a `Result`.
    fn put(&mut self, _: DataId, _: Json) -> Json {
        self.puts.fetch_add(1, Ordering::Relaxed);
        Json::NULL
    }

    fn count(&self) -> usize {
        self.puts.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_fallback_takes_every_id_that_is_not_declared() -> Result<()> {
    let (_server, client) = serve(Store::new()).await?;
    assert_eq!(client.read::<(u32, ())>(2).await?, (2, ()));
    assert_eq!(client.read::<(u32, ())>(u32::MAX).await?, (u32::MAX, ()));
    client.write(1, "version is not written, so this goes to the fallback").await?;
    client.write(9, &[1, 2]).await?;
    assert_eq!(StoreClient::new(&client).count().await?, 2);
    Ok(())
}

#[tokio::test]
async fn declared_ids_win() -> Result<()> {
    let (_server, client) = serve(Store::new()).await?;
    assert_eq!(StoreClient::new(&client).version().await?, 3);
    Ok(())
}

#[tokio::test]
async fn the_data_come_as_the_text_they_are() -> Result<()> {
    let server = Server::bind("mem://").service(Store::new()).start().await?;
    let client = Client::connect(server.address()).add_service(60, 61).await?;
    let data = Json::from_text(r#"{"q": 1.50, "n": 123456789012345678901234567890}"#).unwrap();
    let answer: Json = client.call(60, 7, &data).await?;
    assert_eq!(answer.as_str(), format!("[7,{}]", data.as_str()));
    Ok(())
}

#[tokio::test]
async fn the_faults_of_a_fallback_travel() -> Result<()> {
    let (_server, client) = serve(Store::new()).await?;
    assert_eq!(fault(client.read::<Json>(13).await), "status 7: unlucky");
    Ok(())
}

#[tokio::test]
async fn a_service_without_a_fallback_refuses_as_ever() -> Result<()> {
    let (_server, client) = serve(Store::new()).await?;
    assert_eq!(fault(client.execute::<_, ()>(1, &()).await), "operation not permitted (6)");
    assert_eq!(fault(client.execute::<_, ()>(77, &()).await), "service or data unknown (4)");
    Ok(())
}

#[tokio::test]
async fn the_id_is_that_on_the_wire_however_the_service_is_shifted() -> Result<()> {
    let server = Server::bind("mem://").service_at(100, Store::new()).start().await?;
    let client = Client::connect(server.address()).await?;
    assert_eq!(StoreClient::at(&client, 100).version().await?, 3);
    assert_eq!(client.read::<(u32, ())>(102).await?, (102, ()));
    assert_eq!(client.read::<(u32, ())>(1).await?, (1, ()));
    Ok(())
}

#[tokio::test]
async fn two_fallbacks_for_one_service_are_an_error_that_names_both() {
    let error = Server::bind("mem://").service(Store::new()).service_at(100, Store::new()).start().await;
    let expected = "read data request (10) of any data is served twice: by store and by store at 100";
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}
