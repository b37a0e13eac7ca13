//! A module that describes a policy and has none.

wit_bindgen::generate!({
    inline: "
        package guest:odd;
        world guest { export penstock:policy/describe@1.0.0; }
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
            name: "guest-describe-only".into(),
            version: "1.0.0".into(),
            description: String::new(),
            config_schema: String::new(),
            documentation: String::new(),
        }
    }
}
export!(Module);
