//! A module that cannot say what it is: it asks for a capability meanwhile.

wit_bindgen::generate!({
    inline: "
        package guest:odd;
        world guest { include penstock:policy/header-policy@1.0.0; import penstock:host/clock@1.0.0; }
    ",
    path: ["../../../../wit/policy", "../../../../wit/host"],
    world: "guest:odd/guest",
    generate_all,
});

use exports::penstock::policy::describe::Guest as Describe;
use penstock::policy::types::Descriptor;

struct Module;

impl Describe for Module {
    fn describe() -> Descriptor {
        penstock::host::clock::now_unix_ms();
        Descriptor {
            name: "guest-describe-traps".into(),
            version: "1.0.0".into(),
            description: String::new(),
            config_schema: String::new(),
            documentation: String::new(),
        }
    }
}

mod headers {
    use super::exports::penstock::policy::headers::*;
    use super::penstock::policy::types::Fault;

    impl Guest for super::Module {
        type Policy = Nothing;
    }

    /// Decides nothing.
    pub struct Nothing;

    impl GuestPolicy for Nothing {
        fn configure(_: Config) -> Result<Policy, Vec<Problem>> {
            Ok(Policy::new(Nothing))
        }
        fn plan(&self) -> Plan {
            Plan { request: None, response: None }
        }
        fn on_request(&self, _: Vec<Option<String>>) -> Result<Decision, Fault> {
            Ok(Decision::Next)
        }
        fn on_response(&self, _: Vec<Option<String>>) -> Result<Decision, Fault> {
            Ok(Decision::Next)
        }
    }
}

export!(Module);
