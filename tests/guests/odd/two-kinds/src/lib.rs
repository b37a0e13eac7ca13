//! A module that is two kinds of policy.

wit_bindgen::generate!({
    inline: "
        package guest:odd;
        world guest {
            include penstock:policy/header-policy@1.0.0;
            include penstock:policy/path-policy@1.0.0;
        }
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
        Descriptor {
            name: "guest-two-kinds".into(),
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

mod paths {
    use super::exports::penstock::policy::paths::*;
    use super::penstock::policy::types::Fault;

    impl Guest for super::Module {
        type Policy = Nowhere;
    }

    /// Decides nothing.
    pub struct Nowhere;

    impl GuestPolicy for Nowhere {
        fn configure(_: Config) -> Result<Policy, Vec<Problem>> {
            Ok(Policy::new(Nowhere))
        }
        fn plan(&self) -> Stage {
            Stage { inputs: vec![], when: vec![], writes: vec![], constant: None, memo: None }
        }
        fn decide(&self, _: Vec<Option<String>>) -> Result<Decision, Fault> {
            Ok(Decision::Next)
        }
    }
}

export!(Module);
