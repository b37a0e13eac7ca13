//! The agents' DaemonSet as one that cleans nodes, and which nodes are not clean yet. Pure.

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetUpdateStrategy, RollingUpdateDaemonSet},
        core::v1::Pod,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

/// What the agent is told in place of `run`.
const COMMAND: &str = "uninstall";
/// Folders that hold state on nodes, where the agents have them.
const FOLDERS: [&str; 2] = ["/run/penstock", "/var/lib/penstock"];

/// The same pods on the same nodes, with another command.
pub(super) fn cleaning(mut daemon_set: DaemonSet, admin_port: u16) -> DaemonSet {
    let Some(spec) = &mut daemon_set.spec else { return daemon_set };
    // All nodes at once.
    spec.update_strategy = Some(DaemonSetUpdateStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDaemonSet {
            max_surge: None,
            max_unavailable: Some(IntOrString::String("100%".to_owned())),
        }),
    });
    for container in spec.template.spec.iter_mut().flat_map(|pod| &mut pod.containers) {
        let mut arguments = vec![COMMAND.to_owned(), format!("--admin=127.0.0.1:{admin_port}")];
        arguments.extend(FOLDERS.iter().map(|folder| format!("--remove={folder}")));
        container.args = Some(arguments);
        // Files of the proxies are another user's.
        let context = container.security_context.as_mut();
        let capabilities = context.and_then(|context| context.capabilities.as_mut());
        let added = capabilities.and_then(|capabilities| capabilities.add.as_mut());
        if let Some(added) = added
            && !added.iter().any(|capability| capability == "DAC_OVERRIDE")
        {
            added.push("DAC_OVERRIDE".to_owned());
        }
    }
    daemon_set
}

/// What is left to be waited for, in words; nothing: every node is clean. `generation` is that of the
/// DaemonSet with the other command.
pub(super) fn unclean(
    daemon_set: &DaemonSet,
    generation: Option<i64>,
    pods: &[Pod],
) -> Vec<String> {
    let status = daemon_set.status.as_ref();
    if status.and_then(|status| status.observed_generation) < generation {
        return vec!["the DaemonSet controller has not looked yet".to_owned()];
    }
    let mut left: Vec<_> = pods.iter().filter(|pod| !is_clean(pod)).map(describe).collect();
    let wanted = status.map_or(0, |status| status.desired_number_scheduled);
    let missing = usize::try_from(wanted).unwrap_or(0).saturating_sub(pods.len());
    if missing > 0 {
        left.push(format!("{missing} nodes without a pod"));
    }
    left
}

/// Whether a pod was told to clean, and has.
fn is_clean(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut commands = containers.filter_map(|container| container.args.as_ref()?.first());
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    commands.any(|command| command == COMMAND)
        && pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Which node, which pod, and what is known of it.
pub(super) fn describe(pod: &Pod) -> String {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("no node");
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref();
    let containers = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut waiting = containers.filter_map(|c| c.state.as_ref()?.waiting.as_ref()?.reason.clone());
    let phase = || status.and_then(|status| status.phase.clone()).unwrap_or_default();
    let state = match &pod.metadata.deletion_timestamp {
        Some(_) => "Terminating".to_owned(),
        None => waiting.next().unwrap_or_else(phase),
    };
    format!("{node} (pod {name}: {state})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn daemon_set(observed: i64, desired: i32) -> DaemonSet {
        serde_json::from_value(json!({
            "spec": {
                "selector": {},
                "template": {"spec": {
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [{
                        "name": "agent", "image": "agent:1", "args": ["run", "--node=a"],
                        "securityContext": {"capabilities": {"add": ["BPF"]}},
                    }],
                }},
            },
            "status": {
                "observedGeneration": observed, "desiredNumberScheduled": desired,
                "currentNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
            },
        }))
        .expect("a DaemonSet")
    }

    fn pod(node: &str, command: &str, ready: bool, deleted: bool) -> Pod {
        let deleted = deleted.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({
            "metadata": {"name": format!("agent-{node}"), "deletionTimestamp": deleted},
            "spec": {"nodeName": node, "containers": [{"name": "agent", "args": [command]}]},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            },
        }))
        .expect("a pod")
    }

    #[test]
    fn the_agents_clean_where_they_ran_with_what_they_were_allowed() {
        let once = cleaning(daemon_set(1, 1), 9);
        let value = serde_json::to_value(&once).expect("JSON");
        let pod = &value["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let folders = FOLDERS.map(|folder| format!("--remove={folder}"));
        let arguments = json!(["uninstall", "--admin=127.0.0.1:9", folders[0], folders[1]]);
        assert_eq!(container["args"], arguments);
        assert_eq!(container["image"], "agent:1");
        let capabilities = &container["securityContext"]["capabilities"]["add"];
        assert_eq!(*capabilities, json!(["BPF", "DAC_OVERRIDE"]));
        assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
        assert_eq!(value["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"], Value::Null);
        assert_eq!(cleaning(once.clone(), 9), once, "it can be repeated");
    }

    #[test]
    fn a_node_is_clean_when_the_new_pod_on_it_says_so() {
        let left = |observed, desired, pods: &[Pod]| {
            unclean(&daemon_set(observed, desired), Some(2), pods)
        };
        let clean = pod("a", "uninstall", true, false);
        assert_eq!(left(2, 1, std::slice::from_ref(&clean)), [] as [&str; 0]);
        assert_eq!(left(1, 1, std::slice::from_ref(&clean)).len(), 1, "of another generation");
        assert_eq!(left(2, 2, std::slice::from_ref(&clean)), ["1 nodes without a pod"]);
        for (command, ready, deleted, said) in [
            ("run", true, false, "b (pod agent-b: Running)"),
            ("run", true, true, "b (pod agent-b: Terminating)"),
            ("uninstall", false, false, "b (pod agent-b: Running)"),
        ] {
            assert_eq!(left(2, 2, &[clean.clone(), pod("b", command, ready, deleted)]), [said]);
        }
        assert_eq!(left(2, 0, &[]), [] as [&str; 0], "no node at all");
    }
}
