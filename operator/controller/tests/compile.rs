//! Compiling in a process of its own, by the operator's own program.

use penstock_filter_host::{Host, HostConfig};
use penstock_gateway::FilterReason;
use penstock_modules::{ChildCompiler, CompileLimits, Compiler};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use xtask_components::heavy;

const OPERATOR: &str = env!("CARGO_BIN_EXE_penstock-operator");

fn host() -> Host {
    Host::new(HostConfig { max_instances: 4, ..HostConfig::default() }).expect("a host")
}

fn compiler(host: &Host, limits: CompileLimits) -> ChildCompiler {
    ChildCompiler::new(host.clone(), PathBuf::from(OPERATOR), limits)
}

fn header_rules() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../filters/dist/header-rules.wasm");
    fs::read(path).expect("build the filters first: cargo xtask filters")
}

#[test]
fn a_component_comes_back_as_code_with_what_it_is() {
    let host = host();
    let module = compiler(&host, CompileLimits::default()).compile(&header_rules());
    let module = module.expect("a module");
    let here = Compiler::compile(&host, &header_rules()).expect("a module");
    assert_eq!(module.info().digest, here.info().digest);
    assert_eq!(module.info().kind, here.info().kind);
    assert_eq!(module.info().imports, here.info().imports);
    assert_eq!(module.info().descriptor.name, here.info().descriptor.name);
    let artifact = |module: &penstock_filter_host::CompiledModule| module.to_artifact();
    assert_eq!(artifact(&module).expect("bytes"), artifact(&here).expect("bytes"));
}

#[test]
fn what_is_wrong_with_a_component_is_said_as_when_it_is_compiled_here() {
    let host = host();
    let compiler = compiler(&host, CompileLimits::default());
    for component in [&b"text"[..], b"", b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"] {
        let here = Compiler::compile(&host, component).expect_err("no module");
        assert_eq!(compiler.compile(component).expect_err("no module"), here);
    }
}

#[test]
fn a_component_that_makes_the_compiler_eat_memory_or_time_harms_only_its_own_filter() {
    let host = host();
    let component = heavy(1, 400_000);
    let memory = CompileLimits { memory: 64 << 20, ..CompileLimits::default() };
    let whole = CompileLimits { whole: Duration::from_millis(200), ..CompileLimits::default() };
    let code = CompileLimits { code: 1 << 10, ..CompileLimits::default() };
    for (limits, component) in
        [(memory, component.clone()), (whole, component), (code, header_rules())]
    {
        let began = Instant::now();
        let failure = compiler(&host, limits).compile(&component).expect_err("no module");
        assert_eq!(failure.reason, FilterReason::TooLarge, "{}", failure.message);
        assert!(failure.message.contains("make the component smaller"), "{}", failure.message);
        assert!(began.elapsed() < Duration::from_secs(60), "{limits:?}");
        let next = compiler(&host, CompileLimits::default()).compile(&header_rules());
        assert!(next.is_ok(), "{next:?}");
    }
}

/// A program that stands in for the operator.
fn program(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("compiler");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a file of ours");
    path
}

#[test]
fn a_compiler_that_cannot_run_crashes_or_writes_nonsense_is_told_from_a_bad_component() {
    let (host, folder) = (host(), tempfile::tempdir().expect("a folder"));
    let limits = CompileLimits { whole: Duration::from_secs(1), ..CompileLimits::default() };
    let compile = |path: PathBuf| {
        let compiler = ChildCompiler::new(host.clone(), path, limits);
        compiler.compile(&header_rules()).expect_err("no module").reason
    };
    assert_eq!(compile(folder.path().join("missing")), FilterReason::FetchFailed);
    for (script, reason) in [
        ("kill -SEGV $$", FilterReason::TooLarge),
        ("exec sleep 60", FilterReason::TooLarge),
        ("cat >/dev/null; printf '\\0code'; exit 1", FilterReason::TooLarge),
        ("cat >/dev/null; printf '\\0code'", FilterReason::ModuleInvalid),
    ] {
        assert_eq!(compile(program(folder.path(), script)), reason, "{script}");
    }
}

/// Numbers of a process's open files, and what they are.
fn open_files(proc: &Path) -> Vec<(String, PathBuf)> {
    let files = fs::read_dir(proc.join("fd")).expect("it is ours").flatten();
    let files = files.map(|file| (file.file_name(), fs::read_link(file.path())));
    files.filter_map(|(name, to)| Some((name.into_string().ok()?, to.ok()?))).collect()
}

#[test]
fn the_compiler_has_no_environment_no_open_file_and_limits_that_it_cannot_leave() {
    let mut child = Command::new(OPERATOR)
        .args(["compile", "--memory", "268435456", "--cpu", "7"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let end = Instant::now() + Duration::from_secs(20);
    let limits = loop {
        let limits = fs::read_to_string(proc.join("limits")).expect("it waits for a component");
        if limits.contains("Max open files            0                    0 ") {
            break limits;
        }
        assert!(Instant::now() < end, "{limits}");
        std::thread::sleep(Duration::from_millis(5));
    };
    for line in [
        "Max data size             268435456            268435456 ",
        "Max cpu time              7                    7 ",
        "Max core file size        0                    0 ",
        "Max file size             0                    0 ",
    ] {
        assert!(limits.contains(line), "{line} in\n{limits}");
    }
    // Whoever started this test may have left it files that it passes on; they are not the operator's.
    let inherited = open_files(Path::new("/proc/self"));
    let open = open_files(&proc).into_iter().filter(|file| !inherited.contains(file));
    let beyond: Vec<_> =
        open.filter(|(number, _)| !matches!(number.as_str(), "0" | "1" | "2")).collect();
    assert_eq!(beyond, [], "nothing but standard input, output and error");
    let _ = child.stdin.take().expect("a pipe").write_all(b"text");
    assert!(child.wait().expect("it ends").success());

    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("environment");
    let script = program(folder.path(), &format!("cat /proc/self/environ >{}", at.display()));
    let _ = ChildCompiler::new(host(), script, CompileLimits::default()).compile(b"");
    let environment = fs::read_to_string(at).expect("it ran");
    assert!(!environment.contains("CARGO") && !environment.contains("HOME="), "{environment}");
}
