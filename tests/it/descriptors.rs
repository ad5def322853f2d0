//! A process that runs out of descriptors goes on serving, and accepts again when there are some.

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use socketproto::Client;
use tokio::net::TcpStream;

use crate::support::{Program, example, within};

fn limit_descriptors(program: &Program, limit: u64) {
    let pid = Pid::from_raw(program.id().try_into().expect("a process id")).expect("no process has id 0");
    let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
    prlimit(Some(pid), Resource::Nofile, limit).expect("the process is ours, and its limit is only lowered");
}

#[tokio::test]
async fn a_server_without_descriptors_serves_on_and_accepts_again() {
    let mut command = example("echo");
    command.env("RUST_LOG", "warn").stderr(std::process::Stdio::piped());
    let program = Program::start(command).await;
    let client = within(Client::connect(&program.url)).await.expect("the server listens");
    let place = program.url.strip_prefix("tcp://").expect("a TCP server");

    // Descriptors that are open stay open; no further one can be opened.
    let open = std::fs::read_dir(format!("/proc/{}/fd", program.id())).expect("it runs").count();
    limit_descriptors(&program, open as u64 + 2);
    let mut strangers = Vec::new();
    for _ in 0..8 {
        strangers.push(within(TcpStream::connect(place)).await.expect("the kernel accepts for the server"));
    }
    for number in 0..100_u32 {
        assert_eq!(within(client.execute::<_, u32>(1, &number)).await.expect("an answer"), number);
    }
    drop(strangers);

    // As those in the queue go, the next client has its turn.
    let next = within(Client::connect(&program.url)).await.expect("the server accepts again");
    assert_eq!(within(next.execute::<_, u32>(1, &7)).await.expect("an answer"), 7);
    program.signal("TERM").await;
    let ended = program.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("cannot accept"), "{ended:?}");
}
