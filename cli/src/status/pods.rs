//! Why a pod is not ready, as the kubelet and the scheduler say it.

use super::seen::COMPONENT_LABEL;
use crate::cluster::one_line;
use k8s_openapi::{
    api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, Pod},
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt as _;

/// What a container may take to become ready before it is asked why.
const STARTS: SignedDuration = SignedDuration::from_secs(60);
/// What a pod may take beyond its grace period.
const ENDS: SignedDuration = SignedDuration::from_secs(60);
/// Of a last message only the end is of use: what made the process end.
const LAST_WORDS: usize = 400;

/// Why a pod is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) reason: String,
    pub(crate) cause: String,
    pub(crate) remedy: String,
}

impl Why {
    pub(crate) fn new(
        reason: impl Into<String>,
        cause: impl AsRef<str>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { reason: reason.into(), cause: one_line(cause.as_ref()), remedy: remedy.into() }
    }
}

/// Why a pod is not ready; `None` where it is, or where it is on its way out.
pub(crate) fn why(pod: &Pod, events: &[Event], now: Timestamp) -> Option<Why> {
    let status = pod.status.clone().unwrap_or_default();
    if let Some(deleted) = &pod.metadata.deletion_timestamp {
        return (now.duration_since(deleted.0) > ENDS).then(|| stuck(pod));
    }
    match status.phase.as_deref() {
        Some("Succeeded") => return None,
        Some("Failed") => {
            let reason = status.reason.as_deref().unwrap_or("Failed");
            let message = status.message.as_deref().unwrap_or("its containers have ended");
            let remedy = "its controller makes another; look at the node when that happens again";
            return Some(Why::new(reason, message, remedy));
        }
        _ => {}
    }
    let condition = |type_: &str| {
        let conditions = status.conditions.iter().flatten();
        conditions.into_iter().find(|condition| condition.type_ == type_)
    };
    if condition("Ready").is_some_and(|ready| ready.status == "True") {
        return None;
    }
    if let Some(placed) = condition("PodScheduled").filter(|placed| placed.status == "False") {
        let message = placed.message.as_deref().unwrap_or("the scheduler found no node");
        return Some(Why::new(
            placed.reason.as_deref().unwrap_or("Unschedulable"),
            format!("it is on no node: {message}"),
            format!(
                "make room or add a node, or change {} in the values of the chart",
                values(pod, "nodeSelector, tolerations or resources")
            ),
        ));
    }
    let init = status.init_container_statuses.iter().flatten();
    let main = status.container_statuses.iter().flatten();
    let found = init.filter(|c| !c.ready && !has_succeeded(c)).chain(main.filter(|c| !c.ready));
    if let Some(container) = found.into_iter().next() {
        return Some(of_container(pod, container, events, now));
    }
    let waits = warning(pod, events, &[]).map_or_else(
        || condition("Ready").and_then(|c| c.message.clone()).filter(|text| !text.is_empty()),
        |event| event.message.clone(),
    );
    Some(match waits {
        Some(message) => Why::new("NotReady", message, describe(pod)),
        None => starting(pod, "the kubelet has not started its containers yet"),
    })
}

fn stuck(pod: &Pod) -> Why {
    let node = node(pod);
    Why::new(
        "Terminating",
        format!("it should have ended by now and is still there on node {node}"),
        format!(
            "look at the kubelet of node {node}; delete the node object if the machine is gone"
        ),
    )
}

fn has_succeeded(container: &ContainerStatus) -> bool {
    let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    ended.is_some_and(|ended| ended.exit_code == 0)
}

fn of_container(pod: &Pod, container: &ContainerStatus, events: &[Event], now: Timestamp) -> Why {
    let name = &container.name;
    let state = container.state.clone().unwrap_or_default();
    if let Some(waiting) = state.waiting {
        let reason = waiting.reason.unwrap_or_default();
        let message = waiting.message.unwrap_or_default();
        return match reason.as_str() {
            "ImagePullBackOff"
            | "ErrImagePull"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => {
                // While it waits for the next attempt the kubelet no longer says what was wrong.
                let event = warning(pod, events, &["Failed"]).and_then(|e| e.message.clone());
                let message = match reason.as_str() {
                    "ImagePullBackOff" => event.unwrap_or(message),
                    _ => message,
                };
                Why::new(
                    reason,
                    format!("image {} cannot be pulled: {message}", container.image),
                    "correct image.repository, image.tag or image.pullSecrets in the values of the \
                     chart, or bring the image to the registry",
                )
            }
            "CrashLoopBackOff" => crashed(pod, container),
            "" | "ContainerCreating" | "PodInitializing" => match warning(pod, events, &[]) {
                Some(event) => Why::new(
                    event.reason.clone().unwrap_or(reason),
                    event.message.clone().unwrap_or_default(),
                    describe(pod),
                ),
                None => starting(pod, &format!("container {name} is being made")),
            },
            _ => Why::new(
                reason,
                format!("container {name} cannot be started: {message}"),
                describe(pod),
            ),
        };
    }
    if state.terminated.is_some() {
        return crashed(pod, container);
    }
    let since = state.running.and_then(|running| running.started_at).map_or(now, |at| at.0);
    match warning(pod, events, &["Unhealthy"]) {
        Some(event) if now.duration_since(since) > STARTS => Why::new(
            "Unhealthy",
            format!(
                "container {name} runs and is not ready: {}",
                event.message.as_deref().unwrap_or_default()
            ),
            logs(pod, name, false),
        ),
        _ if now.duration_since(since) > STARTS => Why::new(
            "ContainersNotReady",
            format!("container {name} runs and is not ready"),
            logs(pod, name, false),
        ),
        _ => starting(pod, &format!("container {name} has just started")),
    }
}

fn crashed(pod: &Pod, container: &ContainerStatus) -> Why {
    let name = &container.name;
    let now = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let Some(ended) = now.or(last) else {
        let cause = format!("container {name} ends again and again");
        return Why::new("CrashLoopBackOff", cause, logs(pod, name, true));
    };
    if ended.reason.as_deref() == Some("OOMKilled") {
        return Why::new(
            "OOMKilled",
            format!("container {name} used more memory than its limit and was killed"),
            format!("raise {} in the values of the chart", values(pod, "resources.limits.memory")),
        );
    }
    let cause = format!("container {name} ends {}", end(ended, container.restart_count));
    Why::new("CrashLoopBackOff", cause, logs(pod, name, true))
}

fn end(ended: &ContainerStateTerminated, restarts: i32) -> String {
    let times = match restarts {
        0 | 1 => String::new(),
        n => format!(" (restarted {n} times)"),
    };
    let words = one_line(ended.message.as_deref().unwrap_or_default());
    // What is cut off is the beginning.
    let from = words.ceil_char_boundary(words.len().saturating_sub(LAST_WORDS));
    let words = if words.is_empty() { String::new() } else { format!(": {}", &words[from..]) };
    match ended.signal {
        Some(signal) if signal > 0 => format!("by signal {signal}{times}{words}"),
        _ => format!("with exit code {}{times}{words}", ended.exit_code),
    }
}

fn starting(pod: &Pod, cause: &str) -> Why {
    let remedy = format!("wait (penstock status --wait); when it stays, {}", describe(pod));
    Why::new("Starting", cause, remedy)
}

/// The last warning about a pod; with reasons, of one of these.
fn warning<'a>(pod: &Pod, events: &'a [Event], reasons: &[&str]) -> Option<&'a Event> {
    about(events, "Pod", &pod.name_any())
        .filter(|event| match &event.involved_object.uid {
            Some(uid) => Some(uid) == pod.metadata.uid.as_ref(),
            None => true,
        })
        .filter(|event| {
            let reason = event.reason.as_deref().unwrap_or_default();
            reasons.is_empty() || reasons.contains(&reason)
        })
        .max_by_key(|event| time(event))
}

/// The events about an object.
pub(crate) fn about<'a>(
    events: &'a [Event],
    kind: &str,
    name: &str,
) -> impl Iterator<Item = &'a Event> {
    events.iter().filter(move |event| {
        let object = &event.involved_object;
        object.kind.as_deref() == Some(kind) && object.name.as_deref() == Some(name)
    })
}

/// When an event was last.
pub(crate) fn time(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let single = event.event_time.as_ref();
    series.map(|t| t.0).or(event.last_timestamp.as_ref().map(|t| t.0)).or(single.map(|t| t.0))
}

/// The node that a pod is on; empty for none.
pub(crate) fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// The component that a pod belongs to.
pub(crate) fn component(pod: &Pod) -> &str {
    pod.labels().get(COMPONENT_LABEL).map_or("", String::as_str)
}

/// Values of the chart for the component of a pod.
fn values(pod: &Pod, below: &str) -> String {
    format!("{}.{below}", component(pod).trim_start_matches("penstock-"))
}

fn describe(pod: &Pod) -> String {
    let namespace = pod.namespace().unwrap_or_default();
    format!("kubectl -n {namespace} describe pod {} says more", pod.name_any())
}

fn logs(pod: &Pod, container: &str, previous: bool) -> String {
    let namespace = pod.namespace().unwrap_or_default();
    let previous = if previous { " --previous" } else { "" };
    let name = pod.name_any();
    format!("kubectl -n {namespace} logs {name} -c {container}{previous} says why")
}
