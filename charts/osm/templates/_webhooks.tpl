{{/* The webhook: the API server sends osm-injector a review for each new pod in the mesh's namespaces. */}}
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
    # With Fail, a pod that cannot get its sidecar is refused. With Ignore, it would silently run outside the mesh.
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
        # Namespaces whose pods must be able to start without osm-injector.
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
