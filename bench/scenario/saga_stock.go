package scenario

import (
	"context"
	"os/exec"
	"strings"

	"millrace/bench/load"
	"millrace/bench/rig"
)

// stockProcess is what the opponent is called where processes are told apart.
const stockProcess = "stock"

// stockSystem is the shop on stock Watermill, in one of its variants.
func stockSystem(name, variant string) system {
	return system{name, func(ctx context.Context, o *rig.Round) (*running, error) {
		address, err := rig.FreeAddress()
		if err != nil {
			return nil, err
		}
		cmd := exec.Command(o.Bench(), "stock", "--variant", variant, "--database", o.DSN, "--brokers", strings.Join(o.Brokers, ","),
			"--listen", address, "--carrier-step", carrierStep.String(),
			"--payment-deadline", paymentDeadline.String(), "--order-deadline", orderDeadline.String())
		s := &running{name: name, shop: load.Shop{URL: "http://" + address, DB: o.DB}}
		s.process, err = o.Start(ctx, stockProcess, cmd, func(ctx context.Context) error {
			_, err := rig.Get(ctx, s.shop.URL+"/readyz")
			return err
		})
		return s, err
	}}
}

// systems are those that do the whole saga: ours, and the opponent as documented and as tuned.
func systems() []system {
	return []system{oursSystem, stockSystem(stock, "documented"), stockSystem(stockTuned, "tuned")}
}
