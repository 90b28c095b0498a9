package scenario

import (
	"strings"
	"testing"

	"millrace/bench"
)

func TestAShortSoakDoesNotJudgeTheMemory(t *testing.T) {
	for seconds, judged := range map[float64]bool{30: false, 1200: true} {
		rows := []bench.Row{{Side: ours, Values: bench.Values{"soak_seconds": seconds, "rate": 200, "rss_mib_drift_percent": 50, "unfinished": 7}}}
		found := map[string]bench.Figure{}
		for _, f := range soakFigures(rows) {
			found[f.Name] = bench.Judge(f)
		}
		if rss := found["soak.rss"]; (rss.Goal != "") != judged || rss.Reached == judged || strings.Contains(rss.Note, "warms up") == judged {
			t.Errorf("after %g s: %+v; want it judged: %v", seconds, rss, judged)
		}
		if found["soak.unfinished"].Ours != 7 {
			t.Errorf("a growing backlog does not show: %+v", found["soak.unfinished"])
		}
	}
}
