{{- define "nightscribe.labels" -}}
app.kubernetes.io/name: nightscribe
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "nightscribe.image" -}}
{{ .root.Values.images.registry }}/{{ .image }}:{{ .root.Values.images.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "nightscribe.queueUrl" -}}
{{ .Values.queue.url | default "http://queue:4566/000000000000/nightscribe.fifo" }}
{{- end }}

{{/* The secret with the keys; the queue in the cluster takes any. */}}
{{- define "nightscribe.credentials" -}}
{{ .Values.aws.secret | default (ternary "queue-keys" "aws" (empty .Values.queue.url)) }}
{{- end }}

{{- define "nightscribe.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "nightscribe.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "nightscribe.environment" -}}
envFrom:
  - configMapRef:
      name: settings
  - secretRef:
      name: {{ include "nightscribe.credentials" . }}
      optional: true
{{- end }}

{{- define "nightscribe.probes" -}}
startupProbe:
  exec:
    command: [nightscribe, health]
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 30
livenessProbe:
  exec:
    command: [nightscribe, health]
  periodSeconds: 60
  timeoutSeconds: 30
  failureThreshold: 3
{{- end }}

{{/* What director and worker have mounted. */}}
{{- define "nightscribe.mounts" -}}
- name: scratch
  mountPath: /tmp
{{- with .Values.volumes.source }}
- name: source
  mountPath: {{ $.Values.source }}
  readOnly: true
{{- end }}
{{- with .Values.volumes.dest }}
- name: dest
  mountPath: {{ $.Values.dest }}
{{- end }}
{{- end }}

{{- define "nightscribe.volumes" -}}
- name: scratch
  emptyDir:
    sizeLimit: 4Gi
{{- with .Values.volumes.source }}
- name: source
  persistentVolumeClaim:
    claimName: {{ . }}
    readOnly: true
{{- end }}
{{- with .Values.volumes.dest }}
- name: dest
  persistentVolumeClaim:
    claimName: {{ . }}
{{- end }}
{{- end }}
