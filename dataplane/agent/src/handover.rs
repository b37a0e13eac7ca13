//! The agent's end of conversations with proxies: threads that turn messages into inputs.

use crate::{Input, ProxyId};
use penstock_handover::{Channel, HandoverError, Listener, ToAgent, ToProxy};
use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, mpsc},
    thread,
};

/// Takes conversations until the listener is closed, each read on a thread of its own: there are one
/// or two at a time.
///
/// # Errors
/// The thread cannot be started.
pub fn listen(
    listener: Arc<Listener>,
    inputs: mpsc::Sender<Input>,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("handover".into()).spawn(move || {
        for number in 0.. {
            let channel = match listener.accept() {
                Ok(channel) => Arc::new(channel),
                Err(error) => {
                    tracing::debug!("no more proxies are taken: {error}");
                    return;
                }
            };
            let inputs = inputs.clone();
            let read = move || converse(ProxyId(number), &channel, &inputs);
            if let Err(error) = thread::Builder::new().name("proxy".into()).spawn(read) {
                tracing::error!("a proxy cannot be talked to: {error}");
            }
        }
    })
}

/// Ends a conversation with a reason.
pub fn refuse(channel: &Channel, message: String) {
    // It may have ended already.
    let _ = channel.send(&ToProxy::Refused { message }, &[]);
    channel.close();
}

fn converse(proxy: ProxyId, channel: &Arc<Channel>, inputs: &mpsc::Sender<Input>) {
    if let Err(error) = read(proxy, channel, inputs) {
        tracing::warn!("{error}");
        refuse(channel, error.to_string());
    }
    let _ = inputs.send(Input::Gone(proxy));
}

fn read(
    proxy: ProxyId,
    channel: &Arc<Channel>,
    inputs: &mpsc::Sender<Input>,
) -> Result<(), HandoverError> {
    let mut greeted = false;
    while let Some((message, fds)) = channel.receive::<ToAgent>()? {
        let input = match message {
            ToAgent::Hello { pod, addresses, workers, sockets } if !greeted => {
                greeted = true;
                let channel = channel.clone();
                let holds: Vec<(_, OwnedFd)> = sockets.into_iter().zip(fds).collect();
                Input::Hello { proxy, channel, pod, addresses, workers, holds }
            }
            ToAgent::Serving if greeted => Input::Serving(proxy),
            ToAgent::Leaving => return Ok(()),
            ToAgent::Hello { .. } | ToAgent::Serving => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the proxy did not introduce itself once, at first",
                )
                .into());
            }
        };
        if inputs.send(input).is_err() {
            break;
        }
    }
    Ok(())
}
