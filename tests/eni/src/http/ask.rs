//! What is asked.

use crate::model::Ec2Error;
use std::{collections::BTreeMap, net::Ipv4Addr, str::FromStr};

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask(BTreeMap<String, String>);

/// A filter of `Describe*`: its name, and values of which one has to fit.
pub(super) type Filter = (String, Vec<String>);

impl Ask {
    /// From a form.
    pub(super) fn new(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// Which call it is.
    pub(super) fn action(&self) -> &str {
        self.0.get("Action").map_or("", String::as_str)
    }

    /// A parameter, empty where it is absent.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A parameter that has to be there.
    pub(super) fn needs(&self, name: &str) -> Result<&str, Ec2Error> {
        self.0.get(name).map(String::as_str).ok_or_else(|| {
            let message = format!("The request must contain the parameter {name}");
            Ec2Error { code: "MissingParameter", message }
        })
    }

    /// Whether it only asks whether it would be permitted.
    pub(super) fn is_dry_run(&self) -> bool {
        self.text("DryRun") == "true"
    }

    /// Whether it names an address for documents alone (RFC 5737).
    pub(super) fn names_nobodys_address(&self) -> bool {
        let addresses = self.values::<Ipv4Addr>("PrivateIpAddress");
        addresses.is_ok_and(|all| all.iter().any(Ipv4Addr::is_documentation))
    }

    /// A number, or another value that is written as text; the default one where it is absent.
    pub(super) fn value<T: FromStr + Default>(&self, name: &str) -> Result<T, Ec2Error> {
        self.0.get(name).map_or_else(|| Ok(T::default()), |text| parse(name, text))
    }

    /// `NAME.1`, `NAME.2`, ...
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|n| self.0.get(&format!("{name}.{n}"))).map(String::as_str).collect()
    }

    /// The same, parsed.
    pub(super) fn values<T: FromStr>(&self, name: &str) -> Result<Vec<T>, Ec2Error> {
        self.list(name).into_iter().map(|text| parse(name, text)).collect()
    }

    /// The tags of `TagSpecification.1`.
    pub(super) fn tags(&self) -> BTreeMap<String, String> {
        let tag = |n: u32| {
            let of = format!("TagSpecification.1.Tag.{n}");
            let key = self.0.get(&format!("{of}.Key"))?;
            Some((key.clone(), self.text(&format!("{of}.Value")).to_owned()))
        };
        (1..).map_while(tag).collect()
    }

    /// All filters.
    pub(super) fn filters(&self) -> Vec<Filter> {
        let filter = |n: u32| {
            let name = self.0.get(&format!("Filter.{n}.Name"))?;
            let values = self.list(&format!("Filter.{n}.Value"));
            Some((name.clone(), values.into_iter().map(str::to_owned).collect()))
        };
        (1..).map_while(filter).collect()
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T, Ec2Error> {
    text.parse().map_err(|_| {
        let message = format!("Value ({text}) for parameter {name} is invalid.");
        Ec2Error { code: "InvalidParameterValue", message }
    })
}
