//! How much an application that fails at every event writes into the log.

use std::io;

use tokio::time::advance;

use super::*;
use crate::hub::Socket;

/// What was logged.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn take(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl io::Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn send(io: &Io, peer: &mut Peer, namespace: &str, event: &str, times: usize) {
    for _ in 0..times {
        assert_eq!(peer.send(&format!(r#"2{namespace}["{event}"]"#)), Flow::Continue);
        quiet(io).await;
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_that_fail_at_every_event_are_counted_each_time_and_logged_once_a_second() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let io = server();
    let dynamic = io.of_dynamic(async |_: Arc<str>, _: serde_json::Value| true);
    dynamic.fallback(async || Err::<(), _>("in a child")).unwrap();
    for namespace in [io.sockets(), io.of("/other")] {
        namespace
            .on("fail", async || Err::<(), _>("on purpose"))
            .unwrap()
            .on("panic", |_: Socket| -> std::future::Ready<()> { panic!("on purpose") })
            .unwrap();
    }
    let (mut peer, _) = Peer::joined(&io);
    for namespace in ["/other", "/child-1", "/child-2"] {
        peer.send(&format!("0{namespace},"));
        quiet(&io).await;
    }
    send(&io, &mut peer, "", "fail", 100).await;
    send(&io, &mut peer, "", "panic", 10).await;
    send(&io, &mut peer, "/other,", "fail", 10).await;
    let logged = lines.take();
    assert_eq!(logged.len(), 3, "{logged:?}");
    assert!(logged.iter().all(|line| !line.contains("left_out")), "{logged:?}");
    assert!(logged[0].contains("WARN") && logged[0].contains("namespace=/ ") && logged[0].contains("failure=on purpose"));
    assert!(logged[1].contains("ERROR") && logged[1].contains("the application panicked"));
    assert!(logged[2].contains("namespace=/other "));

    advance(Duration::from_millis(999)).await;
    send(&io, &mut peer, "", "fail", 1).await;
    assert_eq!(lines.take(), [""; 0]);
    advance(Duration::from_millis(1)).await;
    send(&io, &mut peer, "", "fail", 5).await;
    send(&io, &mut peer, "", "panic", 1).await;
    let logged = lines.take();
    assert_eq!(logged.len(), 2, "{logged:?}");
    assert!(logged[0].contains("left_out=100"), "{logged:?}");
    assert!(logged[1].contains("left_out=9"), "{logged:?}");

    for child in ["/child-1,", "/child-2,"] {
        send(&io, &mut peer, child, "e", 2).await;
    }
    let logged = lines.take();
    assert_eq!(logged.len(), 1, "clients make as many namespaces as they like: {logged:?}");
    let counters = io.hub().counters();
    assert_eq!((counters.handler_errors.get(), counters.handler_panics.get()), (120, 11));
}
