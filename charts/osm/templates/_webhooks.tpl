{{/* What the API server asks osm-injector about: each new pod of the mesh's namespaces. */}}
{{- define "osm.webhooks" -}}
webhooks:
  - name: osm-inject.k8s.io
    admissionReviewVersions: [v1]
    clientConfig:
      service:
        name: osm-injector
        namespace: {{ .Release.Namespace }}
        path: /mutate-pod-creation
        port: 9090
    # A pod that cannot be given its sidecar is refused: let in bare, it would be outside of the mesh unseen.
    failurePolicy: {{ .Values.webhook.failurePolicy }}
    matchPolicy: Exact
    reinvocationPolicy: Never
    sideEffects: NoneOnDryRun
    timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
    namespaceSelector:
      matchLabels:
        openservicemesh.io/monitored-by: {{ .Values.meshName }}
      matchExpressions:
        - key: openservicemesh.io/ignore
          operator: DoesNotExist
        # Never those that the mesh itself needs to start.
        - key: kubernetes.io/metadata.name
          operator: NotIn
          values:
            - kube-system
            - kube-public
            - kube-node-lease
            - {{ .Release.Namespace }}
            {{- range .Values.webhook.excludedNamespaces }}
            - {{ . }}
            {{- end }}
    rules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE]
        resources: [pods]
        scope: Namespaced
{{- end }}
