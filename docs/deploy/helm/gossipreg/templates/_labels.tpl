{{- define "gossipreg.selector" -}}
app.kubernetes.io/name: gossipreg
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "gossipreg.labels" -}}
{{ include "gossipreg.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}
