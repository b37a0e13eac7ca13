{{/* The image of a process. */}}
{{- define "penstock.image" -}}
{{ .root.Values.image.repository }}/{{ .name }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* Labels of everything. */}}
{{- define "penstock.labels" -}}
app.kubernetes.io/part-of: penstock
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{ include "penstock.selector" . }}
{{- end }}

{{/* Labels by which the pods of a process are found. */}}
{{- define "penstock.selector" -}}
app.kubernetes.io/name: {{ .name }}
{{- end }}

{{/* What every pod has in common. */}}
{{- define "penstock.pod" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- if .root.Values.priorityClass.create }}
priorityClassName: penstock
{{- end }}
{{- end }}

{{/* The operator removes the taint of nodes, and so runs on one that has it. */}}
{{- define "penstock.operatorTolerations" -}}
{{- $tolerations := .Values.operator.tolerations }}
{{- if .Values.agent.taint }}
{{- $tolerations = append $tolerations (dict "key" .Values.agent.taint "operator" "Exists") }}
{{- end }}
{{- if include "penstock.addresses" . }}
{{- /* A node without a network is not ready, and gets one from the operator. */}}
{{- $tolerations = append $tolerations (dict "key" "node.kubernetes.io/not-ready" "operator" "Exists") }}
{{- end }}
{{- toJson $tolerations }}
{{- end }}

{{/* Whether pods get their addresses from Penstock: "true" or nothing. */}}
{{- define "penstock.addresses" -}}
{{- if or .Values.eni.enabled (eq .Values.ipam.mode "eni") }}true{{ end }}
{{- end }}

{{/* Networks outside of which what pods send gets the node's address; nothing where it never does. */}}
{{- define "penstock.masqueradeOutside" -}}
{{- $cidrs := .Values.ipv4NativeRoutingCIDR | nospace }}
{{- $seen := list }}
{{- range $cidr := compact (splitList "," $cidrs) }}
{{- $parts := regexSplit "[./]" $cidr -1 }}
{{- $size := 1 }}
{{- range until (sub 32 (atoi (index $parts 4)) | int) }}{{ $size = mul $size 2 }}{{ end }}
{{- $first := 0 }}
{{- range $at := until 4 }}{{ $first = add (mul $first 256) (atoi (index $parts $at)) }}{{ end }}
{{- if mod $first $size }}
{{- fail (printf "ipv4NativeRoutingCIDR: %s is no network: its address has bits beyond the prefix" $cidr) }}
{{- end }}
{{- $end := add $first $size }}
{{- range $seen }}
{{- if and (lt $first .end) (lt .first $end) }}
{{- fail (printf "ipv4NativeRoutingCIDR: %s and %s overlap: leave out the smaller one" .cidr $cidr) }}
{{- end }}
{{- end }}
{{- $seen = append $seen (dict "cidr" $cidr "first" $first "end" $end) }}
{{- end }}
{{- if .Values.enableIPv4Masquerade }}
{{- if not (include "penstock.addresses" .) }}
{{- fail "enableIPv4Masquerade: pods have addresses of another plugin, which translates them: it needs eni.enabled" }}
{{- end }}
{{- if not $cidrs }}
{{- fail "ipv4NativeRoutingCIDR: enableIPv4Masquerade needs it: the CIDRs of the VPC, for example 10.0.0.0/16" }}
{{- end }}
{{- $cidrs }}
{{- end }}
{{- end }}

{{/* What the operator is told of addresses, as JSON. */}}
{{- define "penstock.addressOptions" -}}
{{- $eni := omit .Values.eni "enabled" "podRedirect" }}
{{- $ipam := .Values.ipam.nodeSpec }}
{{- if not $ipam.ipamMaxAllocate }}{{ $ipam = omit $ipam "ipamMaxAllocate" }}{{ end }}
{{- dict "eni" $eni "ipam" (dict "nodeSpec" $ipam) | toJson }}
{{- end }}

{{/* Variables of every process: telemetry, and who it is. */}}
{{- define "penstock.environment" -}}
- name: POD_NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- name: POD_NAMESPACE
  valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
{{- range $name, $value := .Values.telemetry.environment }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* Variables of what runs on nodes. The operator is found without DNS: the Service is older. */}}
{{- define "penstock.nodeEnvironment" -}}
{{ include "penstock.environment" . }}
- name: NODE_NAME
  valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
- name: PENSTOCK_OPERATOR
  value: https://$(PENSTOCK_STREAM_SERVICE_HOST):9443
{{- end }}

{{/* The token for the operator, and what the operator is trusted by. */}}
{{- define "penstock.trustVolumes" -}}
- name: token
  projected:
    defaultMode: 0444
    sources:
      - serviceAccountToken:
          audience: penstock-stream
          expirationSeconds: 3600
          path: token
- name: trust
  configMap:
    name: penstock-trust
{{- end }}
{{- define "penstock.trustMounts" -}}
- { name: token, mountPath: /var/run/secrets/penstock, readOnly: true }
- { name: trust, mountPath: /etc/penstock/trust, readOnly: true }
{{- end }}

{{/* Values that ask for what this version does not do. */}}
{{- define "penstock.notInThisVersion" -}}
{{- $values := list }}
{{- if .Values.hubble.enabled }}{{ $values = append $values "hubble.enabled" }}{{ end }}
{{- if .Values.hubble.relay.enabled }}{{ $values = append $values "hubble.relay.enabled" }}{{ end }}
{{- if .Values.hubble.ui.enabled }}{{ $values = append $values "hubble.ui.enabled" }}{{ end }}
{{- join "," $values }}
{{- end }}
