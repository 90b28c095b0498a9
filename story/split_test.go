//go:build unix

package story_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/config"
	"millrace/event"
)

// The modular monolith comes apart along its modules, and the stories stay the same.
func TestSplit(t *testing.T) {
	s, _, _ := openSplit(t, "order,payment")
	for _, one := range theUsual.stories {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			one.tell(s.in(t))
		})
	}
}

// allBut is the services that are not named.
func allBut(services string) string {
	named := strings.Split(services, ",")
	return strings.Join(slices.DeleteFunc(config.AllServices(), func(s string) bool { return slices.Contains(named, s) }), ",")
}

// endsApartFromStock is ends for an order that shares its article with others.
func (o *placed) endsApartFromStock(want ending) {
	o.t.Helper()
	o.sharesArticle = true
	want.Available, want.Sold = 0, 0
	o.ends(want)
}

// without is an ending whose order passed by a status.
func without(e ending, status string) ending {
	e.Way = strings.ReplaceAll(e.Way, status, "")
	return e
}

// isPaidFor waits until the order is that old, and PAID all the time.
func (o *placed) isPaidFor(age time.Duration) {
	o.t.Helper()
	eventually(o.t, fmt.Sprintf("order %s is %v old", o.id, age), func() error {
		var view struct {
			Status    event.OrderStatus
			CreatedAt time.Time
		}
		if err := o.read("/orders/"+o.id, &view); err != nil {
			return err
		}
		if view.Status != event.OrderPaid {
			o.t.Fatalf("order %s is %s", o.id, view.Status)
		}
		if now := time.Since(view.CreatedAt); now < age {
			return fmt.Errorf("it is %v old", now)
		}
		return nil
	})
}
