//! The status of a Gateway.

use super::{GatewayView, ListenerView, frontend};
use crate::condition::{Conditions, Problem, Truth};
use penstock_resources::conditions::{reasons, types};
use penstock_resources::gateway_api::GROUP;
use penstock_resources::gateway_api::gateways::{
    GatewayStatus, GatewayStatusListeners, GatewayStatusListenersSupportedKinds,
};
use std::collections::BTreeMap;

/// Message of conditions that wait for the nodes.
const WAITING: &str = "waiting for the proxies to confirm";

impl GatewayView<'_> {
    /// The status as far as objects tell; `Programmed` waits for the nodes. `attached`: how many
    /// routes are accepted for a listener, by its key.
    pub(crate) fn status(&self, attached: &BTreeMap<String, usize>) -> GatewayStatus {
        let mut conditions = Conditions::new(&self.gateway.metadata);
        let (accepted, reason, message) = self.accepted();
        conditions.add(types::ACCEPTED, accepted, reason, message);
        self.add_programmed(&mut conditions);
        self.add_tls(&mut conditions);
        GatewayStatus {
            addresses: Some(self.addresses.status.clone()).filter(|a| !a.is_empty()),
            attached_listener_sets: None,
            conditions: Some(conditions.finish()),
            listeners: Some(
                self.listeners
                    .iter()
                    .map(|l| self.listener_status(l, attached.get(&l.key).copied()))
                    .collect(),
            ),
        }
    }

    fn accepted(&self) -> (Truth, &'static str, String) {
        if let Some(problem) = &self.refused {
            return (Truth::False, problem.reason, problem.message.clone());
        }
        let invalid = self.listeners.iter().filter(|l| !l.is_valid() || l.blocked.is_some());
        let invalid: Vec<_> = invalid.map(|l| l.spec.name.as_str()).collect();
        let mut messages = self.notes.clone();
        let any_valid = self.listeners.iter().any(ListenerView::is_valid);
        let (truth, reason) = if invalid.is_empty() && any_valid {
            (Truth::True, reasons::ACCEPTED)
        } else {
            messages.insert(
                0,
                match invalid.as_slice() {
                    [] => "the Gateway has no listener".to_owned(),
                    names => format!("not served: listener {}", names.join(", ")),
                },
            );
            let truth = if any_valid { Truth::True } else { Truth::False };
            (truth, reasons::LISTENERS_NOT_VALID)
        };
        if messages.is_empty() {
            messages.push("the Gateway is accepted".to_owned());
        }
        (truth, reason, messages.join("; "))
    }

    fn add_programmed(&self, conditions: &mut Conditions) {
        let nothing = || Problem::new(reasons::INVALID, "no listener can be served");
        let problem =
            if !self.is_served() { Some(nothing()) } else { self.addresses.unusable.clone() };
        let problem = problem.unwrap_or_else(|| Problem::new(reasons::PENDING, WAITING));
        conditions.add(types::PROGRAMMED, Truth::False, problem.reason, problem.message);
    }

    fn add_tls(&self, conditions: &mut Conditions) {
        let Some(tls) = &self.gateway.spec.tls else { return };
        if tls.backend.as_ref().is_some_and(|b| b.client_certificate_ref.is_some()) {
            conditions.add(
                types::RESOLVED_REFS,
                Truth::False,
                reasons::INVALID_CLIENT_CERTIFICATE_REF,
                "tls.backend.clientCertificateRef is not served: connections to backends have no TLS",
            );
        }
        if tls.frontend.as_ref().is_some_and(frontend::is_insecure) {
            conditions.add(
                types::INSECURE_FRONTEND_VALIDATION_MODE,
                Truth::True,
                reasons::CONFIGURATION_CHANGED,
                "AllowInsecureFallback: clients without a valid certificate are served",
            );
        }
    }

    fn listener_status(
        &self,
        listener: &ListenerView<'_>,
        attached: Option<usize>,
    ) -> GatewayStatusListeners {
        let mut conditions = Conditions::new(&self.gateway.metadata);
        let conflict = listener.conflict.as_ref();
        conditions.add_result(
            types::ACCEPTED,
            reasons::ACCEPTED,
            "the listener is accepted",
            listener.refused.as_ref().or(conflict),
        );
        if let Some(conflict) = conflict {
            let message = conflict.message.clone();
            conditions.add(types::CONFLICTED, Truth::True, conflict.reason, message);
        }
        conditions.add_result(
            types::RESOLVED_REFS,
            reasons::RESOLVED_REFS,
            "all references are resolved",
            Problem::join(&listener.refs).as_ref(),
        );
        let programmed = self.unserved(listener).unwrap_or(Problem::new(reasons::PENDING, WAITING));
        conditions.add(types::PROGRAMMED, Truth::False, programmed.reason, programmed.message);
        if let Some(overlap) = &listener.overlap {
            conditions.add(
                types::OVERLAPPING_TLS_CONFIG,
                Truth::True,
                overlap.reason,
                overlap.message.clone(),
            );
        }
        let kind = GatewayStatusListenersSupportedKinds {
            group: Some(GROUP.to_owned()),
            kind: "HTTPRoute".to_owned(),
        };
        GatewayStatusListeners {
            attached_routes: i32::try_from(attached.unwrap_or(0)).unwrap_or(i32::MAX),
            conditions: conditions.finish(),
            name: listener.spec.name.clone(),
            supported_kinds: Some(if listener.http_routes { vec![kind] } else { Vec::new() }),
        }
    }

    fn unserved(&self, listener: &ListenerView<'_>) -> Option<Problem> {
        let causes = [&listener.refused, &listener.conflict, &listener.blocked, &self.refused];
        let cause = causes.into_iter().flatten().next()?;
        Some(Problem::new(reasons::INVALID, cause.message.clone()))
    }
}
