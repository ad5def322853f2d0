//! D: names that move. The test has a hosts file of its own, in namespaces where nobody else sees it.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use socketproto::prelude::*;
use socketproto::{Backoff, Message};

use crate::program::{Program, part};
use crate::support::{PATIENCE, block_on};

const D_17: &str = "d_names::d_17_name_resolves_to_a_new_address";

/// The ways to get a file system and a network of one's own: as root, and without.
const UNSHARE: [&str; 2] = ["-mn", "-Urmn"];

fn unshare() -> Option<Command> {
    UNSHARE.iter().find_map(|flags| {
        let mut command = Command::new("unshare");
        command.arg(flags);
        let mut trial = Command::new("unshare");
        trial.args([flags, "ip", "link", "set", "lo", "up"]).stdout(Stdio::null()).stderr(Stdio::null());
        trial.status().is_ok_and(|status| status.success()).then_some(command)
    })
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// Files that stand in the places of those in /etc.
struct Etc {
    folder: PathBuf,
}

impl Etc {
    /// Names are looked up in the hosts file, then with a server of names on this machine, which there is not yet.
    fn replace() -> Self {
        let folder = std::env::temp_dir().join(format!("socketproto-d17-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let etc = Self { folder };
        etc.write("hosts", "127.0.0.1 localhost\n");
        etc.write("resolv.conf", "nameserver 127.0.0.1\n");
        etc.write("nsswitch.conf", "hosts: files dns\n");
        for name in ["hosts", "resolv.conf", "nsswitch.conf"] {
            let place = Path::new("/etc").join(name);
            if place.exists() {
                run("mount", &["--bind", etc.path(name).to_str().unwrap(), place.to_str().unwrap()]);
            }
        }
        etc
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// In place, so that the mounted file changes.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn serve(address: &str) -> Server {
    let echo = |message: &Message| Ok(message.json().clone());
    let server = Server::bind(address).register_callback(Some(ServiceId::READ_REQUEST), None, echo);
    server.start().await.unwrap()
}

fn lazy(address: &str) -> impl Future<Output = Client> {
    let quick = Backoff::new(Duration::from_millis(10), Duration::from_millis(50));
    let client = Client::connect(address).lazy().backoff(quick).into_future();
    async { client.await.unwrap() }
}

fn move_names() {
    run("ip", &["link", "set", "lo", "up"]);
    let etc = Etc::replace();
    block_on(async {
        let first = serve("tcp://127.0.0.2:0").await;
        let port = first.address().rsplit(':').next().unwrap().to_owned();
        let client = lazy(&format!("tcp://device.example:{port}")).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!client.is_connected(), "nobody knows the name yet");

        etc.write("hosts", "127.0.0.2 device.example\n");
        client.read::<()>(4711).timeout(PATIENCE).await.expect("a name that comes later is found");
        assert_eq!(first.peers().len(), 1);

        first.shutdown().await.unwrap();
        let second = serve(&format!("tcp://127.0.0.3:{port}")).await;
        etc.write("hosts", "127.0.0.3 device.example\n");
        client.read::<()>(4711).timeout(PATIENCE).await.expect("a name that moves is followed");
        assert_eq!(second.peers().len(), 1);
        client.close().await;

        // D16: nobody listens at the first address of this name.
        etc.write("hosts", "127.0.0.4 both.example\n127.0.0.3 both.example\n");
        let client = Client::connect(format!("tcp://both.example:{port}"));
        client.await.expect("all addresses of a name are tried").close().await;

        // A server of names that never answers: the system waits for it, closing does not.
        let names = UdpSocket::bind("127.0.0.1:53").unwrap();
        names.set_read_timeout(Some(PATIENCE)).unwrap();
        let client = lazy("tcp://silent.example:4711").await;
        names.recv_from(&mut [0; 512]).expect("the name is asked for");
        let begun = Instant::now();
        client.close().await;
        assert!(begun.elapsed() < Duration::from_secs(3), "closing took {:?}", begun.elapsed());
    });
    drop(etc);
    println!("all is well");
    std::process::exit(0)
}

#[test]
fn d_17_name_resolves_to_a_new_address() {
    if part().is_some() {
        move_names();
    }
    let Some(unshare) = unshare() else {
        println!("d_17: no namespaces can be made here, so nothing is tested");
        return;
    };
    let mut program = Program::start_behind(unshare, D_17, "names", "error");
    program.told("all is well");
    let ended = program.end();
    assert!(ended.status.success(), "{ended:?}");
}
