//! The client.

use crate::{
    convert::no_region,
    trust::{TrustError, http_client},
};
use aws_config::{BehaviorVersion, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_ec2::{
    Client,
    config::{Credentials, Region},
};
use futures_util::future::BoxFuture;
use penstock_eni::Failure;
use std::{collections::BTreeMap, fmt, time::Duration};

/// For one call, all of it. The machines of `penstock-eni` trust that one that was given up takes effect
/// within [`penstock_eni::CONSISTENCY`], if it does at all.
const CALL: Duration = Duration::from_secs(10);

/// Whose interfaces these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Name of the cluster: value of the tag `penstock.dev/cluster`.
    pub name: String,
    /// Further tags of new interfaces.
    pub tags: BTreeMap<String, String>,
}

/// How EC2 is reached. Nothing of it has to be said on an instance.
#[derive(Clone, Default)]
pub struct Access {
    /// The region; absent, it is found as the SDK does.
    pub region: Option<String>,
    /// Another endpoint than the region's: a private link, or a model.
    pub endpoint: Option<String>,
    /// Access key and secret; absent, they are found as the SDK does: environment, IRSA, Pod Identity,
    /// instance.
    pub keys: Option<(String, String)>,
}

/// Without the secret.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("keys", &self.keys.as_ref().map(|(key, _)| key))
            .finish()
    }
}

/// Makes calls.
#[derive(Clone, Debug)]
pub struct Ec2 {
    pub(crate) client: Client,
    pub(crate) cluster: Cluster,
}

impl Ec2 {
    /// A client for a cluster's interfaces.
    ///
    /// # Errors
    /// The roots that it is to believe cannot be read.
    pub fn new(cluster: Cluster, access: Access) -> BoxFuture<'static, Result<Self, TrustError>> {
        Box::pin(async move {
            let timeouts = TimeoutConfig::builder().operation_timeout(CALL).build();
            let mut loader = aws_config::defaults(BehaviorVersion::latest())
                .http_client(http_client()?)
                .retry_config(RetryConfig::disabled())
                .timeout_config(timeouts);
            if let Some(region) = access.region {
                loader = loader.region(Region::new(region));
            }
            if let Some(endpoint) = access.endpoint {
                loader = loader.endpoint_url(endpoint);
            }
            if let Some((key, secret)) = access.keys {
                loader =
                    loader.credentials_provider(Credentials::new(key, secret, None, None, "given"));
            }
            Ok(Self { client: Client::new(&loader.load().await), cluster })
        })
    }

    /// The region that is asked.
    ///
    /// # Errors
    /// [`penstock_eni::Reason::NoRegion`]
    pub fn region(&self) -> Result<String, Failure> {
        let region = self.client.config().region().map(ToString::to_string);
        region.ok_or_else(no_region)
    }

    /// Whose interfaces these are.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}
