package scenario

import (
	"maps"
	"math"
	"slices"
	"testing"
)

// What go tool pprof -traces prints, shortened.
const someTraces = `File: router
Type: cpu
Duration: 4s, Total samples = 1s (25.00%)
-----------+-------------------------------------------------------
      part:  order store
     300ms   runtime.memmove
             millrace/outbox.(*Store[go.shape.x]).Run
-----------+-------------------------------------------------------
      part:  analytics store
     100ms   runtime.memmove
             millrace/outbox.(*Store[go.shape.x]).Run
-----------+-------------------------------------------------------
      part:  http
      50ms   encoding/json.Marshal
             net/http.(*conn).serve
-----------+-------------------------------------------------------
      part:  message handlers
     200ms   encoding/json.Unmarshal
             github.com/ThreeDotsLabs/watermill/message.(*handler).handleMessage
-----------+-------------------------------------------------------
      part:  message handlers
      50ms   millrace/handlers/analytics.(*Service).Count
-----------+-------------------------------------------------------
      50ms   github.com/twmb/franz-go/pkg/kgo.(*sink).produce
-----------+-------------------------------------------------------
     0.15s   runtime.scanobject
             runtime.gcBgMarkWorker
-----------+-------------------------------------------------------
     100ms   runtime.futex
             runtime.mcall
-----------+-------------------------------------------------------
`

func TestAProfileIsDividedAmongTheParts(t *testing.T) {
	got, err := sharesOf(someTraces)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"store": 0.3, "analytics": 0.15, "intake": 0.05, "subscriber": 0.2, "relay": 0.05, "gc": 0.15, "scheduler": 0.1}
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Fatalf("parts are %v, want %v", got, want)
	}
	for part, share := range want {
		if math.Abs(got[part]-share) > 1e-9 {
			t.Errorf("%s has %v, want %v", part, got[part], share)
		}
	}
}

func TestDriftComparesTheLastThirdWithTheFirst(t *testing.T) {
	for _, c := range []struct {
		series []float64
		want   float64
	}{
		{[]float64{10, 10, 99, 99, 12, 12}, 20},
		{[]float64{10, 10, 99, 99, 8, 8}, 20},
		{[]float64{10, 10, 10}, 0},
		{[]float64{10}, 0},
		{[]float64{0, 0, 1}, 0},
	} {
		if got := drift(c.series); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("the drift of %v is %v, want %v", c.series, got, c.want)
		}
	}
}
