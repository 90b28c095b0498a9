package stock

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace/router"
)

// Who hears what is Millrace's flow, arrow by arrow.
func TestTheHandlersAreTheFlow(t *testing.T) {
	var want, got []string
	for _, s := range router.Flow(router.Services{}) {
		for _, name := range s.Topics() {
			want = append(want, s.Name+" hears "+name)
		}
	}
	for _, h := range (services{}).handlers() {
		got = append(got, h.service+" hears "+h.topic.Name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-flow +handlers\n%s", diff)
	}
}
