//! Child processes: their output as lines, and their end.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{sync::Notify, time::Instant};

/// Lines a process has written so far.
#[derive(Clone, Default)]
pub struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    changed: Arc<Notify>,
}

impl Lines {
    fn collect(&self, source: impl Read + Send + 'static) -> thread::JoinHandle<()> {
        let this = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                this.lines.lock().unwrap().push(line);
                this.changed.notify_waiters();
            }
        })
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for a line that matches.
    pub async fn wait(&self, what: &str, matches: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let changed = self.changed.notified();
            if let Some(line) = self.all().into_iter().find(|line| matches(line)) {
                return Ok(line);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                bail!(
                    "no line for {what} within 10 s; there are: {:#?}",
                    self.all()
                );
            }
        }
    }
}

/// A running child. It is killed when dropped, and when the thread that started it ends.
pub struct Process {
    name: String,
    child: Child,
    readers: Vec<thread::JoinHandle<()>>,
    /// Open and never read, if the output is not collected.
    unread: Option<ChildStdout>,
    /// What it wrote to standard output.
    pub stdout: Lines,
    /// What it wrote to standard error.
    pub stderr: Lines,
}

impl Process {
    /// Starts `program`.
    pub fn start(program: &Path, args: &[String], env: &[(String, String)]) -> Result<Self> {
        let mut process = Self::start_unread(program, args, env)?;
        let output = process.unread.take().context("stdout is piped")?;
        process.readers.push(process.stdout.collect(output));
        Ok(process)
    }

    /// Starts `program` and reads nothing of its standard output: once the pipe is full, writing stands still.
    pub fn start_unread(program: &Path, args: &[String], env: &[(String, String)]) -> Result<Self> {
        let name = program.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        // The parent may be killed without a chance to clean up: the kernel then ends the child.
        let setpriv = Path::new("/usr/bin/setpriv");
        let mut command = if setpriv.exists() {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        for variable in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "RUST_LOG"] {
            command.env_remove(variable);
            command.env_remove(variable.to_lowercase());
        }
        let mut child = command
            .args(args)
            .envs(env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let readers = vec![stderr.collect(child.stderr.take().context("stderr is piped")?)];
        Ok(Self {
            name,
            unread: child.stdout.take(),
            child,
            readers,
            stdout,
            stderr,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        // The shell's own kill: there is no safe call for it in the standard library.
        let status = Command::new("/bin/sh")
            .args(["-c", &format!("kill -{signal} {}", self.id())])
            .status()?;
        anyhow::ensure!(status.success(), "cannot send SIG{signal} to {}", self.name);
        Ok(())
    }

    /// The exit status, once it has ended and its last line is there.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() {
            for reader in self.readers.drain(..) {
                let _ = reader.join();
            }
        }
        Ok(status)
    }

    /// Waits for the end.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!(
            "{} still runs after {within:?}\n{}",
            self.name,
            self.output()
        )
    }

    /// Both outputs, for messages.
    pub fn output(&self) -> String {
        format!(
            "--- stdout of {name}\n{}\n--- stderr of {name}\n{}",
            self.stdout.all().join("\n"),
            self.stderr.all().join("\n"),
            name = self.name,
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", self.output());
        }
    }
}
