// gitops-status says what GitOps tools make of an object: kstatus as Flux and kubectl's ecosystem use it, and Argo CD's
// health by a Lua script, run as Argo CD runs one. Objects come as JSON, one after the other, on standard input; one
// line of JSON goes out for each. usage: gitops-status HEALTH.LUA
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type verdict struct {
	Kstatus        string `json:"kstatus"`
	KstatusMessage string `json:"kstatusMessage"`
	Argo           string `json:"argo"`
	ArgoMessage    string `json:"argoMessage"`
}

func main() {
	if len(os.Args) != 2 {
		fail(errors.New("usage: gitops-status HEALTH.LUA"))
	}
	script, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	decoder := json.NewDecoder(os.Stdin)
	encoder := json.NewEncoder(os.Stdout)
	for {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			fail(err)
		}
		answer, err := judge(string(script), raw)
		if err != nil {
			fail(err)
		}
		if err := encoder.Encode(answer); err != nil {
			fail(err)
		}
	}
}

// judge decodes as the tools' clients do, so that whole numbers are int64.
func judge(script string, raw []byte) (*verdict, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	result, err := status.Compute(object)
	if err != nil {
		return nil, fmt.Errorf("kstatus: %w", err)
	}
	health, message, err := argoHealth(script, object.Object)
	if err != nil {
		return nil, fmt.Errorf("health script: %w", err)
	}
	return &verdict{result.Status.String(), result.Message, health, message}, nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "gitops-status:", err)
	os.Exit(1)
}
