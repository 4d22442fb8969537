package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const docs = "../../../../docs/gitops/"

// What the operator has published, as it was recorded by its own tests with RECORD_STATUSES=testdata; ready on the cluster.
func TestRecordedStatuses(t *testing.T) {
	script, err := os.ReadFile(docs + "argocd/health.lua")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]struct{ kstatus, argo, message string }{
		"new":         {"InProgress", "Progressing", "Waiting for the operator"},
		"first-sight": {"InProgress", "Progressing", "Waiting for the operator to see the newest spec"},
		"reconciling": {"InProgress", "Progressing", "DeploymentProgressing: "},
		"stalled":     {"Failed", "Degraded", "InvalidSpec: "},
		"ready":       {"Current", "Healthy", "Ready: "},
		"deleting":    {"Terminating", "Progressing", "Being deleted"},
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) != len(rows) {
		t.Fatalf("%d rows, but %v, %v", len(rows), files, err)
	}
	for name, row := range rows {
		raw, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := judge(string(script), raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.Kstatus != row.kstatus || got.Argo != row.argo || !strings.HasPrefix(got.ArgoMessage, row.message) {
			t.Errorf("%s: %+v instead of %+v", name, got, row)
		}
	}
}

// Users copy the script from where it is shown.
func TestTheScriptIsShownAsItIs(t *testing.T) {
	script, err := os.ReadFile(docs + "argocd/health.lua")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(script), "\n"), "\n")
	for file, indent := range map[string]string{"../gitops.md": "", "argocd/argocd-cm.yaml": "    "} {
		text, err := os.ReadFile(docs + file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), indent+strings.Join(lines, "\n"+indent)+"\n") {
			t.Errorf("%s shows another script than health.lua", file)
		}
	}
}

func TestScriptsThatReturnNothingUseful(t *testing.T) {
	for _, script := range []string{``, `return "Healthy"`, `return {}`, `return {status = "Good"}`, `return string.len("")`} {
		if health, _, err := argoHealth(script, map[string]any{}); err == nil {
			t.Errorf("%q: %q", script, health)
		}
	}
}
