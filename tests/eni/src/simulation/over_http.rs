//! The model behind HTTP, called by the client that the operator uses.

use super::cloud::{Cloud, InMemory};
use crate::http::Server;
use penstock_ec2::{Access, Cluster, Ec2};
use penstock_eni::{Action, Eni, Failure, Limits, Loose, Outcome, Subnet};
use std::{cell::RefCell, collections::BTreeMap, io};
use tokio::{runtime::Runtime, task::LocalSet};

/// The model behind HTTP.
#[derive(Debug)]
pub struct OverHttp {
    runtime: Runtime,
    local: LocalSet,
    server: Server,
    ec2: Ec2,
    aside: RefCell<InMemory>,
}

impl OverHttp {
    /// A server on loopback, and a client of it.
    ///
    /// # Errors
    /// Where there is no runtime or no port.
    pub fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (local, aside) = (LocalSet::new(), InMemory::new());
        let server = local.block_on(&runtime, Server::start(aside.model.clone()))?;
        let access = Access {
            region: Some("eu-central-1".into()),
            endpoint: Some(server.url()),
            keys: Some(("key".into(), "secret".into())),
        };
        let cluster = Cluster { name: "test".into(), tags: BTreeMap::new() };
        let ec2 = local.block_on(&runtime, Ec2::new(cluster, access)).map_err(io::Error::other)?;
        Ok(Self { runtime, local, server, ec2, aside: RefCell::new(aside) })
    }

    /// The server, with its model and the calls that it counted.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Waits for something.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.local.block_on(&self.runtime, future)
    }

    /// The client.
    pub fn ec2(&self) -> &Ec2 {
        &self.ec2
    }

    /// Does what no call does, on the model itself.
    fn aside<T>(&self, with: impl FnOnce(&mut InMemory) -> T) -> T {
        let mut aside = self.aside.borrow_mut();
        self.server.model(|model| {
            std::mem::swap(model, &mut aside.model);
            let result = with(&mut aside);
            std::mem::swap(model, &mut aside.model);
            result
        })
    }
}

impl Cloud for OverHttp {
    fn call(&mut self, instance: &str, token: &str, action: &Action) -> Result<Outcome, Failure> {
        self.wait(self.ec2.call(instance, token, action))
    }

    fn interfaces(&self, instance: &str) -> Vec<Eni> {
        self.wait(self.ec2.interfaces(instance)).expect("the model describes interfaces")
    }

    fn truth(&self, instance: &str) -> Vec<Eni> {
        self.aside(|aside| aside.interfaces(instance))
    }

    fn subnets(&self) -> BTreeMap<String, Subnet> {
        self.wait(self.ec2.vpc(super::VPC)).expect("the model describes its VPC").subnets
    }

    fn loose(&self) -> Vec<Loose> {
        self.wait(self.ec2.loose(super::VPC)).expect("the model describes interfaces")
    }

    fn launch(&mut self, instance: &str, limits: Limits) -> bool {
        self.aside(|aside| aside.launch(instance, limits))
    }

    fn terminate(&mut self, instance: &str) {
        self.aside(|aside| aside.terminate(instance));
    }

    fn take(&mut self, count: u32) {
        self.aside(|aside| aside.take(count));
    }

    fn give_back(&mut self) {
        self.aside(InMemory::give_back);
    }
}
