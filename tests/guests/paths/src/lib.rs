//! A path policy that does as `x-do` says. Configuration `"memo"`: with a memo.

wit_bindgen::generate!({
    inline: "
        package guest:paths;
        world guest { include penstock:policy/path-policy@1.0.0; }
    ",
    path: "../../../wit/policy",
    generate_all,
});

use std::sync::atomic::{AtomicU32, Ordering};

use exports::penstock::policy::describe::Guest as Describe;
use exports::penstock::policy::paths::{
    Config, Decision, Guest, GuestPolicy, PathEdit, Policy, Problem, Redirect, Response, Rewrite,
    Stage,
};
use penstock::policy::types::{Descriptor, Fault, Memo, Selector};

static CALLS: AtomicU32 = AtomicU32::new(0);

struct Module;

/// One policy.
pub struct Paths {
    memo: bool,
}

impl Describe for Module {
    fn describe() -> Descriptor {
        Descriptor {
            name: "guest-paths".into(),
            version: "1.0.0".into(),
            description: "Does as it is told.".into(),
            config_schema: "{}".into(),
            documentation: String::new(),
        }
    }
}

impl Guest for Module {
    type Policy = Paths;
}

impl GuestPolicy for Paths {
    fn configure(config: Config) -> Result<Policy, Vec<Problem>> {
        Ok(Policy::new(Paths { memo: config.json == "\"memo\"" }))
    }

    fn plan(&self) -> Stage {
        Stage {
            inputs: vec![Selector::Path, Selector::Header("x-do".into())],
            when: vec![],
            writes: vec![],
            constant: None,
            memo: self.memo.then_some(Memo { max_entries: 16, ttl_ms: 0 }),
        }
    }

    fn decide(&self, inputs: Vec<Option<String>>) -> Result<Decision, Fault> {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        let path = inputs[0].clone().unwrap_or_default();
        Ok(match inputs[1].as_deref().unwrap_or_default() {
            "rewrite" => Decision::Rewrite(Rewrite {
                host: Some("inner.example:8080".into()),
                path: Some(PathEdit::Full(format!("/v2{path}"))),
                query: Some(format!("calls={calls}")),
            }),
            "prefix" => Decision::Rewrite(Rewrite {
                host: None,
                path: Some(PathEdit::Prefix("/new".into())),
                query: None,
            }),
            "bad-path" => Decision::Rewrite(Rewrite {
                host: None,
                path: Some(PathEdit::Full("/a b HTTP/1.1\r\nx: y".into())),
                query: None,
            }),
            "redirect" => Decision::Redirect(Redirect {
                status: 308,
                scheme: Some("https".into()),
                host: None,
                port: Some(8443),
                path: None,
            }),
            "backend" => Decision::Backend("shop/web:80".into()),
            "respond" => {
                Decision::Respond(Response { status: 410, headers: vec![], body: b"gone".to_vec() })
            }
            "fault" => return Err("told to".into()),
            "trap" => panic!("told to"),
            _ => Decision::Next,
        })
    }
}

export!(Module);
