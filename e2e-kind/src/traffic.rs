//! Requests and a watch that go on while something changes, and what became of them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::{client::Client, kept::Kept, suite::report, wait::until_true};

/// A slow machine starts few programs a second.
const SOME: Duration = Duration::from_mins(2);
/// Between requests over a kept connection, which would fill a log otherwise.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    requests: AtomicU32,
    kept: AtomicU32,
    watches: AtomicU32,
    failures: Mutex<Vec<String>>,
}

/// Makes the client of the next request: tokens live for minutes, and traffic may for longer.
pub type MakeClient = Arc<dyn Fn() -> Client + Send + Sync>;

/// Requests of each client, one after the other, each over a connection of its own unless it is kept, and a watch of the
/// first one.
#[derive(Debug)]
pub struct Traffic {
    seen: Arc<Seen>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Starts both; `namespace` has `ConfigMaps` that the client may watch.
    pub fn start(client: MakeClient, namespace: &str) -> Self {
        let mut this = Self {
            seen: Arc::default(),
            threads: Vec::new(),
        };
        this.add(Arc::clone(&client));
        let (seen, namespace) = (Arc::clone(&this.seen), namespace.to_owned());
        let thread = std::thread::spawn(move || seen.watch(&client, &namespace));
        this.threads.push(thread);
        this
    }

    /// Requests of one more client.
    pub fn add(&mut self, client: MakeClient) {
        let seen = Arc::clone(&self.seen);
        let thread = std::thread::spawn(move || seen.request(&client));
        self.threads.push(thread);
    }

    /// Requests of one more client, whose connection is kept.
    pub fn keep(&mut self, client: Kept) {
        let seen = Arc::clone(&self.seen);
        let thread = std::thread::spawn(move || seen.request_kept(&client));
        self.threads.push(thread);
    }

    /// Watches that were begun so far: one that goes on was begun once.
    pub fn watches(&self) -> u32 {
        self.seen.watches.load(Ordering::Relaxed)
    }

    /// Until so many more requests were answered; fails at once when one was not.
    pub fn some_more(&self, what: &str, count: u32) {
        let target = self.seen.requests.load(Ordering::Relaxed) + count;
        until_true(&format!("requests {what}"), SOME, || {
            self.assert_no_failure(what);
            self.seen.requests.load(Ordering::Relaxed) >= target
        });
    }

    /// Nothing has failed so far.
    pub fn assert_no_failure(&self, what: &str) {
        let failures = self.seen.failures.lock().unwrap();
        let sent = self.seen.requests.load(Ordering::Relaxed);
        assert!(
            failures.is_empty(),
            "{what}, after {sent} requests: {failures:#?}"
        );
    }

    /// Ends it. Nothing has failed.
    pub fn finish(mut self, what: &str) {
        self.seen.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        self.assert_no_failure(what);
        let requests = self.seen.requests.load(Ordering::Relaxed);
        report(&format!(
            "{what}: {requests} requests, {} over kept connections and {} watches, none failed",
            self.seen.kept.load(Ordering::Relaxed),
            self.watches()
        ));
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn failed(&self, what: String) {
        self.failures.lock().unwrap().push(what);
    }

    fn request(&self, client: &MakeClient) {
        while !self.stopped() {
            let output = client().run(&["auth", "whoami", "--request-timeout=60s"]);
            if output.code == Some(0) {
                self.requests.fetch_add(1, Ordering::Relaxed);
            } else {
                self.failed(output.to_string());
            }
        }
    }

    fn request_kept(&self, client: &Kept) {
        while !self.stopped() {
            match client.request() {
                Ok(()) => self.kept.fetch_add(1, Ordering::Relaxed),
                Err(what) => {
                    self.failed(format!("over a kept connection: {what}"));
                    return;
                }
            };
            std::thread::sleep(PAUSE);
        }
    }

    /// A server that leaves ends a watch, as kube-apiserver does; an error it is when kubectl says so.
    fn watch(&self, client: &MakeClient, namespace: &str) {
        while !self.stopped() {
            let arguments = [
                "-n",
                namespace,
                "get",
                "configmaps",
                "--watch",
                "-o",
                "name",
            ];
            let mut watch = client().start(&arguments);
            watch.close_input();
            self.watches.fetch_add(1, Ordering::Relaxed);
            loop {
                if let Some(code) = watch.ended() {
                    if code != Some(0) {
                        self.failed(watch.finish(SOME).to_string());
                    }
                    break;
                }
                if self.stopped() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}
