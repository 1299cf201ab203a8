// Renders a Helm chart and decodes what comes out as Kubernetes would: `program CHART < values.yaml`. It prints the rendered
// documents; a field that Kubernetes does not have, a value that the chart's schema refuses, and a finding of Helm's linter
// are errors.
package main

import (
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
)

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}

func main() {
	chart, err := loader.Load(os.Args[1])
	if err != nil {
		fail("load: %v", err)
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail("read: %v", err)
	}
	values, err := chartutil.ReadValues(text)
	if err != nil {
		fail("values: %v", err)
	}
	release := chartutil.ReleaseOptions{Name: "gossipreg", Namespace: "gossipreg", IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, values, release, nil)
	if err != nil {
		fail("values: %v", err)
	}
	renderer := engine.Engine{Strict: true} // a value that is missing is an error
	files, err := renderer.Render(chart, all)
	if err != nil {
		fail("render: %v", err)
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		document := strings.TrimSpace(files[name])
		if document == "" || strings.HasSuffix(name, ".tpl") {
			continue
		}
		if _, _, err := decoder.Decode([]byte(document), nil, nil); err != nil {
			fail("%s: %v", name, err)
		}
		fmt.Printf("---\n%s\n", document)
	}
}
