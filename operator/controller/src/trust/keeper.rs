//! Keeps the trust objects: the Secret of the operator, and the ConfigMap that nodes mount.

use super::authority::{Authority, TrustError};
use crate::{clock::Clock, names::FIELD_MANAGER};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};

/// How often the Secret is looked at: another replica may have changed it.
const LOOK: Duration = Duration::from_secs(60);
/// The first wait after a failure; it doubles.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// Age at which a serving certificate is replaced; it is valid for a week.
const RENEW: Duration = Duration::from_secs(24 * 3600);

/// What is kept where.
#[derive(Clone, Debug)]
pub struct KeeperOptions {
    /// Namespace of both.
    pub namespace: String,
    /// Name of the Secret.
    pub secret: String,
    /// Name of the ConfigMap.
    pub config_map: String,
    /// Names by which nodes reach the stream.
    pub names: Vec<String>,
}

/// What is in force.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The CA and the key for modules.
    pub authority: Arc<Authority>,
    /// What the stream is served with.
    pub tls: Arc<rustls::ServerConfig>,
}

/// Why trust could not be established.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("the API server: {0}")]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("the serving certificate: {0}")]
    Tls(#[from] penstock_stream::TlsError),
}

/// Keeps the trust objects.
pub struct Keeper {
    options: KeeperOptions,
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
    clock: Clock,
    leading: watch::Receiver<bool>,
    trust: watch::Sender<Option<Trust>>,
    issued: Option<Duration>,
}

impl Keeper {
    /// Keeps the objects of a namespace, and says in `trust` what is in force. The first replica that
    /// starts makes them; who leads rotates.
    pub fn new(
        client: Client,
        options: KeeperOptions,
        clock: Clock,
        leading: watch::Receiver<bool>,
        trust: watch::Sender<Option<Trust>>,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), &options.namespace),
            config_maps: Api::namespaced(client, &options.namespace),
            options,
            clock,
            leading,
            trust,
            issued: None,
        }
    }

    /// Never ends.
    pub async fn run(mut self) {
        let mut retry = FIRST_RETRY;
        loop {
            match self.look().await {
                Ok(()) => {
                    retry = FIRST_RETRY;
                    tokio::select! {
                        () = sleep(LOOK) => {}
                        // A new leader looks at once. A sender that is gone ends the process.
                        _ = self.leading.changed() => {}
                    }
                }
                Err(error) => {
                    let secret = format!("{}/{}", self.options.namespace, self.options.secret);
                    tracing::error!(secret, %error, "nodes cannot be served: no trust");
                    sleep(retry).await;
                    retry = (retry * 2).min(LOOK);
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), KeepError> {
        let now = self.clock.now();
        let authority = self.authority(now.wall).await?;
        let known = self.trust.borrow().as_ref().map(|trust| trust.authority.clone());
        let same = known.is_some_and(|known| *known == authority);
        // What nodes are to trust is published before anything is served that needs it.
        self.publish(&authority).await?;
        let fresh = self.issued.is_some_and(|issued| now.since_start < issued + RENEW);
        if !same || !fresh {
            let serving = authority.serving(&self.options.names, now.wall)?;
            let (chain, key) = (serving.chain.as_bytes(), serving.key.as_bytes());
            let tls = penstock_stream::server_config(chain, key)?;
            self.trust.send_replace(Some(Trust { authority: Arc::new(authority), tls }));
            self.issued = Some(now.since_start);
        }
        Ok(())
    }

    /// The authority as the Secret has it; makes it where it is missing, and rotates it when this
    /// replica leads.
    async fn authority(&self, now: Timestamp) -> Result<Authority, KeepError> {
        let Some(secret) = self.secrets.get_opt(&self.options.secret).await? else {
            let authority = Authority::generate(now)?;
            let secret = self.secret(&authority, ObjectMeta::default());
            return match self.secrets.create(&PostParams::default(), &secret).await {
                Ok(_) => {
                    tracing::info!(secret = self.options.secret, "a CA was made");
                    Ok(authority)
                }
                Err(error) if is_conflict(&error) => {
                    let secret = self.secrets.get(&self.options.secret).await?;
                    Ok(Authority::from_data(&secret.data.unwrap_or_default())?)
                }
                Err(error) => Err(error.into()),
            };
        };
        let mut authority = Authority::from_data(&secret.data.unwrap_or_default())?;
        if *self.leading.borrow() && authority.rotate(now)? {
            let secret = self.secret(&authority, secret.metadata);
            let name = &self.options.secret;
            // A conflict is looked at again.
            self.secrets.replace(name, &PostParams::default(), &secret).await?;
            tracing::info!(secret = self.options.secret, "the CA was rotated by a step");
        }
        Ok(authority)
    }

    fn secret(&self, authority: &Authority, metadata: ObjectMeta) -> Secret {
        let metadata = ObjectMeta { name: Some(self.options.secret.clone()), ..metadata };
        Secret {
            metadata,
            type_: Some("Opaque".into()),
            data: Some(authority.to_data()),
            ..Secret::default()
        }
    }

    async fn publish(&self, authority: &Authority) -> Result<(), KeepError> {
        let name = &self.options.config_map;
        let data = BTreeMap::from([
            ("ca.crt".to_owned(), authority.anchors()),
            ("modules.pub".to_owned(), authority.modules_public_key()?),
        ]);
        let there = self.config_maps.get_opt(name).await?;
        if there.is_some_and(|there| there.data.as_ref() == Some(&data)) {
            return Ok(());
        }
        let wanted = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        self.config_maps.patch(name, &parameters, &Patch::Apply(&wanted)).await?;
        Ok(())
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
