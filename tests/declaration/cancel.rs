//! `no_cancel` and `timeout = ".."`

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::*;

#[derive(Service, Client)]
#[did(1, execute = async fn work(cx) -> u8)]
#[did(2, execute = async fn finish(cx) -> u8, no_cancel)]
#[did(3, execute = async fn hurry(cx) -> u8, timeout = "20ms")]
#[did(4, execute = async fn finish_late(cx) -> u8, no_cancel, timeout = "20ms")]
#[did(5, execute = async fn sleep(seconds: u64) -> u64, timeout = "2h")]
#[did(6, execute = async fn snore(seconds: u64) -> u64)]
struct Shop {
    begun: Arc<Notify>,
    go: Arc<Notify>,
    /// How the methods ended.
    ends: mpsc::UnboundedSender<&'static str>,
}

/// Tells how the method around it ended.
struct End(mpsc::UnboundedSender<&'static str>, &'static str);

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

struct Test {
    begun: Arc<Notify>,
    go: Arc<Notify>,
    ends: mpsc::UnboundedReceiver<&'static str>,
}

impl Shop {
    fn new() -> (Self, Test) {
        let (begun, go): (Arc<Notify>, Arc<Notify>) = Default::default();
        let (sender, ends) = mpsc::unbounded_channel();
        (Self { begun: begun.clone(), go: go.clone(), ends: sender }, Test { begun, go, ends })
    }

    async fn work(cx: Call<Self>) -> u8 {
        let (begun, go, ends) =
            cx.actor(|this| (this.begun.clone(), this.go.clone(), this.ends.clone())).await;
        let mut end = End(ends, "cancelled");
        begun.notify_one();
        go.notified().await;
        end.1 = "done";
        1
    }

    async fn finish(cx: Call<Self>) -> u8 {
        Self::work(cx).await
    }

    async fn hurry(cx: Call<Self>) -> u8 {
        Self::work(cx).await
    }

    async fn finish_late(cx: Call<Self>) -> u8 {
        Self::work(cx).await
    }

    async fn sleep(seconds: u64) -> u64 {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        seconds
    }

    async fn snore(seconds: u64) -> u64 {
        Self::sleep(seconds).await
    }
}

#[tokio::test]
async fn a_method_is_dropped_when_its_peer_goes() -> Result<()> {
    let (shop, mut test) = Shop::new();
    let (_server, client) = serve(shop).await?;
    let work = tokio::spawn(ShopClient::new(&client).work());
    test.begun.notified().await;
    client.close().await;
    assert_eq!(test.ends.recv().await, Some("cancelled"));
    assert!(work.await.unwrap().is_err());
    Ok(())
}

#[tokio::test]
async fn one_that_says_no_cancel_runs_to_its_end() -> Result<()> {
    let (shop, mut test) = Shop::new();
    let (server, client) = serve(shop).await?;
    let finish = tokio::spawn(ShopClient::new(&client).finish());
    test.begun.notified().await;
    client.close().await;
    assert!(finish.await.unwrap().is_err());
    // Another connection has come and gone meanwhile: the end of the first has been dealt with.
    let other = Client::connect(server.address()).await?;
    assert_eq!(ShopClient::new(&other).sleep(0).await?, 0);
    test.go.notify_one();
    assert_eq!(test.ends.recv().await, Some("done"));
    Ok(())
}

#[tokio::test]
async fn a_method_is_dropped_when_its_time_is_over() -> Result<()> {
    let (shop, mut test) = Shop::new();
    let (_server, client) = serve(shop).await?;
    let outcome = ShopClient::new(&client).hurry().await;
    assert_eq!(fault(outcome), "callback error (2): handler timed out");
    assert_eq!(test.ends.recv().await, Some("cancelled"));
    Ok(())
}

#[tokio::test]
async fn no_cancel_runs_to_its_end_when_its_time_is_over() -> Result<()> {
    let (shop, mut test) = Shop::new();
    let (_server, client) = serve(shop).await?;
    let shop = ShopClient::new(&client);
    assert_eq!(fault(shop.finish_late().await), "callback error (2): handler timed out");
    assert_eq!(shop.sleep(0).await?, 0);
    test.go.notify_one();
    assert_eq!(test.ends.recv().await, Some("done"));
    Ok(())
}

#[tokio::test]
async fn a_method_that_waits_is_done_when_the_server_shuts_down_in_order() -> Result<()> {
    let (shop, mut test) = Shop::new();
    let (server, client) = serve(shop).await?;
    let work = tokio::spawn(ShopClient::new(&client).work());
    test.begun.notified().await;
    test.go.notify_one();
    server.shutdown().await?;
    assert_eq!(test.ends.recv().await, Some("done"));
    assert_eq!(work.await.unwrap()?, 1);
    Ok(())
}

#[test]
fn a_declared_time_replaces_that_of_the_endpoint_and_clients_wait_as_long() {
    actix::System::new().block_on(async {
        // In place, so that the time of connections is this one.
        tokio::time::pause();
        let (shop, _test) = Shop::new();
        let (_server, client) = serve(shop).await.unwrap();
        let shop = ShopClient::new(&client);
        assert_eq!(shop.sleep(7199).await.unwrap(), 7199);
        assert_eq!(fault(shop.sleep(7201).await), "callback error (2): handler timed out");
        let error = shop.snore(11).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        let patient = shop.snore(31).timeout(Duration::from_secs(60)).await;
        assert_eq!(fault(patient), "callback error (2): handler timed out");
    });
}
