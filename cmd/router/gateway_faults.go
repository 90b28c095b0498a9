//go:build faults

package main

import (
	"context"
	"errors"

	"millrace/fault"
	"millrace/handlers/payment"
)

// misbehaving is what stands between the payment service and its provider where a mistake about money is wanted.
func misbehaving(g payment.Gateway) payment.Gateway { return faultyGateway{g} }

type faultyGateway struct{ payment.Gateway }

// Charge is the provider's, or two of them.
func (f faultyGateway) Charge(ctx context.Context, r payment.Request) (payment.Result, error) {
	result, err := f.Gateway.Charge(ctx, r)
	if fault.On(fault.ChargeTwice) {
		r.Step += "-again"
		_, again := f.Gateway.Charge(ctx, r)
		err = errors.Join(err, again)
	}
	return result, err
}

// Refund is the provider's, or none.
func (f faultyGateway) Refund(ctx context.Context, r payment.Request) (payment.Result, error) {
	if fault.On(fault.DropRefund) {
		return payment.Result{Outcome: payment.Refunded, ProviderRef: "none"}, nil
	}
	return f.Gateway.Refund(ctx, r)
}
