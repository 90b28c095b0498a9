package scenario

import "testing"

func TestGrowthIsOfTheLastThirdOverTheFirst(t *testing.T) {
	for name, c := range map[string]struct {
		rss  []float64
		want float64
	}{
		"flat":             {[]float64{100, 90, 110, 100, 95, 110}, 10},
		"a peak between":   {[]float64{100, 100, 300, 300, 100, 100}, 0},
		"growing":          {[]float64{100, 110, 120, 130, 140, 150}, 40},
		"hardly looked at": {[]float64{100, 200}, 0},
	} {
		w := watched{rss: c.rss}
		if got := w.growth(); got != c.want {
			t.Errorf("%s: growth %g, want %g", name, got, c.want)
		}
	}
}
