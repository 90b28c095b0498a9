//go:build unix

package story_test

import (
	"regexp"
	"strings"
	"sync"
	"testing"

	"millrace/router"
)

// walked are the arrows of the flow that messages went along in this test process, as
// "topic → service". Nodes add theirs when they stop.
var walked struct {
	sync.Mutex
	arrows map[string]bool
}

var (
	doneMetric   = regexp.MustCompile(`(?m)^millrace_messages_total\{([^}]*)outcome="done"([^}]*)\} ([0-9.e+]+)$`)
	letterMetric = regexp.MustCompile(`(?m)^millrace_letters_total\{([^}]*)\} ([0-9.e+]+)$`)
	topicLabel   = regexp.MustCompile(`topic="([^"]*)"`)
	serviceLabel = regexp.MustCompile(`service="([^"]*)"`)
)

// count notes what the node handled. A dead letter in a story is a failure: nothing in
// them is wrong enough to become one.
func (n *node) count() {
	n.tb.Helper()
	metrics, err := n.get("/metrics")
	if err != nil {
		n.tb.Errorf("read the metrics: %v", err)
		return
	}
	walked.Lock()
	defer walked.Unlock()
	if walked.arrows == nil {
		walked.arrows = map[string]bool{}
	}
	for _, m := range doneMetric.FindAllStringSubmatch(metrics, -1) {
		if labels := m[1] + m[2]; m[3] != "0" {
			walked.arrows[label(topicLabel, labels)+" → "+label(serviceLabel, labels)] = true
		}
	}
	for _, m := range letterMetric.FindAllStringSubmatch(metrics, -1) {
		if m[2] != "0" {
			n.tb.Errorf("%s dead letters: %s\n%s", m[2], m[1], n.logged("dead letter"))
		}
	}
}

func label(of *regexp.Regexp, labels string) string {
	if m := of.FindStringSubmatch(labels); m != nil {
		return m[1]
	}
	return ""
}

// The name of this file puts the test behind the stories, whose systems have stopped by then.
func TestEveryEdgeIsWalked(t *testing.T) {
	walked.Lock()
	defer walked.Unlock()
	if len(walked.arrows) == 0 {
		t.Fatal("no story was told before this test: run the whole package, unshuffled")
	}
	var left []string
	edges := 0
	for _, s := range router.Flow(router.Services{}) {
		for _, e := range s.Hears {
			edges++
			if arrow := e.Topic.Name + " → " + s.Name; !walked.arrows[arrow] {
				left = append(left, arrow)
			}
		}
	}
	if len(left) > 0 {
		t.Errorf("no story walks %d of the flow's %d arrows:\n%s", len(left), edges, strings.Join(left, "\n"))
	}
	t.Logf("%d of %d arrows of the flow were walked", edges-len(left), edges)
}
