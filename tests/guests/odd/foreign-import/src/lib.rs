//! A module that asks for files and, besides, for a capability that exists.

wit_bindgen::generate!({
    inline: "
        package guest:odd;
        interface files { read: func(path: string) -> list<u8>; }
        world guest {
            include penstock:policy/header-policy@1.0.0;
            import files;
            import penstock:host/log@1.0.0;
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
        if guest::odd::files::read("/etc/passwd").is_empty() {
            penstock::host::log::emit(penstock::host::log::Level::Info, "nothing", &[]);
        }
        Descriptor {
            name: "guest-foreign-import".into(),
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
