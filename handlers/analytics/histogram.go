package analytics

import (
	"math"
	"sort"
	"time"
)

// Times to PAID are counted in buckets whose bounds grow by a constant factor, so
// that they can be added up like anything else and the error of a quantile is
// relative: at most half a factor, 2^(1/16) or 4.4 %, either way, between one
// millisecond and 49 days.
const (
	smallestBound    = time.Millisecond
	boundsPerDouble  = 8
	doublings        = 32 // up to 49 days; what took longer is counted as that
	lastBucket       = boundsPerDouble * doublings
	belowFirstBucket = 0 // up to smallestBound; clocks that disagree may give less than nothing
)

// bounds[i] is the upper bound, included, of bucket i.
var bounds = func() (b [lastBucket + 1]time.Duration) {
	for i := range b {
		b[i] = time.Duration(float64(smallestBound) * math.Exp2(float64(i)/boundsPerDouble))
	}
	return b
}()

// bucketOf is the bucket a duration is counted in: 0 to lastBucket.
func bucketOf(d time.Duration) int {
	return sort.Search(lastBucket, func(i int) bool { return d <= bounds[i] })
}

// valueOf is what a duration counted in a bucket is taken to have been: the middle,
// geometrically, of its bounds.
func valueOf(bucket int) time.Duration {
	if bucket <= belowFirstBucket {
		return smallestBound
	}
	return time.Duration(math.Sqrt(float64(bounds[bucket-1]) * float64(bounds[min(bucket, lastBucket)])))
}

// histogram counts durations by bucket.
type histogram [lastBucket + 1]int64

// quantile is the smallest duration that at least the share q of all are not longer
// than (the nearest rank); false where nothing was counted.
func (h *histogram) quantile(q float64) (time.Duration, bool) {
	var total int64
	for _, n := range h {
		total += n
	}
	if total <= 0 {
		return 0, false
	}
	rank := int64(math.Ceil(q * float64(total)))
	var seen int64
	for bucket, n := range h {
		if seen += n; seen >= rank {
			return valueOf(bucket), true
		}
	}
	return valueOf(lastBucket), true
}
