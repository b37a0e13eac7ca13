//! A real API server with a real etcd behind it, on loopback, for all tests of this process.

use jiff::Timestamp;
use kube::{Client, Config, config::AuthInfo};
use parking_lot::Mutex;
use penstock_test_ports::free_port;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

/// The administrator's token.
pub const ADMINISTRATOR: &str = "administrator";
/// Token of somebody whom the API server knows and permits nothing.
pub const STRANGER: &str = "stranger";
/// How long it may take to come up on a busy machine.
const START: Duration = Duration::from_secs(120);

/// A running API server.
pub struct Server {
    folder: PathBuf,
    port: u16,
    etcd: u16,
    running: Mutex<Option<u32>>,
}

/// The API server of this process. It ends with the process.
pub fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder").keep();
        let server =
            Server { folder, port: free_port(), etcd: free_port(), running: Mutex::new(None) };
        server.start();
        server
    })
}

impl Server {
    fn start(&self) {
        let bin = programs();
        Keys::make(&self.folder);
        let etcd = format!("http://127.0.0.1:{}", self.etcd);
        let peers = format!("http://127.0.0.1:{}", free_port());
        let data = self.folder.join("etcd").display().to_string();
        run(
            &self.folder,
            &bin.join("etcd"),
            &[
                format!("--data-dir={data}"),
                format!("--listen-client-urls={etcd}"),
                format!("--advertise-client-urls={etcd}"),
                format!("--listen-peer-urls={peers}"),
                format!("--initial-advertise-peer-urls={peers}"),
                format!("--initial-cluster=default={peers}"),
                "--unsafe-no-fsync".into(),
                "--log-level=error".into(),
            ],
        );
        self.api_server();
    }

    /// Starts the API server, and waits until it answers.
    pub fn api_server(&self) {
        let bin = programs();
        let keys = Keys::of(&self.folder);
        let etcd = format!("http://127.0.0.1:{}", self.etcd);
        let flags = vec![
            format!("--etcd-servers={etcd}"),
            format!("--secure-port={}", self.port),
            "--bind-address=127.0.0.1".into(),
            format!("--cert-dir={}", self.folder.join("tls").display()),
            "--service-cluster-ip-range=10.0.0.0/16".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", keys.public.display()),
            format!("--service-account-signing-key-file={}", keys.private.display()),
            "--authorization-mode=RBAC".into(),
            format!("--token-auth-file={}", keys.tokens.display()),
            "--shutdown-delay-duration=0s".into(),
            "--profiling=false".into(),
        ];
        let running = run(&self.folder, &bin.join("kube-apiserver"), &flags);
        *self.running.lock() = Some(running);
        self.wait();
    }

    /// Kills the API server.
    pub fn kill_api_server(&self) {
        let running = self.running.lock().take().expect("it runs");
        let killed = Command::new("kill").args(["-KILL", &running.to_string()]).status();
        assert!(killed.expect("kill").success());
    }

    /// A client of the administrator.
    pub fn client(&self) -> Client {
        self.client_of(ADMINISTRATOR)
    }

    /// A client with a token.
    pub fn client_of(&self, token: &str) -> Client {
        // Without this a client that is made first decides for all.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut config = Config::new(self.url().parse().expect("an address"));
        config.accept_invalid_certs = true;
        config.auth_info = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
        Client::try_from(config).expect("a client")
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn wait(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let end = Instant::now() + START;
        runtime.expect("a runtime").block_on(async {
            loop {
                let request = http::Request::get("/readyz").body(Vec::new()).expect("a request");
                match self.client().request_text(request).await {
                    Ok(_) => return,
                    Err(error) if Instant::now() > end => {
                        let log = fs::read_to_string(self.folder.join("kube-apiserver.log"));
                        let log = log.unwrap_or_default();
                        let tail: Vec<&str> = log.lines().rev().take(20).collect();
                        panic!("the API server does not come up: {error}\n{}", tail.join("\n"));
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        });
    }
}

/// Where the programs of the test cluster are: etcd, kube-apiserver, helm and others.
///
/// # Panics
/// Where they are not built.
pub fn programs() -> PathBuf {
    let folder = std::env::var_os("PENSTOCK_CLUSTER_BIN").map_or_else(
        || {
            let home = std::env::var_os("HOME").unwrap_or_default();
            let cache = std::env::var_os("XDG_CACHE_HOME");
            let cache = cache.map_or_else(|| Path::new(&home).join(".cache"), PathBuf::from);
            cache.join("penstock/cluster/bin")
        },
        PathBuf::from,
    );
    assert!(
        folder.join("kube-apiserver").exists(),
        "{} has no kube-apiserver: build it with tests/cluster/build.sh",
        folder.display()
    );
    folder
}

/// Starts a program that ends when this process does, however that ends.
fn run(folder: &Path, program: &Path, flags: &[String]) -> u32 {
    let name = program.file_name().expect("a name").to_string_lossy().into_owned();
    let log = fs::File::create(folder.join(format!("{name}.log"))).expect("a log");
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(program)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log);
    let (started, child) = mpsc::channel();
    // The signal comes when the thread that started it ends: this one does not.
    thread::spawn(move || {
        let child: std::io::Result<Child> = command.spawn();
        started.send(child).expect("somebody waits");
        loop {
            thread::park();
        }
    });
    let child = child.recv().expect("a thread");
    child.unwrap_or_else(|error| panic!("cannot start {name}: {error}")).id()
}

/// Files that the API server reads.
struct Keys {
    private: PathBuf,
    public: PathBuf,
    tokens: PathBuf,
}

impl Keys {
    fn of(folder: &Path) -> Self {
        Self {
            private: folder.join("sa.key"),
            public: folder.join("sa.pub"),
            tokens: folder.join("tokens.csv"),
        }
    }

    fn make(folder: &Path) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let keys = Self::of(folder);
        fs::write(&keys.private, key.serialize_pem()).expect("a file");
        fs::write(&keys.public, key.public_key_pem()).expect("a file");
        let tokens =
            format!("{ADMINISTRATOR},admin,admin,system:masters\n{STRANGER},stranger,stranger\n");
        fs::write(&keys.tokens, tokens).expect("a file");
    }
}

/// For names that are used once: the time in nanoseconds.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", Timestamp::now().as_nanosecond() % 1_000_000_000_000)
}
