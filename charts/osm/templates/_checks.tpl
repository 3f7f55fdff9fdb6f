{{/* Fails with an explanation if values contradict each other, which values.schema.json cannot check. */}}
{{- define "osm.checks" -}}
{{- $name := trimPrefix "osm-" .app }}
{{- with .program }}
{{- if ge (float64 .drainDelay) (float64 .grace) }}
{{- fail (printf "%s.drainDelay (%v s) must be below %s.grace (%v s), because draining is a part of the shutdown" $name .drainDelay $name .grace) }}
{{- end }}
{{- range $probe := list "livenessProbe" "readinessProbe" }}
{{- if le (index $.program $probe "timeoutSeconds" | float64) (float64 $.program.canaryLimit) }}
{{- fail (printf "%s.%s.timeoutSeconds must be above %s.canaryLimit (%v s), because a response may take that long" $name $probe $name $.program.canaryLimit) }}
{{- end }}
{{- end }}
{{- range $label := list "app" "meshName" }}
{{- if hasKey $.program.podLabels $label }}
{{- fail (printf "%s.podLabels.%s is reserved by the chart, because Services select the pods by it" $name $label) }}
{{- end }}
{{- end }}
{{- $live := mul .livenessProbe.periodSeconds .livenessProbe.failureThreshold }}
{{- $ready := mul .readinessProbe.periodSeconds .readinessProbe.failureThreshold }}
{{- if le $live $ready }}
{{- fail (printf "%s.livenessProbe fails after %d s, %s.readinessProbe after %d s: liveness needs the longer time (periodSeconds * failureThreshold), so that an unready pod leaves its Service before the kubelet restarts it" $name $live $name $ready) }}
{{- end }}
{{- if and .autoscaling.enabled (gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas)) }}
{{- fail (printf "%s.autoscaling.minReplicas must not be above maxReplicas" $name) }}
{{- end }}
{{- end }}
{{- end }}
