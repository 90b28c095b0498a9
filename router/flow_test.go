package router_test

import (
	"context"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/router"
	"millrace/topic"
)

var update = flag.Bool("update", false, "write the generated documents instead of comparing them")

// specification is the first specification's own table of topics, publisher and consumers
// word for word.
const specification = `
| ecommerce.orders.created           | Order Service    | Notification Service |
| ecommerce.order.payment.initiated  | Order Service    | Payment Service      |
| ecommerce.payment.success          | Payment Service  | Order, Notification  |
| ecommerce.payment.failed           | Payment Service  | Order, Notification  |
| ecommerce.payment.pending          | Payment Service  | Order, Notification  |
| ecommerce.order.status.updated     | Order Service    | Notification Service |
| ecommerce.inventory.update         | Payment Service  | Inventory Service    |
| ecommerce.shipping.initiate        | Payment Service  | Shipping Service     |
| ecommerce.shipping.status          | Shipping Service | Notification Service |
`

func TestTheFlowContainsTheSpecification(t *testing.T) {
	names := func(cell string) (out []string) {
		for name := range strings.SplitSeq(cell, ",") {
			out = append(out, strings.ToLower(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(name), "Service"))))
		}
		slices.Sort(out)
		return out
	}
	rows := router.Flow(router.Services{}).Rows()
	lines := strings.Split(strings.TrimSpace(specification), "\n")
	if len(lines) != 9 {
		t.Fatalf("%d rows in the specification, want 9", len(lines))
	}
	for i, line := range lines {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		row := rows[i]
		if got, want := row.Topic, strings.TrimSpace(cells[0]); got != want {
			t.Errorf("row %d is %s, want %s", i+1, got, want)
		}
		if diff := cmp.Diff(names(cells[1]), []string{row.Publisher}); diff != "" {
			t.Errorf("%s, publisher (-specification +flow):\n%s", row.Topic, diff)
		}
		specified := slices.Clone(row.Specified)
		slices.Sort(specified)
		if diff := cmp.Diff(names(cells[2]), specified); diff != "" {
			t.Errorf("%s, consumers (-specification +flow):\n%s", row.Topic, diff)
		}
		for _, c := range row.Specified {
			if !slices.Contains(row.Consumers, c) {
				t.Errorf("%s: the specification's consumer %s does not hear it", row.Topic, c)
			}
		}
	}
	for _, row := range rows[9:] {
		if len(row.Specified) != 0 {
			t.Errorf("%s is none of the specification's, but names %v", row.Topic, row.Specified)
		}
	}
	if len(rows) != 16 {
		t.Errorf("%d topics, want 16", len(rows))
	}
}

func TestAnalyticsHearsEverything(t *testing.T) {
	for _, row := range router.Flow(router.Services{}).Rows() {
		if !slices.Contains(row.Consumers, "analytics") {
			t.Errorf("analytics does not hear %s", row.Topic)
		}
	}
}

func TestTheFlowIsValid(t *testing.T) {
	if err := router.Flow(router.Services{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateFindsWhatNoFlowMayHave(t *testing.T) {
	react := func(context.Context, event.PaymentFailed) error { return nil }
	flow := router.Flow(router.Services{})
	bad := map[string]router.Graph{
		"is declared twice":                    append(slices.Clone(flow), router.Service("order")),
		"hears ecommerce.payment.failed twice": append(slices.Clone(flow), router.Service("x", router.On(topic.PaymentFailed, react), router.On(topic.PaymentFailed, react))),
		"both say":                             append(slices.Clone(flow), router.Service("x", router.Says(topic.PaymentFailed))),
		"nobody says":                          flow[1:],
	}
	for want, g := range bad {
		if err := g.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestAServiceMaySayWhatItDeclared(t *testing.T) {
	say := router.Flow(router.Services{}).MaySay("shipping")
	if !say("ecommerce.shipping.status") || say("ecommerce.payment.success") {
		t.Error("shipping may say ShippingStatus and nothing else")
	}
}

// The README's table and docs/flow.md are generated; run with -update to write them.
func TestGeneratedDocumentsAreFresh(t *testing.T) {
	flow := router.Flow(router.Services{})
	for path, generated := range map[string]string{
		"../README.md":    flow.Table() + "\n```mermaid\n" + flow.Mermaid() + "```\n",
		"../docs/flow.md": flow.Table() + "\n```mermaid\n" + flow.Mermaid() + "```\n",
	} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		fresh, ok := router.Embed(string(data), generated)
		switch {
		case !ok:
			t.Errorf("%s has no place for the generated flow", path)
		case *update:
			if err := os.WriteFile(path, []byte(fresh), 0o644); err != nil {
				t.Error(err)
			}
		case fresh != string(data):
			t.Errorf("%s is stale: run make generate", path)
		}
	}
}
