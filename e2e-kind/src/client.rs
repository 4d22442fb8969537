//! Programs as a user starts them: kubectl and helm, with a time limit and all they print.

use std::{
    fmt,
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_mins(5);

/// What a program printed, and whether it succeeded.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command line.
    pub command: String,
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl fmt::Display for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            code,
            stdout,
            stderr,
        } = self;
        write!(
            formatter,
            "{command}\ncode {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }
}

/// kubectl (or helm) with a kubeconfig.
#[derive(Clone, Debug)]
pub struct Client {
    /// The program.
    pub program: PathBuf,
    /// Its kubeconfig.
    pub kubeconfig: PathBuf,
    /// Arguments before all others, as `--token`.
    pub arguments: Vec<String>,
    /// Environment variables beside its own.
    pub variables: Vec<(&'static str, &'static str)>,
}

impl Client {
    /// With the kubeconfig alone.
    pub fn new(program: impl Into<PathBuf>, kubeconfig: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            kubeconfig: kubeconfig.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(&self.arguments)
            .args(arguments)
            .envs(self.variables.iter().copied());
        command
    }

    /// Runs to the end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, b"")
    }

    /// Runs to the end with something on standard input.
    pub fn run_with(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut running = self.start(arguments);
        running.write(input);
        running.close_input();
        running.finish(LIMIT)
    }

    /// Must succeed; what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.ok_with(arguments, b"")
    }

    /// Must succeed with something on standard input.
    pub fn ok_with(&self, arguments: &[&str], input: &[u8]) -> String {
        let output = self.run_with(arguments, input);
        assert_eq!(output.code, Some(0), "{output}");
        output.stdout
    }

    /// Must fail; what it printed on standard error.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_ne!(output.code, Some(0), "{output}");
        output.stderr
    }

    /// Applies a document.
    pub fn apply(&self, document: &serde_json::Value) -> Output {
        self.run_with(&["apply", "-f", "-"], document.to_string().as_bytes())
    }

    /// The object as JSON.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.ok(&[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// Starts without waiting.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        let line = format!("{} {}", self.program.display(), arguments.join(" "));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        let output = Lines::collect(child.stdout.take().expect("it is piped"));
        let errors = Lines::collect(child.stderr.take().expect("it is piped"));
        Running {
            line,
            child,
            output,
            errors,
        }
    }
}

/// A program that runs.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    output: Lines,
    errors: Lines,
}

impl Running {
    /// Writes to its standard input.
    pub fn write(&mut self, input: &[u8]) {
        if let Some(stdin) = self.child.stdin.as_mut() {
            // It may have ended already; its output says why.
            let _ = stdin.write_all(input).and_then(|()| stdin.flush());
        }
    }

    /// Ends its standard input.
    pub fn close_input(&mut self) {
        self.child.stdin.take();
    }

    /// Waits until it has printed this text.
    pub fn until_prints(&self, text: &str, limit: Duration) -> String {
        let start = Instant::now();
        loop {
            let printed = self.output.so_far();
            if printed.contains(text) {
                return printed;
            }
            assert!(
                start.elapsed() < limit,
                "{} did not print {text:?} within {limit:?}\n{printed}\n{}",
                self.line,
                self.errors.so_far()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How it ended, if it has; no code after a signal.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        let status = self.child.try_wait().expect("it was started here")?;
        Some(status.code())
    }

    /// Waits for its end.
    pub fn finish(mut self, limit: Duration) -> Output {
        let start = Instant::now();
        let code = loop {
            if let Some(status) = self.child.try_wait().expect("it was started here") {
                break status.code();
            }
            assert!(
                start.elapsed() < limit,
                "{} runs for longer than {limit:?}",
                self.line
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        Output {
            command: self.line.clone(),
            code,
            stdout: self.output.all(),
            stderr: self.errors.all(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a pipe has brought so far.
#[derive(Debug)]
struct Lines {
    bytes: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn collect(mut pipe: impl std::io::Read + Send + 'static) -> Self {
        let bytes = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let shared = bytes.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.by_ref().read(&mut buffer) {
                shared.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self {
            bytes,
            reader: Some(reader),
        }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.so_far()
    }
}
