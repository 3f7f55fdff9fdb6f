{{/* What no schema can say: values that cannot work together are refused, and in words. */}}
{{- define "osm.checks" -}}
{{- $name := trimPrefix "osm-" .app }}
{{- with .program }}
{{- if ge (float64 .drainDelay) (float64 .grace) }}
{{- fail (printf "%s.drainDelay (%v s) must be below %s.grace (%v s): draining is a part of stopping" $name .drainDelay $name .grace) }}
{{- end }}
{{- range $probe := list "livenessProbe" "readinessProbe" }}
{{- if le (index $.program $probe "timeoutSeconds" | float64) (float64 $.program.canaryLimit) }}
{{- fail (printf "%s.%s.timeoutSeconds must be above %s.canaryLimit (%v s): an answer may take that long" $name $probe $name $.program.canaryLimit) }}
{{- end }}
{{- end }}
{{- range $label := list "app" "meshName" }}
{{- if hasKey $.program.podLabels $label }}
{{- fail (printf "%s.podLabels.%s is the chart's own: Services find the pods by it" $name $label) }}
{{- end }}
{{- end }}
{{- $live := mul .livenessProbe.periodSeconds .livenessProbe.failureThreshold }}
{{- $ready := mul .readinessProbe.periodSeconds .readinessProbe.failureThreshold }}
{{- if le $live $ready }}
{{- fail (printf "%s.livenessProbe gives up after %d s, %s.readinessProbe after %d s: liveness must have the larger budget (periodSeconds * failureThreshold), so that what is not ready leaves its Service before it is restarted" $name $live $name $ready) }}
{{- end }}
{{- if and .autoscaling.enabled (gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas)) }}
{{- fail (printf "%s.autoscaling.minReplicas must not be above maxReplicas" $name) }}
{{- end }}
{{- end }}
{{- end }}
