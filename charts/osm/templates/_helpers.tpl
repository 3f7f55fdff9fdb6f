{{/* The labels of all objects. `osm mesh list` finds control planes by the label meshName. */}}
{{- define "osm.labels" -}}
meshName: {{ .Values.meshName }}
app.kubernetes.io/name: openservicemesh.io
app.kubernetes.io/instance: {{ .Values.meshName }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/part-of: openservicemesh.io
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "osm.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The minimum number of replicas. */}}
{{- define "osm.leastReplicas" -}}
{{ if .autoscaling.enabled }}{{ .autoscaling.minReplicas }}{{ else }}{{ .replicas }}{{ end }}
{{- end }}

{{/* A JSON list of the mesh's namespaces: those of the values, and at an upgrade those that have the mesh's label. */}}
{{- define "osm.meshNamespaces" -}}
{{- $names := .Values.meshNamespaces | default list }}
{{- range (lookup "v1" "Namespace" "" "").items }}
{{- if and (eq (dig "labels" "openservicemesh.io/monitored-by" "" .metadata) $.Values.meshName) (not .metadata.deletionTimestamp) }}
{{- $names = append $names .metadata.name }}
{{- end }}
{{- end }}
{{- without ($names | uniq | sortAlpha) .Release.Namespace | toJson }}
{{- end }}

{{/* The flags that both programs get. */}}
{{- define "osm.args" -}}
- --verbosity={{ .program.logLevel }}
- --mesh-name={{ .root.Values.meshName }}
- --osm-namespace={{ .root.Release.Namespace }}
- --osm-version={{ .root.Chart.AppVersion }}
- --osm-config-name=osm-mesh-config
- --ca-bundle-secret-name={{ .root.Values.caBundleSecretName }}
- --trust-domain={{ .root.Values.trustDomain }}
- --heartbeat-limit={{ .program.heartbeatLimit }}
- --canary-limit={{ .program.canaryLimit }}
- --drain-delay={{ .program.drainDelay }}
- --grace={{ .program.grace }}
{{- end }}

{{/* The fields of a pod's spec besides its containers. */}}
{{- define "osm.pod" -}}
terminationGracePeriodSeconds: {{ add (ceil .program.grace) 10 }}
{{- with .root.Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .program.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    labelSelector:
      matchLabels:
        app: {{ $.app }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- with .program.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .program.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .program.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
