//! Which API server is asked, and as whom.

use super::failure::Failure;
use crate::args::ClusterArgs;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use std::{env, io, path::Path, time::Duration};

/// For a connection to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// For an answer to go on.
const READ: Duration = Duration::from_secs(30);

/// A client, and the address of its API server.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) server: String,
}

/// Finds out whom to ask. Nothing is asked yet.
///
/// # Errors
/// When there is no kubeconfig that can be used.
pub(crate) async fn connect(args: &ClusterArgs) -> Result<Connection, Failure> {
    // Without this a client that is made first decides for all.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut config = config(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(READ);
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let client = Client::try_from(config)
        .map_err(|error| Failure::of_request(&server, "take a client", &error))?;
    Ok(Connection { client, server })
}

async fn config(file: Option<&Path>, context: Option<&str>) -> Result<Config, Failure> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..Default::default() };
    let read = match file {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    match read {
        Ok(read) => Config::from_custom_kubeconfig(read, &options).await,
        Err(error) if file.is_none() && context.is_none() && is_absent(&error) => {
            Config::incluster().map_err(|_| error)
        }
        Err(error) => Err(error),
    }
    .map_err(|error| Failure::of_kubeconfig(&error, file))
}

/// Whether there is no file at all, and nobody named one.
fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(why, _) => {
            why.kind() == io::ErrorKind::NotFound && env::var_os("KUBECONFIG").is_none()
        }
        _ => false,
    }
}
