package analytics

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBucketsCoverEveryDurationWithinTheError(t *testing.T) {
	const most = 1.0443 // 2^(1/16), and a nanosecond's rounding
	rapid.Check(t, func(t *rapid.T) {
		exponent := rapid.Float64Range(0, doublings).Draw(t, "exponent")
		d := time.Duration(float64(smallestBound) * math.Exp2(exponent))
		v := valueOf(bucketOf(d))
		if ratio := float64(v) / float64(d); ratio > most || ratio < 1/most {
			t.Fatalf("%v is taken for %v: %.4f", d, v, ratio)
		}
	})
	for d, want := range map[time.Duration]int{
		math.MinInt64: 0, -time.Second: 0, 0: 0, smallestBound: 0, smallestBound + 1: 1, math.MaxInt64: lastBucket,
	} {
		if got := bucketOf(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
	if !slices.IsSorted(bounds[:]) {
		t.Error("the bounds do not grow")
	}
}

func TestQuantileIsTheNearestRank(t *testing.T) {
	var h histogram
	if _, any := h.quantile(0.5); any {
		t.Error("a quantile of nothing")
	}
	for range 98 {
		h[bucketOf(10*time.Millisecond)]++
	}
	h[bucketOf(time.Second)] += 2
	for q, want := range map[float64]time.Duration{0.5: 10 * time.Millisecond, 0.98: 10 * time.Millisecond, 0.99: time.Second, 1: time.Second} {
		got, _ := h.quantile(q)
		if math.Abs(float64(got)/float64(want)-1) > 0.045 {
			t.Errorf("quantile %v is %v, want %v within 4.5 %%", q, got, want)
		}
	}
}
