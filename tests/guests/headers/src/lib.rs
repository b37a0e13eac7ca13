//! A header policy without capabilities. Its configuration is one JSON string, the mode; in mode
//! `obey` each request says what the policy does with it.

wit_bindgen::generate!({
    inline: "
        package guest:headers;
        world guest { include penstock:policy/header-policy@1.0.0; }
    ",
    path: "../../../wit/policy",
    generate_all,
});

use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use exports::penstock::policy::describe::Guest as Describe;
use exports::penstock::policy::headers::{
    Config, Decision, Edit, Guest, GuestPolicy, Plan, Policy, Problem, Response, Stage,
};
use penstock::policy::types::{Descriptor, Fault, Field, Memo, Predicate, Selector};

/// Calls of this instance, over all its policies: says which instance served, and whether at all.
static CALLS: AtomicU32 = AtomicU32::new(0);

struct Module;

/// One policy.
pub struct Mode {
    mode: String,
    own: Cell<u32>,
}

impl Describe for Module {
    fn describe() -> Descriptor {
        Descriptor {
            name: "guest-headers".into(),
            version: "1.2.3".into(),
            description: "Does as it is told.".into(),
            config_schema: r#"{"$schema":"https://json-schema.org/draft/2020-12/schema",
                "type":"string","minLength":3}"#
                .into(),
            documentation: "# Test guest".into(),
        }
    }
}

impl Guest for Module {
    type Policy = Mode;
}

impl GuestPolicy for Mode {
    fn configure(config: Config) -> Result<Policy, Vec<Problem>> {
        let mode = config.json.trim_matches('"').to_owned();
        match mode.as_str() {
            "problems" => Err(vec![
                Problem { pointer: "/a/0".into(), message: "a first".into() },
                Problem { pointer: "/b".into(), message: "a second".into() },
            ]),
            "configure-traps" => panic!("told to"),
            "configure-loops" => spin(),
            "configure-eats" => eat(),
            // The 64 pages stay, so that the instance starts out large.
            "starts-large" => {
                leak(4 << 20);
                Ok(Policy::new(Mode { mode, own: Cell::new(0) }))
            }
            _ => Ok(Policy::new(Mode { mode, own: Cell::new(0) })),
        }
    }

    fn plan(&self) -> Plan {
        let header = |name: &str| Selector::Header(name.into());
        let mut stage = Stage {
            inputs: vec![header("x-do")],
            when: vec![],
            writes: ["x-count", "x-own", "x-echo", "x-mode"].map(String::from).to_vec(),
            constant: None,
            memo: None,
        };
        let mut response = None;
        match self.mode.as_str() {
            "plan-traps" => panic!("told to"),
            "forbidden-write" => stage.writes.push("host".into()),
            "constant" => stage.constant = Some(vec![set("x-mode", "constant")]),
            "guard" => {
                stage.when = vec![
                    Predicate::Present(header("x-guard")),
                    Predicate::Equals((Selector::Method, "GET".into())),
                    Predicate::OneOf((header("x-guard"), vec!["a".into(), "b".into()])),
                    Predicate::Prefix((Selector::Path, "/in".into())),
                    Predicate::Absent(header("x-off")),
                ]
            }
            "memo" => {
                stage.inputs = vec![header("x-do"), Selector::Path];
                stage.memo = Some(Memo { max_entries: 8, ttl_ms: 0 });
            }
            "memo-ttl" => stage.memo = Some(Memo { max_entries: 8, ttl_ms: 30 }),
            "inputs" => {
                stage.inputs = vec![Selector::Path, header("x-do"), Selector::Cookie("c".into())]
            }
            "response" => {
                response = Some(Stage {
                    inputs: vec![Selector::Status, Selector::ResponseHeader("x-do".into())],
                    ..stage.clone()
                });
                return Plan { request: None, response };
            }
            _ => {}
        }
        Plan { request: Some(stage), response }
    }

    fn on_request(&self, inputs: Vec<Option<String>>) -> Result<Decision, Fault> {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        self.own.set(self.own.get() + 1);
        if self.mode == "inputs" {
            return Ok(Decision::Edit(vec![set("x-echo", &format!("{inputs:?}"))]));
        }
        let order = inputs.first().cloned().flatten().unwrap_or_default();
        let count =
            || vec![set("x-count", &calls.to_string()), set("x-own", &self.own.get().to_string())];
        match order.as_str() {
            "pass" => Ok(Decision::Next),
            "one" => Ok(Decision::Edit(vec![set("x-echo", "1")])),
            "fault" => Err("told to".into()),
            "trap" => panic!("told to"),
            "loop" => spin(),
            // Some milliseconds.
            "work" => {
                let sum = (0..2_000_000u64).fold(0, |sum: u64, n| std::hint::black_box(sum ^ n));
                Ok(Decision::Edit(vec![set("x-echo", &sum.to_string())]))
            }
            "recurse" => Err(recurse(0).to_string()),
            "eat" => eat(),
            "leak" => {
                leak(256 << 10);
                Ok(Decision::Edit(count()))
            }
            "undeclared" => Ok(Decision::Edit([count(), vec![set("x-undeclared", "1")]].concat())),
            "host" => Ok(Decision::Edit([count(), vec![set("host", "evil")]].concat())),
            "crlf" => {
                Ok(Decision::Edit([count(), vec![set("x-echo", "a\r\nx-smuggled: 1")]].concat()))
            }
            "respond" => Ok(Decision::Respond(Response {
                status: 403,
                headers: vec![Field { name: "x-why".into(), value: "told to".into() }],
                body: b"no".to_vec(),
            })),
            "respond-bad" => {
                Ok(Decision::Respond(Response { status: 42, headers: vec![], body: vec![] }))
            }
            "" => Ok(Decision::Edit(count())),
            other => Ok(Decision::Edit([count(), vec![set("x-echo", other)]].concat())),
        }
    }

    fn on_response(&self, inputs: Vec<Option<String>>) -> Result<Decision, Fault> {
        Ok(Decision::Edit(vec![set("x-echo", &format!("{inputs:?}"))]))
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        if self.mode == "drop-traps" {
            panic!("told to");
        }
    }
}

fn set(name: &str, value: &str) -> Edit {
    Edit::Set(Field { name: name.into(), value: value.into() })
}

fn spin() -> ! {
    loop {
        black_box(());
    }
}

fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    if depth == u64::MAX {
        return 0;
    }
    recurse(depth + 1) + frame[7]
}

fn leak(bytes: usize) {
    std::mem::forget(black_box(vec![1u8; bytes]));
}

fn eat() -> ! {
    loop {
        leak(1 << 20);
    }
}

export!(Module);
