// Decodes Kubernetes manifests with the API's own types: `k8s-decode FILE…`. An unknown, misspelt or doubled field is
// an error; a kind of somebody else's (a custom resource) is said to be unchecked. Prints one line for each object.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme,
	} {
		utilruntime.Must(add(scheme))
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	failed := len(os.Args) < 2
	for _, file := range os.Args[1:] {
		if err := decodeFile(decoder, file); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

func decodeFile(decoder runtime.Decoder, file string) error {
	open, err := os.Open(file)
	if err != nil {
		return err
	}
	defer open.Close()
	documents := yaml.NewYAMLReader(bufio.NewReader(open))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var named runtime.TypeMeta
		if err := yaml.Unmarshal(document, &named); err != nil {
			return err
		}
		_, _, err = decoder.Decode(document, nil, nil)
		switch {
		case runtime.IsNotRegisteredError(err):
			fmt.Printf("%s %s unchecked\n", named.APIVersion, named.Kind)
		case err != nil:
			return err
		default:
			fmt.Printf("%s %s decoded\n", named.APIVersion, named.Kind)
		}
	}
}
