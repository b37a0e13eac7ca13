//! A header policy that uses every capability, as `x-do` says.

wit_bindgen::generate!({
    inline: "
        package guest:capable;
        world guest {
            include penstock:policy/header-policy@1.0.0;
            import penstock:host/log@1.0.0;
            import penstock:host/metrics@1.0.0;
            import penstock:host/trace@1.0.0;
            import penstock:host/clock@1.0.0;
            import penstock:host/random@1.0.0;
        }
    ",
    path: ["../../../wit/policy", "../../../wit/host"],
    generate_all,
});

use exports::penstock::policy::describe::Guest as Describe;
use exports::penstock::policy::headers::{
    Config, Decision, Edit, Guest, GuestPolicy, Plan, Policy, Problem, Stage,
};
use penstock::host::metrics::{Counter, Gauge};
use penstock::host::{clock, log, random, trace};
use penstock::policy::types::{Descriptor, Fault, Field, Selector};

struct Module;

/// One policy with its metrics.
pub struct Capable {
    calls: Counter,
    level: Gauge,
}

impl Describe for Module {
    fn describe() -> Descriptor {
        Descriptor {
            name: "guest-capable".into(),
            version: "1.0.0".into(),
            description: "Uses every capability.".into(),
            config_schema: r#"{"type":["string","null"]}"#.into(),
            documentation: String::new(),
        }
    }
}

impl Guest for Module {
    type Policy = Capable;
}

impl GuestPolicy for Capable {
    fn configure(config: Config) -> Result<Policy, Vec<Problem>> {
        let name = match config.json.as_str() {
            "null" => "calls",
            text => text.trim_matches('"'),
        };
        let labels = vec![("filter_name".to_owned(), config.filter)];
        Ok(Policy::new(Capable {
            calls: Counter::new(name, &labels),
            level: Gauge::new("level", &[]),
        }))
    }

    fn plan(&self) -> Plan {
        let request = Some(Stage {
            inputs: vec![Selector::Header("x-do".into())],
            when: vec![],
            writes: vec!["x-*".into()],
            constant: None,
            memo: None,
        });
        Plan { request, response: None }
    }

    fn on_request(&self, inputs: Vec<Option<String>>) -> Result<Decision, Fault> {
        self.calls.add(1);
        let answer = match inputs[0].as_deref().unwrap_or_default() {
            "log" => {
                log::emit(log::Level::Warn, "a line", &[("key".into(), "value \"1\"".into())]);
                log::enabled(log::Level::Warn).to_string()
            }
            "log-much" => {
                (0..500).for_each(|i| log::emit(log::Level::Warn, &format!("line {i}"), &[]));
                String::new()
            }
            "gauge" => {
                self.level.set(2.5);
                String::new()
            }
            "late-metric" => {
                Counter::new("late", &[]).add(1);
                "not seen".into()
            }
            "trace" => {
                trace::set_attribute("tenant", &trace::Value::Text("acme".into()));
                trace::set_attribute("n", &trace::Value::Int(7));
                trace::add_event("decided");
                trace::recording().to_string()
            }
            "clock" => {
                let (a, b) = (clock::monotonic_ns(), clock::monotonic_ns());
                format!("{} {}", clock::now_unix_ms(), b >= a)
            }
            "random" => format!("{} {:?}", random::next(), random::bytes(8)),
            "random-much" => format!("{}", random::bytes(4097).len()),
            _ => return Ok(Decision::Next),
        };
        Ok(Decision::Edit(vec![Edit::Set(Field { name: "x-answer".into(), value: answer })]))
    }

    fn on_response(&self, _: Vec<Option<String>>) -> Result<Decision, Fault> {
        Ok(Decision::Next)
    }
}

export!(Module);
