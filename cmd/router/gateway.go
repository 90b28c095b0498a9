//go:build !faults

package main

import "millrace/handlers/payment"

// misbehaving is the gateway itself; in a build with faults it is one that may make mistakes.
func misbehaving(g payment.Gateway) payment.Gateway { return g }
